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
from typing import Protocol

from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.process.client import RequestEnded, ServerProcess
from survey.vocabulary.table import ANSWER_CAP_BYTES, BadAnswer, TokenTable, packed_problem, unpacked
from survey.vocabulary.table_key import table_key

CPU_S = 120.0  # per tokenizer; 262,144 tokens take 10 to 20
WALL_S = 300.0  # per tokenizer; generous, as a busy machine is slow
IDLE_SERVERS = 2  # kept for the next tokenizer
CACHED_TABLES = 4  # most models of a family share one tokenizer
CACHED_TABLE_BYTES = 16 << 20  # in wire format; as texts it takes up to four times as much


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


def close() -> None:
    """End the idle servers and clear the cache; the next tokenizer starts a new server."""
    _pool().close()


@cache  # one per process: starting a server takes longer than a small model
def _pool() -> _Pool:
    pool = _Pool()
    atexit.register(pool.close)
    return pool


@dataclass(frozen=True, slots=True)
class _Cached:
    """What came of a tokenizer, for a matrix of so many rows and within these limits."""

    result: TokenTable | str
    rows: int
    memory_bytes: int
    cpu_s: float

    def answers(self, rows: int, limits: TokenizerLimits) -> bool:
        if isinstance(self.result, TokenTable):  # rows above the last token change nothing
            return min(rows, self.result.size) == min(self.rows, self.result.size)
        return (self.memory_bytes, self.cpu_s) == (limits.memory_bytes, limits.cpu_s)


class _Pool:
    """The idle servers, and what came of the last tokenizers, by their keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[ServerProcess] = []
        self._cache: OrderedDict[str, _Cached] = OrderedDict()

    def table(
        self, files: TokenizerFiles, rows: int, limits: TokenizerLimits, shared: SharedTables | None
    ) -> TokenTable:
        key = table_key(files)
        with self._lock:
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
        if cached is None or not cached.answers(rows, limits):
            cached = self._shared(key, files, rows, limits, shared)
        if isinstance(cached.result, str):
            raise TokenizerFailed(cached.result)
        return cached.result

    def _shared(
        self, key: str, files: TokenizerFiles, rows: int, limits: TokenizerLimits, shared: SharedTables | None
    ) -> _Cached:
        def name(left_s: float) -> bytes:
            return self._checked(files, rows, replace(limits, wall_s=left_s))

        answer = name(limits.wall_s) if shared is None else shared.answer(key, rows, name, limits.wall_s)
        cached = _Cached(unpacked(answer, rows), rows, limits.memory_bytes, limits.cpu_s)
        if len(answer) <= CACHED_TABLE_BYTES:
            with self._lock:
                self._cache[key] = cached
                while len(self._cache) > CACHED_TABLES:
                    self._cache.popitem(last=False)
        return cached

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
            self._cache.clear()
        for server in idle:
            server.kill()


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
