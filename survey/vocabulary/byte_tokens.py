"""Which tokens of single bytes no text is cut into, although bytes are no text by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from survey.vocabulary.entries import Encode

NEVER_IN_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
_TWO_BYTE_LEADS = range(0xC2, 0xE0)


def never_in_text(data: bytes) -> bool:
    """Whether the bytes hold one that UTF-8 never uses."""
    return not NEVER_IN_UTF8.isdisjoint(data)


def unreachable_bytes(tokens: Mapping[int, int], encoders: Sequence[Encode]) -> set[int]:
    """Ids of bytes that UTF-8 never uses, or whose characters all have other tokens.

    tokens: byte by id. A byte below 0x80 is one character, and one from 0xC2 to 0xDF leads 64: these are
    tried. The others occur in thousands of characters, of which no vocabulary has all.
    """
    unreachable = {number for number, byte in tokens.items() if byte in NEVER_IN_UTF8}
    for number, byte in tokens.items() if encoders else ():
        characters = _characters(byte)
        if characters and not any(_occurs(number, characters, encode) for encode in encoders):
            unreachable.add(number)
    return unreachable


def _characters(byte: int) -> list[str]:
    """All characters whose first byte in UTF-8 is this; empty if they are too many to try."""
    if byte < 0x80:
        return [chr(byte)]
    return [bytes([byte, last]).decode() for last in range(0x80, 0xC0)] if byte in _TWO_BYTE_LEADS else []


def _occurs(number: int, characters: Sequence[str], encode: Encode) -> bool:
    # Between letters, too: libraries strip spaces at the ends.
    texts = [text for char in characters for text in (char, f"a{char}a", f" {char}", char * 2)]
    return any(number in ids for ids in encode(texts))
