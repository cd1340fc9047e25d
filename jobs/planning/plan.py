"""The records of a plan: the bytes and memory of each model, or why it is refused, before any task starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from catalog.read.measured import MeasuredRows, RowKey
from jobs.planning.memory import spectrum_bytes
from survey.checkpoints.checkpoint import Checkpoint
from survey.records.measure_definition import Measure
from survey.records.settings import SpectrumChoice
from survey.records.target import MatrixChoice, MatrixName, ModelRef, Refusal, Target
from survey.targets.explain import Explanation


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A matrix that the catalog already holds at this commit.

    unnamed: the checkpoint, if the row was made without the tokenizer measure or by another version of it.
    for_spectrum: what to read for a spectrum that the row lacks, if the run is to add it; or else
    spectrum_problem: why that is not known.
    """

    model: ModelRef
    sha: str
    matrix: MatrixName
    unnamed: Checkpoint | None = None
    for_spectrum: Target | None = None
    spectrum_problem: str | None = None

    @property
    def key(self) -> tuple[str, str, MatrixName]:
        return self.model.name, self.sha, self.matrix


@dataclass(frozen=True, slots=True)
class Explained:
    """The reasons for the choice of a model's tensors."""

    model: ModelRef
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The plan of one line of the list: two matrices, or a pattern of revisions, give several records."""

    targets: Sequence[Target] = ()
    unchanged: Sequence[Unchanged] = ()
    refusals: Sequence[Refusal] = ()
    explained: Sequence[Explained] = ()

    @classmethod
    def joined(cls, plans: Iterable[Self]) -> Self:
        """All records of several plans, in their order."""
        targets, unchanged = list[Target](), list[Unchanged]()
        refusals, explained = list[Refusal](), list[Explained]()
        for plan in plans:
            targets += plan.targets
            unchanged += plan.unchanged
            refusals += plan.refusals
            explained += plan.explained
        return cls(targets, unchanged, refusals, explained)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of every model, in the order of the list.

    aliases: other revisions of a commit that is a target already: measured once, recorded under each.
    sources: of targets whose bytes are known, the row that is copied: of the catalog, or of another target.
    """

    targets: Sequence[Target]
    unchanged: Sequence[Unchanged]
    refusals: Sequence[Refusal]
    aliases: Mapping[tuple[str, str, MatrixName], Sequence[Target]]
    explained: Sequence[Explained] = ()
    sources: Mapping[tuple[str, str, str], tuple[str, str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanCriteria:
    """What a plan goes by: the matrices, the measures that a row must have, and the rows that there are.

    explain: also say why these tensors were chosen.

    measures: those that a row must have to answer this run. measured: the catalog's rows. copies: whether the
    rows of matrices whose bytes are known are copied. spectrum: of --spectrum.
    """

    matrix: MatrixChoice
    measures: Collection[Measure]
    measured: MeasuredRows
    explain: bool = False
    copies: bool = True
    spectrum: SpectrumChoice = "off"

    def spectrum_bytes(self, target: Target) -> int:
        """The memory for a target's spectrum; 0 if it is to have none, or has one already."""
        is_there = self.spectrum == "off" or target.key in self.measured.spectra
        return 0 if is_there else spectrum_bytes(target.spec)

    def reads_for_spectrum(self, key: RowKey) -> bool:
        """Whether the matrix of a stored row must be read for its spectrum, which no other row's is."""
        return self.spectrum == "on" and not self.measured.has_spectrum(key)

    @property
    def matrices(self) -> list[MatrixName]:
        return requested_matrices(self.matrix)


def plan_of(models: Iterable[ModelPlan]) -> Plan:
    """The plan of a list; the first of several targets with the same commit and matrix is measured."""
    every = ModelPlan.joined(models)
    by_key: dict[tuple[str, str, MatrixName], list[Target]] = {}
    for target in every.targets:
        by_key.setdefault(target.key, []).append(target)
    return Plan(
        targets=[first for first, *_ in by_key.values()],
        unchanged=every.unchanged,
        refusals=every.refusals,
        aliases={key: aliases for key, (_, *aliases) in by_key.items() if aliases},
        explained=every.explained,
    )


def requested_matrices(matrix: MatrixChoice) -> list[MatrixName]:
    """The matrices of a choice; a refusal of the whole model is recorded under the first."""
    return ["output", "input"] if matrix == "both" else [matrix]
