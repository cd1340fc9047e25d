"""Run an untrusted query in a subprocess with limits of time and memory.

Run as a module, it reads the query as JSON from stdin and writes the answer to stdout.

DuckDB's own limit of memory does not cover all that a query can allocate (one text may have a gigabyte),
and an interrupt waits for a step to end. So the process has a limit of memory, and is killed in the end.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from survey.errors import UsageError
from survey.process.interpreter import OVERTIME_S, python_command
from survey.process.memory_limit import limit_memory
from survey.process.parent import end_with_parent

_OWN_MB = 1024  # taken by Python, DuckDB and Arrow themselves
REFUSED, BEYOND_MEMORY = 2, 3  # exit codes
_NO_MEMORY = ("MemoryError", "std::bad_alloc", "failed to map segment from shared object")


@dataclass(frozen=True, slots=True)
class Question:
    """SQL for a catalog. form: json (columns, types and rows), csv, md or parquet. rows: the limit."""

    catalog: str
    sql: str
    parameters: Mapping[str, Any]
    form: str
    rows: int
    memory_mb: int


def ask_apart(question: Question, seconds: float) -> bytes:
    """The answer in its form. Raises UsageError, also if it takes too long or too much memory."""
    latest_s = math.ceil(seconds) + OVERTIME_S
    command = python_command("queries.web.query_process", f"{latest_s}", f"{os.getpid()}")
    try:
        ran = subprocess.run(
            command, input=json.dumps(asdict(question)).encode(), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"stopped after {seconds:g} s: ask for less") from None
    if ran.returncode == 0:
        return ran.stdout
    raise UsageError(_problem(ran, question.memory_mb))


def _problem(ran: subprocess.CompletedProcess[bytes], memory_mb: int) -> str:
    """Why there is no answer: refused, too large, killed from outside, or a fault of ours or of DuckDB."""
    said = ran.stderr.decode(errors="replace").strip()
    last = said.splitlines()[-1] if said else "it said nothing"
    beyond = f"stopped: it took more than {memory_mb} MB of memory; ask for less"
    if ran.returncode == REFUSED and said:
        return said
    if ran.returncode == BEYOND_MEMORY or last.endswith(_NO_MEMORY):
        return beyond
    if ran.returncode >= 0:
        return f"the process that answers failed with exit code {ran.returncode}: {last}"
    name = _signal(-ran.returncode)
    if name == "SIGKILL":
        return "the process that answers was killed, as a system does that runs out of memory; ask for less"
    # A library whose allocation fails calls abort(), which leaves these words.
    if name == "SIGABRT" and "bad_alloc" in said:
        return beyond
    return f"the process that answers crashed ({name}): {last}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _main() -> int:
    # If the process that asked was killed, nobody stops this one: these signals end it whatever it does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(sys.argv[1]))
    end_with_parent(int(sys.argv[2]))
    question = Question(**json.load(sys.stdin))
    limit_memory(question.memory_mb + _OWN_MB)
    from catalog.read.reader import QueryLimits, Reader
    from catalog.store.open import open_for_reading
    from queries.text.forms import as_download_csv, as_markdown, as_page_json

    forms = {"json": as_page_json, "csv": as_download_csv, "md": as_markdown}
    try:
        limits = QueryLimits(question.memory_mb, question.rows)
        with Reader(open_for_reading(question.catalog), limits) as reader:
            if question.form == "parquet":
                answer = reader.ask_parquet(question.sql, question.parameters)
            else:
                rows = reader.ask(question.sql, question.parameters)
                if rows.truncated and question.form != "json":  # which alone says that there are more
                    others = ", or for format=csv" if question.form == "md" else ""  # which holds more
                    raise UsageError(
                        f"the answer has more than {question.rows:,} rows, the most in a {question.form} "
                        f"file: ask for less (LIMIT){others}"
                    )
                answer = forms[question.form](rows).encode()
    except UsageError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except MemoryError:
        return BEYOND_MEMORY
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
