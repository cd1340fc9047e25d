"""JSON from outside: what is refused before it is parsed, and what parsing the rest may cost."""

import subprocess
import sys
from pathlib import Path

import pytest

from survey.errors import BrokenFile
from survey.formats.bounded_json import TEXT_CAP_BYTES, VALUES_CAP, WIDE_CAP_BYTES, parse_json

WHERE = "org/model/x.json"


def refusal(text: bytes) -> str:
    with pytest.raises(BrokenFile) as caught:
        parse_json(text, "index-mismatch", WHERE)
    assert (caught.value.reason, caught.value.where) == ("index-mismatch", WHERE)
    return caught.value.problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\xc3\xbc"]}', {"a": [1, 2.5, None, True, "ü"]}),
        (b" [] ", []),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_json_is_json(text: bytes, value: object) -> None:
    assert parse_json(text, "bad-header", WHERE) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"", "is not JSON: Expecting value", id="empty"),
        pytest.param(b"{'a': 1}", "is not JSON: Expecting property name", id="python"),
        pytest.param(b'"\xff"', "is not UTF-8: invalid start byte at byte 1", id="latin-1"),
        pytest.param('{"a": 1}'.encode("utf-16"), "is not UTF-8", id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{}", "is not JSON: Unexpected UTF-8 BOM", id="a-byte-order-mark"),
        pytest.param(b"[" * 100_000, "nested too deep", id="lists-in-lists"),
        pytest.param(b'{"a":' * 100_000, "nested too deep", id="objects-in-objects"),
        pytest.param(b"1" * 5000, "is not JSON: Exceeds the limit", id="a-number-of-5000-digits"),
        pytest.param(b'{"a": 1, "b": 2, "a": 3}', "a is named twice", id="a-name-twice"),
        pytest.param(b'{"b": {"a": 1, "a": 1}}', "a is named twice", id="a-name-twice-within"),
        pytest.param(
            b"[" + b"0," * 500_000 + b"0]", "holds about 500,001 values, expected at most", id="many"
        ),
    ],
)
def test_what_is_none_is_refused_in_words(text: bytes, problem: str) -> None:
    assert problem in refusal(text)


def test_a_config_may_name_something_twice() -> None:
    assert parse_json(b'{"a": 1, "a": 2}', "no-config", WHERE, allow_duplicates=True) == {"a": 2}


LONG = TEXT_CAP_BYTES - 2
BOMBS = {
    "empty-objects": b"[" + b"{}," * (VALUES_CAP // 2 - 2) + b"0]",
    "empty-lists": b"[" + b"[]," * (VALUES_CAP // 2 - 2) + b"0]",
    "names": b"{" + b",".join(b'"%06d":0' % number for number in range(VALUES_CAP - 2)) + b"}",
    "names-of-tensors": b"{" + b",".join(b'"%050d":""' % number for number in range(VALUES_CAP - 2)) + b"}",
    "numbers": b"[" + b"1.5," * (VALUES_CAP - 2) + b"0]",
    "a-long-text": b'"' + b"x" * LONG + b'"',
    "a-long-text-and-one-wide-character": b'"\\ud83d\\ude00' + b"x" * (LONG - 12) + b'"',
    "a-wide-text": '"{}"'.format("\U0001f600" * (WIDE_CAP_BYTES // 4 - 1)).encode(),
    "a-wide-text-past-the-cap": '"{}"'.format("\U0001f600" * (WIDE_CAP_BYTES // 4 + 1)).encode(),
    "one-wide-character": '"\U0001f600{}"'.format("x" * (WIDE_CAP_BYTES - 6)).encode(),
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much memory the process holds")
@pytest.mark.parametrize("name", BOMBS)
def test_no_text_takes_more_than_256_mb(name: str, tmp_path: Path) -> None:
    assert len(BOMBS[name]) <= TEXT_CAP_BYTES
    (tmp_path / "bomb").write_bytes(BOMBS[name])
    program = """
import re, resource, sys
from survey.errors import BrokenFile
from survey.formats.bounded_json import parse_json
room = int(open("/proc/self/statm").read().split()[0]) * 4096 + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    parse_json(open(sys.argv[1], "rb").read(), "bad-header", "here")
except BrokenFile:
    pass
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "bomb"], capture_output=True, text=True, check=False
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
