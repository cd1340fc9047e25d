"""Headers of GGUF files: what the format allows is read by range, what contradicts itself is refused by name."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from support.gguf_models import (
    ARRAY,
    U64,
    GgmlTensor,
    Typed,
    cloud,
    coded,
    gguf_file,
    header,
    numbers,
    strings,
    text,
)

from survey.errors import BrokenFile
from survey.formats.gguf_header import GgufHeader, read_gguf
from survey.records.tensors import ByteRange

EMBEDDING = coded(cloud(), "Q8_0")
TENSORS = {"token_embd.weight": EMBEDDING, "output_norm.weight": GgmlTensor(0, (64,), bytes(256))}
VALUES = {
    "general.architecture": "llama",
    "llama.embedding_length": 64,
    "tokenizer.ggml.tokens": strings(*(f"t{number}" for number in range(40))),
    "tokenizer.ggml.token_type": numbers(5, *([1] * 40)),
    "tokenizer.chat_template": "x" * 10_000,
    "general.quantised": True,
    "some.number": 0.5,
}
WHOLE = gguf_file(TENSORS, VALUES)


def parsed(content: bytes, size: int | None = None) -> tuple[GgufHeader, list[ByteRange]]:
    """The header, and the ranges that were read."""
    ranges: list[ByteRange] = []

    def read(byte_range: ByteRange) -> bytes:
        assert 0 <= byte_range.start <= byte_range.stop <= (size or len(content))
        ranges.append(byte_range)
        return content[byte_range.start : byte_range.stop].ljust(len(byte_range), b"\0")

    return read_gguf(read, "m.gguf", size or len(content), "org/model/m.gguf"), ranges


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_tensors_and_values_are_read(version: int, alignment: int) -> None:
    whole = gguf_file(TENSORS, VALUES, version=version, alignment=alignment)
    read = parsed(whole)[0]
    embedding = read.header.tensors["token_embd.weight"]
    assert (embedding.dtype, embedding.shape) == ("Q8_0", (40, 64))
    assert whole[embedding.bytes.start : embedding.bytes.stop] == EMBEDDING.data
    assert read.values.scalars["llama.embedding_length"] == 64
    assert read.values.scalars["general.quantised"] is True
    tokens = read.values.arrays["tokenizer.ggml.tokens"]
    assert tokens.count == 40
    assert whole[tokens.bytes.start : tokens.bytes.stop] == b"".join(text(f"t{n}") for n in range(40))


def test_a_long_header_is_read_in_pieces_and_none_of_them_twice() -> None:
    tokens = strings(*(f"token {number}".ljust(40) for number in range(150_000)))
    whole = gguf_file(TENSORS, {"general.architecture": "llama", "tokenizer.ggml.tokens": tokens})
    tracemalloc.start()
    read, ranges = parsed(whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.values.arrays["tokenizer.ggml.tokens"].count == 150_000
    assert len(ranges) < 6
    assert sum(map(len, ranges)) <= len(whole) + (5 << 20)
    assert peak < 20 << 20


def entries(*listed: tuple[str, int, tuple[int, ...], int]) -> bytes:
    return header(listed, {"general.architecture": "llama"})


def keys(**values: object) -> bytes:
    return header([], values)  # type: ignore[arg-type]


def raw(keys: int, tail: bytes, tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + tail


REFUSED = {
    "an empty file": (b"", "announces 4 bytes more"),
    "another magic": (b"GGML" + WHOLE[4:], "begins with b'GGML'"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\nsize 12345678\n",
        "Git LFS pointer",
    ),
    "version 1": (b"GGUF" + struct.pack("<I", 1) + WHOLE[8:], "is of version 1, expected 2 or 3"),
    "a later version": (b"GGUF" + struct.pack("<I", 4) + WHOLE[8:], "is of version 4"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + WHOLE[8:], "version 3 in big-endian"),
    "more keys than bytes": (raw(1 << 40, b""), "announces 1,099,511,627,776 keys"),
    "more tensors than bytes": (raw(0, b"", 1 << 40), "announces 1,099,511,627,776 tensors"),
    "a key longer than the file": (raw(1, struct.pack("<Q", 60_000)), "announces 60,000 bytes more"),
    "a key of 2^63 bytes": (raw(1, struct.pack("<Q", 1 << 63)), "a key has 9,223,372,036,854,775,808 bytes"),
    "a text longer than the file": (raw(1, text("k") + struct.pack("<IQ", 8, 1 << 62)), "bytes more"),
    "a key that is no text": (raw(1, text(b"\xff\xfe") + struct.pack("<II", 4, 0)), "a key is not UTF-8"),
    "a key twice": (raw(2, (text("k") + struct.pack("<II", 4, 0)) * 2), "the key k stands there twice"),
    "a value of no type": (raw(1, text("k") + struct.pack("<I", 13)), "has type 13"),
    "an array of no type": (raw(1, text("k") + struct.pack("<IIQ", 9, 77, 0)), "elements of type 77"),
    "an array longer than the file": (raw(1, text("k") + struct.pack("<IIQ", 9, 10, 1 << 61)), "bytes more"),
    "texts longer than the file": (raw(1, text("k") + struct.pack("<IIQ", 9, 8, 1 << 60)), "bytes more"),
    "arrays in arrays": (raw(1, text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 20), "8 deep"),
    "many arrays in an array": (
        raw(1, text("k") + struct.pack("<IIQ", 9, 9, 1 << 40) + struct.pack("<IQ", 9, 0) * 70_000),
        "has more than 65,536 arrays",
    ),
    "keys of 20 MB": (
        raw(400, b"".join(text(f"{n:050000}") + struct.pack("<IB", 0, 1) for n in range(400))),
        "keys, names and short texts of more than 16,777,216 bytes",
    ),
    "texts of 20 MB": (
        raw(5000, b"".join(text(f"{n}") + struct.pack("<I", 8) + text("x" * 4_000) for n in range(5_000))),
        "keys, names and short texts of more than 16,777,216 bytes",
    ),
    "an offset that is not aligned": (
        entries(("a", 0, (8,), 0), ("b", 0, (8,), 48)) + bytes(512),
        "b lies at byte 48 of the data, no multiple of 32",
    ),
    "alignment 0": (keys(**{"general.alignment": 0}), "general.alignment is 0"),
    "alignment 24": (keys(**{"general.alignment": 24}), "general.alignment is 24"),
    "alignment as a text": (keys(**{"general.alignment": "32"}), "general.alignment is '32'"),
    "no dimensions": (entries(("a", 0, (), 0)), "a has 0 dimensions"),
    "five dimensions": (entries(("a", 0, (1, 1, 1, 1, 1), 0)), "a has 5 dimensions"),
    "a shape larger than any file": (entries(("a", 0, (1 << 40, 1 << 40), 0)), "larger than any file"),
    "rows of broken blocks": (entries(("a", 8, (4, 33), 0)), "whole blocks of 32"),
    "a tensor beyond the end": (entries(("a", 0, (1 << 20, 1 << 10), 0)), "a ends at byte"),
    "an offset beyond the end": (entries(("a", 0, (4,), 1 << 62)), "a ends at byte"),
    "tensors that overlap": (
        entries(("a", 0, (4, 8), 0), ("b", 0, (8,), 32)) + bytes(512),
        "b and a share bytes",
    ),
    "a name twice": (entries(("a", 0, (8,), 0), ("a", 0, (8,), 32)) + bytes(512), "a tensor is named twice"),
    "a name of two thousand letters": (
        entries(("a" * 2000, 0, (8,), 0)) + bytes(512),
        "name has 2,000 bytes",
    ),
    "cut within the header": (WHOLE[:300], "announces"),
    "cut within the data": (WHOLE[:-300], "ends at byte"),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_header_that_contradicts_itself_is_refused_by_name(content: bytes, problem: str) -> None:
    with pytest.raises(BrokenFile, match=problem) as caught:
        parsed(content)
    assert (caught.value.reason, caught.value.where) == ("bad-header", "org/model/m.gguf")


def test_a_type_of_elements_that_nobody_knows_stands_in_the_way_of_no_other_tensor() -> None:
    tensors = {"new": GgmlTensor(99, (4, 7), bytes(64)), **TENSORS}
    read = parsed(gguf_file(tensors))[0].header.tensors
    assert (read["new"].dtype, read["new"].shape) == ("ggml type 99", (4, 7))
    assert read["token_embd.weight"].dtype == "Q8_0"


def test_a_header_beyond_the_limit_is_not_read_to_its_end() -> None:
    announced = raw(1, text("k") + struct.pack("<IIQ", ARRAY, 0, 1 << 40))
    with pytest.raises(BrokenFile, match="of which we read at most that much"):
        parsed(announced, size=1 << 42)


def test_of_a_file_without_a_vocabulary_little_is_read() -> None:
    layers = {f"blk.{number}.w": GgmlTensor(0, (8,), bytes(32)) for number in range(6_000)}
    whole = gguf_file({**layers, "output.weight": GgmlTensor(0, (64, 4096), bytes(1 << 20))}, {"split.no": 1})
    ranges: list[ByteRange] = []

    def read(byte_range: ByteRange) -> bytes:
        ranges.append(byte_range)
        return whole[byte_range.start : byte_range.stop]

    tensors = read_gguf(read, "m.gguf", len(whole), "m", first_bytes=1 << 16).header.tensors
    assert (len(tensors), len(ranges)) == (6_001, 3)
    assert sum(map(len, ranges)) < 1 << 19 < len(whole)


def test_a_value_of_64_bits_is_read() -> None:
    read = parsed(keys(number=Typed(U64, 1 << 63)))[0]
    assert read.values.scalars == {"number": 1 << 63}


def test_thousands_of_mutated_headers_are_read_or_refused() -> None:
    """The examples are the same in every run; the memory of all together stays small."""
    dice, bounds = random.Random(11), len(WHOLE) - len(EMBEDDING.data)
    outcomes = {"read": 0, "bad-header": 0}
    tracemalloc.start()
    for _ in range(3_000):
        content = bytearray(WHOLE)
        for _ in range(dice.choice((1, 1, 2, 8))):
            at = dice.randrange(bounds)
            content[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            parsed(bytes(content[: dice.randrange(len(content))] if dice.random() < 0.1 else content))
            outcomes["read"] += 1
        except BrokenFile as error:
            outcomes[error.reason] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert min(outcomes.values()) > 300
    assert peak < 64 << 20
