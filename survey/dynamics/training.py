"""Train a small language model and record how its vocabulary matrix moves, streamed to disk.

A run can be killed at any moment. Run again with the same options, it resumes from its last saved state,
and on a CPU the history is bit for bit that of a run that never stopped: each step draws its batch from the
seed and the step's number alone, and records after the saved state are written again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from survey.dynamics.config import Training
from survey.dynamics.corpus import Corpus, corpus_of
from survey.dynamics.scalars import SCALARS
from survey.dynamics.training_run import StepRecord, TrainingRun
from survey.errors import UsageError
from survey.formats.safetensors_file import UNFINISHED, FileLayout, TensorWriter
from survey.records.units import bytes_text

SAVE_EVERY_S = 20.0


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run. resumed_at: the step it resumed from, or 0. train_s: seconds of training, all tries."""

    path: Path
    resumed_at: int
    train_s: float


def recorded_steps(config: Training) -> Sequence[int]:
    """Step 1, at which the reference behaviour is reported, and every `record_every`-th step."""
    regular = range(config.record_every, config.steps + 1, config.record_every)
    return regular if config.record_every == 1 else (1, *regular)


def history_bytes(config: Training) -> int:
    """The size of the history without its header, in bytes."""
    matrix = 4 * config.vocabulary * config.dim if config.history else 0
    count = config.steps // config.record_every + (config.record_every > 1)
    return (2 * matrix + 4 * len(SCALARS)) * count + matrix


def train_model(
    config: Training,
    path: Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    save_every_s: float = SAVE_EVERY_S,
    on_start: Callable[[int], None] = lambda step: None,
    on_step: Callable[[], None] = lambda: None,
) -> Trained:
    """Train a model and write its history to `path`.

    The history: recorded_steps [N], dead_token_ids, live_token_ids (I64), scalars [N, M] (F32, named in the
    metadata) and, unless declined, grads and deltas [N, V, D] and initial_W [V, D] (F32). grads are of the
    step, deltas the moves since the record before, so that initial_W plus all deltas is the last matrix.
    threads: of this process from now on; the same bits need the same number. device: a name of torch's; from
    `device_of_training`. on_start(step): called once with
    the step that training resumes from. Raises UsageError if the options, the corpus or the disk do not allow
    the run, or the loss is no longer finite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    _check_disk(config, path)
    corpus = corpus_of(config)
    steps = recorded_steps(config)
    metadata = {"scalars": ",".join(SCALARS), "training": config.as_json(), "corpus": corpus.digest}
    with TensorWriter(path, _layout(config, corpus, len(steps)), metadata, keep=True) as writer:
        run = TrainingRun(config, corpus, path, device)
        if writer.resumed:
            run.restore()
        if run.step == 0:
            _write_start(writer, config, corpus, steps, run.model.W)
        resumed_at = run.step
        on_start(resumed_at)
        _train(run, writer, config, steps, save_every_s, on_step)
    run.forget()
    return Trained(path, resumed_at, run.train_s)


def _train(
    run: TrainingRun,
    writer: TensorWriter,
    config: Training,
    steps: Sequence[int],
    save_every_s: float,
    on_step: Callable[[], None],
) -> None:
    """Train to the last step: write a record at each of `steps`, and save the state now and then."""
    index_of_step = {step: index for index, step in enumerate(steps)}
    saved = started = time.monotonic()
    before_s = run.train_s
    while run.step < config.steps:
        record = run.advance(observed=run.step + 1 in index_of_step)
        if record is not None:
            _write_record(writer, record, index_of_step[run.step], history=config.history)
        run.train_s = before_s + time.monotonic() - started
        if time.monotonic() - saved > save_every_s:
            writer.sync()  # first: a saved state never refers to records that a power cut could lose
            run.save()
            saved = time.monotonic()
        on_step()


def _layout(config: Training, corpus: Corpus, count: int) -> FileLayout:
    matrix = (config.vocabulary, config.dim)
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
        **(rows if config.history else {}),
    }


def _write_start(
    writer: TensorWriter, config: Training, corpus: Corpus, steps: Sequence[int], matrix: Tensor
) -> None:
    writer.put("recorded_steps", np.array(steps))
    writer.put("dead_token_ids", corpus.dead)
    writer.put("live_token_ids", corpus.live)
    if config.history:
        writer.put("initial_W", matrix.detach().float().cpu().numpy())


def _write_record(writer: TensorWriter, record: StepRecord, index: int, *, history: bool) -> None:
    writer.put("scalars", np.array([record.scalars]), index)
    if history:
        writer.put("grads", record.gradient.numpy()[None], index)
        writer.put("deltas", record.delta.numpy()[None], index)


def _check_disk(config: Training, path: Path) -> None:
    """Raise UsageError if the history does not fit the disk: before hours of training, not after them."""
    required = history_bytes(config)
    try:
        disk = os.statvfs(path.parent)
        partial = path.with_name(f".{path.name}{UNFINISHED}")
        free = disk.f_bavail * disk.f_frsize + (partial.stat().st_blocks * 512 if partial.exists() else 0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    if required > free:
        raise UsageError(
            f"{path}: the history needs {bytes_text(required)}, {bytes_text(free)} are free; "
            "record fewer steps (--record-every) or only the figures (--no-history)"
        )
