"""KeyboardInterrupts that arrive while DuckDB runs, which would turn them into other errors."""

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
    """Notes the KeyboardInterrupts that signal handlers raise.

    DuckDB turns one into an error about a file if it arrives while Python reads for DuckDB, and into a
    RuntimeError if DuckDB notices the signal itself. DuckDB releases files without calling `close`; Python
    drops an interrupt that arrives in their `__del__`, so the running statement is interrupted, too.
    """

    def __init__(self) -> None:
        self._noted = False
        self._connection: weakref.ref[duckdb.DuckDBPyConnection] | None = None

    def interrupt(self, connection: duckdb.DuckDBPyConnection) -> None:
        """From now on a signal interrupts the statement that this connection runs."""
        # Weak, as the connection refers to its file system, which refers to this.
        self._connection = weakref.ref(connection)

    def refuse(self, cause: Exception | None = None) -> None:
        """Raises KeyboardInterrupt if a signal arrived."""
        if self._noted:
            self._noted = False
            raise KeyboardInterrupt from cause

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """A block that a signal leaves as KeyboardInterrupt, whatever DuckDB made of it inside."""
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
        """Wrap each signal handler that is set, so that it notes what it raises."""
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
