"""Plan one line of the list: open its repository or folder and choose its tensors, or refuse it."""

from __future__ import annotations

import re
import time
import traceback
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from jobs.planning.known_commits import CurrentCommit, KnownCommits
from jobs.planning.memory import task_memory_bytes
from jobs.planning.plan import Explained, ModelPlan, PlanCriteria, Unchanged
from jobs.planning.proofs import Prover
from jobs.planning.spectra import with_spectra
from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.errors import NoHub, NotOffered, NotThere, SurveyError
from survey.hub.throttle import Throttle
from survey.opening import open_checkpoint
from survey.process.redaction import redacted
from survey.records.measure_definition import TOKENIZER
from survey.records.settings import Settings
from survey.records.target import MatrixChoice, MatrixName, ModelRef, Refusal, Target, Traffic
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.targets.content_key import stated_contents, tokenizer_key
from survey.targets.explain import explain
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

# Branches and tags that a pattern may stand for. A training run publishes some hundreds; each is a record of
# the plan, and a repository can name hundreds of thousands.
MAX_MATCHES = 10_000


@dataclass(frozen=True, slots=True)
class ModelPlanner:
    """Plans one model; called by several threads."""

    criteria: PlanCriteria
    settings: Settings
    throttle: Throttle
    known_commits: KnownCommits
    has_folders: bool  # on the list
    prover: Prover

    def plan(self, model: ModelRef) -> ModelPlan:
        """The plan of one line of the list, its refusals with the time that they took. Raises NoHub."""
        started = time.monotonic()
        try:
            is_pattern = model.revision is not None and "*" in model.revision
            plan = self._plan_pattern(model) if is_pattern else self._plan_revision(model)
        except NoHub as error:
            if not self.has_folders:
                raise  # no model of the list can be measured: one message, not one for each model
            plan = self._refused(model, error.reason, str(error))
        elapsed_s = time.monotonic() - started
        return replace(plan, refusals=[replace(refusal, elapsed_s=elapsed_s) for refusal in plan.refusals])

    def _plan_pattern(self, model: ModelRef) -> ModelPlan:
        """A revision with a `*` stands for every branch and tag that matches."""
        from survey.hub.repositories import refs  # here: a list of folders needs no Hub client

        pattern = str(model.revision)
        model = replace(model, pattern=pattern)
        try:
            shas = refs(model.repo, self.settings, self.throttle)
            names = [name for name in shas if fnmatchcase(name, pattern)]
            if not names:
                raise NotOffered("revision-not-found", str(model), "no branch or tag matches")
            if len(names) > MAX_MATCHES:
                problem = f"{len(names):,} branches and tags match, expected at most {MAX_MATCHES:,}"
                raise NotOffered("revision-not-found", str(model), problem, "write a narrower pattern")
        except NoHub:
            raise
        except SurveyError as error:
            return self._refused(model, error.reason, str(error))
        # The one answer names the commits of all of them.
        return ModelPlan.joined(
            self._plan_revision(replace(model, revision=name), CurrentCommit(model.name, shas[name]))
            for name in names
        )

    def _plan_revision(self, model: ModelRef, commit: CurrentCommit | None = None) -> ModelPlan:
        """The plan of one revision; every failure but NoHub is a refusal. commit: if it is known already."""
        checkpoint: Checkpoint | None = None
        try:
            if model.problem is not None:
                raise NotThere("not-a-model", model.origin, *_split_remedy(model.problem))
            commit = commit or self.known_commits.of(model)
            if commit is not None and (unchanged := self._unchanged_at(model, commit)):
                return ModelPlan(unchanged=unchanged)
            checkpoint = open_checkpoint(model, self.settings, self.throttle)
            return self._plan_checkpoint(model, checkpoint)
        except NoHub:
            raise
        except SurveyError as error:
            reason, message = error.reason, str(error)
        except MemoryError as error:
            reason = "out-of-memory"
            message = f"{model}: planning it takes more memory than there is: {error}"
        except Exception:  # noqa: BLE001 - a defect of this program: it is recorded, and the others go on
            reason, message = "internal", redacted(traceback.format_exc(limit=-3), self.settings.token)
        return self._refused(model, reason, message, checkpoint)

    def _unchanged_at(self, model: ModelRef, commit: CurrentCommit) -> list[Unchanged]:
        """The matrices that the catalog holds at a commit, if they answer the run; else none."""
        criteria = self.criteria
        if criteria.explain:
            return []
        matrices = self._measured(commit.repo, commit.sha, criteria.matrix) or []
        if any(self._lacks_names(commit.repo, commit.sha, matrix) for matrix in matrices):
            return []  # its tokenizer must be read
        if any(criteria.reads_for_spectrum((commit.repo, commit.sha, matrix)) for matrix in matrices):
            return []
        renamed = replace(model, repo=commit.repo, part=None)
        return [Unchanged(renamed, commit.sha, matrix) for matrix in matrices]

    def _plan_checkpoint(self, model: ModelRef, checkpoint: Checkpoint) -> ModelPlan:
        """Plan each matrix by itself: one may be measured already, or be refused, and the other not."""
        criteria = self.criteria
        measured = self._measured(checkpoint.repo, checkpoint.sha, criteria.matrix)
        if measured is not None and not criteria.explain:
            unchanged = [self._unchanged(model, checkpoint, matrix) for matrix in measured]
            return ModelPlan(unchanged=with_spectra(unchanged, model, checkpoint, criteria, self.settings))
        layout = lay_out(checkpoint)
        plans = []
        if criteria.explain:
            plans.append(ModelPlan(explained=[Explained(model, explain(layout))]))
        booked = Traffic()  # planning is counted once: on the first matrix; the second counts what it adds
        for matrix in criteria.matrices:
            if self._measured(checkpoint.repo, checkpoint.sha, matrix):
                unchanged = [self._unchanged(model, checkpoint, matrix)]
                plans.append(
                    ModelPlan(unchanged=with_spectra(unchanged, model, checkpoint, criteria, self.settings))
                )
                continue
            plan = self._plan_matrix(model, checkpoint, layout, matrix, booked)
            plans.append(plan)
            booked = checkpoint.traffic
            if any(target.identity.tied for target in plan.targets):
                break  # both matrices are one
        return ModelPlan.joined(plans)

    def _plan_matrix(
        self,
        model: ModelRef,
        checkpoint: Checkpoint,
        layout: CheckpointLayout,
        matrix: MatrixName,
        booked: Traffic,
    ) -> ModelPlan:
        """A target, or why there is none. booked: traffic of the checkpoint that other records count."""
        try:
            self.criteria.measured.refuse_unreadable((checkpoint.repo, checkpoint.sha, matrix))
            target = locate(layout, matrix)
        except SurveyError as error:
            cost = (checkpoint.traffic - booked).bytes
            return ModelPlan(
                refusals=[Refusal(model, matrix, error.reason, str(error), checkpoint.sha, cost)]
            )
        return ModelPlan(targets=[self._completed(target, model, checkpoint, booked)])

    def _completed(self, target: Target, model: ModelRef, checkpoint: Checkpoint, booked: Traffic) -> Target:
        """A located target with its line of the list, its tokenizer's files, and the memory of its task."""
        names = tokenizer_files(checkpoint.files, checkpoint.part)
        completed = replace(
            target,
            pattern=model.pattern,
            listed_in=model.listed_in,
            tokenizer_files=tuple(names.items()),
            tokenizer_key=tokenizer_key(checkpoint, names),
            tokenizer_contents=stated_contents(checkpoint, names),
        )
        same_as, elsewhere = self.prover.same_as(completed, checkpoint)
        return replace(
            completed,
            memory_bytes=task_memory_bytes(completed, self.settings),
            spectrum_bytes=self.criteria.spectrum_bytes(completed),
            planning=checkpoint.traffic - booked + elsewhere,
            same_as=same_as,
        )

    def _unchanged(self, model: ModelRef, checkpoint: Checkpoint, matrix: MatrixName) -> Unchanged:
        lacks_names = self._lacks_names(checkpoint.repo, checkpoint.sha, matrix)
        renamed = replace(model, repo=checkpoint.repo, part=None)  # the repository's current name
        return Unchanged(renamed, checkpoint.sha, matrix, checkpoint if lacks_names else None)

    def _measured(self, repo: str, sha: str, matrix: MatrixChoice) -> list[MatrixName] | None:
        """The matrices that the catalog holds at a commit with all that the run needs; None if one lacks."""
        return self.criteria.measured.matrices(repo, sha, matrix, self.criteria.measures)

    def _lacks_names(self, repo: str, sha: str, matrix: MatrixName) -> bool:
        """Whether a stored row lacks the tokenizer measure of this version."""
        return self.criteria.measured.lacks((repo, sha, matrix), [TOKENIZER])

    def _refused(
        self, model: ModelRef, reason: str, message: str, checkpoint: Checkpoint | None = None
    ) -> ModelPlan:
        """The refusal of a whole model, recorded once, under the first matrix of the request."""
        sha, fetched_bytes = (checkpoint.sha, checkpoint.traffic.bytes) if checkpoint else (None, 0)
        first = self.criteria.matrices[0]
        return ModelPlan(refusals=[Refusal(model, first, reason, message, sha, fetched_bytes)])


def _split_remedy(problem: str) -> tuple[str, str]:
    """The problem of a line, and what to write instead; the latter is empty if nothing is said."""
    # Text of the line itself is in quotes, and may hold a semicolon.
    parts = re.fullmatch(r"(.*); ([^'\"]*)", problem, re.DOTALL)
    return (parts[1], parts[2]) if parts else (problem, "")
