"""Names for rows that were measured without them: the tokenizer is read, the matrix is not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from catalog.commit import commit
from catalog.done import Key
from catalog.fill import Filled
from catalog.place import Place
from catalog.stored import read_stored
from catalog.tables import with_names
from jobs.naming import name_matrix
from jobs.plan import Unchanged
from survey.checkpoint import Checkpoint
from survey.errors import SurveyError
from survey.matrix import reopen
from survey.measures.names import NAMES
from survey.measures.row_flags import row_flags
from survey.pace import Pace
from survey.target import Settings
from survey.vocabulary.read import tokenizer_files

AT_ONCE = 2  # at most: a tokenizer of 256,000 tokens takes some hundred MB while it is read


def name_stored(unchanged: Sequence[Unchanged], settings: Settings, pace: Pace, place: Place) -> Filled:
    """Give stored rows what their tokenizers say, and publish them anew."""
    todo: dict[Key, Checkpoint] = {
        (item.unnamed.repo, item.sha, item.matrix): item.unnamed for item in unchanged if item.unnamed
    }
    done, stopped = Filled(), Event()

    def one(key: Key) -> str | None:
        return _name_one(key, todo[key], settings, pace, place, stopped)

    pool = ThreadPoolExecutor(min(AT_ONCE, settings.connections), thread_name_prefix="names")
    try:
        for problem in pool.map(one, todo):
            if problem is None:
                done.rows += 1
            else:
                done.problems.append(problem)
    finally:
        # Not waited for: a tokenizer may take minutes, and a stop is answered at once.
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return done


def _name_one(
    key: Key, checkpoint: Checkpoint, settings: Settings, pace: Pace, place: Place, stopped: Event
) -> str | None:
    """Why the row stays as it is, or None. stopped: the catalog may be another run's by now."""
    try:
        stored = read_stored(place, key)
        files = tokenizer_files(checkpoint.files, checkpoint.part)
        again = reopen(checkpoint, settings, pace)
        named = name_matrix(again, files, stored.vocab_rows, stored.black_holes, settings.timeout_s)
        if not named.measures:
            return f"{key[0]}: no names yet: {named.naming.tokenizer_note}"
        flags = {} if stored.tokens is None else row_flags(stored.tokens)
        if stopped.is_set():
            return f"{key[0]}: no names yet: the run was stopped"
        commit(place, with_names(stored.tables, named.naming, named.names, flags, NAMES["names"]))
    except SurveyError as error:
        return f"{key[0]}: no names yet: {error}"
    return None
