"""Which files of a repository hold a checkpoint: its config, and its weights exactly once.

Repositories often hold copies (consolidated and sharded, pickled and not): one is read. Where there are
no weights at the root, the only folder that holds some is taken for the model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from survey.checkpoints.rank_files import is_of_ranks
from survey.errors import NotThere
from survey.formats.suffixes import WEIGHT_SUFFIXES

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_SINGLE = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
CONSOLIDATED = "consolidated.safetensors"  # Mistral's own format
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")  # PEFT
CONFIG = "config.json"
MISTRAL_CONFIG = "params.json"
DISTRIBUTED = ".metadata"  # beside *.distcp
ADAPTER_CONFIG = "adapter_config.json"

_INDEX = re.compile(r".+\.safetensors\.index(?:\.\w+)?\.json")  # model.safetensors.index.fp16.json, …
_SHARD = re.compile(r"(.+)-([0-9]{1,6})-of-([0-9]{1,6})\.safetensors")
# What training and other tools leave beside a model.
_OTHER = re.compile(r"(?i)^(adapter|optimizer|scheduler|training|trainer|mmproj|vae|.*lora)")
# Checkpoints of trainers and of other libraries, by their files, and what makes a model of them.
_FOREIGN = {
    "a Megatron-LM checkpoint": (
        r"(?:.*/)?mp_rank_\d+(?:_\d+)*/(?:model_\w+|distrib_optim)\.pt|(?:.*/)?model_optim_rng\.pt",
        "convert it with Megatron Bridge or its tools/checkpoint/convert.py",
    ),
    "a DeepSpeed checkpoint": (
        r"(?:.*/)?(?:mp_rank_\d+_model_states|(?:\w+_)?zero_pp_rank_\d+_\w+|layer_\d+-model_\d+-model_states)\.pt",
        "convert it with the zero_to_fp32.py that lies beside it",
    ),
    "a PaddlePaddle checkpoint": (r".*\.pdparams(?:\.\w+)?", "save it with PaddleNLP's safe_serialization"),
    "a NeMo archive": (r".*\.nemo", "convert it with NeMo's export to transformers"),
    "a Flax checkpoint": (r"(?:.*/)?flax_model.*\.msgpack", "load it with from_flax=True and save it"),
    "a TensorFlow checkpoint": (
        r"(?:.*/)?tf_model.*\.h5|.*\.ckpt\.index",
        "load it with from_tf=True and save it",
    ),
    "a checkpoint of torch's that lacks its .metadata": (r".*\.distcp", "upload all of its files"),
    "a model for llama.cpp": (r".*\.gguf|(?:.*/)?ggml-.*\.bin", "survey the model that it was made from"),
}
_MOST_SHARDS = 200  # without an index, each costs a request
_MOST_BESIDE = 8
_MOST_SHOWN = 12  # in a message


@dataclass(frozen=True, slots=True)
class Weights:
    """One copy of the weights, by the names of its files: a single file, an index, or numbered shards.

    config: what describes them. rule: how they were chosen. by_devices: whether a tensor may lie in several
    of the files, in parts. loose: whether only their headers can tell that they are one model.
    """

    config: str
    rule: str
    single: str | None = None
    index: str | None = None
    shards: tuple[str, ...] = ()
    by_devices: bool = False
    loose: bool = False

    @property
    def is_adapter(self) -> bool:
        return self.single is not None and self.single.rpartition("/")[2] in ADAPTERS

    @property
    def is_distributed(self) -> bool:
        return self.index is not None and self.index.rpartition("/")[2] == DISTRIBUTED

    @property
    def folder(self) -> str:
        """Where they lie: empty, or ending in a slash."""
        held = self.single or self.index or self.shards[0]
        return held[: held.rfind("/") + 1]


def find_weights(files: Collection[str], where: str, part: str | None = None) -> Weights:
    """The weights among the names of a repository's files. part: the folder or file of it that is meant.

    Raises NotThere: `no-config`, or `no-safetensors` with what there is instead.
    """
    folders: dict[str, set[str]] = {"": set()}
    for path in files:
        folder, slash, name = path.rpartition("/")
        folders.setdefault(folder + slash, set()).add(name)
    if part is not None:
        return _named_part(part, folders, where)
    found = {folder: held for folder in sorted(folders) if (held := _in_one_folder(folders[folder]))}
    # Of folders without a config none can be a model: a tool's copy of the weights, most likely.
    inner = [folder for folder in found if CONFIG in folders[folder]] or list(found)
    if "" in found or len(inner) == 1:
        folder = "" if "" in found else inner[0]
        return _described(folder, *found[folder], folders)
    beside = _beside(folders[""])
    if not (inner or beside) and (foreign := _foreign(files)):
        raise NotThere("no-safetensors", where, foreign)
    if not any(
        name in held for held in folders.values() for name in (CONFIG, MISTRAL_CONFIG, ADAPTER_CONFIG)
    ):
        raise NotThere("no-config", f"{where}/{CONFIG}", "no such file in the checkpoint")
    if inner:
        shown = ", ".join(folder.removesuffix("/") for folder in inner[:_MOST_SHOWN])
        more = f" and {len(inner) - _MOST_SHOWN} more" if len(inner) > _MOST_SHOWN else ""
        problem = "several folders hold weights, and the root none"
        remedy = f"write the model's name, a colon and one of {shown}{more}"
        raise NotThere("no-safetensors", where, problem, remedy)
    if beside:
        described = _described("", "files side by side", beside, folders)
        return replace(described, loose=True)
    problem = f"neither {SINGLE} nor {INDEX}, nor {PICKLED_SINGLE}"
    loose = sorted(name for name in folders[""] if name.endswith(WEIGHT_SUFFIXES))
    raise NotThere("no-safetensors", where, problem + (f" (found {', '.join(loose[:3])})" if loose else ""))


def _foreign(files: Collection[str]) -> str | None:
    """What a repository holds instead of weights that are read, and what to do; None if nothing known."""
    for what, (pattern, remedy) in _FOREIGN.items():
        if held := sorted(file for file in files if re.fullmatch(pattern, file)):
            return f"holds {what} ({held[0]}), which is not read: {remedy}"
    return None


def same_set(shards: Collection[str], files: Collection[str]) -> list[str]:
    """The files that are numbered in one row with these shards."""
    sets = {cut.group(1, 3) for shard in shards if (cut := _SHARD.fullmatch(shard))}
    return [file for file in files if (cut := _SHARD.fullmatch(file)) and cut.group(1, 3) in sets]


def beside_shards(shards: Collection[str], files: Collection[str]) -> list[str]:
    """A few more files of weights in the folder of an index's shards that no set of shards explains."""
    folders = {shard.rpartition("/")[0] for shard in shards}
    strays = [
        file
        for file in sorted(files)
        if file.endswith(".safetensors") and file not in shards and file.rpartition("/")[0] in folders
    ]
    names = {file: file.rpartition("/")[2] for file in strays}
    copies = (CONSOLIDATED, SINGLE)
    strays = [
        file
        for file, name in names.items()
        if name not in copies and not (_OTHER.match(name) or _SHARD.fullmatch(name) or is_of_ranks(name))
    ]
    return strays[:_MOST_BESIDE]


