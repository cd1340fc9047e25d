"""The options of a training run as a record, and two set-ups to start from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import xxhash

from survey.errors import UsageError

Precision = Literal["fp32", "bf16-mixed", "bf16-pure"]
Init = Literal["normal", "point"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A small language model and how it is trained. The unembedding is the embedding (tied).

    init: rows ~ N(0, init_scale²) (`normal`), or one common unit vector plus that (`point`).
    precision: float32; float32 weights and bfloat16 arithmetic (`bf16-mixed`); or everything, AdamW's state
    included, in bfloat16 (`bf16-pure`): its second moment underflows, so rows that freeze there are partly an
    artefact. corpus: a text file, or None for a generated Zipfian one in which `dead` tokens never occur.
    history: write every token's gradient and move, not only the figures derived from them.
    """

    setup: str
    layers: int
    heads: int
    dim: int
    ff: int
    vocabulary: int
    dead: int
    init: Init = "normal"
    init_scale: float = 0.02
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    precision: Precision = "fp32"
    batch: int = 8
    context: int = 128
    steps: int = 1_000
    record_every: int = 1
    seed: int = 42
    corpus: str | None = None
    history: bool = True

    def __post_init__(self) -> None:
        """Raises UsageError naming the option that no run can have."""
        for name, hint in get_type_hints(Training).items():
            _check_type(name, getattr(self, name), hint)
        counts = ("layers", "heads", "dim", "ff", "vocabulary", "batch", "context", "steps", "record_every")
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dead < self.vocabulary:
            raise UsageError(
                f"dead is {self.dead}, expected 0 to {self.vocabulary - 1}, below the vocabulary"
            )
        if self.dim % self.heads:
            raise UsageError(f"dim {self.dim} cannot be divided among {self.heads} heads")
        if self.init_scale < 0 or self.weight_decay < 0 or self.learning_rate <= 0:
            raise UsageError(
                "init_scale and weight_decay must not be negative, learning_rate must be positive"
            )

    def as_json(self) -> str:
        """The options as JSON, always in the same order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def digest(self) -> str:
        """16 hex digits that differ if any option differs that changes the run's numbers."""
        options = {k: v for k, v in dataclasses.asdict(self).items() if k not in ("setup", "history")}
        return xxhash.xxh3_64_hexdigest(json.dumps(options, sort_keys=True).encode())


def _check_type(name: str, value: object, hint: Any) -> None:  # Any: the values of get_type_hints
    """Raise UsageError for a wrong type: TOML and JSON may give any. A whole number will do for a float."""
    choices = get_args(hint)
    if get_origin(hint) is Literal:
        right, expected = value in choices, f"one of {', '.join(choices)}"
    elif hint is float:
        right = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
        expected = "a number"
    else:
        right = type(value) in (choices or (hint,))
        expected = " or ".join(kind.__name__ for kind in choices or (hint,))
    if not right:
        raise UsageError(f"{name} is {value!r}, expected {expected}")


SETUPS: Mapping[str, Training] = MappingProxyType(
    {
        # A GPT-2 on bytes whose rows all begin at one point of the unit sphere.
        "bytes": Training(
            setup="bytes", layers=2, heads=2, dim=64, ff=256, vocabulary=128, dead=51,
            init="point", init_scale=1e-5, learning_rate=1e-3, steps=10_000,
        ),
        # Big enough for the dynamics of a real head, small enough for a CPU.
        "goldilocks": Training(
            setup="goldilocks", layers=4, heads=2, dim=128, ff=256, vocabulary=3_988, dead=1_914,
            learning_rate=3e-4, steps=2_000, record_every=10,
        ),
    }
)  # fmt: skip


def training(setup: str, options: Mapping[str, Any]) -> Training:
    """A set-up with some options changed. Raises UsageError for an unknown name or a wrong value."""
    if setup not in SETUPS:
        raise UsageError(f"no set-up {setup!r}; there are {', '.join(SETUPS)}")
    known = {field.name for field in dataclasses.fields(Training)} - {"setup"}
    if unknown := sorted(options.keys() - known):
        raise UsageError(f"unknown: {', '.join(unknown)}; a run takes {', '.join(sorted(known))}")
    return dataclasses.replace(SETUPS[setup], **options)
