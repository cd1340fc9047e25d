"""The times of a run: after all that its catalog holds, whatever the clocks of the drivers before it said.

`models`, `failures` and every question for what came last go by these times. By the bare clock, one driver
that was a year ahead would decide for a year. Stamps that only ever grow leave the order right, and a
stamp that is wrong is the fault of the clock that was ahead.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from catalog.read.reader import Reader

_TICK = timedelta(microseconds=1)
_RUN_ID = "%Y%m%dT%H%M%S-%f"
# A clock that says more than this is none that another stamp could be after.
_LATEST = datetime(9999, 1, 1)
_NEWEST = f"""
    SELECT max(stamp) FROM (
        SELECT unnest([finished_at, try_strptime(run_id, '{_RUN_ID}')]) AS stamp FROM attempts)
    WHERE stamp < $latest
"""


def this_machines_time() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class RunClock:
    """Tells times that grow with each question."""

    def __init__(self, last: datetime = datetime.min) -> None:
        self._last = last

    def set_after(self, reader: Reader) -> None:
        """From now on tell times after those of every run that the catalog knows."""
        ((newest,),) = reader.ask(_NEWEST, {"latest": _LATEST}).rows
        if newest is not None:
            self._last = max(self._last, newest)

    def now(self) -> datetime:
        self._last = max(this_machines_time(), self._last + _TICK)
        return self._last

    def run_id(self, proposed: str) -> str:
        """A run's name, which is its time and sorts: the proposed one, unless the catalog is ahead of it."""
        with contextlib.suppress(ValueError):  # a name of somebody's own
            if datetime.strptime(proposed, _RUN_ID) <= self._last:
                return f"{self.now():{_RUN_ID}}"
        return proposed


def new_run_id() -> str:
    """The time, to the microsecond: it sorts, and names the run's file of attempts."""
    return f"{RunClock().now():{_RUN_ID}}"
