"""Indexes and headers of the largest models: read member by member, in bounded memory, as strictly as small ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import CONFIG, INDEX, safetensors, stored, with_length, write

import survey
from survey.checkpoints.checkpoint import INDEX_CAP_BYTES
from survey.errors import BrokenFile
from survey.formats.bounded_json import VALUES_CAP, fits
from survey.formats.json_stream import ENTRY_VALUES_CAP, MEMBERS_CAP, members
from survey.formats.name_kinds import KEPT_OF_A_KIND, KINDS_CAP, Kinds
from survey.formats.safetensors_header import HEADER_CAP_BYTES, Header, parse_header

WHERE = "org/model/x.json"
HEAD, EMBEDDING = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"


def read(text: bytes, within: str | None = "weight_map") -> dict[str, Any]:
    return dict(members(text, 0, within, "index-mismatch", WHERE))


@pytest.mark.parametrize(
    ("text", "within", "expected"),
    [
        pytest.param(b'{"weight_map": {"a": "b", "c": "d"}}', "weight_map", {"a": "b", "c": "d"}, id="index"),
        pytest.param(
            b'{"x": [1, {"weight_map": {"a": "b"}}], "weight_map": {"c": "d"}, "y": null} ',
            "weight_map",
            {"c": "d"},
            id="among-others",
        ),
        pytest.param(b'{"weight_map": ["a"]}', "weight_map", {}, id="a-list"),
        pytest.param(b'{"y": 1}', "weight_map", {}, id="none"),
        pytest.param(
            b'{"a": {"shape": [1, 2.5], "x": {"y": [true, null]}}, "\xc3\xbc": -3}',
            None,
            {"a": {"shape": [1, 2.5], "x": {"y": [True, None]}}, "ü": -3},
            id="nested",
        ),
    ],
)
def test_members_are_read_as_json_has_them(text: bytes, within: str | None, expected: dict[str, Any]) -> None:
    assert read(text, within) == expected
    assert all(type(value) is type(expected[name]) for name, value in read(text, within).items())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"", "is not JSON", id="empty"),
        pytest.param(b"[]", "holds no object", id="a-list"),
        pytest.param(b'{"weight_map": {"a": "b"}', "is not JSON: parse error: premature EOF", id="cut"),
        pytest.param(b'{"weight_map": {"a": "b"}} x', "trailing garbage", id="something-behind"),
        pytest.param(b'{"weight_map": {"\xff": "b"}}', "invalid bytes in UTF8", id="latin-1"),
        pytest.param(b'{"weight_map": {"a": NaN}}', "invalid char", id="no-number"),
        pytest.param(b'{"weight_map": {"a": ' + b"1" * 5000 + b"}}", "is not JSON", id="5000-digits"),
        pytest.param(
            b'{"weight_map": {"a": "b", "c": "d", "a": "b"}}', "a is named twice", id="a-name-twice"
        ),
        pytest.param(b'{"weight_map": {"a": "b", "\\u0061": "b"}}', "a is named twice", id="escaped"),
        pytest.param(b'{"weight_map": {}, "weight_map": {}}', "weight_map is named twice", id="two-maps"),
        pytest.param(b'{"weight_map": {"a": {"b": 1, "b": 1}}}', "b is named twice", id="within"),
        pytest.param(b'{"weight_map": {"a": ' + b"[" * 99, "a holds more than", id="deep"),
        pytest.param(b'{"x": ' + b"[" * 250_000, "holds more than 200,000 values beside", id="deep-beside"),
        pytest.param(
            b'{"weight_map": {"a": [' + b"1," * ENTRY_VALUES_CAP + b"1]}}",
            "a holds more than 4,096",
            id="long",
        ),
        pytest.param(
            b'{"weight_map": {"' + b"x" * (2 << 20) + b'": 1}}', "a single text of more", id="a-text"
        ),
    ],
)
def test_what_is_none_is_refused_in_words(text: bytes, problem: str) -> None:
    with pytest.raises(BrokenFile) as caught:
        read(text)
    assert (caught.value.reason, caught.value.where) == ("index-mismatch", WHERE)
    assert problem in caught.value.problem


def test_names_that_differ_in_numbers_alone_are_kept_so_many_times() -> None:
    kinds = Kinds("bad-header", WHERE)
    names = [f"layers.{layer}.experts.{expert}.w1" for layer in range(60) for expert in range(60)]
    kept = [name for name in names if kinds.keep(name)]
    assert (len(kept), kinds.left_out) == (KEPT_OF_A_KIND, 3600 - KEPT_OF_A_KIND)
    assert all(map(kinds.keep, ("lm_head.weight", "lm_head.0.weight", "layers.0.experts.0.w2")))


# ---- what the largest models have


def experts(count: int) -> list[str]:
    return [
        f"model.layers.{n % 93}.block_sparse_moe.experts.{n // 93}.w1.weight_packed" for n in range(count)
    ]


def header(names: list[str], metadata: dict[str, str] | None = None) -> bytes:
    """Of tensors of two bytes each, one after another."""
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    for at, name in enumerate(names):
        entries[name] = {"dtype": "BF16", "shape": [1, 1], "data_offsets": [2 * at, 2 * at + 2]}
    return with_length(json.dumps(entries).encode())


def test_an_index_of_half_a_million_tensors_is_read(tmp_path: Path) -> None:
    head, embedding = stored(6, 4), stored(6, 4, seed=1)
    shards = [f"model-{number:06}-of-000096.safetensors" for number in range(1, 97)]
    weight_map = {name: shards[n % 96] for n, name in enumerate(experts(497_220))}
    weight_map |= {HEAD: shards[95], EMBEDDING: shards[0]}
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()
    assert not fits(index)
    config = CONFIG | {"tie_word_embeddings": False}
    write(
        tmp_path,
        {
            "config.json": json.dumps(config).encode(),
            INDEX: index,
            shards[0]: safetensors({EMBEDDING: embedding}),
            shards[95]: safetensors({HEAD: head}),
        },
    )
    matrix = survey.open_matrix(tmp_path)
    assert (matrix.target.identity.tensor, matrix.target.identity.tied) == (HEAD, False)
    assert b"".join(map(bytes, matrix.blocks())) == head.data


def parsed(text: bytes, tensors: int) -> Header:
    return parse_header(text, "w.safetensors", len(text) + 2 * tensors, WHERE)


def test_a_header_of_a_hundred_thousand_tensors_is_read() -> None:
    text = header([*experts(100_000), HEAD], {"format": "pt"})
    members = parsed(text, 100_001)
    assert members.left_out == 100_000 - KEPT_OF_A_KIND
    assert members.metadata == {"format": "pt"}
    assert members.tensors[HEAD].bytes.start == len(text) + 200_000
    small = parsed(header([*experts(20), HEAD]), 21)
    assert members.tensors[experts(1)[0]].shape == small.tensors[experts(1)[0]].shape


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param(b"[2, 4]", b"[2, 5]", "has 3 bytes, BF16 of shape [1, 1] needs 2", id="a-size"),
        pytest.param(b"[2, 4]", b"[4, 6]", "bytes 2 to 4 of the data belong to no tensor", id="a-gap"),
        pytest.param(b"[2, 4]", b"[0, 2]", "two tensors share the bytes 0 to 2", id="an-overlap"),
        pytest.param(
            b"[2, 4]", b"[9999999999998, 10000000000000]", "tensors end at byte", id="past-the-file"
        ),
        pytest.param(b'"BF16"', b'"BF 17"', "BF 17", id="a-dtype"),
        pytest.param(b"w1.weight_packed", b"w2.weight_packed", "is named twice", id="a-name-twice"),
    ],
)
def test_a_large_header_is_checked_as_a_small_one_is(old: bytes, new: bytes, problem: str) -> None:
    names = [*experts(70_000), experts(1)[0].replace("w1", "w2")]
    text = header(names)
    assert not fits(text)
    broken = text.replace(old, new, 1)
    broken = with_length(broken[8:])
    with pytest.raises(BrokenFile) as caught:
        parsed(broken, len(names))
    assert (caught.value.reason, problem in caught.value.problem) == ("bad-header", True), (
        caught.value.problem
    )


def test_a_large_header_may_hold_a_dtype_that_nobody_knows() -> None:
    names = experts(70_000)
    text = header(names).replace(b'"BF16"', b'"BF17"', 1)
    assert not fits(text)
    assert "BF17" in {spec.dtype for spec in parsed(text, len(names)).tensors.values()}


@pytest.mark.parametrize(
    ("size", "problem"),
    [(INDEX_CAP_BYTES + 1, "expected at most 100,663,296 → write the model's name, a colon and the file")],
)
def test_a_cap_that_is_passed_says_how_to_go_on(size: int, problem: str, tmp_path: Path) -> None:
    write(tmp_path, {"config.json": b"{}", INDEX: b"{}"})
    os.truncate(tmp_path / INDEX, size)
    with pytest.raises(BrokenFile) as caught:
        survey.open_matrix(tmp_path)
    assert caught.value.reason == "index-mismatch"
    assert problem in str(caught.value)


# ---- what hostile ones may cost


def spelled(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def long_names(count: int, length: int) -> bytes:
    """Names of as many kinds, with a wide character each: so every letter takes four bytes in memory."""
    return ",".join(
        f'"{"x" * length}😀{spelled(number)}":"s.safetensors"' for number in range(count)
    ).encode()


def kinds(count: int) -> bytes:
    """Six names of each kind."""
    names = (f"{spelled(number // 6)}.{number % 6}" for number in range(6 * count))
    return ",".join(f'"{name}":"s.safetensors"' for name in names).encode()


def many(count: int) -> bytes:
    return b",".join(b'"layers.%d.w":"s.safetensors"' % number for number in range(count))


def index_of(content: bytes) -> bytes:
    return b'{"weight_map": {' + content + b"}}"


ROOM = INDEX_CAP_BYTES - 100
BOMBS: dict[str, Callable[[], bytes]] = {
    "as many tensors as are read": lambda: index_of(many(MEMBERS_CAP)),
    "more tensors": lambda: index_of(many(MEMBERS_CAP + 1)),
    "as many kinds as are kept": lambda: index_of(kinds(KINDS_CAP)),
    "more kinds": lambda: index_of(kinds(KINDS_CAP + 1)),
    "long names": lambda: index_of(long_names(ROOM // 1100, 1000)),
    "names of a megabyte": lambda: index_of(long_names(ROOM // (1 << 20), (1 << 20) - 100)),
    "a long text": lambda: index_of(b'"' + b"x" * ROOM + b'":"s.safetensors"'),
    "a long text of quotes": lambda: index_of(b'"' + b'\\"' * (ROOM // 2) + b'":"s.safetensors"'),
    "lists beside the map": lambda: b'{"x": [' + b"[]," * (ROOM // 3) + b"0]}",
    "members beside the map": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(VALUES_CAP + 2)) + b"}",
    "lists in lists": lambda: b'{"x": ' + b"[" * ROOM,
    "a list in the map": lambda: index_of(b'"a": [' + b"1," * (ROOM // 2 - 10) + b"1]"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much memory the process holds")
@pytest.mark.parametrize("name", BOMBS)
def test_no_index_takes_more_than_256_mb(name: str, tmp_path: Path) -> None:
    bomb = BOMBS[name]()
    assert len(bomb) <= INDEX_CAP_BYTES
    write(tmp_path, {"config.json": b"{}", INDEX: bomb})
    program = f"""
