"""RWKV's vocabulary: on each line an id, the token as a literal of Python, and its length in bytes.

A literal is read only if it is a single string without anything else: nothing in the file is evaluated.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence

from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    BadVocabulary,
    TokenizerFiles,
    Vocabulary,
    repeated_ids,
    special_entry,
    spelled,
    utf8_text,
)

MAX_LITERAL_CHARS = 10_000
_LINE = re.compile(r"""([0-9]{1,9})\ (b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))\ ([0-9]{1,6})""", re.VERBOSE)


def reads(name: str, content: bytes) -> bool:
    """Whether it is RWKV's list, also in a vocab.txt."""
    return name.startswith("rwkv") or (name.endswith(".txt") and is_rwkv(content))


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The tokens of RWKV's list. Raises BadVocabulary."""
    return from_rwkv(files.contents[files.main], companions.setting("eos_token", "<|endoftext|>"))


def is_rwkv(content: bytes) -> bool:
    """Whether a file begins with such a line."""
    first = content.partition(b"\n")[0][: MAX_LITERAL_CHARS + 20].rstrip(b"\r")
    return _LINE.fullmatch(first.decode("utf-8", "replace")) is not None


def from_rwkv(content: bytes, end_of_text: str) -> Vocabulary:
    """Parse the list. end_of_text: the token 0, which stands in code. Raises BadVocabulary."""
    lines = enumerate(utf8_text(content).split("\n"), 1)
    listed = [_token(line.rstrip("\r"), number) for number, line in lines if line.rstrip("\r")]
    tokens = dict(listed)
    entries = {number: spelled(data) for number, data in tokens.items()}
    if 0 not in entries:
        entries[0] = special_entry(end_of_text)
    remarks = repeated_ids(number for number, _ in listed)
    return Vocabulary(entries, _LongestFirst(tokens).encode, remarks=remarks)


def _token(line: str, number: int) -> tuple[int, bytes]:
    match = _LINE.fullmatch(line) if len(line) <= MAX_LITERAL_CHARS else None
    if match is None:
        raise BadVocabulary(f"line {number}: expected an id, a literal and a length, found {line[:40]!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that Python does not know
            token = ast.literal_eval(match[2])
            data = token.encode() if isinstance(token, str) else bytes(token)
    except (SyntaxError, ValueError, Warning) as error:
        raise BadVocabulary(f"line {number}: {match[2][:40]} is no literal: {error}") from error
    if len(data) != int(match[3]):
        raise BadVocabulary(f"line {number}: the token has {len(data)} bytes, expected {int(match[3])}")
    return int(match[1]), data


class _LongestFirst:
    """RWKV's encoder: the longest token that the rest of the text begins with, again and again."""

    def __init__(self, tokens: dict[int, bytes]) -> None:
        self._ids = {data: number for number, data in tokens.items()}
        self._lengths = sorted({len(data) for data in self._ids if data}, reverse=True)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._cut(text.encode()) for text in texts]

    def _cut(self, data: bytes) -> list[int]:
        ids, start = [], 0
        while start < len(data):
            lengths = (length for length in self._lengths if data[start : start + length] in self._ids)
            length = next(lengths, 0)
            if not length:
                return []
            ids.append(self._ids[data[start : start + length]])
            start += length
        return ids
