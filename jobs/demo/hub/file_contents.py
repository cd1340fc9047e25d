"""What the Hub reads from a model's files for its documents: the config, and parameters by dtype."""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from jobs.demo.hub.replies import Span
from jobs.demo.hub.repos import StoredFile

# Any: these are JSON objects, whose shape the Hub's client defines.
HubReplyDocument = dict[str, Any]
RepoFiles = Mapping[str, StoredFile]

_CONFIG_KEYS = ("architectures", "model_type", "auto_map", "quantization_config")
_TOKENIZER_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template")


def shown_config(files: RepoFiles) -> HubReplyDocument | None:
    """The part of the configuration that the Hub shows; None if there is none."""
    config = _json_object(files.get("config.json"))
    tokenizer = _json_object(files.get("tokenizer_config.json"))
    shown: HubReplyDocument = {key: config[key] for key in _CONFIG_KEYS if key in config}
    if tokens := {key: tokenizer[key] for key in _TOKENIZER_KEYS if key in tokenizer}:
        shown["tokenizer_config"] = tokens
    return shown or None


def parameter_counts(files: RepoFiles) -> HubReplyDocument | None:
    """The parameters of each dtype in the safetensors files, by their headers; None if there are none."""
    counts: dict[str, int] = {}
    for path in sorted(files):
        if path.endswith(".safetensors"):
            for dtype, shape in _tensors(files[path]):
                counts[dtype] = counts.get(dtype, 0) + prod(shape)
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _tensors(file: StoredFile) -> list[tuple[str, list[int]]]:
    """Dtype and shape of each tensor in a safetensors file; none if its header is invalid."""
    stop = 8 + int.from_bytes(Span(file.source, 0, 8).read(), "little")
    try:
        header = json.loads(Span(file.source, 8, stop).read()) if stop <= file.size else {}
        header.pop("__metadata__", None)
        return [(str(item["dtype"]), [int(size) for size in item["shape"]]) for item in header.values()]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return []


def _json_object(file: StoredFile | None) -> HubReplyDocument:
    if file is None:
        return {}
    try:
        value = json.loads(Span(file.source, 0, file.size).read())
    except (ValueError, RecursionError):  # a broken config.json must still be listed and served
        return {}
    return value if isinstance(value, dict) else {}
