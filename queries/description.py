"""The columns of queries of others, bound in a process of its own, which may be stopped.

Run as a module: each line of stdin is a query as JSON, each line of stdout its columns or what is wrong.

To bind a query runs nothing of it, and yet may take hours or all memory: DuckDB computes constants, and
the columns of `*` multiply with each subquery. It hears no interrupt meanwhile, so the process is killed.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Self

from catalog.read.describer import Describer
from survey.errors import UsageError
from survey.process.interpreter import OVERTIME_S, python_command
from survey.process.memory_limit import limit_memory

QUERY_S = 5.0
PROCESS_START_S = 60.0  # until Python and DuckDB are loaded, on a busy machine
MAX_STOPPED = 4  # then the others of a list are not described
MAX_COLUMNS = 1_000
_MEMORY_MB = 2_048


class BoundedDescriber:
    """Describes queries one after another. seconds: for each."""

    def __init__(self, seconds: float = QUERY_S) -> None:
        self._seconds = seconds
        self._stopped = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def columns(self, sql: str, parameters: Mapping[str, Any]) -> list[str]:
        """The names of an answer's columns.

        Raises UsageError if the query is not one statement that reads, cannot be bound, or takes too long
        or too much memory; and if several before it did.
        """
        if self._stopped >= MAX_STOPPED:
            raise UsageError(
                f"not described: {MAX_STOPPED} queries before it took too long or too much memory"
            )
        process = self._process = self._process or self._started()
        with contextlib.suppress(OSError):  # it has ended: no line follows
            print(json.dumps([sql, parameters]), file=process.stdin, flush=True)
        answer = self._line(process, self._seconds)
        if answer is None:
            self._stopped += 1
            raise UsageError(
                f"stopped: to find its columns takes more than {self._seconds:g} s or {_MEMORY_MB} MB"
            )
        if "problem" in answer:
            raise UsageError(answer["problem"])
        return list(answer["columns"])

    def _started(self) -> subprocess.Popen[str]:
        command = python_command("queries.description", str(round(self._seconds + OVERTIME_S)))
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._process = process
        if self._line(process, PROCESS_START_S) is None:
            self._stopped += 1
            raise UsageError("the process that describes queries does not start")
        return process

    def _line(self, process: subprocess.Popen[str], seconds: float) -> dict[str, Any] | None:
        """What it writes next; None, and the process is no more, if that takes too long or it crashed."""
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            line = process.stdout.readline() if process.stdout else ""
        finally:
            timer.cancel()
        if not line.endswith("\n"):
            self._end()
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _main() -> int:
    # Nobody stops it once the process that asked was killed: this signal ends it whatever it does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_memory(_MEMORY_MB)
    with Describer() as describer:
        _answer({})
        for line in sys.stdin:
            signal.alarm(int(sys.argv[1]))
            sql, parameters = json.loads(line)
            try:
                _answer({"columns": _shortened(describer.columns(sql, parameters))})
            except UsageError as error:
                _answer({"problem": str(error)})
            signal.alarm(0)
    return 0


def _shortened(columns: list[str]) -> list[str]:
    more = len(columns) - MAX_COLUMNS
    return columns if more <= 0 else [*columns[:MAX_COLUMNS], f"and {more:,} more"]


def _answer(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(_main())