def _named_part(part: str, folders: dict[str, set[str]], where: str) -> Weights:
    """The weights in a folder or file that the user named."""
    folder, slash, name = part.rpartition("/")
    if name in folders.get(folder + slash, ()):
        if not name.endswith((".safetensors", ".bin", ".pth", ".index.json")):
            raise NotThere("no-safetensors", where, "is no file of weights that is read", _nameable(folders))
        return _described(folder + slash, "the file that was named", [name], folders)
    found = _in_one_folder(folders.get(part + "/", set()))
    if found is not None:
        return _described(part + "/", *found, folders)
    if any(inner.startswith(part + "/") for inner in folders):
        problem = "this folder holds no weights itself"
    else:
        problem = "there is no such folder or file"
    raise NotThere("no-safetensors", where, problem, _nameable(folders))


def _nameable(folders: Mapping[str, Collection[str]]) -> str:
    """What to name instead of a part that is not there."""
    if shown := ", ".join(choices(folders)[:_MOST_SHOWN]):
        return f"what may be named after the colon: {shown}"
    if _in_one_folder(set(folders.get("", ()))):
        return "name the model alone, without a colon: its weights lie at its root"
    return "nothing in it can be named: it holds no weights that are read"


def choices(folders: Mapping[str, Collection[str]]) -> list[str]:
    """What may be written after a model's name and a colon: folders with weights, and files of weights."""
    held = [folder.removesuffix("/") for folder in sorted(folders) if _in_one_folder(set(folders[folder]))]
    files = sorted(name for name in folders[""] if name.endswith((".safetensors", ".bin")))
    return [folder for folder in held if folder] + files


