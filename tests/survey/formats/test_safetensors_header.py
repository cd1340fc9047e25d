"""The header of a safetensors file: which bytes are one, and which are refused."""

import errno
import tempfile
from pathlib import Path

import pytest
from support.checkpoints import with_length

from survey.errors import BrokenFile, NotRunnable
from survey.formats import safetensors_header
from survey.formats.safetensors_header import REFERENCE_CAP_BYTES, Header, read_header
from survey.records.tensors import ByteRange, TensorSpec

WHERE = "org/name/w.safetensors"
GOOD = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'  # 57 bytes


def read(path: Path, content: bytes, size: int | None = None) -> tuple[Header, list[ByteRange]]:
    """The header of a real file with this content, and the ranges that were read for it."""
    path = path / "w.safetensors"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(len(content) if size is None else size)
    reads = []

    def read_range(span: ByteRange) -> bytes:
        reads.append(span)
        with path.open("rb") as file:
            file.seek(span.start)
            part = file.read(len(span))
        assert len(part) == len(span), "asked for bytes past the end of the file"
        return part

    return read_header(read_range, path.name, path.stat().st_size, WHERE), reads


# ---- what is a header


def test_a_header_says_where_its_tensors_lie_in_the_file(tmp_path: Path) -> None:
    text = (
        b'{"__metadata__":{"format":"pt"},'
        b'"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},'
        b'"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    )
    header, reads = read(tmp_path, with_length(text) + bytes(32))
    start = 8 + len(text)
    assert header == Header(
        "w.safetensors",
        start + 32,
        {
            "b": TensorSpec("b", "w.safetensors", "BF16", (4,), ByteRange(start + 24, start + 32)),
            "a": TensorSpec("a", "w.safetensors", "F32", (2, 3), ByteRange(start, start + 24)),
        },
        {"format": "pt"},
    )
    assert header.tensors["a"].row_bytes == 12
    assert reads == [ByteRange(0, start + 32)]


@pytest.mark.parametrize(
    ("text", "data_bytes", "names"),
    [
        pytest.param(b"{}", 0, [], id="no-tensors"),
        pytest.param(b'{"__metadata__":{"a":"b"}}', 0, [], id="metadata-alone"),
        pytest.param(GOOD + b"       ", 24, ["a"], id="padded-with-spaces"),
        pytest.param(b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4, ["a"], id="a-number"),
        pytest.param(b'{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}}', 0, ["a"], id="no-rows"),
        pytest.param(
            b'{"a":{"dtype":"F8_E8M0","shape":[3],"data_offsets":[0,3]}}', 3, ["a"], id="eight-bits"
        ),
        pytest.param(b'{"a":{"dtype":"F4","shape":[6],"data_offsets":[0,3]}}', 3, ["a"], id="four-bits"),
        pytest.param(
            b'{"a":{"dtype":"F128","shape":[6],"data_offsets":[0,7]},"b":{"dtype":"U8","shape":[3],"data_offsets":[7,10]}}',
            10,
            ["a", "b"],
            id="an-unknown-dtype",
        ),
        pytest.param(
            b'{"a":{"dtype":"int3_x2","shape":[0],"data_offsets":[0,0]}}', 0, ["a"], id="another-spelling"
        ),
        pytest.param(
            '{"Größe":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.encode(), 1, ["Größe"], id="utf-8"
        ),
    ],
)
def test_odd_but_valid_headers_are_read(
    tmp_path: Path, text: bytes, data_bytes: int, names: list[str]
) -> None:
    assert list(read(tmp_path, with_length(text) + bytes(data_bytes))[0].tensors) == names


@pytest.mark.parametrize(
    ("header_bytes", "reads"),
    [
        pytest.param(60_000, [(0, 65_536)], id="short"),
        pytest.param(65_536, [(0, 65_536)], id="just-fits"),
        pytest.param(65_537, [(0, 65_536), (65_536, 65_537)], id="one-byte-over"),
        pytest.param(300_000, [(0, 65_536), (65_536, 300_000)], id="long"),
    ],
)
def test_a_header_past_64_kib_is_read_in_two_reads(
    tmp_path: Path, header_bytes: int, reads: list[tuple[int, int]]
) -> None:
    text = GOOD.ljust(header_bytes - 8)
    content = with_length(text.replace(b"[2,3]", b"[250,100]").replace(b"24]", b"100000]")[: len(text)])
    header, made = read(tmp_path, content + bytes(100_000))
    assert made == [ByteRange(*pair) for pair in reads]
    assert header.tensors["a"].bytes == ByteRange(header_bytes, header_bytes + 100_000)


# ---- what is not


def tensor(dtype: bytes = b'"F32"', shape: bytes = b"[2,3]", offsets: bytes = b"[0,24]") -> bytes:
    return b'{"a":{"dtype":%s,"shape":%s,"data_offsets":%s}}' % (dtype, shape, offsets)


@pytest.mark.parametrize(
    ("text", "data_bytes", "problem"),
    [
        pytest.param(b"", 0, "is not JSON", id="length-0"),
        pytest.param(b"model", 24, "is not JSON", id="not-json"),
        pytest.param(GOOD[:-1], 24, "is not JSON", id="cut-json"),
        pytest.param(GOOD + b"}", 24, "is not JSON", id="more-than-json"),
        pytest.param(
            b'{"\xff":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            1,
            "is not UTF-8: invalid start byte at byte 2",
            id="not-utf-8",
        ),
        pytest.param(b"[]", 0, "header is a list, expected an object", id="a-list"),
        pytest.param(b"null", 0, "header is a NoneType, expected an object", id="null"),
        pytest.param(b'"a"', 0, "header is a str, expected an object", id="a-text"),
        pytest.param(
            b'{"a":[]}', 0, "a is [], expected dtype, shape and data_offsets", id="a-tensor-that-is-a-list"
        ),
        pytest.param(
            b'{"a":{}}', 0, "a is {}, expected dtype, shape and data_offsets", id="a-tensor-without-fields"
        ),
        pytest.param(
            b'{"__metadata__":{"a":1}}',
            0,
            "invalid type: integer `1`, expected a string",
            id="metadata-that-is-no-text",
        ),
        pytest.param(b"[" * 200_000, 0, "is not JSON", id="nested-too-deep"),
        pytest.param(
            tensor(dtype=b'"F128"'),
            23,
            "tensors end at byte 24 of the data, the file at 23",
            id="unknown-dtype-past-the-end",
        ),
        pytest.param(
            tensor(dtype=b'"F128"'),
            25,
            "tensors end at byte 24 of the data, the file at 25",
            id="unknown-dtype-before-the-end",
        ),
        pytest.param(
            tensor(dtype=b'"F128"', offsets=b"[24,0]"),
            24,
            "a's data_offsets are [24, 0]",
            id="unknown-dtype-backwards",
        ),
        pytest.param(
            tensor(dtype=b'"F128"', shape=b"[-2]"), 24, "a's shape is [-2]", id="unknown-dtype-of-no-shape"
        ),
        pytest.param(
            tensor(dtype=b'"F128"', shape=b"[9223372036854775809]"),
            24,
            "larger than any file",
            id="unknown-dtype-too-large",
        ),
        pytest.param(
            tensor(dtype=b'"F128"')[:-1] + b',"__metadata__":{"a":1}}',
            24,
            "invalid type: integer `1`",
            id="unknown-dtype-beside-broken-metadata",
        ),
        pytest.param(tensor(dtype=b'"F 1"'), 24, 'dtype is "F 1", expected one of', id="dtype-of-no-name"),
        pytest.param(
            tensor(dtype=b'"%s"' % (b"F" * 33)), 24, "expected one of the format's", id="dtype-of-a-long-name"
        ),
        pytest.param(tensor(dtype=b"32"), 24, "dtype is 32, expected one of", id="dtype-that-is-a-number"),
        pytest.param(
            tensor(shape=b"[-2,-3]"),
            24,
            "a's shape is [-2, -3], expected a list of lengths",
            id="negative-shape",
        ),
        pytest.param(
            tensor(shape=b"[2.0,3.0]"),
            24,
            "a's shape is [2.0, 3.0], expected a list of lengths",
            id="broken-shape",
        ),
        pytest.param(
            tensor(shape=b"[true,6]"),
            24,
            "a's shape is [true, 6], expected a list of lengths",
            id="shape-of-truths",
        ),
        pytest.param(
            tensor(shape=b"6"), 24, "a's shape is 6, expected a list of lengths", id="shape-that-is-a-number"
        ),
        pytest.param(
            tensor(shape=b"[4294967296,4294967296]"),
            24,
            "a's shape is [4294967296, 4294967296]: larger than any file",
            id="shape-past-64-bits",
        ),
        pytest.param(
            tensor(shape=b"[1" + b"0" * 5000 + b"]"),
            24,
            "is not JSON: Exceeds the limit",
            id="shape-of-5000-digits",
        ),
        pytest.param(
            tensor(shape=b"[2,2]"),
            24,
            "a has 24 bytes, F32 of shape [2, 2] needs 16",
            id="smaller-than-its-bytes",
        ),
        pytest.param(
            tensor(shape=b"[2,4]"),
            24,
            "a has 24 bytes, F32 of shape [2, 4] needs 32",
            id="larger-than-its-bytes",
        ),
        pytest.param(
            tensor(dtype=b'"BF16"'),
            24,
            "a has 24 bytes, BF16 of shape [2, 3] needs 12",
            id="dtype-against-bytes",
        ),
        pytest.param(
            tensor(dtype=b'"F4"', shape=b"[3]", offsets=b"[0,1]"),
            1,
            "a has 1 bytes, F4 of shape [3] needs 12 bits",
            id="half-a-byte",
        ),
        pytest.param(
            tensor(offsets=b"[24,0]"),
            24,
            "a's data_offsets are [24, 0], expected its start and its end",
            id="offsets-reversed",
        ),
        pytest.param(
            tensor(offsets=b"[-24,0]"),
            24,
            "a's data_offsets are [-24, 0], expected its start and its end",
            id="offsets-negative",
        ),
        pytest.param(
            tensor(offsets=b"[0,24,48]"),
            48,
            "a's data_offsets are [0, 24, 48], expected its start and its end",
            id="three-offsets",
        ),
        pytest.param(
            tensor(offsets=b"[8,32]"),
            32,
            "bytes 0 to 8 of the data belong to no tensor",
            id="hole-before-the-first",
        ),
        pytest.param(
            tensor(), 23, "tensors end at byte 24 of the data, the file at 23", id="offsets-past-the-end"
        ),
        pytest.param(
            tensor(), 25, "tensors end at byte 24 of the data, the file at 25", id="bytes-that-belong-to-none"
        ),
        pytest.param(tensor(), 0, "tensors end at byte 24 of the data, the file at 0", id="no-data"),
        pytest.param(
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
            6,
            "two tensors share the bytes 2 to 4 of the data",
            id="overlap",
        ),
        pytest.param(
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}',
            10,
            "bytes 4 to 6 of the data belong to no tensor",
            id="hole-between",
        ),
        pytest.param(
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
            8,
            "a is named twice",
            id="a-name-twice",
        ),
        pytest.param(
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
            4,
            "a is named twice",
            id="a-name-twice-over-the-same-bytes",
        ),
        pytest.param(
            b'{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
            4,
            "dtype is named twice",
            id="a-field-twice",
        ),
    ],
)
def test_a_header_that_contradicts_itself_or_its_file_is_refused(
    tmp_path: Path, text: bytes, data_bytes: int, problem: str
) -> None:
    with pytest.raises(BrokenFile) as caught:
        read(tmp_path, with_length(text) + bytes(data_bytes))
    assert (caught.value.reason, caught.value.where) == ("bad-header", WHERE)
    assert problem in caught.value.problem


