"""Single bytes: those that UTF-8 never uses, and those whose characters all have other tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support import tokenizers as written
from support import vocabularies as made

from survey.vocabulary.entries import Encode, Entry, Vocabulary, spelled
from survey.vocabulary.formats.sentencepiece_model import from_sentencepiece
from survey.vocabulary.piece_layouts import PieceLayout
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import REACHES

NEVER = [0xC0, 0xC1, *range(0xF5, 0x100)]


def reach(entries: dict[int, Entry], encode: Encode | None) -> dict[int, str | None]:
    table = token_table(Vocabulary(entries, encode), max(entries) + 1)
    return {number: REACHES[kind & 7] for number, kind in zip(table.ids, table.kinds, strict=True)}


def utf8_bytes(characters: dict[str, int]) -> Encode:
    """An encoder of bytes, but for characters that have tokens of their own."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [
            [
                number
                for char in text
                for number in ([characters[char]] if char in characters else char.encode())
            ]
            for text in texts
        ]

    return encode


BYTES = {number: spelled(bytes([number])) for number in range(256)}


def test_bytes_that_utf8_never_uses_are_unreachable_whatever_cuts_text() -> None:
    for encode in (None, utf8_bytes({})):
        reached = reach(BYTES, encode)
        assert [number for number in range(0x80, 256) if reached[number] == "unreachable"] == NEVER
        assert {reached[number] for number in range(0x80, 256)} == {"byte", "unreachable"}


def test_a_byte_whose_characters_all_have_tokens_is_unreachable() -> None:
    all_of_c3 = {bytes([0xC3, last]).decode(): 256 + last for last in range(0x80, 0xC0)}
    entries = BYTES | {number: spelled(char.encode()) for char, number in all_of_c3.items()}
    assert reach(entries, utf8_bytes(all_of_c3))[0xC3] == "unreachable"
    one_less = {char: number for char, number in all_of_c3.items() if char != "é"}
    assert reach(entries, utf8_bytes(one_less))[0xC3] == "byte"


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\xe2\x96", "fragment"), (b"\x96\xe2", "fragment"), (b"a\xff", "unreachable"), (b"\xc0\x80", "unreachable")],
    ids=["the start of a character", "an end and a start", "a byte that is never used", "an overlong one"],
)  # fmt: skip
def test_a_fragment_with_such_a_byte_is_unreachable(data: bytes, expected: str) -> None:
    assert reach({0: spelled(data)}, None)[0] == expected


def test_of_a_real_byte_fallback_the_letters_bytes_are_unreachable() -> None:
    model = made.sentencepiece(model_type="bpe", byte_fallback=True, vocab_size=300)
    vocabulary = from_sentencepiece(model, lambda pieces: PieceLayout())
    by_text = {entry.text: number for number, entry in vocabulary.entries.items()}
    reached = reach(dict(vocabulary.entries), vocabulary.encode)
    # Each letter of the words that it was trained on has a piece; Z has none, and é is cut into two bytes.
    assert (
        reached[by_text["<0x74>"]]
        == reached[by_text["<0xC0>"]]
        == reached[by_text["<0xFF>"]]
        == "unreachable"
    )
    assert reached[by_text["<0x5A>"]] == reached[by_text["<0xC3>"]] == reached[by_text["<0xA9>"]] == "byte"


def test_they_are_counted(tmp_path: object) -> None:
    from survey.vocabulary.token_texts import token_texts

    table = token_table(Vocabulary(BYTES, utf8_bytes({})), 256)
    summary, columns = token_texts(table, "x", 256, [])
    assert summary.unreachable_rows == len(NEVER)
    assert columns.is_byte.sum() == 128  # what they are has not changed


def test_the_bytes_of_a_whole_tokenizer() -> None:
    from survey.vocabulary.formats.tokenizer_json import from_tokenizer_json

    vocabulary = from_tokenizer_json(written.byte_level())
    assert reach(dict(vocabulary.entries), vocabulary.encode)[4] == "byte"  # 0xE2 leads thousands
