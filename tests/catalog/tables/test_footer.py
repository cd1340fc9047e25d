"""Whatever bytes stand where a footer should be, they are read or refused, in bounded time and memory."""

from __future__ import annotations

import random
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.files import ROWS
from catalog.tables.footer import schema_of
from catalog.tables.thrift import MalformedFooter, StrangeFooter
from catalog.tables.versions import file_schema

BEGIN = bytes.fromhex("15 04 19")  # a version, and a list follows
# As thrift's compact protocol writes them: a list of one node, with what stands in it.
REFUSED = {
    "children below none": BEGIN + bytes.fromhex("1c 48 01 61 15 01 00 16 02"),
    "a list as the physical type": BEGIN + bytes.fromhex("2c 48 01 61 15 02 00 19 15 02 38 01 61 00 16 02"),
    "a truth as the number of children": BEGIN + bytes.fromhex("1c 48 01 61 11 00 16 02"),
    "nothing": b"",
}


@pytest.fixture(scope="module")
def footer() -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(file_schema(ROWS).empty_table(), out)
    content = bytes(out.getvalue())
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_is_no_footer_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedFooter):
        schema_of(content)


def test_bytes_that_changed_are_read_or_refused(footer: bytes) -> None:
    assert schema_of(footer)[0]
    chance = random.Random(7)
    _, end, _ = schema_of(footer)
    refused, began = 0, time.monotonic()
    for _ in range(1000):
        changed = bytearray(footer)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(end)] = chance.randrange(256)
        try:
            schema_of(bytes(changed))
        except MalformedFooter:
            refused += 1
        if time.monotonic() - began > 20:
            break
    assert refused


def test_few_bytes_do_not_become_many_values() -> None:
    list_of_truths = bytes.fromhex("f1 8f 4e")  # 9,999 of them
    content = BEGIN + bytes.fromhex("1c") + b"\x19" + list_of_truths * 9000
    began = time.process_time()
    with pytest.raises(MalformedFooter):
        schema_of(content)
    assert time.process_time() - began < 2
    fields = b"".join(b"\x19" + list_of_truths + bytes(9999) for _ in range(40))
    with pytest.raises(StrangeFooter, match="values"):
        schema_of(BEGIN + bytes.fromhex("1c") + fields)
