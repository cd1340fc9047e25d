"""Which tokens a text is cut into, if most of a vocabulary is none that its rules make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support import tokenizers as made

from survey.vocabulary.entries import Vocabulary
from survey.vocabulary.formats.tokenizer_json import from_tokenizer_json
from survey.vocabulary.reachability import token_table

LETTERS = "abcde▁é東"
MERGES = [["a", "b"], ["ab", "c"], ["▁", "abc"], ["c", "d</w>"], ["é", "東"]]
JUNK = [f"{first}{second}{third}" for first in "bcde" for second in "bcde" for third in "bcde"]
BYTES = [f"<0x{number:02X}>" for number in (0x20, 0xC3, 0xA9)]
PIECES = [*LETTERS, "d</w>", "e</w>", "ab", "abc", "▁abc", "cd</w>", "é東", "<unk>", *BYTES, *JUNK]


def bpe(**fields: Any) -> bytes:
    """A BPE of which most pieces come of no merge."""
    vocab = {piece: number for number, piece in enumerate(PIECES)}
    usual = {"type": "BPE", "vocab": vocab, "merges": MERGES, "unk_token": "<unk>", "fuse_unk": False}
    tokenizer = {name: fields.pop(name) for name in ("normalizer", "added_tokens") if name in fields}
    return made.bpe(model=usual | fields, **tokenizer)


TOKENIZERS = {
    "merges alone": {},
    "marked ends of words": {"end_of_word_suffix": "</w>"},
    "bytes of unknown characters": {"byte_fallback": True},
    "whole words of the vocabulary": {"ignore_merges": True},
    "marked insides of words": {"continuing_subword_prefix": "#", "merges": [["a", "b"]]},
    "a normalizer": {"normalizer": made.replace(" ", "▁")},
    "added tokens": {"added_tokens": [made.special(PIECES.index("bbb"), "bbb", is_special=False)]},
}


@pytest.mark.parametrize("fields", TOKENIZERS.values(), ids=TOKENIZERS)
def test_what_no_rule_makes_is_as_unreachable_as_if_it_were_tried(fields: dict[str, Any]) -> None:
    vocabulary = from_tokenizer_json(bpe(**fields))
    tried = replace(vocabulary, made_ids=None)
    assert token_table(vocabulary, len(PIECES)) == token_table(tried, len(PIECES))


def cut_texts(vocabulary: Vocabulary) -> int:
    """How many texts are cut to learn the reach of all tokens."""
    encode, count = vocabulary.encoders[0], 0

    def counted(texts: Sequence[str]) -> list[list[int]]:
        nonlocal count
        count += len(texts)
        return encode(texts)

    token_table(replace(vocabulary, encode=counted), len(PIECES))
    return count


def test_what_no_rule_makes_is_not_cut_in_every_context() -> None:
    vocabulary = from_tokenizer_json(bpe())
    assert cut_texts(vocabulary) < cut_texts(replace(vocabulary, made_ids=None)) / 2
