"""Values of a catalog are foreign: no text steers the terminal or is markup, and none prevents a page."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from support.deliveries import ON_CPU, delivered

from catalog.files import ATTEMPTS
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore, open_for_writing
from catalog.tables.versions import file_schema
from catalog.write.commit import commit, commit_attempts
from jobs.demo.checkpoints import write
from jobs.single_results.spectrum import commit_spectrum
from queries.library import load
from queries.text.card import print_card, save_card
from queries.text.render import short
from queries.text.status import COUNTS, print_status
from queries.web.report import Heading, build_report
from survey.records.target import ModelRef
from tests.conftest import little

TEXT = "[/x][link=http://e]</script><script>\x1b]0;title\x07\u202e[red]"


def _with_text(table: pa.Table, kept: tuple[str, ...]) -> pa.Table:
    """The table with this text in every column of texts but some."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) and field.name not in kept:
            table = table.set_column(index, field, pa.array([TEXT] * len(table)))
    return table


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> CatalogStore:
    """One measured row, and one failed attempt for a reason that nobody knows."""
    folder = tmp_path_factory.mktemp("texts")
    store = open_for_writing(str(folder / "catalog"))
    write(little("model"), folder / "model")
    commit(store, delivered(folder / "model").tables)
    [rows] = [Path(file.path) for file in store.files("rows")]
    pq.write_table(_with_text(pq.read_table(rows), ("sha", "matrix")), rows)
    schema = file_schema(ATTEMPTS)
    known = {"status": "failed", "finished_at": datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None)}
    empty = pa.Table.from_pylist([{name: known.get(name) for name in schema.names}], schema)
    commit_attempts(store, "20260102T030405", _with_text(empty, ("status", "pattern")))
    return store


PRINTED: dict[str, Callable[[Reader, Console], None]] = {
    "status": lambda reader, console: print_status(reader, TEXT, console),
    "card": lambda reader, console: print_card(reader, TEXT, console),
}


@pytest.mark.parametrize("show", PRINTED.values(), ids=PRINTED)
def test_what_is_printed_of_them_is_spelled_out(
    hostile: CatalogStore, show: Callable[[Reader, Console], None]
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=1000, color_system=None)
    with Reader(hostile) as reader:
        show(reader, console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "[link=http://e]" in printed
    assert not [sign for sign in ("\x1b]", "\x07", "\u202e") if sign in printed]


def test_a_page_is_made_of_them(hostile: CatalogStore) -> None:
    with Reader(hostile) as reader:
        page = build_report(reader, Heading(TEXT, "0"), 10, lambda _: None)
    assert "of a later version of this program" in page
    assert "</script><script>\x1b" not in page


def test_a_person_sees_the_head_of_a_long_text() -> None:
    assert short("x" * 10_000) == "x" * 10_000
    assert short("\x1b" * 3_000_000) == "\\u001b" * 10_000 + "…"
    assert short(["x" * 10_001]) == f"[{'x' * 10_000}…]"


# By the type of a column.
NUMBERS: dict[str, Callable[[pa.DataType], float | int | None]] = {
    "none": lambda kind: None,
    "nan": lambda kind: math.nan if pa.types.is_floating(kind) else 2 ** (kind.bit_width - 1) - 1,
    "infinity": lambda kind: math.inf if pa.types.is_floating(kind) else 2 ** (kind.bit_width - 1) - 1,
    "minus-infinity": lambda kind: -math.inf if pa.types.is_floating(kind) else -(2 ** (kind.bit_width - 1)),
    "least": lambda kind: -3e38 if pa.types.is_floating(kind) else -1,
}


def _with_number(table: pa.Table, number: Callable[[pa.DataType], float | int | None]) -> pa.Table:
    """The table with this number in every column of numbers and list of them; if it is none, no text, too."""
    for index, field in enumerate(table.schema):
        is_text = pa.types.is_string(field.type) and field.name not in ("repo", "sha", "matrix", "result_key")
        is_number = _has_numbers(field.type) and field.name != "exponents_all"  # others are compared with it
        if is_number or (is_text and number is NUMBERS["none"]):
            values = [_forged(value, field.type, number) for value in table[field.name].to_pylist()]
            table = table.set_column(index, field, pa.array(values, field.type))
    return table


def _has_numbers(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_struct(kind):
        return any(_has_numbers(kind.field(index).type) for index in range(kind.num_fields))
    return pa.types.is_floating(kind) or pa.types.is_signed_integer(kind)


def _forged(value: Any, kind: pa.DataType, number: Callable[[pa.DataType], float | int | None]) -> Any:
    """The value with this number in the place of each of its numbers."""
    if pa.types.is_list(kind):
        return value and [_forged(item, kind.value_type, number) for item in value]
    if pa.types.is_struct(kind):
        fields = [kind.field(index) for index in range(kind.num_fields)]
        return value and {field.name: _forged(value[field.name], field.type, number) for field in fields}
    return (
        number(kind)
        if _has_numbers(kind) or (pa.types.is_string(kind) and number is NUMBERS["none"])
        else value
    )


def test_rows_of_impossible_numbers_stop_no_answer(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    for name in ("good", *NUMBERS):
        write(little(name), tmp_path / name)
        commit(store, delivered(tmp_path / name).tables)
        model = ModelRef(str(tmp_path / name), folder=tmp_path / name)
        commit_spectrum(model, "output", ON_CPU, store, lambda matrix: lambda count: None)
    for name, number in NUMBERS.items():
        for folder in ("rows", "tokens", "spectra"):
            [path] = [Path(file.path) for file in store.files(folder) if f"--{name}@" in file.name]
            pq.write_table(_with_number(pq.read_table(path), number), path)
    console = Console(file=io.StringIO())
    with Reader(store) as reader:
        page = build_report(reader, Heading("", "0"), 10, lambda _: None)
        print_status(reader, "", console)
        assert reader.ask(COUNTS).rows[0][4] is None  # their sum is beyond what it is counted in
        for name in ("good", *NUMBERS):
            assert f"/{name}" in page
            print_card(reader, str(tmp_path / name), console)
            save_card(reader, str(tmp_path / name), tmp_path / "card.svg")
        for query in load().values():
            if None not in query.parameters.values():
                assert reader.ask(query.sql, query.bind({})).names
        assert not reader.left_out
