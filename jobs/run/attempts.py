"""The record of what a run did about one model: one row of the view `attempts`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime
from sys import intern

from jobs.planning.plan import Unchanged
from jobs.tasks.outcome import Failed, Outcome
from survey.records.catalog_rows import Attempt
from survey.records.target import MatrixName, ModelRef, Refusal, Target


@dataclass(frozen=True, slots=True)
class AttemptStamp:
    """The run of an attempt, and the time of its end (UTC)."""

    run_id: str
    finished_at: datetime


def attempt_of_task(outcome: Outcome, tries: int, stamp: AttemptStamp) -> Attempt:
    """The attempt of a target that was given to a task."""
    target, identity = outcome.target, outcome.target.identity
    reason, message = (outcome.reason, outcome.message) if isinstance(outcome, Failed) else (None, None)
    return Attempt(
        run_id=stamp.run_id,
        repo=identity.repo,
        revision=identity.revision,
        pattern=target.pattern,
        listed_in=target.listed_in,
        sha=identity.sha,
        matrix=identity.matrix,
        status="measured" if reason is None else "failed",
        reason=reason,
        message=message,
        tries=tries,
        fetched_bytes=outcome.fetched_bytes,
        elapsed_s=outcome.elapsed_s,
        host=outcome.host,
        finished_at=stamp.finished_at,
    )


def attempt_without_task(item: Unchanged | Refusal, stamp: AttemptStamp) -> Attempt:
    """The attempt of a matrix for which the driver needed no task."""
    refusal = item if isinstance(item, Refusal) else None
    return Attempt(
        run_id=stamp.run_id,
        repo=item.model.name,
        revision=item.model.revision or "main",
        pattern=item.model.pattern,
        listed_in=item.model.listed_in,
        sha=item.sha,
        matrix=item.matrix,
        status="failed" if refusal else "unchanged",
        reason=refusal.reason if refusal else None,
        message=refusal.message if refusal else None,
        tries=0,
        fetched_bytes=refusal.fetched_bytes if refusal else 0,
        elapsed_s=refusal.elapsed_s if refusal else 0.0,
        host=intern(socket.gethostname()),
        finished_at=stamp.finished_at,
    )


def alias_result(alias: Target, outcome: Outcome) -> Unchanged | Refusal:
    """The result of another revision with the commit of an outcome: unchanged, or refused alike."""
    identity = alias.identity
    matrix: MatrixName = identity.matrix
    model = ModelRef(identity.repo, identity.revision, alias.folder, alias.listed_in or "", alias.pattern)
    if isinstance(outcome, Failed):
        return Refusal(model, matrix, outcome.reason, outcome.message, identity.sha)
    return Unchanged(model, identity.sha, matrix)