def _beside(names: set[str]) -> list[str]:
    """A few files of weights whose names say nothing; whether they are one model their headers must tell."""
    loose = sorted(name for name in names if name.endswith(".safetensors") and not _OTHER.match(name))
    whole = [name for name in loose if not is_of_ranks(name)]
    return whole if not any("-of-" in name for name in loose) and 2 <= len(whole) <= _MOST_BESIDE else []


def _described(folder: str, rule: str, names: list[str], folders: dict[str, set[str]]) -> Weights:
    """The weights with the config that is theirs: beside them, or at the root."""
    paths = [folder + name for name in names]
    known = [CONFIG, ADAPTER_CONFIG] if names[0] in ADAPTERS else [CONFIG, MISTRAL_CONFIG]
    steps = [folder[: cut.end()] for cut in re.finditer("/", folder)][::-1]
    places = [place + name for place in (*steps, "") for name in known if name in folders.get(place, ())]
    config = places[0] if places else folder + CONFIG
    rule = f"{rule} in {folder}" if folder else rule
    if len(paths) > 1 or is_of_devices(names[0]):
        return Weights(config, rule, shards=tuple(paths), by_devices=is_of_devices(names[0]))
    if names[0].endswith((".json", DISTRIBUTED)):
        return Weights(config, rule, index=paths[0])
    return Weights(config, rule, single=paths[0])


def _in_one_folder(names: set[str]) -> tuple[str, list[str]] | None:
    """The rule and the file names of one copy of the weights; the earlier rule wins."""
    for name in (SINGLE, INDEX):
        if name in names:
            return name, [name]
    for name in sorted(names):
        if _INDEX.fullmatch(name) and not _OTHER.match(name):
            return f"the index {name}", [name]
    of_devices = sorted(name for name in names if is_of_devices(name))
    loose = sorted(name for name in names if name.endswith(".safetensors") and not _OTHER.match(name))
    loose = [name for name in loose if name not in of_devices]
    whole = [name for name in loose if not _SHARD.fullmatch(name)]
    if CONSOLIDATED in whole:
        return CONSOLIDATED, [CONSOLIDATED]
    if shards := _numbered(loose):  # what lies beside a whole set may be anything
        return "numbered shards without an index", shards
    if of_devices and len(of_devices) <= _MOST_SHARDS:
        return "files of several devices", of_devices
    if len(whole) == 1:
        return "the only file of weights", whole
    for name in (PICKLED_SINGLE, PICKLED_INDEX):
        if name in names:
            return name, [name]
    if DISTRIBUTED in names and any(name.endswith(".distcp") for name in names):
        return "torch's distributed checkpoint", [DISTRIBUTED]
    return next((("an adapter", [name]) for name in ADAPTERS if name in names), None)


def is_of_devices(name: str) -> bool:
    """Whether a file holds what one of several devices held, or what all of them shared."""
    read = name.endswith(".safetensors") or (name.startswith("consolidated.") and name.endswith(".pth"))
    return read and not _OTHER.match(name) and is_of_ranks(name)


def _numbered(names: list[str]) -> list[str]:
    """The complete set of shards among them; empty where there is none, or more than one."""
    sets: dict[tuple[str, int], dict[int, str]] = {}
    for name in names:
        if cut := _SHARD.fullmatch(name):
            sets.setdefault((cut[1], int(cut[3])), {})[int(cut[2])] = name
    complete = [
        [held[number] for number in sorted(held)]
        for (_, count), held in sets.items()
        if set(held) in (set(range(1, count + 1)), set(range(count))) and 1 <= count <= _MOST_SHARDS
    ]
    return complete[0] if len(complete) == 1 else []
