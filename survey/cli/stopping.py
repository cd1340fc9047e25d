"""Stop a run by a signal: Ctrl-C, a scheduler's SIGTERM, a closed terminal. All end it alike."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
LOOK_S = 0.2
# Signals this close to the first belong to it: `timeout` sends its signal twice, a closed terminal two kinds.
SAME_STOP_S = 1.0
DEAF_S = 1.0  # after a signal: DuckDB hears it within milliseconds, or only when a step of hours ends
_ONLY_READS = threading.Event()


class _Stop:
    """The signal handler.

    The first signal raises KeyboardInterrupt, so that finished results are kept; a later one ends the
    process at once.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._is_deferred = False

    def __call__(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            if not self._is_deferred:
                raise KeyboardInterrupt
        elif now - self._since > SAME_STOP_S:
            os._exit(INTERRUPTED)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise a stop only when the context ends: a half imported module cannot be imported again."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self._since is not None:
            raise KeyboardInterrupt


@contextlib.contextmanager
def stoppable() -> Iterator[_Stop]:
    """In the context, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once.

    A signal that is ignored (nohup) stays ignored.
    """
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # None: a handler that was not set from Python, and could not be restored.
    replaced = {
        number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)
    }
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def only_reads() -> Iterator[None]:
    """In the context, where nothing need be finished, the first signal ends a step that does not hear it."""
    _ONLY_READS.set()
    try:
        yield
    finally:
        _ONLY_READS.clear()


@contextlib.contextmanager
def ended_by_second_signal() -> Iterator[None]:
    """In the context, a second signal ends this process if the first did not even interrupt a step of it.

    Python runs its handlers between steps of its own, and some steps of a library take hours: DuckDB computes
    the constants of a statement before it looks for signals. In `only_reads` the first signal suffices.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, written = socket.socketpair()
    written.setblocking(False)
    before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(heard,), name="second signal", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        written.close()  # which ends the thread


def _listen(heard: socket.socket) -> None:
    numbers = {getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")}
    step, since = None, 0.0
    while True:
        heard.settimeout(None if step is None else LOOK_S)
        try:
            sent = heard.recv(1)
        except TimeoutError:
            step = step if step == _step_of_main() else None  # it was interrupted
            if step is not None and _ONLY_READS.is_set() and time.monotonic() - since > DEAF_S:
                _end("the statement did not hear the stop, so the command ends")
            continue
        if not sent:
            heard.close()
            return
        if sent[0] not in numbers:
            continue
        if step is None or step != _step_of_main():
            step, since = _step_of_main(), time.monotonic()
        elif time.monotonic() - since > SAME_STOP_S:
            _end("ended at the second stop")


def _end(why: str) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, f"\nsurvey: {why}\n".encode())  # the main thread may hold the lock of sys.stderr
    os._exit(INTERRUPTED)


def _step_of_main() -> tuple[FrameType, int] | None:
    """What the main thread executes: as long as it is the same, no handler has run."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return None if frame is None else (frame, frame.f_lasti)
