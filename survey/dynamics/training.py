"""Train a small language model and record how its vocabulary matrix moves, streamed to disk.

A run can be killed at any moment: run again with the same options it goes on from its last saved
state, and on a CPU the history comes out bit for bit as if it had never stopped. Each step draws its
batch from the seed and the step's number alone, and what is written after the saved state is
written again.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor

from survey.dynamics.config import Training
from survey.dynamics.corpus import Corpus, corpus_of
from survey.dynamics.language_model import LanguageModel
from survey.dynamics.scalars import SCALARS, observe
from survey.errors import UsageError
from survey.formats.safetensors_file import UNFINISHED, FileLayout, TensorWriter
from survey.process.whole_file import open_to_resume
from survey.records.units import bytes_text

SAVE_EVERY_S = 20.0
_STATE = "survey training state, 1"


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run. resumed_at: the step it went on from, or 0. train_s: seconds of training, in all."""

    path: Path
    resumed_at: int
    train_s: float


def recorded_steps(wanted: Training) -> Sequence[int]:
    """Step 1, where the reference behaviour is told, and every `record_every`-th one."""
    regular = range(wanted.record_every, wanted.steps + 1, wanted.record_every)
    return regular if wanted.record_every == 1 else (1, *regular)


def history_bytes(wanted: Training) -> int:
    """The size of the history, headers aside."""
    matrix = 4 * wanted.vocabulary * wanted.dim if wanted.history else 0
    count = wanted.steps // wanted.record_every + (wanted.record_every > 1)
    return (2 * matrix + 4 * len(SCALARS)) * count + matrix


def train_model(
    wanted: Training,
    path: Path,
    *,
    threads: int | None = None,
    save_every_s: float = SAVE_EVERY_S,
    on_start: Callable[[int], None] = lambda step: None,
    on_step: Callable[[], None] = lambda: None,
) -> Trained:
    """Train and write the history to `path`.

    recorded_steps [N], dead_token_ids, live_token_ids (I64), scalars [N, M] (F32, named in the
    metadata) and, unless declined, grads and deltas [N, V, D] and initial_W [V, D] (F32): grads of
    the step, deltas since the record before, so that their sum is the way from initial_W. threads: of this
    process from now on; the same bits need the same number. on_start is
    told of the step that is gone on from. Raises UsageError where the options, the corpus or the disk
    do not allow it, or the loss is no longer finite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    _check_room(wanted, path)
    corpus = corpus_of(wanted)
    steps = recorded_steps(wanted)
    metadata = {"scalars": ",".join(SCALARS), "training": wanted.as_json(), "corpus": corpus.digest}
    with TensorWriter(path, _layout(wanted, corpus, len(steps)), metadata, keep=True) as writer:
        run = _Run(wanted, corpus, path)
        if writer.resumed:
            run.restore()
        if run.step == 0:
            _write_start(writer, wanted, corpus, steps, run.model.W)
        resumed_at = run.step
        on_start(resumed_at)
        places = {step: place for place, step in enumerate(steps)}
        saved = started = time.monotonic()
        before_s = run.train_s
        while run.step < wanted.steps:
            record = run.advance(observed=run.step + 1 in places)
            if record is not None:
                _write_record(writer, record, places[run.step], history=wanted.history)
            run.train_s = before_s + time.monotonic() - started
            if time.monotonic() - saved > save_every_s:
                writer.sync()  # first: a state never knows of records that a power cut could take
                run.save()
                saved = time.monotonic()
            on_step()
    run.forget()
    return Trained(path, resumed_at, run.train_s)


@dataclass(frozen=True, slots=True)
class _Record:
    scalars: list[float]
    gradient: Tensor
    delta: Tensor


class _Run:
    """Model, optimiser and the step they are at."""

    def __init__(self, wanted: Training, corpus: Corpus, path: Path) -> None:
        self._wanted, self._state_path = wanted, path.with_name(f".{path.name}.state")
        self._tokens = torch.from_numpy(corpus.tokens)
        self._dead, self._live = torch.from_numpy(corpus.dead), torch.from_numpy(corpus.live)
        self.model = LanguageModel(wanted)
        if wanted.precision == "bf16-pure":
            self.model.to(torch.bfloat16)  # before the optimiser: its state becomes bfloat16, too
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=wanted.learning_rate, weight_decay=wanted.weight_decay
        )
        self._before = self.model.W.detach().float().clone()
        self.step, self.train_s = 0, 0.0

    def advance(self, *, observed: bool) -> _Record | None:
        """One step of training; what there is to record of it, if it is observed."""
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
        matrix = self.model.W.detach().float()
        assert self.model.W.grad is not None
        gradient = self.model.W.grad.detach().float()
        mean = hidden.detach().float().mean(dim=(0, 1))
        scalars = observe(value, gradient, mean, matrix, self._dead, self._live)
        delta, self._before = matrix - self._before, matrix.clone()
        return _Record(scalars, gradient, delta)

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._wanted.precision != "bf16-mixed":
            return nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [B, T], by the seed and the step alone."""
        source = np.random.default_rng((self._wanted.seed, step))
        starts = source.integers(0, len(self._tokens) - self._wanted.context, size=self._wanted.batch)
        windows = torch.from_numpy(starts)[:, None] + torch.arange(self._wanted.context + 1)
        tokens = self._tokens[windows]
        return tokens[:, :-1], tokens[:, 1:]

    # ------------------------------------------------------------------------ kill and resume

    def save(self) -> None:
        """Write the state beside its name, then rename it. Raises UsageError."""
        stored = io.BytesIO()
        torch.save(self._state(), stored)
        beside = self._state_path.with_name(f"{self._state_path.name}.tmp")  # one, however often it is killed
        try:
            with os.fdopen(open_to_resume(beside), "wb") as opened:
                opened.truncate()
                opened.write(stored.getbuffer())
                opened.flush()
                os.fsync(opened.fileno())
            beside.replace(self._state_path)
        except OSError as error:
            raise UsageError(f"{self._state_path}: cannot be written: {error.strerror}") from error

    def restore(self) -> None:
        """Go on from the saved state, if there is one of these options; else from the start."""
        if not self._state_path.exists():
            return
        try:
            state = torch.load(self._state_path, weights_only=True)  # tensors and plain values, no code
            if state["kind"] != _STATE or state["training"] != self._wanted.as_json():
                return
            self.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
        except Exception as error:
            raise UsageError(f"{self._state_path}: cannot be resumed from ({error}); delete it") from error
        self._before, self.step, self.train_s = state["before"], state["step"], state["train_s"]

    def forget(self) -> None:
        """The run is finished: its state is of no more use."""
        self._state_path.unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        return {
            "kind": _STATE,
            "training": self._wanted.as_json(),
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "before": self._before,
            "step": self.step,
            "train_s": self.train_s,
        }


