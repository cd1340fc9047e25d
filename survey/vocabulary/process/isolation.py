"""Read untrusted tokenizers in a separate process, with limits of memory and time.

A file of one kilobyte can make the libraries use all memory (normalizers that multiply), take hours (regular
expressions that backtrack), or crash the process. One server process reads many tokenizers; it is replaced if
one of them ends badly.
"""

from __future__ import annotations

import atexit
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, TypeVar

from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.process.client import RequestEnded, ServerProcess
from survey.vocabulary.table import ANSWER_CAP_BYTES, BadAnswer, TokenTable, packed_problem, unpacked
from survey.vocabulary.table_key import table_key

CPU_S = 120.0  # per tokenizer; 262,144 tokens take 10 to 20
WALL_S = 300.0  # per tokenizer; generous, as a busy machine is slow
IDLE_SERVERS = 2  # kept for the next tokenizer
CACHED_TABLES = 4  # most models of a family share one tokenizer
CACHED_PROBLEMS = 64
CACHED_TABLE_BYTES = 16 << 20  # in wire format; as texts it takes up to four times as much


_CacheKey = TypeVar("_CacheKey")
_CacheValue = TypeVar("_CacheValue")


@dataclass(frozen=True, slots=True)
class TokenizerLimits:
    """Limits of one tokenizer. cpu_s: on all cores together. wall_s: from now."""

    memory_bytes: int
    cpu_s: float = CPU_S
    wall_s: float = WALL_S


class TokenizerFailed(Exception):
    """A tokenizer could not be read; the message says why. lasting: a retry would fail in the same way."""

    def __init__(self, problem: str, *, lasting: bool = True) -> None:
        super().__init__(problem)
        self.lasting = lasting


class SharedTables(Protocol):
    """The tables that other processes have named, or name now."""

    def stored(self, key: str, rows: int) -> bytes | None:
        """The packed table, or the packed reason why there is none, if it is kept already."""

    def answer(self, key: str, rows: int, name: Callable[[float], bytes], left_s: float) -> bytes:
        """The packed table of a tokenizer, or the packed reason why there is none, within `left_s` seconds.

        rows: V of the matrix. name(left_s): names the tokens in this process. Raises TokenizerFailed for a
        reason of the moment, which is shared with nobody.
        """


def read_token_table(
    files: TokenizerFiles, rows: int, limits: TokenizerLimits, shared: SharedTables | None = None
) -> TokenTable:
    """The tokens of a matrix of V = `rows` rows. Raises TokenizerFailed, also if a limit is exceeded.

    A tokenizer is named once, whatever comes of it, unless the reason was of the moment: by this process,
    or by one of those with which it shares.
    """
    return _pool().table(files, rows, limits, shared)


def find_table(key: str, rows: int, shared: SharedTables | None) -> TokenTable | None:
    """The tokens of a matrix of V = `rows` rows if they were named already, without a file of the tokenizer.

    Raises TokenizerFailed if they cannot be named, and None says nothing about that.
    """
    return _pool().find(key, rows, shared)


def close() -> None:
    """End the idle servers and clear the cache; the next tokenizer starts a new server."""
    _pool().close()


@cache  # one per process: starting a server takes longer than a small model
def _pool() -> _Pool:
    pool = _Pool()
    atexit.register(pool.close)
    return pool


