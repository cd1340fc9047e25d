"""Show progress on stderr: a bar for each running model and one for all; nothing if it is no terminal."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from survey.errors import printable
from survey.records.target import MatrixName, Target

TaskKey = tuple[str, str, MatrixName]  # of a target: repository, commit, matrix
TaskName = tuple[str, ...]  # a target's key, or the digest of a training


class Progress(Protocol):
    """The events that the driver reports while it plans and measures."""

    @property
    def watched(self) -> bool:
        """Whether progress is shown; if not, workers need not report."""

    def planning(self, models: int) -> None: ...
    def planned(self) -> None: ...
    def measuring(self, targets: int) -> None: ...
    def adding_spectra(self, targets: int) -> None: ...
    def started(self, target: Target) -> None: ...
    def advanced(self, name: TaskName, count: int) -> None: ...
    def finished(self, name: TaskName, *, again: bool = False) -> None: ...
    def __enter__(self) -> Progress: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Silence:
    """Shows nothing."""

    watched = False

    def planning(self, models: int) -> None: ...
    def planned(self) -> None: ...
    def measuring(self, targets: int) -> None: ...
    def adding_spectra(self, targets: int) -> None: ...
    def started(self, target: Target) -> None: ...
    def advanced(self, name: TaskName, count: int) -> None: ...
    def finished(self, name: TaskName, *, again: bool = False) -> None: ...
    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *_: object) -> None: ...


class Screen:
    """Shows bars on a terminal."""

    watched = True

    def __init__(self, console: Console) -> None:
        self._overall = Bars(
            TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._models = Bars(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
        )
        self._lines: dict[TaskName, TaskID] = {}
        self._stage: TaskID | None = None
        self._lock = threading.Lock()
        from rich.console import Group
        from rich.live import Live

        self._live = Live(
            Group(self._models, self._overall), console=console, transient=True, refresh_per_second=8
        )

    def planning(self, models: int) -> None:
        self._begin("planning", models)

    def planned(self) -> None:
        if self._stage is not None:
            self._overall.advance(self._stage)

    def measuring(self, targets: int) -> None:
        self._begin("measuring", targets)

    def adding_spectra(self, targets: int) -> None:
        self._begin("spectra", targets)

    def started(self, target: Target) -> None:
        with self._lock:
            name = printable(target.identity.repo)[-48:]
            self._lines[target.key] = self._models.add_task(name, total=len(target.spec.bytes))

    def advanced(self, name: TaskName, count: int) -> None:
        if name in self._lines:
            self._models.advance(self._lines[name], count)

    def finished(self, name: TaskName, *, again: bool = False) -> None:
        with self._lock:
            line = self._lines.pop(name, None)
        if line is not None:
            self._models.remove_task(line)
        if self._stage is not None and not again:
            self._overall.advance(self._stage)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _begin(self, stage: str, total: int) -> None:
        if self._stage is not None:
            self._overall.remove_task(self._stage)
        self._stage = self._overall.add_task(stage, total=total)
        self._live.refresh()  # a stage may be over before the next frame


def progress_for(console: Console) -> Progress:
    """Bars if the console is a terminal, else silence."""
    return Screen(console) if console.is_terminal else Silence()
