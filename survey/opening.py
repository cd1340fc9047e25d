"""Open a model's matrix: its checkpoint in a folder or on the Hub, and its rows as a stream of blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from survey.checkpoints.checkpoint import Card, Checkpoint
from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.errors import BrokenFile
from survey.hub.throttle import Throttle
from survey.numerics.row_formats import RowFormat, row_format_of
from survey.numerics.scale import Scale, scale_of
from survey.onepass.geometry import row_blocks
from survey.records.blocks import Block
from survey.records.settings import Settings
from survey.records.target import FileVersion, Identity, MatrixName, ModelRef, Target
from survey.sharding.pieces import stream_rows
from survey.targets.content_key import stated_contents
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


@dataclass
class Clock:
    """Seconds spent waiting for bytes; the rest of a pass is arithmetic and hashing."""

    waited_s: float = field(default=0.0)

    def over(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks; the time until each arrives is added to `waited_s`."""
        source = iter(blocks)
        while True:
            start = time.perf_counter()
            block = next(source, None)
            self.waited_s += time.perf_counter() - start
            if block is None:
                return
            yield block


def begun(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same blocks; the first is asked for at once, in a thread, whose error the consumer gets."""
    first: Future[Block | None] = Future()

    def fetch() -> None:
        try:
            first.set_result(next(blocks, None))
        except BaseException as error:  # noqa: BLE001 - raised where the block is wanted
            first.set_exception(error)

    # A daemon: a stalled read must not delay the end of the process.
    threading.Thread(target=fetch, name="first block", daemon=True).start()

    def rest() -> Iterator[Block]:
        block = first.result()
        while block is not None:
            yield block
            block = next(blocks, None)

    return rest()


OnProgress = Callable[[int], None]

AT_REST = "run again when nothing writes into it"


class Matrix:
    """A [V, D] matrix of a checkpoint, read as row-aligned blocks, in order.

    `clock.waited_s` is the time that reading has waited so far.
    """

    def __init__(self, target: Target, checkpoint: Checkpoint) -> None:
        self.target = target
        self.clock = Clock()
        self.checkpoint = checkpoint
        self._begun: Iterator[Block] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(V, D)."""
        rows, dims = self.target.spec.shape
        return rows, dims

    @property
    def row_format(self) -> RowFormat:
        """How its rows are stored. Raises BrokenFile (`unsupported-dtype`)."""
        return row_format_of(self.dtype, self.target.identity.repo)

    @property
    def dtype(self) -> str:
        """The code of the stored dtype."""
        return self.target.spec.dtype

    def scale(self) -> Scale | None:
        """The scale that multiplies the stored values, read from the files; None if there is none."""
        spec = self.target.scale
        if spec is None:
            return None
        if spec.tensor.pieces:  # in the files of the matrix's own parts
            blocks = stream_rows(self.checkpoint, spec.tensor, [spec.tensor.bytes])
            return scale_of(spec, b"".join(bytes(block) for block in blocks))
        return scale_of(spec, self.checkpoint.read_range(spec.tensor.file, spec.tensor.bytes))

    def blocks(self, on_progress: OnProgress = lambda count: None) -> Iterator[Block]:
        """The stored bytes in order. on_progress(count): called as bytes arrive.

        Raises BrokenFile after the last block if a folder changed: its rows may be those of two checkpoints.
        """
        source, self._begun = self._begun or self._unchanged_blocks(on_progress), None
        return self.clock.over(source)

    def fetch_ahead(self, on_progress: OnProgress) -> None:
        """Begin to fetch what the next call of `blocks` yields: its first block, and those beside it.

        on_progress: takes the place of that call's own.
        """
        self._begun = begun(self._unchanged_blocks(on_progress))

    def _unchanged_blocks(self, on_progress: OnProgress) -> Iterator[Block]:
        target = self.target
        yield from stream_rows(self.checkpoint, target.spec, row_blocks(target.spec), on_progress)
        if target.folder is not None:
            _unchanged_folder(target, target.folder, "while it was measured")

    def __enter__(self) -> Matrix:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between blocks; connections belong to the process-wide pool."""


def open_checkpoint(model: ModelRef, settings: Settings, throttle: Throttle | None = None) -> Checkpoint:
    """A Hub repository at a commit (one request), or a folder of this machine. Raises SurveyError."""
    if model.folder is not None:
        return FolderCheckpoint(model.folder, model.part, settings.timeout_s)
    # Here: huggingface_hub takes a while to load, and a folder does not need it.
    from survey.hub.repositories import resolve

    return resolve(model.repo, model.revision, settings, throttle, model.part)


def reopen(checkpoint: Checkpoint, settings: Settings, throttle: Throttle | None = None) -> Checkpoint:
    """The same commit with a new deadline, without a request."""
    if checkpoint.folder is not None:
        return checkpoint
    return _hub_checkpoint(
        checkpoint,
        checkpoint.files,
        settings,
        throttle,
        card=checkpoint.card,
        part=checkpoint.part,
        versions=checkpoint.versions,
        contents=stated_contents(checkpoint, tokenizer_files(checkpoint.files, checkpoint.part)),
    )


def open_target(
    target: Target, settings: Settings, throttle: Throttle | None = None, limit_s: float | None = None
) -> Matrix:
    """Open a planned matrix without a request; it must be read within `limit_s` seconds.

    Raises BrokenFile if a folder has changed since it was planned.
    """
    identity = target.identity
    if target.folder is None:
        files = dict((*target.files, *target.tokenizer_files))
        if target.scale is not None and not target.scale.tensor.pieces:
            files[target.scale.tensor.file] = target.scale.file_bytes
        commit = _hub_checkpoint(
            identity,
            files,
            settings,
            throttle,
            limit_s,
            part=target.part,
            versions=target.versions,
            contents=target.tokenizer_contents,
        )
        return Matrix(target, commit)
    return Matrix(target, _unchanged_folder(target, target.folder, "after it was planned"))


def _unchanged_folder(target: Target, folder: Path, since: str) -> FolderCheckpoint:
    """The folder of a planned matrix, as it was planned. Raises BrokenFile if it changed."""
    checkpoint = FolderCheckpoint(folder, target.part)
    if checkpoint.sha != target.identity.sha:
        raise BrokenFile("bad-header", target.identity.repo, f"the folder changed {since}", AT_REST)
    return checkpoint


def _hub_checkpoint(
    commit: Checkpoint | Identity,
    files: Mapping[str, int],
    settings: Settings,
    throttle: Throttle | None,
    limit_s: float | None = None,
    *,
    card: Card | None = None,
    part: str | None,
    versions: tuple[FileVersion, ...] = (),
    contents: tuple[tuple[str, str], ...],
) -> Checkpoint:
    """A commit of the Hub whose files are known, without a request. contents: content ids by name."""
    from survey.hub.checkpoint import HubCheckpoint  # here: huggingface_hub takes a while to load
    from survey.hub.request_policy import RequestPolicy

    return HubCheckpoint(
        commit.repo.removesuffix(f":{part}") if part else commit.repo,
        commit.revision,
        commit.sha,
        files,
        settings,
        RequestPolicy(settings, throttle, limit_s),
        card,
        part,
        versions,
        content_ids=dict(contents),
    )


def open_model(model: ModelRef, matrix: MatrixName, settings: Settings) -> Matrix:
    """Find one matrix of a model and open it. Raises SurveyError."""
    checkpoint = open_checkpoint(model, settings)
    return Matrix(locate(lay_out(checkpoint), matrix), checkpoint)
