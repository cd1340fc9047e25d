"""A stop that arrives while a library runs, which would make something else of it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stops:
    """Notes the KeyboardInterrupts that handlers of signals raise.

    DuckDB turns one into an error about a file if it comes while Python reads for it, into a
    RuntimeError if it sees the signal itself, and drops it if a file is being closed.
    """

    def __init__(self) -> None:
        self._noted = False

    def refuse(self, cause: Exception | None = None) -> None:
        """Raises KeyboardInterrupt if a stop was asked for."""
        if self._noted:
            self._noted = False
            raise KeyboardInterrupt from cause

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """A stop that arrives within leaves as KeyboardInterrupt, whatever became of it inside."""
        self._noted = False
        with self._handlers():
            try:
                yield
            except Exception as error:
                self.refuse(error)
                raise
        self.refuse()

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        """The handlers that are set, each noting what it raises."""
        before: dict[int, Callable[[int, FrameType | None], object]] = {}
        try:
            if threading.current_thread() is threading.main_thread():  # no other thread gets signals
                for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                    if callable(handler := signal.getsignal(number)):
                        before[number] = handler
                        signal.signal(number, self._noting(handler))
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _noting(
        self, handler: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], None]:
        def noting(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt:
                self._noted = True
                raise

        return noting
