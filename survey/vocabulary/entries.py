"""The tokens of a tokenizer by id, in one form for every file format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from survey.errors import storable

# Texts to token ids; an empty list for a text that the tokenizer refuses. Raises BadVocabulary.
Encode = Callable[[Sequence[str]], list[list[int]]]
MAX_IDS = 1 << 31
MAX_TOKEN_CHARS = 1000  # of one token's text; real ones stay below 200
BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "▁"  # how SentencePiece spells a space


class BadVocabulary(Exception):
    """A tokenizer's file is malformed; the message says how."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """Contents of a tokenizer's files by name, without folders. main: the file with the vocabulary."""

    main: str
    contents: Mapping[str, bytes]


class Entry(NamedTuple):
    """One token.

    text        for display
    data        the bytes of text that the token stands for
    added       added beside the vocabulary
    special     a control token
    byte        a single byte that is no character
    continues   occurs inside words only (`##ing`)
    """

    text: str
    data: bytes
    added: bool = False
    special: bool = False
    byte: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Entries by token id, and the encoder of texts; `encode` is None if the files do not define it."""

    entries: Mapping[int, Entry]
    encode: Encode | None

    @property
    def size(self) -> int:
        """The highest token id + 1."""
        return max(self.entries, default=-1) + 1


def is_id(number: object) -> bool:
    """Whether a JSON value is a valid token id (`true` is not)."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MAX_IDS


def spelled(data: bytes, *, added: bool = False, special: bool = False) -> Entry:
    """The entry of a token that stands for these bytes; incomplete characters are shown as `\\xe2`."""
    byte = len(data) == 1 and data[0] >= 0x80
    return Entry(shown(data), data, added=added, special=special, byte=byte)


def shown(data: bytes) -> str:
    """Bytes as text of at most MAX_TOKEN_CHARS; incomplete characters as `\\xe2`."""
    text = data.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_TOKEN_CHARS else text[: MAX_TOKEN_CHARS - 1] + "…"


def with_spaces(piece: str) -> Entry:
    """The entry of a piece that spells spaces as ▁ and single bytes as <0xE2>."""
    if match := BYTE_FALLBACK.fullmatch(piece):
        return Entry(piece, bytes([int(match[1], 16)]), byte=True)
    data = storable(piece).replace(SPACE_MARK, " ").encode()
    return Entry(shown(data), data)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of the 256 bytes as printable characters; unprintable bytes map to U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }
