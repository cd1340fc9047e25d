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
        self._is_put_off = False

    def __call__(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            if not self._is_put_off:
                raise KeyboardInterrupt
        elif now - self._since > AGAIN_S:
            os._exit(INTERRUPTED)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """A stop that arrives within is raised at the end: what is half imported cannot be imported again."""
        self._is_put_off = True
        try:
            yield
        finally:
            self._is_put_off = False
        if self._since is not None:
            raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[_Stop]:
    """Within, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once. What is ignored (nohup) stays so."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
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
        yield stop
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