@pytest.mark.parametrize("padding", [0, REFERENCE_CAP_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("noted", [b"5", b"1.5", b"true", b'"x"', b"[1]", b'{"x":["a"]}', b'{"x":{"a":"b"}}'])
def test_what_a_writer_noted_is_texts_or_is_refused(tmp_path: Path, noted: bytes, padding: int) -> None:
    text = b'{"__metadata__":' + noted + b"," + GOOD[1:] + b" " * padding
    with pytest.raises(
        BrokenFile, match=r"invalid type" if padding == 0 else "expected texts by name"
    ) as caught:
        read(tmp_path, with_length(text) + bytes(24))
    assert caught.value.reason == "bad-header"


@pytest.mark.parametrize("padding", [0, REFERENCE_CAP_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("noted", [b"{}", b"null", b'{"x":"a"}'])
def test_notes_are_read_in_a_header_of_any_length(tmp_path: Path, noted: bytes, padding: int) -> None:
    text = b'{"__metadata__":' + noted + b"," + GOOD[1:] + b" " * padding
    header, _ = read(tmp_path, with_length(text) + bytes(24))
    assert (list(header.tensors), header.metadata) == (["a"], {"x": "a"} if b"x" in noted else {})


@pytest.mark.parametrize(
    ("content", "size", "problem"),
    [
        pytest.param(b"", 0, "file has 0 bytes, expected at least 8", id="empty-file"),
        pytest.param(b"\x39\0\0\0\0\0\0", 7, "file has 7 bytes, expected at least 8", id="cut-length"),
        pytest.param(
            with_length(GOOD)[:40],
            40,
            "header length is 57, expected at most 32 in a file of 40 bytes",
            id="cut-header",
        ),
        pytest.param(
            b"\xff" * 8,
            80,
            "header length is 18,446,744,073,709,551,615, expected at most 72 in a file of 80 bytes",
            id="length-past-the-file",
        ),
        pytest.param(
            (100_000_001).to_bytes(8, "little"),
            200_000_000,
            "has a header of 100,000,001 bytes, expected at most 67,108,864, our cap",
            id="length-past-the-formats-limit",
        ),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n",
            70,
            "is a Git LFS pointer, not the file of 12,345 bytes itself → fetch it with `git lfs pull`",
            id="a-pointer-to-git-lfs",
        ),
        pytest.param(
            b"<!DOCTYPE html><html></html>", 28, "expected at most 20 in a file of 28 bytes", id="a-web-page"
        ),
    ],
)
def test_a_length_that_cannot_be_is_refused_before_the_header_is_read(
    tmp_path: Path, content: bytes, size: int, problem: str
) -> None:
    with pytest.raises(BrokenFile) as caught:
        read(tmp_path, content, size)
    assert (caught.value.reason, caught.value.where) == ("bad-header", WHERE)
    assert problem in str(caught.value)


@pytest.mark.parametrize("left", [56, 64, 65, 66, 88])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, left: int) -> None:
    whole = with_length(GOOD) + bytes(24)
    assert read(tmp_path, whole)[0].tensors.keys() == {"a"}
    with pytest.raises(BrokenFile, match=r"org/name/w\.safetensors: ") as caught:
        read(tmp_path, whole[:left])
    assert caught.value.reason == "bad-header"


LACKS = {
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
    "no temporary folder": FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    "a limit of files' sizes": OSError(errno.EFBIG, "File too large"),
    "a limit of addresses": OSError("Cannot allocate memory (os error 12)"),
    "too many open files": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.mark.parametrize("call", ["NamedTemporaryFile", "safe_open"])
@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS)
def test_a_machine_that_cannot_check_a_header_does_not_blame_the_file(
    lack: OSError, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise lack

    module = tempfile if call == "NamedTemporaryFile" else safetensors_header
    monkeypatch.setattr(module, call, fail)
    with pytest.raises(NotRunnable) as refused:
        read(tmp_path, with_length(GOOD) + bytes(24))
    assert refused.value.reason == "infeasible"
    assert any(word in refused.value.remedy for word in ("TMPDIR", "ulimit", "limits"))
