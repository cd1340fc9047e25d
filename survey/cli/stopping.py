"""Stop a run by a signal: Ctrl-C, a scheduler's SIGTERM, a closed terminal. All end it alike."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
# Signals this close to the first belong to it: `timeout` sends its signal twice, a closed terminal two kinds.
SAME_STOP_S = 1.0


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

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise a stop only when the context ends: a half imported module cannot be imported again."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self._since is not None:
            raise KeyboardInterrupt


@contextmanager
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
