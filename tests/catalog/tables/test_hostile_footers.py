"""Footers that our reader and DuckDB's may understand differently: no file of a catalog stops its answers."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from catalog.read.duckdb_errors import is_about_a_file
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.tables.column_chunks import parquet_file
from catalog.tables.damage import examine
from catalog.tables.footer import schema_of
from catalog.tables.inspection import LeftOut
from catalog.write.contents import KINDS, contents_of

STRING = bytes.fromhex("1c 00 00")  # the logical type of text, as in {1: {}}
LIST, STRUCT = 9, 12


@pytest.fixture
def files(committed: CatalogStore) -> list[Path]:
    return [Path(file.path) for file in committed.files("rows")]


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7) if number > 0x7F else bytes([number])


def _text(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _more(footer: bytes, number: int, kind: int, value: bytes) -> bytes:
    """The footer with one more field at its end."""
    assert footer[-1] == 0
    return footer[:-1] + bytes([kind]) + _varint(number * 2) + value + b"\0"


def _text_of(footer: bytes, logical: str) -> bytes:
    """The footer, in which the column `family` has another logical type."""
    at = footer.index(STRING, footer.index(b"family"))
    assert at - footer.index(b"family") < 20
    return footer[:at] + bytes.fromhex(logical) + footer[at + len(STRING) :]


def _note(footer: bytes, key: bytes, value: bytes) -> bytes:
    pair = b"\x18" + _text(key) + b"\x18" + _text(value) + b"\0"
    return _more(footer, 5, LIST, b"\x1c" + pair)


def _claimed(footer: bytes, beginning: bytes, count: int, kind: int | None = None) -> bytes:
    """The footer, of which the list with this beginning claims as many entries, of another kind maybe."""
    at = footer.index(beginning) + beginning.rindex(b"\x19") + 1
    header, after = footer[at], at + 1
    while header >> 4 == 15 and footer[after] & 0x80:
        after += 1
    after += header >> 4 == 15
    return footer[:at] + bytes([0xF0 | (kind or header & 0x0F)]) + _varint(count) + footer[after:]


def _nested(footer: bytes) -> bytes:
    """With a second schema, of groups in groups; readers take the last one."""
    root, group = b"\x48\x01a\x15\x02\x00", b"\x35\x02\x18\x01a\x15\x02\x00"
    leaf = b"\x15\x02\x25\x02\x18\x01a\x00"
    return _more(footer, 2, LIST, b"\xfc" + _varint(5002) + root + group * 5000 + leaf)


GEOMETRY = b'{"version": "1.0.0", "columns": {"repo": {"encoding": "WKB", "geometry_types": []}}}'
# How the footer is changed, and whether the file still counts.
HOSTILE: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "text that is a geometry": (lambda footer: _text_of(footer, "0c 22 00 00"), False),
    "text that is a geography": (lambda footer: _text_of(footer, "0c 24 00 00"), False),
    "text that is JSON": (lambda footer: _text_of(footer, "cc 00 00"), False),
    "text of a kind that does not exist": (lambda footer: _text_of(footer, "0c 78 00 00"), False),
    "a note that text is a geometry": (lambda footer: _note(footer, b"geo", GEOMETRY), True),
    "billions of row groups": (lambda footer: _more(footer, 4, LIST, b"\xfc" + _varint(2**31 - 1)), False),
    "millions of row groups": (lambda footer: _more(footer, 4, LIST, b"\xfc" + _varint(2**24)), False),
    "millions of notes": (lambda footer: _more(footer, 5, LIST, b"\xfc" + _varint(2**28)), False),
    "millions of notes, in a number that is longer than it needs": (
        lambda footer: _more(footer, 5, LIST, b"\xfc" + _varint(2**27)[:-1] + b"\xc0\x80\x00"),
        False,
    ),
    "millions of orders of columns": (lambda footer: _more(footer, 7, LIST, b"\xfc" + _varint(2**28)), False),
    "millions of notes, behind 3 MB of something": (
        lambda footer: _more(
            _more(footer, 99, 8, _text(b"x" * 3_000_000)), 5, LIST, b"\xfc" + _varint(2**28)
        ),
        False,
    ),
    "a footer of 17 MB": (lambda footer: _more(footer, 99, 8, _text(b"x" * (17 << 20))), False),
    "a footer of 1 MB": (lambda footer: _more(footer, 99, 8, _text(b"\x19\xfc\xff\xff\xff" * 200_000)), True),
    "millions of columns in a row group": (
        lambda footer: _claimed(footer, b"\x19\x1c\x19\xfc", 2**21 - 1),
        False,
    ),
    "millions of parts in a column's name": (
        lambda footer: _claimed(footer, b"\x19\x18\x04repo", 2**27),
        False,
    ),
    "millions of columns that are called numbers": (
        lambda footer: _claimed(footer, b"\x19\x1c\x19\xfc", 2**24, kind=5),
        False,
    ),
    "a list of truths without an end, behind them": (
        lambda footer: _more(footer, 99, LIST, b"\xf1" + _varint(2**60) + b"\x19\xfc" + _varint(2**28)),
        False,
    ),
    "a second schema": (_nested, False),
    "an unknown field that is nested": (
        lambda footer: _more(footer, 99, STRUCT, b"\x1c" * 100_000 + b"\0" * 100_001),
        False,
    ),
    "an algorithm by which it would be encrypted": (
        lambda footer: _more(footer, 8, STRUCT, b"\x1c\0\0"),
        True,  # DuckDB reads it all the same
    ),
    "an encoding that does not exist, which pyarrow ignores": (
        lambda footer: footer.replace(b"\x19\x25\x06\x00", b"\x19\x25\x06\x69", 1),
        False,
    ),
    "a note of nobody's": (lambda footer: _note(footer, b"mine", b"\x1b[31m"), True),
}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize(("change", "counts"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("which", [0, 1], ids=["the first file", "the last file"])
def test_no_footer_stops_an_answer(
    committed: CatalogStore, files: list[Path], change: Callable[[bytes], bytes], counts: bool, which: int
) -> None:
    whole = files[which].read_bytes()
    at = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = change(whole[at:-8])
    files[which].write_bytes(whole[:at] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    try:
        for sql in ("SELECT repo, family FROM models", "SELECT dead_count FROM models_history"):
            with Reader(committed) as reader:
                assert len(reader.ask(sql).rows) == 1 + counts
                assert [item.file.name for item in reader.left_out] == [files[which].name] * (not counts)
    finally:
        files[which].write_bytes(whole)


LATER = {name: case for name, case in HOSTILE.items() if name in ("millions of notes", "a note of nobody's")}


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("whole_bytes", [0, 1 << 18], ids=["a large file", "a small one"])
@pytest.mark.parametrize(("change", "counts"), LATER.values(), ids=LATER)
def test_a_file_that_is_replaced_after_it_was_inspected_is_inspected_again(
    committed: CatalogStore,
    files: list[Path],
    change: Callable[[bytes], bytes],
    counts: bool,
    whole_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("catalog.store.duckdb_local.WHOLE_FILE_BYTES", whole_bytes)
    sql = "SELECT repo, family FROM models"
    with Reader(committed) as reader:
        assert len(reader.ask(sql).rows) == 2
        whole, state = files[1].read_bytes(), files[1].stat()
        at = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        footer = change(whole[at:-8])
        files[1].write_bytes(whole[:at] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        os.utime(files[1], ns=(state.st_atime_ns, state.st_mtime_ns))
        try:
            for _ in range(2):
                assert len(reader.ask(sql).rows) == 1 + counts
                assert [item.file.name for item in reader.left_out] == [files[1].name] * (not counts)
        finally:
            files[1].write_bytes(whole)


class Keys(encryption.KmsClient):  # type: ignore[misc]  # pyarrow is not typed
    """Keys that are kept in the file itself."""

    def __init__(self) -> None:
        encryption.KmsClient.__init__(self)

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)


def _encrypted(path: Path, algorithm: str, columns: Sequence[str]) -> None:
    """Encrypt these columns of a file; everybody can read its footer."""
    table = pq.read_table(path)
    configuration = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"c": columns}, encryption_algorithm=algorithm, plaintext_footer=True
    )
    connection = encryption.KmsConnectionConfig(custom_kms_conf={"f": "0" * 16, "c": "1" * 16})
    made = encryption.CryptoFactory(lambda _: Keys()).file_encryption_properties(connection, configuration)
    with pq.ParquetWriter(path, table.schema, encryption_properties=made) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("columns", [["repo", "sha"], ["dead_count"]], ids=["the key", "another column"])
@pytest.mark.parametrize("algorithm", ["AES_GCM_V1", "AES_GCM_CTR_V1"])
def test_an_encrypted_file_is_named_and_ends_no_process(
    committed: CatalogStore, files: list[Path], algorithm: str, columns: Sequence[str]
) -> None:
    whole = files[0].read_bytes()
    _encrypted(files[0], algorithm, columns)
    try:
        with Reader(committed) as reader:
            assert len(reader.ask("SELECT repo, dead_count FROM models").rows) == 1
            [item] = reader.left_out
            assert (item.file.name, item.fate) == (files[0].name, "foreign")
            assert "it is encrypted" in item.problem
        left_out: list[LeftOut] = []
        assert len(contents_of(committed, committed.files("rows"), KINDS[0], left_out)) == 1
        assert [item.file.name for item in left_out] == [files[0].name]
        with files[0].open("rb") as opened, pytest.raises(OSError, match="it is encrypted"):
            parquet_file(opened)
    finally:
        files[0].write_bytes(whole)
    with files[0].open("rb") as opened:
        assert parquet_file(opened).metadata.num_rows == 1


def test_strange_statistics_end_no_process(committed: CatalogStore, files: list[Path]) -> None:
    """pyarrow aborts if it is asked for a chunk whose histogram of levels has another length than it should."""
    whole = files[0].read_bytes()
    at = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    two_levels, one_level = b"\x26\x00\x02", b"\x16\x80\x02"
    assert two_levels in whole[at:]
    files[0].write_bytes(whole[:at] + whole[at:].replace(two_levels, one_level))
    try:
        [file, _] = committed.files("rows")
        assert examine(committed, file).fate in ("sound", "damaged", "foreign")
        with Reader(committed) as reader:
            assert reader.ask("SELECT repo FROM models").rows
    finally:
        files[0].write_bytes(whole)


OF_FOOTERS = [
    "Incorrect stats size for type BIGINT",  # a minimum of seven bytes
    "File is encrypted but no file crypto metadata is set",
]


@pytest.mark.parametrize("words", OF_FOOTERS)
def test_errors_of_a_footer_are_known_by_their_words(words: str) -> None:
    assert is_about_a_file(duckdb.InvalidInputException(words))
    assert not is_about_a_file(duckdb.InvalidInputException("Conversion Error"))


def test_a_terabyte_of_nothing_is_not_read(committed: CatalogStore, files: list[Path]) -> None:
    whole = files[0].read_bytes()
    at = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    with files[0].open("wb") as opened:
        opened.write(whole[:4])
        opened.seek(1 << 40)
        opened.write(whole[at:].replace(b"family", b"famill"))
    try:
        with Reader(committed) as reader:
            assert len(reader.ask("SELECT repo FROM models").rows) == 1
            assert [item.file.name for item in reader.left_out] == [files[0].name]
    finally:
        files[0].write_bytes(whole)


def test_what_the_survey_writes_is_of_the_kinds_that_are_known(files: list[Path]) -> None:
    whole = files[0].read_bytes()
    types, _, _ = schema_of(whole[-8 - int.from_bytes(whole[-8:-4], "little") : -8])
    assert "of another kind" not in str(types)
