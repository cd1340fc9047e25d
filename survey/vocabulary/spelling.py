"""How vocabularies spell their pieces: bytes as letters, spaces as ▁, marks where a word begins or ends."""

from __future__ import annotations

import re
from collections.abc import Callable

from survey.errors import storable
from survey.vocabulary.entries import SPACE_MARK, Entry, shown, spelled

WORD_END = "</w>"
CONTINUATION = "@@"
BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")

_NO_BYTE = "\uffff"

Spell = Callable[[str], Entry]


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


def byte_level(suffix: str = "") -> Spell:
    """GPT-2's spelling; a piece with another character stands for itself. suffix: the mark of words' ends."""
    # One translation per piece, as there are 150,000: what is no letter of a byte becomes what Latin-1 lacks.
    bytes_of = dict.fromkeys(range(256), _NO_BYTE) | {
        ord(char): byte for char, byte in byte_alphabet().items()
    }

    def data_of(piece: str) -> bytes:
        try:
            return piece.translate(bytes_of).encode("latin-1")
        except UnicodeEncodeError:
            return storable(piece).encode()

    def spell(piece: str) -> Entry:
        return spelled(data_of(piece))

    def spell_marked(piece: str) -> Entry:
        ends = piece.endswith(suffix) and piece != suffix
        entry = spelled(data_of(piece.removesuffix(suffix) if ends else piece))
        return entry._replace(text=entry.text + suffix) if ends else entry._replace(unfinished=True)

    return spell_marked if suffix else spell


def word_piece(piece: str, prefix: str, suffix: str = "") -> Entry:
    """The entry of a piece; marks of a word's inside or end are displayed, but are no part of its text."""
    inside = bool(prefix) and piece.startswith(prefix) and piece != prefix
    text = piece.removeprefix(prefix) if inside else piece
    ends = bool(suffix) and text.endswith(suffix) and text != suffix
    text = text.removesuffix(suffix) if ends else text
    unfinished = bool(suffix) and not ends
    data = storable(text).encode()
    return Entry(shown(storable(piece).encode()), data, continues=inside, unfinished=unfinished)


def goes_on(piece: str) -> Entry:
    """The entry of a piece that ends with @@ if more of its word follows; the mark is displayed."""
    unfinished = piece.endswith(CONTINUATION) and piece != CONTINUATION
    text = piece.removesuffix(CONTINUATION) if unfinished else piece
    shown_text = shown(storable(piece).encode())
    return Entry(shown_text, storable(text).encode(), unfinished=unfinished)


def as_it_is(piece: str) -> Entry:
    """The entry of a piece that stands for itself."""
    return spelled(storable(piece).encode())
