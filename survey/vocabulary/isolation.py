"""Tokenizers of strangers are read in a process of their own, with limits of memory and time.

A file of one kilobyte can make the libraries take all memory (normalizers that multiply), hours (regular
expressions that backtrack), or the process with them. One server is kept for many tokenizers, and replaced
where one of them ended badly.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache

from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.server_process import Ended, ServerProcess
from survey.vocabulary.table import ANSWER_CAP_BYTES, BadAnswer, TokenTable, unpacked

CPU_S = 120.0  # of one tokenizer; 262,144 tokens take 10 to 20
WALL_S = 300.0  # of one that waits for whatever it may be; a busy machine is slow, too
KEPT_SERVERS = 2  # that wait for the next tokenizer
KEPT_TABLES = 4  # most models of a family have one tokenizer
CACHED_BYTES = 16 << 20  # as it is sent; as texts it takes up to four times as much


@dataclass(frozen=True, slots=True)
class TokenizerLimits:
    """What one tokenizer may cost. cpu_s: on all cores together. wall_s: from now."""

    memory_bytes: int
    cpu_s: float = CPU_S
    wall_s: float = WALL_S


class NotNamed(Exception):
    """No names: the message says why. lasting: another try would end the same."""

    def __init__(self, problem: str, *, lasting: bool = True) -> None:
        super().__init__(problem)
        self.lasting = lasting


def name_tokens(files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> TokenTable:
    """What a tokenizer says of a matrix of V = `rows` rows. Raises NotNamed, also for what costs more."""
    return _pool().table(files, rows, limits)


def close() -> None:
    """End the servers that wait, and forget what they said; the next tokenizer starts one."""
    _pool().close()


@cache  # one for each process: a start takes longer than a small model
def _pool() -> _Pool:
    pool = _Pool()
    atexit.register(pool.close)
    return pool


class _Pool:
    """The servers that wait, and the last tables by the digest of their files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[ServerProcess] = []
        self._tables: OrderedDict[bytes, tuple[int, TokenTable]] = OrderedDict()

    def table(self, files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> TokenTable:
        digest = _digest(files)
        with self._lock:
            known = self._tables.get(digest)
            if known is not None:
                self._tables.move_to_end(digest)
        # Rows beyond the last token change nothing.
        if known is not None and min(rows, known[1].size) == min(known[0], known[1].size):
            return known[1]
        answer = self._asked(files, rows, limits)
        try:
            table = unpacked(answer, rows)
        except BadAnswer as error:
            raise NotNamed(f"the process that named its tokens answered nonsense: {error}") from error
        if isinstance(table, str):
            raise NotNamed(table)
        if len(answer) <= CACHED_BYTES:
            self._keep(digest, rows, table)
        return table

    def _keep(self, digest: bytes, rows: int, table: TokenTable) -> None:
        with self._lock:
            self._tables[digest] = rows, table
            while len(self._tables) > KEPT_TABLES:
                self._tables.popitem(last=False)

    def _asked(self, files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> bytes:
        """The answer of a server, which is kept if it gave one."""
        until = time.monotonic() + limits.wall_s
        if limits.wall_s <= 0:
            raise _not_named(Ended("wall"), limits)
        try:
            server = self._server()
        except OSError as error:
            problem = f"no process to name its tokens can be started: {error}"
            raise NotNamed(problem, lasting=False) from error
        keep = False
        try:
            answer = server.ask(_request(files, rows, limits), until, ANSWER_CAP_BYTES)
            keep = True
        except Ended as ended:
            raise _not_named(ended, limits) from ended
        finally:
            self._done(server, keep=keep)
        return answer

    def _server(self) -> ServerProcess:
        """One that waits, or a new one. Raises OSError."""
        while True:
            with self._lock:
                server = self._waiting.pop() if self._waiting else None
            if server is None:
                return ServerProcess()
            if server.runs():
                return server
            server.kill()  # it was ended meanwhile

    def _done(self, server: ServerProcess, *, keep: bool) -> None:
        with self._lock:
            if keep and len(self._waiting) < KEPT_SERVERS:
                self._waiting.append(server)
                return
        server.kill()

    def close(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._tables.clear()
        for server in waiting:
            server.kill()


def _request(files: TokenizerFiles, rows: int, limits: TokenizerLimits) -> list[bytes]:
    header = {
        "main": files.main,
        "files": [[name, len(content)] for name, content in files.contents.items()],
        "rows": rows,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": _cpu_seconds(limits),
        "wall_s": limits.wall_s + 1.0,  # we end it at wall_s, if we still live
    }
    return [json.dumps(header).encode(), *files.contents.values()]


def _digest(files: TokenizerFiles) -> bytes:
    """Of names and contents; one that nobody can forge, as another model's names would follow."""
    seen = hashlib.sha256(files.main.encode())
    for name, content in sorted(files.contents.items()):
        seen.update(f"\0{name}\0{len(content)}\0".encode())
        seen.update(content)
    return seen.digest()


def _not_named(ended: Ended, limits: TokenizerLimits) -> NotNamed:
    again, process = "; the next run tries again", "the process that named its tokens"
    match ended.how:
        case "memory":
            return NotNamed(f"naming its tokens takes more than {limits.memory_bytes >> 20:,} MB of memory")
        case "cpu":
            return NotNamed(f"naming its tokens takes more than {_cpu_seconds(limits)} CPU-seconds")
        case "wall":
            within = max(0.0, limits.wall_s)
            return NotNamed(f"its tokens were not named within {within:.1f} s{again}", lasting=False)
        case "answer":
            return NotNamed(f"its names take more than {ANSWER_CAP_BYTES >> 20} MB")
        case "killed":
            return NotNamed(f"{process} was killed from outside ({ended.detail}){again}", lasting=False)
        case "lost":
            return NotNamed(f"{process} could not be kept running ({ended.detail}){again}", lasting=False)
        case "crashed":
            return NotNamed(f"{process} crashed ({ended.detail})")


def _cpu_seconds(limits: TokenizerLimits) -> int:
    """What a system's limit can say: whole ones."""
    return max(1, math.ceil(limits.cpu_s))
