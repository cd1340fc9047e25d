"""Open the store of a catalog: a local folder, or a prefix of an object store."""

from __future__ import annotations

from catalog.files import ROWS, TOKENIZER_TABLES
from catalog.store.local import LocalFolder
from catalog.store.object_store import ObjectStore
from survey.errors import UsageError
from survey.process.home_folder import expanded
from survey.records.results import RESULTS

CatalogStore = LocalFolder | ObjectStore


def open_for_reading(uri: str) -> CatalogStore:
    """The store of an existing catalog; an empty folder is an empty catalog.

    Raises UsageError if there is none.
    """
    store = open_if_there(uri)
    if store is None:
        raise UsageError(
            f"no catalog at {_store_of(uri)}. `survey run MODELS --catalog {uri}` makes one; "
            "`survey demo` makes one to play with"
        )
    return store


def open_if_there(uri: str) -> CatalogStore | None:
    """The store at this URI, or None if there is nothing yet.

    Raises UsageError if it holds something else or cannot be read.
    """
    store = _store_of(uri)
    names = store.entries()
    if names is None:
        return None
    _refuse_other_things(store, names)
    return store


def open_for_writing(uri: str) -> CatalogStore:
    """The store to add rows to, created if there is none.

    Raises UsageError if it holds something else or cannot be written.
    """
    store = _store_of(uri)
    store.make()
    _refuse_other_things(store, store.entries() or set())
    store.prepare()
    return store


def _store_of(uri: str) -> CatalogStore:
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    if "://" not in uri:
        return LocalFolder(expanded(uri).absolute())
    if "::" in uri or "@" in uri.partition("://")[2].partition("/")[0]:
        raise UsageError(
            f"{uri.partition('://')[0]}://…: write the plain URL of a folder; "
            "credentials and endpoints come from the environment"
        )
    return ObjectStore(uri.rstrip("/"))


def _refuse_other_things(store: CatalogStore, entries: set[str]) -> None:
    names = {name for name in entries if not name.startswith(".")}
    if names and not names & {ROWS, TOKENIZER_TABLES, *RESULTS}:
        raise UsageError(
            f"{store} is not a catalog: it holds {', '.join(sorted(names)[:3])}"
            f"{', …' if len(names) > 3 else ''}, expected rows/, tokens/ and attempts/. "
            "Name an empty or a new folder with --catalog"
        )
