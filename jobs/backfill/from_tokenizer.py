"""The tokenizer's columns for rows that were measured without them: reads the tokenizer, not the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from catalog.read.measured import RowKey
from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import with_tokenizer
from catalog.write.backfill import Filled
from catalog.write.commit import commit
from catalog.write.stored_matrix import StoredModel, of_stored_values, read_stored
from jobs.planning.plan import Unchanged
from jobs.tasks.tokenizer import tokenizer_of_matrix
from jobs.tasks.tokenizer_tables import run_tables
from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.errors import SurveyError
from survey.hub.throttle import Throttle
from survey.measures.token_flags import FlagsByClass, token_flags
from survey.measures.undertrained import flags_of, with_names
from survey.opening import reopen
from survey.records.measured_columns import Undertrained
from survey.records.settings import Settings
from survey.records.tokenizer import TokenColumns

CONCURRENT_MODELS = 2  # at most: a tokenizer of 256,000 tokens takes some hundred MB while it is read


def name_stored(
    unchanged: Sequence[Unchanged], settings: Settings, throttle: Throttle, store: CatalogStore
) -> Filled:
    """Add the columns from their tokenizers to stored rows, and commit the rows again."""
    todo: dict[RowKey, Checkpoint] = {item.key: item.unnamed for item in unchanged if item.unnamed}
    filled, stopped = Filled(), Event()

    def name_row(key: RowKey) -> str | None:
        return _name_one(key, todo[key], settings, throttle, store, stopped)

    pool = ThreadPoolExecutor(min(CONCURRENT_MODELS, settings.connections), thread_name_prefix="names")
    try:
        for problem in pool.map(name_row, todo):
            if problem is None:
                filled.rows += 1
            else:
                filled.problems.append(problem)
    finally:
        # Not waited for: a tokenizer may take minutes, and a stop must end the run at once.
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return filled


def _name_one(
    key: RowKey,
    checkpoint: Checkpoint,
    settings: Settings,
    throttle: Throttle,
    store: CatalogStore,
    stopped: Event,
) -> str | None:
    """Add the columns of one row; returns why it stays as it is, or None.

    stopped: set once this run no longer holds the catalog.
    """
    try:
        stored = read_stored(store, key)
        files = tokenizer_files(checkpoint.files, checkpoint.part)
        reopened = reopen(checkpoint, settings, throttle)
        tokenizer = tokenizer_of_matrix(
            reopened,
            files,
            stored.vocab_rows,
            stored.black_holes,
            settings.timeout_s,
            run_tables(settings),
        )
        if not tokenizer.measures:
            return f"{key[0]}: no names yet: {tokenizer.summary.tokenizer_note}"
        with of_stored_values(key[0]):
            undertrained, flags = _judged(stored, tokenizer.columns)
            of_tokenizer = tokenizer.summary, tokenizer.columns, undertrained, flags, tokenizer.measures
            tables = with_tokenizer(stored.tables, *of_tokenizer)
        if stopped.is_set():
            return f"{key[0]}: no names yet: the run was stopped"
        commit(store, tables)
    except SurveyError as error:
        return f"{key[0]}: no names yet: {error}"
    return None


def _judged(stored: StoredModel, names: TokenColumns | None) -> tuple[Undertrained | None, FlagsByClass]:
    """What the names change of the columns of undertrained rows; and the flags of rows that follow."""
    if stored.tokens is None:
        return None, {}
    population, flags = stored.tokens.population, token_flags(stored.tokens)
    if names is None or population is None or stored.undertrained is None:
        return None, flags
    columns = with_names(stored.undertrained, population, names)
    flagged = flags_of(columns, population)
    return columns, flags if flagged is None else flags | {"undertrained": flagged}
