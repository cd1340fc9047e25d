"""A stream that is read again from its copy."""

from __future__ import annotations

import tempfile

import pytest

from survey.errors import UsageError
from survey.onepass.spool import Replay


def test_what_was_kept_comes_again_in_slabs_and_pieces() -> None:
    with Replay() as replay:
        assert [bytes(block) for block in replay.keep([memoryview(b"abc"), memoryview(b"defg")])] == [
            b"abc", b"defg",
        ]  # fmt: skip
        for _ in range(2):
            assert [bytes(slab) for slab in replay.slabs(3)] == [b"abc", b"def", b"g"]
        assert replay.piece(2, 3) == b"cde"


@pytest.mark.parametrize("size", [10, 1 << 20], ids=["what fits a buffer", "more"])
def test_a_full_disk_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "r+b", buffering=1 << 16))  # noqa: SIM115
    replay = Replay()
    with pytest.raises(UsageError, match=r"No space left on device\. Point TMPDIR"):
        list(replay.keep([memoryview(bytes(size))]))
    replay._file.raw.close()  # type: ignore[attr-defined]  # what it still holds cannot be written
