"""The times of a run: later than every time in its catalog, whatever the clocks of earlier drivers said.

`models`, `failures` and every query for the latest state order by these times. With the plain clock, the rows
of one driver that was a year ahead would count as the latest for a year. Times that only grow keep the order
right; only the times themselves may be wrong, by as much as the clock was ahead.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from catalog.read.reader import Reader
from survey.process.clock import utc_now

_TICK = timedelta(microseconds=1)
_RUN_ID = "%Y%m%dT%H%M%S-%f"
# A later time is ignored: hardly a valid one would be left after it.
_LATEST = datetime(9999, 1, 1)
_NEWEST = f"""
    SELECT max(stamp) FROM (
        SELECT unnest([finished_at, try_strptime(run_id, '{_RUN_ID}')]) AS stamp FROM attempts)
    WHERE stamp < $latest
"""


class RunClock:
    """Gives times that grow with each call."""

    def __init__(self, last: datetime = datetime.min) -> None:
        self._last = last

    def set_after(self, reader: Reader) -> None:
        """From now on give times later than those of every run in the catalog."""
        ((newest,),) = reader.ask(_NEWEST, {"latest": _LATEST}).rows
        if newest is not None:
            self._last = max(self._last, newest)

    def now(self) -> datetime:
        """The time in UTC, later than that of the call before."""
        self._last = max(utc_now(), self._last + _TICK)
        return self._last

    def run_id(self, proposed: str) -> str:
        """A run's name, which is its time and sorts: the proposed one, unless the catalog has a later one."""
        with contextlib.suppress(ValueError):  # a name that a person chose
            if datetime.strptime(proposed, _RUN_ID) <= self._last:
                return f"{self.now():{_RUN_ID}}"
        return proposed


def new_run_id() -> str:
    """The time, to the microsecond: it sorts, and names the run's file of attempts."""
    return f"{RunClock().now():{_RUN_ID}}"
