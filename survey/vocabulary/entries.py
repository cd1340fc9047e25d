"""What a tokenizer's files say of each token id, whatever their format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from survey.errors import storable

# Texts to ids; none for a text that the tokenizer refuses to cut. Raises BadVocabulary.
Encode = Callable[[Sequence[str]], list[list[int]]]
MOST_IDS = 1 << 31
MAX_TOKEN_CHARS = 1000  # of one token's text; real ones stay below 200
BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "▁"  # how SentencePiece spells a space


class BadVocabulary(Exception):
    """A tokenizer's file cannot be understood; the message says what was found."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """Contents of a tokenizer's files by name, without folders. main: the one that holds the vocabulary."""

    main: str
    contents: Mapping[str, bytes]


class Entry(NamedTuple):
    """One token. text: as a person is shown it. data: the bytes of text that it stands for.

    byte: it spells one byte that is no character. continues: it stands inside words only (`##ing`).
    """

    text: str
    data: bytes
    added: bool = False
    special: bool = False
    byte: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Entries by token id, and how texts are cut into ids; None where the files do not tell."""

    entries: Mapping[int, Entry]
    encode: Encode | None

    @property
    def size(self) -> int:
        """The highest token id + 1."""
        return max(self.entries, default=-1) + 1


def is_id(number: object) -> bool:
    """Whether what a file holds can be a token's id; JSON's true is no number."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MOST_IDS


def spelled(data: bytes, *, added: bool = False, special: bool = False) -> Entry:
    """A token that stands for these bytes; those that are no whole characters are shown as `\\xe2`."""
    byte = len(data) == 1 and data[0] >= 0x80
    return Entry(shown(data), data, added=added, special=special, byte=byte)


def shown(data: bytes) -> str:
    """Bytes as text; those that are no whole characters as `\\xe2`."""
    text = data.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_TOKEN_CHARS else text[: MAX_TOKEN_CHARS - 1] + "…"


def with_spaces(piece: str) -> Entry:
    """A piece that spells spaces as ▁, and single bytes as <0xE2>."""
    if found := BYTE_FALLBACK.fullmatch(piece):
        return Entry(piece, bytes([int(found[1], 16)]), byte=True)
    data = storable(piece).replace(SPACE_MARK, " ").encode()
    return Entry(shown(data), data)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of the 256 bytes as printable characters: those that are not, from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }
