"""docs/reference/tokenizers.md names the files and the classes that the code knows, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from survey.checkpoints.tokenizer_files import GGUF, MAIN, PATTERNS
from survey.vocabulary import tokenizer_classes
from survey.vocabulary.piece_layouts import LAYOUTS

PAGE = (Path(__file__).parents[3] / "docs/reference/tokenizers.md").read_text()
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("\n\n| `tokenizer_note`")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| file")
]
NOTES = re.findall(r"^\| `([^`]+)` \|", PAGE.split("| `tokenizer_note`")[1], flags=re.M)


def quoted(column: int, rows: list[list[str]]) -> list[str]:
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


def test_every_file_that_is_read_stands_in_the_table() -> None:
    files = set(quoted(0, TABLE))
    assert files == {*MAIN, *(f"{first}*{last}" for first, last in PATTERNS), GGUF}


def test_the_first_file_of_the_table_is_read_first() -> None:
    assert quoted(0, TABLE)[0] == MAIN[0]
    # vocab.json comes before sentencepiece.bpe.model, beside which it stands.
    order = [name for name in quoted(0, TABLE) if name in MAIN and name != "sentencepiece.bpe.model"]
    assert list(dict.fromkeys(order)) == [name for name in MAIN if name != "sentencepiece.bpe.model"]


def test_every_class_stands_in_the_table_once() -> None:
    named = quoted(1, TABLE)
    assert sorted(named) == sorted({*LAYOUTS, *tokenizer_classes.VOCAB_FILE_CLASSES})


def test_classes_of_one_line_are_read_by_one_rule() -> None:
    rules = [
        tokenizer_classes.OWN_IDS, tokenizer_classes.OWN_IDS_AND_CODE, tokenizer_classes.BYTE_LEVEL, tokenizer_classes.CLIP, tokenizer_classes.WORD_ENDS,
        tokenizer_classes.WORD_GOES_ON, tokenizer_classes.WORD_PIECE, tokenizer_classes.ONE_A_LINE, tokenizer_classes.COUNTED_LINES,
    ]  # fmt: skip
    lines = [frozenset(quoted(1, [row])) for row in TABLE]
    assert [sorted(rule) for rule in rules if rule not in lines] == []


def test_every_remark_of_the_page_is_one_of_the_code() -> None:
    source = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        for folder in ("survey/vocabulary", "jobs/tasks")
        for path in (Path(__file__).parents[3] / folder).rglob("*.py")
    )
    assert len(NOTES) > 8
    for note in NOTES:
        for words in re.split(r"…", note):
            assert words.strip(" ,:") in source, words
