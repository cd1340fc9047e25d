"""Which GGUF files of a repository hold a model, and which of its quantisations is meant.

A repository often holds one model in twenty quantisations, each a file or a set of numbered files, beside
files that are no language model: the tower of a multimodal one, an importance matrix, a LoRA, a draft.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from survey.errors import NotThere

SUFFIX = ".gguf"
MOST_SPLITS = 1_000
_SHOWN = 12
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.IGNORECASE)
# Words in the names of files and folders. Some models are called Eagle or were merged with a LoRA: files of
# the second kind are left out only if there are others, and their headers say what they are.
_NO_MODEL, _BESIDE_MODEL = (
    re.compile(rf"(?i)(?:^|[-_./])(?:{words})(?=[-_./]|$)")
    for words in (
        r"mm[-_]?proj\w*|vae|clip|control[-_]?vectors?|vocab(?:-only)?|tokenizer",
        r"imatrix\w*|importance|lora\w*|adapter|draft|drafter|eagle\d?|mtp",
    )
)
# The quantisation at the end of a file's name, as llama.cpp and its uploaders write it: `Q4_K_M`,
# `IQ2_XXS`, `UD-Q4_K_XL`, `i1-Q4_K_S`, `BF16`, `MXFP4_MOE`.
_LABEL = re.compile(
    r"(?i)(?:^|[-_.])(?P<label>(?:UD-|i1-)?(?:(?:I?Q|TQ)\d(?:_\d|_[A-Z]+)*"
    r"|BF16|F16|FP16|F32|FP32|F64|MXFP4(?:_MOE)?|NVFP4))(?:[-_.](?:imat|imatrix|i1))?$"
)
_MAKERS = re.compile(r"(?i)^(?:UD|i1)-")  # Unsloth's mixes of types; mradermacher's with an importance matrix
_FLOATS = {"BF16": 16, "F16": 15, "FP16": 15, "F32": 32, "FP32": 32, "F64": 64, "MXFP4": 4, "NVFP4": 4}
_MIXES = ("", "XXS", "XS", "S", "M", "L", "XL")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """One quantisation: its files in order, without gaps if `count` says how many there are.

    stem: their common name without number and suffix. label: the quantisation in which it, or its folder,
    ends; empty if none.
    """

    stem: str
    label: str
    files: tuple[str, ...]
    missing: int = 0

    @property
    def model(self) -> str:
        """What is quantised: the stem's last part without the label, folded."""
        name = self.stem.rpartition("/")[2]
        label = _LABEL.search(name)
        base = name[: label.start()] if label else name
        return re.sub(r"(?i)[-_.](?:i1|imat)$", "", base).strip("-_.").lower()

    @property
    def plain_label(self) -> str:
        """The label in small letters, without who made it."""
        return _MAKERS.sub("", self.label).lower()

    @property
    def precision(self) -> tuple[int, int, int]:
        """Rank by its label: bits of a weight, the mix of types (XL, L, M, S), and Q4_1 above Q4_0.

        Zeros if it has none.
        """
        name = self.plain_label.upper()
        bits = next((bits for known, bits in _FLOATS.items() if name.startswith(known)), None)
        digit, last = re.search(r"\d", name), name.rpartition("_")[2]
        mix = _MIXES.index(last) if last in _MIXES else 0
        return bits or (int(digit[0]) if digit else 0), mix, int(last) if last.isdecimal() else 0


def gguf_models(files: Collection[str], *, every: bool = False) -> list[GgufModel]:
    """The language models among the files, each quantisation once, by name.

    every: also those that are something else by their names.
    """
    sets: dict[str, dict[int, str]] = {}
    counts: dict[str, int] = {}
    for file in sorted(file for file in files if file.endswith(SUFFIX)):
        split = _SPLIT.fullmatch(file)
        stem = split["stem"] if split else file[: -len(SUFFIX)]
        key = f"{stem}/{split['count']}" if split else stem + SUFFIX
        sets.setdefault(key, {})[int(split["number"]) if split else 1] = file
        counts[key] = int(split["count"]) if split else 1
    models = [_model(key, numbered, counts[key]) for key, numbered in sets.items()]
    if every:
        return models
    models = [model for model in models if not _NO_MODEL.search(model.stem)]
    return [model for model in models if not _BESIDE_MODEL.search(model.stem)] or models


def _model(key: str, numbered: Mapping[int, str], count: int) -> GgufModel:
    stem = key.removesuffix(SUFFIX) if key.endswith(SUFFIX) else key.rpartition("/")[0]
    labels = (_LABEL.search(step) for step in reversed(stem.split("/")))  # folders of one quantisation each
    label = next((label["label"] for label in labels if label), "")
    in_order = tuple(numbered[number] for number in sorted(numbered))
    missing = len(set(range(1, min(count, MOST_SPLITS) + 1)) - numbered.keys())
    return GgufModel(stem, label, in_order, missing)


def choose_gguf(models: Sequence[GgufModel], where: str) -> GgufModel:
    """The most precise quantisation of a repository whose models are all quantisations of one.

    Raises NotThere (`no-safetensors`) if there are several models.
    """
    if len({model.model for model in models}) > 1:
        _refuse_several(models, "holds several models for llama.cpp", where)
    if len(models) > 1 and not all(model.label for model in models):
        _refuse_several(models, "holds a file whose name states no quantisation, beside others", where)
    best = max(models, key=lambda model: model.precision)
    if len(equal := [model for model in models if model.plain_label == best.plain_label]) > 1:
        _refuse_several(equal, f"holds several files in {best.plain_label.upper()}", where)
    return _whole(best, where)


def named_gguf(files: Collection[str], part: str, where: str) -> GgufModel | None:
    """The model that the user named by a file, a quantisation or a folder; None if none has this name.

    Raises NotThere (`no-safetensors`) if several have it.
    """
    models = gguf_models(files)
    by_file = [model for model in gguf_models(files, every=True) if part in (*model.files, model.stem)]
    by_label = [model for model in models if model.label.lower() == part.lower()]
    by_plain_label = [model for model in models if model.plain_label == part.lower()]
    by_folder = [model for model in models if model.stem.startswith(part.rstrip("/") + "/")]
    for named in (by_file, by_label, by_plain_label, by_folder):
        if len(named) > 1:
            _refuse_several(named, f"several files are {part}", where)
        if named:
            return _whole(named[0], where)
    return None


def gguf_names(models: Sequence[GgufModel]) -> list[str]:
    """What may be named after the colon: the quantisation if one file has it, else the file."""
    labels = [model.label.lower() for model in models]
    return [
        model.label if model.label and labels.count(model.label.lower()) == 1 else model.files[0]
        for model in models
    ]


def _whole(model: GgufModel, where: str) -> GgufModel:
    if len(model.files) > MOST_SPLITS:
        problem = f"{model.files[0]} is one of {len(model.files):,} files, at most {MOST_SPLITS:,} are read"
        raise NotThere("no-safetensors", where, problem, "name another")
    if model.missing:
        problem = f"{model.missing:,} of the files that {model.files[0]} counts are missing"
        raise NotThere("no-safetensors", where, problem, "upload all of its files, or name another")
    return model


def _refuse_several(models: Sequence[GgufModel], problem: str, where: str) -> NoReturn:
    names = gguf_names(models)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise NotThere("no-safetensors", where, problem, f"write the model's name, a colon and one of {shown}")
