"""The process that reads untrusted tokenizers: one fork with limits for each request of `client.py`.

python -m survey.vocabulary.process.server: stdin is a socket. For each request it receives three file
descriptors (the pipe with the request, the pipe for the answer, a file for stderr) and sends back the fork's
exit code.

The libraries are loaded once, with this module, by a process that never sees a byte of a tokenizer. Whatever
memory and time a hostile tokenizer uses, and whatever it crashes, ends with its fork. A fork has no access to
later requests, and processes that it leaves behind are killed (on Linux). It runs with our user's rights: if
a file exploits a library, this does not limit what its code can do as that user.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import resource
import select
import signal
import socket
from pathlib import Path
from typing import Any

from survey.vocabulary.entries import BadVocabulary, TokenizerFiles
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import ENDED, LENGTH, OUT_OF_MEMORY, packed, packed_problem

STDERR_CAP_BYTES = 1 << 20  # of the file to which libraries write stderr
MAX_PROBLEM_CHARS = 300
PR_SET_CHILD_SUBREAPER = 36  # of Linux: prctl(2)
# Messages of Oniguruma and of Rust's thread pool, which the tokenizers library raises as errors.
_NO_MEMORY = re.compile("fail to memory allocation|ThreadPoolBuildError")


def _main() -> None:
    control = socket.socket(fileno=0)
    _forget_signals()
    _adopt()
    # Millions of objects without reference cycles: collecting cycles would take a quarter of the time.
    gc.disable()
    # 1, not 0: a system that pipes core dumps into a program ignores any other limit.
    _limit(resource.RLIMIT_CORE, 1)
    _limit(resource.RLIMIT_FSIZE, STDERR_CAP_BYTES)
    while len(received := socket.recv_fds(control, 1, 3)[1]) == 3:
        fork = os.fork()
        for standard, file in enumerate(received):
            if fork == 0:
                os.dup2(file, standard)  # stdin, too: a fork must not have the socket
            os.close(file)
        if fork == 0:
            _answer()
        _kill_if_alone(control, fork)
        _, status = os.waitpid(fork, 0)
        _end_strays()
        control.sendall(ENDED.pack(os.waitstatus_to_exitcode(status)))


def _adopt() -> None:
    """Become the parent of processes that a fork leaves behind, so that they can be listed."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_if_alone(control: socket.socket, fork: int) -> None:
    """Return when a fork ends; kill it if our parent ends first (on Linux; elsewhere its timer ends it)."""
    try:
        ended = os.pidfd_open(fork)
    except (AttributeError, OSError):
        return
    try:
        # Our parent sends nothing before it has our answer: what can be read is the end of its socket.
        if control.fileno() in select.select([control.fileno(), ended], [], [])[0]:
            os.kill(fork, signal.SIGKILL)
    finally:
        os.close(ended)


def _end_strays() -> None:
    """Kill the processes that a fork left behind, in whatever session they are."""
    children = Path("/proc/thread-self/children")
    while children.exists() and (strays := children.read_text().split()):
        for stray in map(int, strays):
            with contextlib.suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)
            os.waitpid(stray, 0)


def _forget_signals() -> None:
    """Reset inherited signal state.

    If SIGCHLD is ignored, forks cannot be waited for; a blocked signal ends no fork.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _answer() -> None:
    """Answer one request and end this process."""
    code = 1
    try:
        (header_bytes,) = LENGTH.unpack(_read(LENGTH.size))
        request: dict[str, Any] = json.loads(_read(header_bytes))  # Any: JSON of our parent
        for number in (signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)  # the default action ends the process at once
        signal.setitimer(signal.ITIMER_REAL, request["wall_s"])  # ends the fork even if the parent was killed
        _limit(resource.RLIMIT_CPU, request["cpu_s"], margin=1)  # at the hard limit, SIGKILL hides the cause
        _limit(resource.RLIMIT_DATA, request["memory_bytes"])
        contents = {name: _read(size) for name, size in request["files"]}
        answer = memoryview(_packed_table(TokenizerFiles(request["main"], contents), request["rows"]))
        while answer:
            answer = answer[os.write(1, answer) :]
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def _packed_table(files: TokenizerFiles, rows: int) -> bytes:
    """The packed token table, or the packed reason why there is none. Raises MemoryError."""
    try:
        return packed(token_table(parse_vocabulary(files), rows))
    except MemoryError:
        raise
    except BadVocabulary as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 - libraries raise anything for malformed files
        problem = f"{type(error).__name__}: {str(error)[:MAX_PROBLEM_CHARS]}"
    if _NO_MEMORY.search(problem):
        raise MemoryError
    return packed_problem(problem)


def _read(count: int) -> bytes:
    """The next `count` bytes of the request; fewer if the parent is gone."""
    data = bytearray()
    while len(data) < count and (chunk := os.read(0, min(count - len(data), 1 << 20))):
        data += chunk
    return bytes(data)


def _limit(kind: int, soft: int, *, margin: int = 0) -> None:
    """Set a resource's soft limit, and its hard limit to the soft one plus a margin."""
    _, old_hard = resource.getrlimit(kind)
    hard = soft + margin if old_hard == resource.RLIM_INFINITY else min(soft + margin, old_hard)
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(kind, (min(soft, hard), hard))


if __name__ == "__main__":
    _main()
