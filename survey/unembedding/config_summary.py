"""The config's statements on the matrices, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.unembedding.model_config import (
    CONFIG_NAME_CHARS,
    DIM_KEYS,
    ROW_KEYS,
    architecture,
    language_parts,
)
from survey.unembedding.tying import tie_statements


def config_summary(config: Mapping[str, Any]) -> list[str]:
    """Class, tying, model types and sizes as the config states them, one line each."""
    lines = [f"{key}: {str(stated).lower()}" for key, stated in tie_statements(config).items()]
    for path, part in language_parts(config):
        for key in ("model_type", *ROW_KEYS, *DIM_KEYS):
            if isinstance(value := part.get(key), str | int):
                lines.append(f"{path}.{key}: {str(value)[:CONFIG_NAME_CHARS]}".lstrip("."))
    name = architecture(config)
    return [*([f"architectures: {name}"] if name else []), *lines]