def _layout(wanted: Training, corpus: Corpus, count: int) -> FileLayout:
    matrix = (wanted.vocabulary, wanted.dim)
    rows: FileLayout = {
        "grads": ("F32", (count, *matrix)),
        "deltas": ("F32", (count, *matrix)),
        "initial_W": ("F32", matrix),
    }
    return {
        "recorded_steps": ("I64", (count,)),
        "dead_token_ids": ("I64", (len(corpus.dead),)),
        "live_token_ids": ("I64", (len(corpus.live),)),
        "scalars": ("F32", (count, len(SCALARS))),
        **(rows if wanted.history else {}),
    }


def _write_start(
    writer: TensorWriter, wanted: Training, corpus: Corpus, steps: Sequence[int], matrix: Tensor
) -> None:
    writer.put("recorded_steps", np.array(steps))
    writer.put("dead_token_ids", corpus.dead)
    writer.put("live_token_ids", corpus.live)
    if wanted.history:
        writer.put("initial_W", matrix.detach().float().numpy())


def _write_record(writer: TensorWriter, record: _Record, place: int, *, history: bool) -> None:
    writer.put("scalars", np.array([record.scalars]), place)
    if history:
        writer.put("grads", record.gradient.numpy()[None], place)
        writer.put("deltas", record.delta.numpy()[None], place)


def _check_room(wanted: Training, path: Path) -> None:
    """Before hours of training, not after them."""
    wants = history_bytes(wanted)
    try:
        disk = os.statvfs(path.parent)
        partial = path.with_name(f".{path.name}{UNFINISHED}")
        has = disk.f_bavail * disk.f_frsize + (partial.stat().st_blocks * 512 if partial.exists() else 0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    if wants > has:
        raise UsageError(
            f"{path}: the history needs {bytes_text(wants)}, {bytes_text(has)} are free; "
            "record fewer steps (--record-every) or only the figures (--no-history)"
        )
