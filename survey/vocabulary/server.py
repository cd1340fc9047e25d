"""The process that reads tokenizers of strangers: one fork for each, with limits, on what `apart` sends.

python -m survey.vocabulary.server: over stdin, which is a socket, come three files for each request: the pipe
that brings it, the pipe that takes the answer, and where to complain; back goes how its fork ended.

The libraries are loaded once, by a process that never sees a byte of a tokenizer; what a hostile one takes
of memory and time, and what it crashes, ends with its fork. A fork has nothing of the requests after its own,
and what it leaves running is ended (on Linux). It has our user's rights: what code that a file might run
through a hole of a library can do as that user is not held by this.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import resource
import signal
import socket
from pathlib import Path
from typing import Any

from survey.vocabulary.entries import BadVocabulary, TokenizerFiles
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import ENDED, LENGTH, OUT_OF_MEMORY, packed, packed_problem

COMPLAINTS_BYTES = 1 << 20  # what libraries may write to stderr, which is a file
MAX_PROBLEM_CHARS = 300
PR_SET_CHILD_SUBREAPER = 36  # of Linux: prctl(2)
# How Oniguruma and Rust's thread pool say it, which the tokenizers library passes on as an error.
_NO_MEMORY = re.compile("fail to memory allocation|ThreadPoolBuildError")


def _main() -> None:
    control = socket.socket(fileno=0)
    _forget_signals()
    _adopt()
    # Millions of objects, none of them in a circle: looking for circles takes a quarter of the time.
    gc.disable()
    # Loaded before the first request: the forks share them.
    import sentencepiece  # noqa: F401
    import tokenizers  # noqa: F401

    # 1, not 0: a system that pipes its core dumps into a program heeds no other limit.
    _limit(resource.RLIMIT_CORE, 1)
    _limit(resource.RLIMIT_FSIZE, COMPLAINTS_BYTES)
    while len(given := socket.recv_fds(control, 1, 3)[1]) == 3:
        fork = os.fork()
        for standard, file in enumerate(given):
            if fork == 0:
                os.dup2(file, standard)  # stdin, too: the socket is the server's alone
            os.close(file)
        if fork == 0:
            _answer()
        _, status = os.waitpid(fork, 0)
        _end_strays()
        control.sendall(ENDED.pack(os.waitstatus_to_exitcode(status)))


def _adopt() -> None:
    """Become the parent of processes that a fork leaves behind: only so are they known."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_strays() -> None:
    """End what a fork left behind, in whatever session it hid."""
    children = Path("/proc/thread-self/children")
    while children.exists() and (strays := children.read_text().split()):
        for stray in map(int, strays):
            with contextlib.suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)
            os.waitpid(stray, 0)


def _forget_signals() -> None:
    """Undo what was inherited: SIGCHLD ignored leaves no fork to wait for, and a blocked signal ends none."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _answer() -> None:
    """Answer one request and end this process."""
    code = 1
    try:
        (header_bytes,) = LENGTH.unpack(_read(LENGTH.size))
        request: dict[str, Any] = json.loads(_read(header_bytes))  # Any: our parent's own words
        for number in (signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)  # they end the process, whatever it is busy with
        signal.setitimer(signal.ITIMER_REAL, request["wall_s"])  # or it would outlive a parent that is killed
        _limit(resource.RLIMIT_CPU, request["cpu_s"], beyond=1)  # the hard limit kills as anybody does
        _limit(resource.RLIMIT_DATA, request["memory_bytes"])
        contents = {name: _read(size) for name, size in request["files"]}
        answer = memoryview(_named(TokenizerFiles(request["main"], contents), request["rows"]))
        while answer:
            answer = answer[os.write(1, answer) :]
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def _named(files: TokenizerFiles, rows: int) -> bytes:
    try:
        return packed(token_table(parse_vocabulary(files), rows))
    except MemoryError:
        raise
    except BadVocabulary as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - what a library raises for a file that it does not understand
        problem = f"{type(error).__name__}: {str(error)[:MAX_PROBLEM_CHARS]}"
    if _NO_MEMORY.search(problem):
        raise MemoryError
    return packed_problem(problem)


def _read(count: int) -> bytes:
    """So many bytes of a request; fewer where the parent is gone."""
    read = bytearray()
    while len(read) < count and (more := os.read(0, min(count - len(read), 1 << 20))):
        read += more
    return bytes(read)


def _limit(kind: int, most: int, *, beyond: int = 0) -> None:
    """Set a limit, and the hard one so much beyond it."""
    _, hard = resource.getrlimit(kind)
    highest = most + beyond if hard == resource.RLIM_INFINITY else min(most + beyond, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(kind, (min(most, highest), highest))


if __name__ == "__main__":
    _main()