import resource, sys
from pathlib import Path
from survey.errors import SurveyError
from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.weight_index import read_weight_map
checkpoint = FolderCheckpoint(Path(sys.argv[1]))
room = int(open("/proc/self/statm").read().split()[0]) * 4096 + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    weight_map = read_weight_map(checkpoint, {INDEX!r}, "")
    print(len(weight_map.file_of) + weight_map.left_out)
except SurveyError as error:
    print(error.reason)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    counts = {
        "as many tensors as are read": f"{MEMBERS_CAP}\n",
        "as many kinds as are kept": f"{6 * KINDS_CAP}\n",
    }
    assert ran.stdout == counts.get(name, "index-mismatch\n")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much memory the process holds")
def test_no_header_takes_more_than_256_mb(tmp_path: Path) -> None:
    text = header(experts(480_000))
    assert HEADER_CAP_BYTES > len(text) > HEADER_CAP_BYTES * 0.9
    assert text.count(b",") > VALUES_CAP
    (tmp_path / "w.safetensors").write_bytes(text + bytes(2 * 480_000))
    program = """
import resource, sys
from pathlib import Path
from survey.checkpoints.folder import FolderCheckpoint
from survey.formats.safetensors_header import read_header
checkpoint = FolderCheckpoint(Path(sys.argv[1]))
room = int(open("/proc/self/statm").read().split()[0]) * 4096 + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
name, size = "w.safetensors", checkpoint.files["w.safetensors"]
print(read_header(lambda span: checkpoint.read_range(name, span), name, size, "here").left_out)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert int(ran.stdout) == 480_000 - KEPT_OF_A_KIND
