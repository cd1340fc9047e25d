"""Proofs that a matrix is stored in the bytes of a row's, although its file is another one.

A fine-tune that kept its head has other shards, whose digests differ. The storage's chunks tell: see
`survey.targets.same_bytes`. It is tried on a model's earlier commit and on its stated base, by some ten
requests; whatever goes wrong, the matrix is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.read.measured import RowKey
from jobs.planning.sources import StoredSources
from survey.checkpoints.checkpoint import Checkpoint
from survey.errors import SurveyError
from survey.hub.throttle import Throttle
from survey.opening import open_checkpoint, open_target
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef, SameBytes, Target, Traffic
from survey.records.tensors import ChunkRun, FileRange
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate
from survey.targets.same_bytes import StoredTensor, are_same, is_provable, may_be_same


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """The target of a stored row, and the chunks of its matrix."""

    target: Target
    chunks: tuple[ChunkRun, ...]


class Prover:
    """Proves targets to be of the bytes of stored rows; called by several threads."""

    def __init__(self, stored: StoredSources, settings: Settings, throttle: Throttle) -> None:
        self._stored, self._settings, self._throttle = stored, settings, throttle
        # A base is opened once for all of its fine-tunes; two threads may open it at the same time.
        self._opened: dict[RowKey, StoredTarget | None] = {}

    def same_as(self, target: Target, checkpoint: Checkpoint) -> tuple[SameBytes | None, Traffic]:
        """The row of whose bytes a target is, if that can be proved; and traffic beside its checkpoint's."""
        spent = Traffic()
        if target.folder is None and is_provable(target) and self._stored.row_for(target) is None:
            for key in self._stored.relatives_of(target):
                if key not in self._opened:
                    self._opened[key], traffic = self._open(key)
                    spent += traffic
                if (stored := self._opened[key]) is not None and may_be_same(target, stored.target):
                    is_same, traffic = self._is_same(target, checkpoint, stored)
                    spent += traffic
                    if is_same:
                        return SameBytes(key, str(stored.target.content_key)), spent
        return None, spent

    def _open(self, key: RowKey) -> tuple[StoredTarget | None, Traffic]:
        """A row's target, located anew; None if it is not, or no longer, the row's."""
        name, sha, matrix = key
        repo, _, part = name.partition(":")
        model = ModelRef(repo, sha, part=part or None)
        matrix_name: MatrixName = "input" if matrix == "input" else "output"
        checkpoint: Checkpoint | None = None
        try:
            checkpoint = open_checkpoint(model, self._settings, self._throttle)
            target = locate(lay_out(checkpoint), matrix_name)
            chunks: tuple[ChunkRun, ...] = ()
            if target.content_key == self._stored.content_of(key) and target.key == key:
                chunks = checkpoint.chunks(FileRange(target.spec.file, target.spec.bytes))
            return StoredTarget(target, chunks) if chunks else None, checkpoint.traffic
        except SurveyError:
            return None, Traffic() if checkpoint is None else checkpoint.traffic

    def _is_same(self, target: Target, checkpoint: Checkpoint, stored: StoredTarget) -> tuple[bool, Traffic]:
        other = open_target(stored.target, self._settings, self._throttle).checkpoint
        try:
            chunks = checkpoint.chunks(FileRange(target.spec.file, target.spec.bytes))
            one = StoredTensor(checkpoint, target.spec, chunks)
            return are_same(one, StoredTensor(other, stored.target.spec, stored.chunks)), other.traffic
        except SurveyError:
            return False, other.traffic
