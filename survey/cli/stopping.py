"""A stop that was asked for: Ctrl-C, a scheduler's SIGTERM, a closed terminal. All end a run alike."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
AGAIN_S = 1.0  # `timeout` sends its signal twice, and a closed terminal two kinds, within a moment


class _Stop:
    """The handler: the first signal is a KeyboardInterrupt, so that what is finished is kept; a later one
    ends the process at once."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            raise KeyboardInterrupt
        if now - self._since > AGAIN_S:
            os._exit(INTERRUPTED)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once. What is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # None: a handler that was not set from Python, and could not be put back.
    replaced = {
        number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)
    }
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
