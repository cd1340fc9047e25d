"""The layout of a model in GGUF files: they describe themselves, so no config is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.checkpoints.checkpoint import Checkpoint, short_text
from survey.checkpoints.file_header import gguf_header
from survey.checkpoints.weight_files import Weights
from survey.errors import BrokenFile, NotThere
from survey.formats.gguf_header import GgufHeader
from survey.formats.gguf_tokens import TOKENS as GGUF_TOKENS
from survey.formats.gguf_values import Values
from survey.targets.checkpoint_layout import CheckpointLayout


def lay_out_gguf(checkpoint: Checkpoint, weights: Weights) -> CheckpointLayout:
    """Read the headers of all files of one quantisation. Raises SurveyError if one is missing or broken."""
    read = {file: gguf_header(checkpoint, file) for file in weights.gguf}
    first, where = read[weights.gguf[0]], f"{checkpoint.repo}/{weights.gguf[0]}"
    _refuse_other_kinds(first.values, where)
    _refuse_other_split(read, checkpoint.repo)
    file_of: dict[str, str] = {}
    for file, header in read.items():
        for name in header.header.tensors:
            if name in file_of:
                problem = f"holds {name}, as {file_of[name]} does"
                raise BrokenFile("index-mismatch", f"{checkpoint.repo}/{file}", problem)
            file_of[name] = file
    return CheckpointLayout(
        checkpoint,
        gguf_config(first.values),
        file_of,
        {file: header.header for file, header in read.items()},
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
    """The model that was quantised, as the file states it: its Hub id."""
    url = values.scalars.get("general.base_model.0.repo_url")
    if isinstance(url, str) and url.startswith("https://huggingface.co/"):
        return short_text(url.removeprefix("https://huggingface.co/").strip("/"))
    return None


def _refuse_other_kinds(values: Values, where: str) -> None:
    """Raise NotThere (`no-head`) for a file that says that it is no model: an adapter, a projector."""
    kind = values.scalars.get("general.type", "model")
    if kind != "model":
        raise NotThere("no-head", where, f"general.type is {str(kind)[:80]!r}, expected 'model'")
    architecture = values.scalars.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise NotThere("no-head", where, "states no general.architecture: its tensors are unknown")
    if architecture in ("clip", "imatrix"):
        raise NotThere("no-head", where, f"is of the architecture {architecture!r}, which has no vocabulary")


def _refuse_other_split(read: Mapping[str, GgufHeader], repo: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if the files do not count themselves as their names do."""
    counts = {file: header.values.scalars.get("split.count", 1) for file, header in read.items()}
    for number, (file, count) in enumerate(counts.items()):
        if count not in (len(read), 0 if len(read) == 1 else len(read)):
            problem = f"split.count is {count}, expected {len(read)}"
            raise BrokenFile("index-mismatch", f"{repo}/{file}", problem, "download all of its files")
        if len(read) > 1 and read[file].values.scalars.get("split.no", number) != number:
            problem = f"split.no is {read[file].values.scalars['split.no']}, expected {number}"
            raise BrokenFile("index-mismatch", f"{repo}/{file}", problem)
