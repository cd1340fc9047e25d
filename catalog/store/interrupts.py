"""A stop that arrives while a library runs, which would make something else of it."""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FrameType

import duckdb

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stops:
    """Notes the KeyboardInterrupts that handlers of signals raise.

    DuckDB turns one into an error about a file if it comes while Python reads for it, and into a
    RuntimeError if it sees the signal itself. It lets go of a file without asking for its `close`: one
    that comes in `__del__` is dropped by Python, so what runs is interrupted, too.
    """

    def __init__(self) -> None:
        self._noted = False
        self._connection: weakref.ref[duckdb.DuckDBPyConnection] | None = None

    def interrupt(self, connection: duckdb.DuckDBPyConnection) -> None:
        """From now on a stop interrupts what this connection runs."""
        # A connection keeps its file system, which keeps this.
        self._connection = weakref.ref(connection)

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
                connection = self._connection() if self._connection is not None else None
                if connection is not None:
                    with contextlib.suppress(duckdb.Error):  # closed
                        connection.interrupt()
                raise

        return noting
