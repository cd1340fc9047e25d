"""The layout of a model in GGUF files: they describe themselves, so no config is read."""

from __future__ import annotations

import re
from typing import Any

from survey.checkpoints.checkpoint import Checkpoint, short_text
from survey.checkpoints.file_header import gguf_header
from survey.checkpoints.weight_files import Weights
from survey.errors import BrokenFile, NotThere
from survey.formats.gguf_header import MOST_TENSORS
from survey.formats.gguf_tokens import TOKENS as GGUF_TOKENS
from survey.formats.gguf_values import Values
from survey.formats.safetensors_header import Header
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.unembedding.gguf_tensors import Scalars

# Projectors, importance matrices, changes of another model, drafts.
_NO_MODELS = ("clip", "mmproj", "imatrix", "controlvector", "eagle3")


def lay_out_gguf(checkpoint: Checkpoint, weights: Weights) -> CheckpointLayout:
    """Read the headers of all files of one quantisation. Raises SurveyError if one is missing or broken."""
    first, where = gguf_header(checkpoint, weights.gguf[0]), f"{checkpoint.repo}/{weights.gguf[0]}"
    _refuse_other_set(first.values.scalars, 0, len(weights.gguf), where)
    _refuse_other_kinds(first.values, where)
    headers, file_of = dict[str, Header](), dict[str, str]()
    for number, file in enumerate(weights.gguf):
        where = f"{checkpoint.repo}/{file}"
        header = gguf_header(checkpoint, file, is_first=False) if number else first
        _refuse_other_set(header.values.scalars, number, len(weights.gguf), where)
        _refuse_other_model(header.values.scalars, first.values.scalars, where)
        headers[file] = header.header
        for name in header.header.tensors:
            if name in file_of:
                problem = f"holds {name}, as {file_of[name]} does"
                raise BrokenFile("index-mismatch", where, problem)
            file_of[name] = file
        if len(file_of) > MOST_TENSORS:
            problem = (
                f"holds with those before it {len(file_of):,} tensors, expected at most {MOST_TENSORS:,}"
            )
            raise BrokenFile("index-mismatch", where, problem)
    _refuse_other_number(first.values.scalars, len(file_of), checkpoint.repo)
    return CheckpointLayout(
        checkpoint,
        gguf_config(first.values),
        file_of,
        headers,
        weights.rule,
        gguf=first.values,
        base_model=_base_model(first.values),
    )


def gguf_config(values: Values) -> dict[str, Any]:
    """What the values state, under the keys of a config.json: model type, sizes, base model."""
    scalars = values.scalars
    kind = short_text(scalars.get("general.architecture"))
    tokens = values.arrays.get(GGUF_TOKENS)
    rows = scalars.get(f"{kind}.vocab_size", tokens.count if tokens else None)
    dims = scalars.get(f"{kind}.embedding_length")
    stated = {"model_type": kind, "vocab_size": rows, "hidden_size": dims}
    return {key: value for key, value in stated.items() if value is not None}


def _base_model(values: Values) -> str | None:
    """The model that was quantised, as the file states it: its Hub id.

    Converters copy `base_model` from the card of the model that they convert: unless it bears that model's
    own name, it is its parent, which a fine-tune states.
    """
    url, name = values.scalars.get("general.base_model.0.repo_url"), values.scalars.get("general.name")
    if not isinstance(url, str) or not url.startswith("https://huggingface.co/"):
        return None
    base = url.removeprefix("https://huggingface.co/").strip("/")
    is_own = bool(base) and _folded(base.rpartition("/")[2]) == _folded(name)
    return short_text(base) if is_own else None


def _folded(name: object) -> str:
    return re.sub(r"[^0-9a-z]", "", str(name).lower())


def _refuse_other_kinds(values: Values, where: str) -> None:
    """Raise NotThere (`no-head`) for a file that says that it is no model: an adapter, a projector."""
    kind = "array" if "general.type" in values.arrays else values.scalars.get("general.type", "model")
    if "adapter.type" in values.scalars:
        raise NotThere("no-head", where, "states an adapter.type: it changes another model")
    if kind != "model":
        raise NotThere("no-head", where, f"general.type is {str(kind)[:80]!r}, expected 'model'")
    architecture = values.scalars.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise NotThere("no-head", where, "states no general.architecture: its tensors are unknown")
    if architecture in _NO_MODELS:
        problem = f"is of the architecture {architecture!r}, which has no vocabulary of its own"
        raise NotThere("no-head", where, problem)


def _refuse_other_set(scalars: Scalars, number: int, files: int, where: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if a file does not count itself as its name does.

    number: of the file, from 0 on. files: of its set.
    """
    count = scalars.get("split.count", 1)
    if count not in (files, 0 if files == 1 else files):
        problem = f"split.count is {count}, expected {files}"
        raise BrokenFile("index-mismatch", where, problem, "download all of its files")
    if files > 1 and scalars.get("split.no", number) != number:
        raise BrokenFile("index-mismatch", where, f"split.no is {scalars['split.no']}, expected {number}")


def _refuse_other_model(scalars: Scalars, first: Scalars, where: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if a file states another model than the first; most state none."""
    for key in ("general.architecture", "general.name", "split.tensors.count"):
        if scalars.get(key, first.get(key)) != first.get(key):
            problem = f"{key} is {str(scalars[key])[:80]!r}, in the first file {str(first.get(key))[:80]!r}"
            raise BrokenFile("index-mismatch", where, problem, "download all of its files again")


def _refuse_other_number(scalars: Scalars, tensors: int, repo: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if the files hold more or fewer tensors than the first says.

    A file of another quantisation may have been uploaded in the place of one, and the head may be missing.
    """
    stated = scalars.get("split.tensors.count", tensors)
    if stated != tensors:
        problem = f"its files hold {tensors:,} tensors, the first says {stated}"
        raise BrokenFile("index-mismatch", repo, problem, "download all of its files again")