class _Pool:
    """The idle servers, and what came of the last tokenizers, by their keys.

    A reason why there is no table counts for the limits under which it was given.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[ServerProcess] = []
        self._tables: OrderedDict[str, tuple[int, TokenTable]] = OrderedDict()  # with V of the matrix
        self._problems: OrderedDict[tuple[str, int, float], str] = OrderedDict()

    def table(
        self, files: TokenizerFiles, rows: int, limits: TokenizerLimits, shared: SharedTables | None
    ) -> TokenTable:
        def name(left_s: float) -> bytes:
            return self._checked(files, rows, replace(limits, wall_s=left_s))

        key = table_key(files)
        known = self._known(key, rows)
        if known is not None:
            return known
        limited = key, limits.memory_bytes, limits.cpu_s
        if (problem := self._problems.get(limited)) is not None:
            raise TokenizerFailed(problem)
        answer = name(limits.wall_s) if shared is None else shared.answer(key, rows, name, limits.wall_s)
        try:
            return self._unpacked(key, rows, answer)
        except TokenizerFailed as error:
            with self._lock:
                _keep_last(self._problems, limited, str(error), CACHED_PROBLEMS)
            raise

    def find(self, key: str, rows: int, shared: SharedTables | None) -> TokenTable | None:
        known = self._known(key, rows)
        answer = None if known is not None or shared is None else shared.stored(key, rows)
        return known if answer is None else self._unpacked(key, rows, answer)

    def _known(self, key: str, rows: int) -> TokenTable | None:
        with self._lock:
            named_rows, table = self._tables.get(key, (0, None))
            # Rows above the last token change nothing.
            if table is None or min(rows, table.size) != min(named_rows, table.size):
                return None
            self._tables.move_to_end(key)
            return table

    def _unpacked(self, key: str, rows: int, answer: bytes) -> TokenTable:
        table = unpacked(answer, rows)
        if isinstance(table, str):
            raise TokenizerFailed(table)
        if len(answer) <= CACHED_TABLE_BYTES:
            with self._lock:
                _keep_last(self._tables, key, (rows, table), CACHED_TABLES)
        return table

    def _checked(self, files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> bytes:
        """The packed table, or a lasting reason why there is none. Raises TokenizerFailed for another."""
        try:
            answer = self._answer(files, rows, limits)
            unpacked(answer, rows)
        except TokenizerFailed as error:
            if not error.lasting:
                raise
            return packed_problem(str(error))
        except BadAnswer as error:
            return packed_problem(f"the process that named its tokens answered nonsense: {error}")
        return answer

    def _answer(self, files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> bytes:
        """The answer of a server, which is reused only if it gave one."""
        deadline = time.monotonic() + limits.wall_s
        if limits.wall_s <= 0:
            raise _failure(RequestEnded("wall"), limits)
        try:
            server = self._server()
        except OSError as error:
            problem = f"no process to name its tokens can be started: {error}"
            raise TokenizerFailed(problem, lasting=False) from error
        reusable = False
        try:
            answer = server.ask(_request(files, rows, limits), deadline, ANSWER_CAP_BYTES)
            reusable = True
        except RequestEnded as ended:
            raise _failure(ended, limits) from ended
        finally:
            self._release(server, reusable=reusable)
        return answer

    def _server(self) -> ServerProcess:
        """An idle server, or a new one. Raises OSError."""
        while True:
            with self._lock:
                server = self._idle.pop() if self._idle else None
            if server is None:
                return ServerProcess()
            if server.runs():
                return server
            server.kill()  # it ended while idle

    def _release(self, server: ServerProcess, *, reusable: bool) -> None:
        with self._lock:
            if reusable and len(self._idle) < IDLE_SERVERS:
                self._idle.append(server)
                return
        server.kill()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._tables.clear()
            self._problems.clear()
        for server in idle:
            server.kill()


def _keep_last(
    cache: OrderedDict[_CacheKey, _CacheValue], key: _CacheKey, value: _CacheValue, most: int
) -> None:
    cache[key] = value
    while len(cache) > most:
        cache.popitem(last=False)


def _request(files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> list[bytes]:
    header = {
        "main": files.main,
        "files": [[name, len(content)] for name, content in files.contents.items()],
        "rows": rows,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": _cpu_seconds(limits),
        "wall_s": limits.wall_s + 1.0,  # we end it at wall_s if we are still alive
    }
    return [json.dumps(header).encode(), *files.contents.values()]


def _failure(ended: RequestEnded, limits: TokenizerLimits) -> TokenizerFailed:
    retry, process = "; the next run tries again", "the process that named its tokens"
    match ended.cause:
        case "memory":
            return TokenizerFailed(
                f"naming its tokens takes more than {limits.memory_bytes >> 20:,} MB of memory"
            )
        case "cpu":
            return TokenizerFailed(f"naming its tokens takes more than {_cpu_seconds(limits)} CPU-seconds")
        case "wall":
            within = max(0.0, limits.wall_s)
            return TokenizerFailed(f"its tokens were not named within {within:.1f} s{retry}", lasting=False)
        case "answer":
            return TokenizerFailed(f"its names take more than {ANSWER_CAP_BYTES >> 20} MB")
        case "killed":
            return TokenizerFailed(
                f"{process} was killed from outside ({ended.detail}){retry}", lasting=False
            )
        case "lost":
            return TokenizerFailed(
                f"{process} could not be kept running ({ended.detail}){retry}", lasting=False
            )
        case "crashed":
            return TokenizerFailed(f"{process} crashed ({ended.detail})")


def _cpu_seconds(limits: TokenizerLimits) -> int:
    """The limit in whole seconds, as setrlimit takes it."""
    return max(1, math.ceil(limits.cpu_s))
