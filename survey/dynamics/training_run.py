"""A training run that is under way: model, optimiser and step, which can be saved and resumed."""

from __future__ import annotations

import io
import math
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor

from survey.dynamics.config import Training
from survey.dynamics.corpus import Corpus
from survey.dynamics.language_model import LanguageModel
from survey.dynamics.scalars import observe
from survey.errors import UsageError
from survey.process.atomic_write import finish_resumed, open_to_resume
from survey.process.bounded_file import open_regular

_STATE = "survey training state, 1"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The record of one step. scalars: [M]; gradient, delta: [V, D] each."""

    scalars: list[float]
    gradient: Tensor
    delta: Tensor


class TrainingRun:
    """Model, optimiser and their current step."""

    def __init__(self, config: Training, corpus: Corpus, path: Path, device: str = "cpu") -> None:
        self._config, self._state_path = config, path.with_name(f".{path.name}.state")
        self._device = torch.device(device)
        self._tokens = torch.from_numpy(corpus.tokens)
        self._dead, self._live = torch.from_numpy(corpus.dead), torch.from_numpy(corpus.live)
        self.model = LanguageModel(config).to(self._device)  # drawn on the CPU: the same weights everywhere
        if config.precision == "bf16-pure":
            self.model.to(torch.bfloat16)  # before the optimiser: its state becomes bfloat16, too
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._before = self._matrix()
        self.step, self.train_s = 0, 0.0

    def advance(self, *, observed: bool) -> StepRecord | None:
        """Train one step; return its record if it is observed. Raises UsageError if the loss diverges."""
        inputs, targets = self._batch(self.step + 1)
        self._optimiser.zero_grad(set_to_none=True)
        with self._arithmetic():
            hidden = self.model.hidden(inputs)
            logits = F.linear(hidden, self.model.W)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        if not math.isfinite(value):
            raise UsageError(f"the loss is {value} at step {self.step + 1}: lower the learning rate")
        self._optimiser.step()
        self.step += 1
        if not observed:
            return None
        matrix = self._matrix()
        assert self.model.W.grad is not None
        gradient = self.model.W.grad.detach().float().cpu()
        mean = hidden.detach().float().mean(dim=(0, 1)).cpu()
        scalars = observe(value, gradient, mean, matrix, self._dead, self._live)
        delta, self._before = matrix - self._before, matrix
        return StepRecord(scalars, gradient, delta)

    def _matrix(self) -> Tensor:
        """A copy of W in float32 on the CPU, where records are made, [V, D]."""
        return self.model.W.detach().float().cpu().clone()

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._config.precision != "bf16-mixed":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=torch.bfloat16)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, [B, T] each, by the seed and the step alone."""
        source = np.random.default_rng((self._config.seed, step))
        starts = source.integers(0, len(self._tokens) - self._config.context, size=self._config.batch)
        windows = torch.from_numpy(starts)[:, None] + torch.arange(self._config.context + 1)
        tokens = self._tokens[windows].to(self._device)
        return tokens[:, :-1], tokens[:, 1:]

    # ------------------------------------------------------------------------ kill and resume

    def save(self) -> None:
        """Write the state, whole or not at all. Raises UsageError."""
        stored = io.BytesIO()
        torch.save(self._state(), stored)
        beside = self._state_path.with_name(f"{self._state_path.name}.tmp")  # one, however often it is killed
        try:
            with os.fdopen(open_to_resume(beside), "wb") as opened:
                opened.truncate()
                opened.write(stored.getbuffer())
                opened.flush()
                finish_resumed(opened.fileno(), beside, self._state_path)
        except OSError as error:
            raise UsageError(f"{self._state_path}: cannot be written: {error.strerror}") from error

    def restore(self) -> None:
        """Resume from the saved state, if there is one of these options; else start anew.

        Raises UsageError if the state cannot be read.
        """
        if not os.path.lexists(self._state_path):
            return
        try:
            with open_regular(self._state_path) as opened:
                # Tensors and plain values, no code.
                state = torch.load(opened, weights_only=True, map_location="cpu")
            if state["kind"] != _STATE or state["training"] != self._config.as_json():
                return
            self.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._before.copy_(state["before"])
            self.step, self.train_s = self._checked_step(state["step"]), float(state["train_s"])
        except Exception as error:
            problem = " ".join(str(error).split())[:200] or type(error).__name__
            raise UsageError(f"{self._state_path}: cannot be resumed from ({problem}); delete it") from error

    def _checked_step(self, step: object) -> int:
        if type(step) is not int or not 0 <= step <= self._config.steps:
            raise ValueError(f"its step is {step!r}")
        return step

    def forget(self) -> None:
        """Remove the saved state of a finished run."""
        self._state_path.unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        return {
            "kind": _STATE,
            "training": self._config.as_json(),
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "before": self._before,
            "step": self.step,
            "train_s": self.train_s,
        }
