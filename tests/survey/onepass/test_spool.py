"""A stream that is read again from its copy."""

from __future__ import annotations

import tempfile

import pytest

from survey.errors import UsageError
from survey.onepass.spool import Spool


def test_a_recorded_stream_is_read_again_in_slabs_and_byte_ranges() -> None:
    with Spool() as spool:
        assert [bytes(block) for block in spool.record([memoryview(b"abc"), memoryview(b"defg")])] == [
            b"abc", b"defg",
        ]  # fmt: skip
        for _ in range(2):
            assert [bytes(slab) for slab in spool.slabs(3)] == [b"abc", b"def", b"g"]
        assert spool.read(2, 3) == b"cde"


@pytest.mark.parametrize("size", [10, 1 << 20], ids=["fits a buffer", "larger than a buffer"])
def test_a_full_disk_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "r+b", buffering=1 << 16))  # noqa: SIM115
    spool = Spool()
    with pytest.raises(UsageError, match=r"No space left on device\. Set TMPDIR"):
        list(spool.record([memoryview(bytes(size))]))
    spool._file.raw.close()  # type: ignore[attr-defined]  # what it still holds cannot be written
