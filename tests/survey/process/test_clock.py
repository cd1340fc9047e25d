"""Times as the catalog stores them do not depend on the zone of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from survey.process.clock import in_utc, utc_now


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("machine_zone")
@pytest.mark.parametrize(
    "stated", ["2026-03-01T12:00:00", "2026-03-01T12:00:00.000Z", "2026-03-01T14:30:00+02:30"]
)
def test_a_time_is_that_of_utc_whatever_its_zone_and_the_machines(stated: str) -> None:
    assert in_utc(datetime.fromisoformat(stated)) == datetime(2026, 3, 1, 12)


@pytest.mark.usefixtures("machine_zone")
def test_now_is_that_of_utc_and_has_no_zone() -> None:
    assert utc_now().tzinfo is None
    assert abs((utc_now() - datetime(1970, 1, 1)).total_seconds() - time.time()) < 5
