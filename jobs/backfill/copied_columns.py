"""The columns of a copied row: which are the stored row's, and which the target's own.

Measured columns are of the bytes, and so the stored row's, with the device, the host and the version that
measured them. The target's own are the model, its commit, what its config and card state, what the copy cost,
and its tokenizer's columns, for which the tokenizer is read unless it is known to be the same.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from catalog.write.arrow_tables import Tables, with_tokenizer, without_tokenizer_columns, without_tokens
from catalog.write.stored_matrix import StoredModel
from jobs.tasks.outcome import Delivered, Headline
from jobs.tasks.tokenizer import tokenizer_of_matrix
from jobs.tasks.tokenizer_tables import run_tables
from survey.checkpoints.checkpoint import Checkpoint
from survey.errors import CommitError
from survey.measures.token_flags import FlagsByClass, token_flags
from survey.measures.undertrained import flags_of, with_names, without_names
from survey.process.clock import utc_now
from survey.records.column_field import values_of
from survey.records.measure_definition import TOKENIZER
from survey.records.measured_columns import Undertrained
from survey.records.settings import Settings
from survey.records.target import Target, Traffic
from survey.records.tokenizer import TokenColumns

NOT_SPENT = ("fetch_s", "warmup_s", "measure_s")  # a copy waits for no matrix, and does no arithmetic


@dataclass(frozen=True, slots=True)
class Cost:
    """The traffic of a copy, its planning included, and the time that it took."""

    traffic: Traffic
    elapsed_s: float


def refuse_other_bytes(stored: StoredModel, target: Target, settings: Settings) -> None:
    """Raises CommitError if the stored row is not, or no longer, one of the target's bytes."""
    shape = stored.vocab_rows, stored.value("hidden_dim")
    content = target.same_as.content_key if target.same_as else target.content_key
    if stored.value("content_key") not in (content, target.content_key) or shape != target.spec.shape:
        raise CommitError("commit-failed", stored.name, "is a row of other bytes by now")
    if settings.tokens and stored.tokens is None:
        raise CommitError("commit-failed", stored.name, "its per-token table cannot be read")


def with_own_tokenizer(
    stored: StoredModel, target: Target, checkpoint: Checkpoint, settings: Settings
) -> Tables:
    """The stored tables with the columns of the target's tokenizer. Raises CommitError."""
    tables = stored.tables if settings.tokens else without_tokens(stored.tables)
    is_current = dict(stored.value("measures")).get(TOKENIZER.name) == TOKENIZER.version
    if is_current and target.tokenizer_key and target.tokenizer_key == stored.value("tokenizer_key"):
        return tables
    files, rows = dict(target.tokenizer_files), stored.vocab_rows
    shared = run_tables(settings)
    result = tokenizer_of_matrix(checkpoint, files, rows, stored.black_holes, settings.timeout_s, shared)
    undertrained, flags = _judged(stored, result.columns)
    bare = without_tokenizer_columns(tables)
    return with_tokenizer(bare, result.summary, result.columns, undertrained, flags, result.measures)


def _judged(stored: StoredModel, names: TokenColumns | None) -> tuple[Undertrained, FlagsByClass]:
    """The columns of undertrained rows by the target's names, and the flags of rows. Raises CommitError."""
    tokens, undertrained = stored.tokens, stored.undertrained
    if tokens is None or tokens.population is None or undertrained is None:
        raise CommitError("commit-failed", stored.name, "lacks what tells which rows its names concern")
    population = tokens.population
    columns = without_names(undertrained) if names is None else with_names(undertrained, population, names)
    flagged = flags_of(columns, population)
    return columns, token_flags(tokens) | ({} if flagged is None else {"undertrained": flagged})


def own_columns(stored: StoredModel, target: Target, settings: Settings, cost: Cost) -> dict[str, Any]:
    """The columns that no copy takes over; but for the tokenizer's."""
    return values_of(target.identity) | {
        "run_id": settings.run_id,
        "measured_at": utc_now(),  # the newest of two rows of a key is shown
        "fetched_bytes": cost.traffic.bytes,
        "repo_bytes": target.repo_bytes,
        "measured_from": stored.value("measured_from") or f"{stored.value('repo')}@{stored.value('sha')}",
        "content_key": target.content_key,
        "tokenizer_key": target.tokenizer_key,
        "requests": cost.traffic.requests,
        "retries": cost.traffic.retries,
        "elapsed_s": cost.elapsed_s,
        **dict.fromkeys(NOT_SPENT, 0.0),
    }


def delivered(stored: StoredModel, target: Target, columns: Mapping[str, Any], cost: Cost) -> Delivered:
    """The outcome of a row that was copied and committed."""
    return Delivered(
        target,
        None,
        Headline(**{field.name: stored.value(field.name) for field in fields(Headline)}),
        fetched_bytes=cost.traffic.bytes,
        elapsed_s=cost.elapsed_s,
        host=socket.gethostname(),
        measured_from=columns["measured_from"],
    )
