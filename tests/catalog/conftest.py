"""Catalogs in a local folder and on S3, for the same tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import s3 as s3_server
from support.deliveries import delivered
from support.little_models import little

from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.commit import commit
from jobs.demo.checkpoints import write

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[s3_server.S3]:
    with s3_server.serve() as served:
        yield served


@pytest.fixture
def s3(_s3_server: s3_server.S3, monkeypatch: pytest.MonkeyPatch) -> s3_server.S3:
    """The server, with credentials in the environment, short waits, and no faults yet."""
    for name, value in s3_server.environment(_s3_server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("catalog.store.object_store_retries.WAITS_S", (0.01, 0.02, 0.04))
    _s3_server.faults.clear()
    _s3_server.requests.clear()
    return _s3_server


@pytest.fixture
def bucket(s3: s3_server.S3) -> str:
    """A new bucket; returns its URL."""
    name = f"bucket-{next(_NUMBERS)}"
    s3_server.make_bucket(name)
    s3.requests.clear()
    return f"s3://{name}"


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new catalog may be made: in a folder, or in a bucket."""
    if request.param == "local":
        return str(tmp_path / "catalog")
    return f"{request.getfixturevalue('bucket')}/some/prefix"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> CatalogStore:
    """A catalog in a folder that holds two little models, `one` and `two`."""
    folder = tmp_path_factory.mktemp("committed")
    store = open_for_writing(str(folder / "catalog"))
    for name in ("one", "two"):
        write(little(name), folder / name)
        commit(store, delivered(folder / name).tables)
    return store
