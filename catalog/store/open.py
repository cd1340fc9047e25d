"""Where a catalog lies, and what makes a place one: a local folder, or a prefix of an object store."""

from __future__ import annotations

from pathlib import Path

from catalog.layout import ROWS
from catalog.store.local import LocalFolder
from catalog.store.object_store import ObjectStore
from survey.errors import UsageError
from survey.records.results import RESULTS

CatalogStore = LocalFolder | ObjectStore


def open_for_reading(uri: str) -> CatalogStore:
    """An existing catalog, or an empty folder, which is an empty catalog.

    Raises UsageError where there is none.
    """
    place = open_if_there(uri)
    if place is None:
        raise UsageError(
            f"no catalog at {_place(uri)}. `survey run MODELS --catalog {uri}` makes one; "
            "`survey demo` makes one to play with"
        )
    return place


def open_if_there(uri: str) -> CatalogStore | None:
    """The catalog of that name, or None where nothing is there yet.

    Raises UsageError where the place holds something else or cannot be read.
    """
    place = _place(uri)
    found = place.entries()
    if found is None:
        return None
    _refuse_other_things(place, found)
    return place


def open_for_writing(uri: str) -> CatalogStore:
    """A catalog to add to; made where there is none.

    Raises UsageError where the place holds something else or cannot be written.
    """
    place = _place(uri)
    place.make()
    _refuse_other_things(place, place.entries() or set())
    place.prepare()
    return place


def _place(uri: str) -> CatalogStore:
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    if "://" not in uri:
        try:
            return LocalFolder(Path(uri).expanduser().absolute())
        except RuntimeError as error:
            raise UsageError(f"{uri}: a home that nobody has: set HOME, or write the full path") from error
    if "::" in uri or "@" in uri.partition("://")[2].partition("/")[0]:
        raise UsageError(
            f"{uri.partition('://')[0]}://…: write the plain URL of a folder; "
            "credentials and endpoints come from the environment"
        )
    return ObjectStore(uri.rstrip("/"))


def _refuse_other_things(place: CatalogStore, entries: set[str]) -> None:
    found = {name for name in entries if not name.startswith(".")}
    if found and not found & {ROWS, *RESULTS}:
        raise UsageError(
            f"{place} is not a catalog: it holds {', '.join(sorted(found)[:3])}"
            f"{', …' if len(found) > 3 else ''}, expected rows/, tokens/ and attempts/. "
            "Name an empty or a new folder with --catalog"
        )
