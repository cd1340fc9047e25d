"""A question of somebody else's, asked in a process of its own, which may be stopped.

python -m queries.ask_apart: the question as JSON on stdin, the answer on stdout.

DuckDB's own limit of memory does not cover all that a question can make it hold (one text may have
a gigabyte), and an interrupt waits for a step to end: so the process has a limit, and is killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from survey.errors import UsageError

_OWN_MB = 1024  # what Python, DuckDB and Arrow take by themselves


@dataclass(frozen=True, slots=True)
class Question:
    """SQL for a catalog. form: json (columns, types and rows), csv, md or parquet. rows: at most."""

    catalog: str
    sql: str
    parameters: Mapping[str, Any]
    form: str
    rows: int
    memory_mb: int


def ask_apart(question: Question, seconds: float) -> bytes:
    """The answer in its form. Raises UsageError, also where it takes too long or too much memory."""
    command = [sys.executable, "-m", "queries.ask_apart"]
    asked = json.dumps(asdict(question)).encode()
    try:
        ran = subprocess.run(command, input=asked, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise UsageError(f"stopped after {seconds:g} s: ask for less") from None
    if ran.returncode == 0:
        return ran.stdout
    told = ran.stderr.decode(errors="replace").strip()
    if ran.returncode == 2 and told:
        raise UsageError(told)
    raise UsageError(f"stopped: it took more than {question.memory_mb} MB of memory; ask for less")


def _main() -> int:
    question = Question(**json.load(sys.stdin))
    _limit_memory(question.memory_mb)
    from catalog.place import place_to_read
    from catalog.read import Limits, Reader
    from queries.render import as_csv, as_markdown, as_page_json

    forms = {"json": as_page_json, "csv": as_csv, "md": as_markdown}
    try:
        limits = Limits(question.memory_mb, question.rows)
        with Reader(place_to_read(question.catalog), limits) as reader:
            if question.form == "parquet":
                answer = reader.ask_parquet(question.sql, question.parameters)
            else:
                answer = forms[question.form](reader.ask(question.sql, question.parameters)).encode()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(answer)
    return 0


def _limit_memory(memory_mb: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # where the system knows no such limit
        import resource

        limit = (memory_mb + _OWN_MB) << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    sys.exit(_main())
