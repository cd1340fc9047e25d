"""What an object store lists is not believed beyond reason: it is named, and nothing follows from it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from dateutil.tz import tzoffset
from fsspec.asyn import AsyncFileSystem

from catalog.store import object_store_listing
from catalog.store.object_store_errors import Unreadable, is_transient, unreadable
from catalog.store.object_store_listing import list_objects

ROWS = "bucket/catalog/rows"
PART = f"{ROWS}/part-20260101T000000000000-000.parquet"


class Lying(AsyncFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A store that lists whatever it is made with; None: it never ends."""

    def __init__(self, listed: list[dict[str, Any]] | None) -> None:
        super().__init__(skip_instance_cache=True)
        self.listed, self.requests = listed, 0

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[dict[str, Any]]:
        self.requests += 1
        while self.listed is None:
            await asyncio.sleep(0.01)
        return self.listed


# As botocore reads `2026-01-01T00:00:00+99:99`: its offset is looked at when it is written.
FAR_AWAY = datetime(2026, 1, 1, tzinfo=tzoffset(None, 99 * 3600))


def _file(name: str, size: Any = 100) -> dict[str, Any]:
    return {"name": name, "size": size, "type": "file"}


LIES = {
    "a file of another folder": (_file("bucket/catalog/tokens/a.parquet"), "does not lie there"),
    "a file of another bucket": (_file("other/catalog/rows/a.parquet"), "does not lie there"),
    "a file further below": (_file(f"{ROWS}/deeper/a.parquet"), "does not lie there"),
    "a name that leads out": (_file(f"{ROWS}/../rows/a.parquet"), "does not lie there"),
    "a folder above": (_file(f"{ROWS}/.."), "does not lie there"),
    "an absolute name": (_file("//etc/passwd"), "does not lie there"),
    "a negative size": (_file(PART, -5), "has -5 bytes"),
    "a size that no store has": (_file(PART, 10**18), "bytes"),
    "a size that is none": (_file(PART, "100"), "has 100 bytes"),
    "a name that no store has": (_file(f"{ROWS}/{'a' * 3000}"), "a name of 3,0.. characters"),
    "a time of a zone days away": ({**_file(PART), "LastModified": FAR_AWAY}, "a time of .* that is none"),
}


@pytest.mark.parametrize(("item", "problem"), LIES.values(), ids=LIES)
def test_what_a_store_says_wrongly_is_refused(item: dict[str, Any], problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        list_objects(Lying([_file(PART), item]), ROWS)


def test_an_answer_that_lacks_a_part_is_said_so_and_not_asked_for_again() -> None:
    """s3fs takes the key and the size of an object for granted."""
    for part in ("Key", "Size"):
        assert f"lacks {part!r}" in str(unreadable(KeyError(part)))
        assert not is_transient(KeyError(part))
    assert is_transient(ConnectionResetError("reset"))


def test_what_lies_there_is_listed() -> None:
    items = [_file(PART), {"name": f"{ROWS}/deeper/", "size": 0, "type": "directory"}]
    assert list_objects(Lying([_file(f"{ROWS}/", 0), *items]), ROWS) == items


def test_a_listing_without_an_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store_listing, "LISTING_S", 0.05)
    store = Lying(None)
    with pytest.raises(Unreadable, match="did not end its answer"):
        list_objects(store, ROWS)
    assert store.requests == 1


def test_a_listing_of_very_many_objects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store_listing, "MAX_OBJECTS", 2)
    with pytest.raises(Unreadable, match="holds 3 objects, expected 2 or fewer"):
        list_objects(Lying([_file(f"{ROWS}/{name}") for name in "abc"]), ROWS)
