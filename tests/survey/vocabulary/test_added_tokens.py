"""Tokens beside a vocabulary: sparse and repeated ids, holes, contradictions, tokens without a row."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import tokenizers as written
from support import vocabularies as made

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.records.tokenizer import TokenColumns, TokenizerSummary
from survey.vocabulary.added_tokens import with_added
from survey.vocabulary.companions import AddedToken, Companions
from survey.vocabulary.entries import Entry, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table
from survey.vocabulary.token_texts import token_texts

LLAMA = made.sentencepiece()
PIECES = len(made.pieces(LLAMA))


def read(folder: Path) -> Vocabulary:
    checkpoint = FolderCheckpoint(folder)
    return parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))


def named(vocabulary: Vocabulary, file: str, rows: int) -> tuple[TokenizerSummary, TokenColumns]:
    return token_texts(token_table(vocabulary, rows), file, rows, [])


def llama(folder: Path, listed: Mapping[str, Any] | None = None, **settings: Any) -> Vocabulary:
    files = {"tokenizer.model": LLAMA}
    if listed is not None:
        files["added_tokens.json"] = json.dumps(listed).encode()
    return read(made.folder(folder, files, "LlamaTokenizer", **settings))


def decoder(**tokens: str) -> dict[str, dict[str, Any]]:
    return {key.removeprefix("id"): {"content": text, "special": False} for key, text in tokens.items()}


def test_rows_in_a_hole_of_the_ids_are_phantom_too(tmp_path: Path) -> None:
    vocabulary = llama(tmp_path, {"<far>": PIECES + 3})
    summary, columns = named(vocabulary, "tokenizer.model", PIECES + 6)
    assert summary.tokenizer_size == PIECES + 4
    assert columns.phantom is not None
    holes, above = [PIECES, PIECES + 1, PIECES + 2], [PIECES + 4, PIECES + 5]
    assert np.flatnonzero(columns.phantom).tolist() == holes + above
    assert summary.phantom_rows == 5
    assert summary.tokenizer_note is None


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json"])
def test_a_vocabulary_with_holes_counts_them(tmp_path: Path, name: str) -> None:
    vocab = {"a": 0, "Ġb": 2, "c": 5}
    content = json.dumps(vocab).encode() if name == "vocab.json" else written.bpe(vocab)
    summary, columns = named(read(made.folder(tmp_path, {name: content})), name, 8)
    assert columns.phantom is not None
    assert np.flatnonzero(columns.phantom).tolist() == [1, 3, 4, 6, 7]
    assert (summary.tokenizer_size, summary.phantom_rows) == (6, 5)


def test_tokens_without_a_row_are_reported_in_a_remark(tmp_path: Path) -> None:
    summary, columns = named(llama(tmp_path, {"<far>": PIECES + 3}), "tokenizer.model", PIECES - 2)
    assert summary.tokenizer_note == (f"3 of {PIECES + 1} tokens have no row: the matrix has {PIECES - 2}")
    assert (summary.tokenizer_size, summary.phantom_rows) == (PIECES + 4, 0)
    assert columns.phantom is not None
    assert not columns.phantom.any()
    assert summary.unreachable_rows is not None


def test_an_id_given_twice_has_the_later_text_and_a_remark(tmp_path: Path) -> None:
    vocabulary = llama(tmp_path, {"<one>": PIECES, "<two>": PIECES, "<three>": PIECES + 1}, added_tokens_decoder=decoder(**{f"id{PIECES + 1}": "<other>"}))  # fmt: skip
    assert [vocabulary.entries[number].text for number in (PIECES, PIECES + 1)] == ["<two>", "<other>"]
    assert vocabulary.remarks == (
        f"2 ids have two added tokens each, {PIECES} the first: the later one counts",
    )


TWICE: dict[str, bytes] = {
    "vocab.json": b'{"a": 0, "Z": 2, "b": 1, "A": 2}',
    "tokenizer.json": written.bpe({"a": 0, "Z": 2, "b": 1, "A": 2}),
    "words.tiktoken": b"YQ== 0\nWg== 2\nYg== 1\nQQ== 2\n",
    "rwkv_vocab.txt": b"1 'b' 1\n2 'Z' 1\n2 'A' 1\n",
    "tekken.json": json.dumps(
        {
            "config": {"default_num_special_tokens": 1},
            "vocab": [
                {"rank": rank, "token_bytes": text} for rank, text in ((0, "Yg=="), (1, "Wg=="), (1, "QQ=="))
            ],
        }
    ).encode(),
}


@pytest.mark.parametrize("name", TWICE)
def test_an_id_that_a_vocabulary_gives_twice_has_the_later_token_and_a_remark(
    tmp_path: Path, name: str
) -> None:
    folder = made.folder(tmp_path, {name: TWICE[name]})
    for _ in range(5):  # a library's table has another order each time
        vocabulary = read(folder)
        assert vocabulary.entries[2].text == "A"
        assert vocabulary.remarks[0] == "1 ids have two tokens each, 2 the first: the later one counts"


def test_a_text_with_two_ids_is_reached_by_the_later_one_only(tmp_path: Path) -> None:
    tokens = {f"id{PIECES}": "<name>", f"id{PIECES + 1}": "<name>", f"id{PIECES + 2}": " the"}
    vocabulary = llama(tmp_path, added_tokens_decoder=decoder(**tokens))
    _, columns = named(vocabulary, "tokenizer.model", PIECES + 3)
    assert [columns.text[number] for number in (PIECES, PIECES + 1)] == ["<name>", "<name>"]
    assert list(columns.reach[PIECES:]) == ["unreachable", "reachable", "reachable"]
    # It is taken from a text before the text is cut into pieces, among which it stands as well.
    assert columns.reach[made.pieces(LLAMA).index("▁the")] == "unreachable"


def test_a_reserved_token_may_be_renamed(tmp_path: Path) -> None:
    """As the slow classes of transformers do: the decoder of added tokens is asked first."""
    vocabulary = llama(tmp_path, added_tokens_decoder=decoder(id5="<turn>"))
    assert vocabulary.entries[5].text == "<turn>"
    assert vocabulary.size == PIECES
    assert vocabulary.remarks == ()


CONTRADICTIONS: dict[str, dict[str, str]] = {
    "another text for its id": {"id7": "<turn>"},
    "another id for its text": {"id20": "<name>"},
}


@pytest.mark.parametrize("tokens", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_tokenizer_json_decides_over_its_companions(tmp_path: Path, tokens: dict[str, str]) -> None:
    folder = made.folder(
        tmp_path, {"tokenizer.json": written.byte_level()}, added_tokens_decoder=decoder(**tokens)
    )
    vocabulary = read(folder)
    texts = [vocabulary.entries[number].text for number in range(vocabulary.size)]
    assert texts == written.BYTE_LEVEL_TEXTS
    (remark,) = vocabulary.remarks
    assert remark.startswith("1 added tokens of its companion files contradict it and are left out, '<")


def test_of_two_ids_of_a_text_only_the_one_that_contradicts_is_left_out() -> None:
    base = Vocabulary({5: Entry("<name>", b"<name>")}, None)
    added = {5: AddedToken("<name>", special=False), 9: AddedToken("<name>", special=False)}
    vocabulary = with_added(base, Companions(added=added), "tokenizer.json")
    assert {number: entry.added for number, entry in vocabulary.entries.items()} == {5: True}
    assert [remark.partition(" added")[0] for remark in vocabulary.remarks] == ["1"]


def test_thousands_of_added_and_special_tokens_take_no_long_time() -> None:
    numbers = range(20_000)
    added = {number: AddedToken(f"<{number}>", special=False) for number in numbers}
    companions = Companions(added=added, listed=tuple(f"<{number}>" for number in numbers))
    others = Vocabulary({number: Entry("x", b"x") for number in numbers}, None)
    began = time.process_time()
    for main in ("tokenizer.json", "vocab.json"):
        with_added(others, companions, main)
    assert time.process_time() - began < 5  # measured: 0.1 s; a set for each token took 30 s


def test_a_companion_that_agrees_is_no_contradiction(tmp_path: Path) -> None:
    agreed = {f"id{number}": text for number, text in enumerate(written.BYTE_LEVEL_TEXTS) if number > 9}
    folder = made.folder(
        tmp_path, {"tokenizer.json": written.byte_level()}, added_tokens_decoder=decoder(**agreed)
    )
    assert read(folder).remarks == ()


def test_ids_that_the_library_does_not_keep_are_reported(tmp_path: Path) -> None:
    """It numbers added tokens after the vocabulary, whatever ids the file states."""
    from transformers import PreTrainedTokenizerFast

    sparse = [written.special(20, "<far>"), written.special(30, "<farther>")]
    folder = made.folder(tmp_path, {"tokenizer.json": written.byte_level(added_tokens=sparse)})
    vocabulary = read(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    assert vocabulary.size == len(tokenizer) == 13
    assert [vocabulary.entries[number].text for number in (11, 12)] == tokenizer.convert_ids_to_tokens(
        [11, 12]
    )
    assert vocabulary.remarks == (
        "2 of its added tokens have other ids than it states, '<far>' the first: the library numbers them "
        "after the vocabulary",
    )


def test_a_piece_that_stands_twice_in_a_list_has_both_rows(tmp_path: Path) -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["a", -2.0]]}
    vocabulary = read(made.folder(tmp_path, {"tokenizer.json": written.bpe(model=model)}))
    assert [vocabulary.entries[number].text for number in range(3)] == ["<unk>", "a", "a"]


@pytest.mark.parametrize("name", ["tokenizer_config.json", "added_tokens.json"])
def test_a_companion_that_is_broken_leaves_unknown_what_it_may_hold(tmp_path: Path, name: str) -> None:
    folder = made.folder(tmp_path, {"tokenizer.json": written.byte_level(), name: b"[1"})
    summary, columns = named(read(folder), "tokenizer.json", 16)
    assert list(columns.text[:13]) == written.BYTE_LEVEL_TEXTS
    assert summary.tokenizer_note == f"tokenizer.json: {name}: no JSON object, and not read"
    assert (summary.tokenizer_size, summary.phantom_rows, columns.phantom) == (None, None, None)
    assert summary.unreachable_rows == 1


TIKTOKEN = {"Qwen": "qwen.tiktoken", "Kimi": "tiktoken.model", "Llama 3": "tokenizer.model"}


@pytest.mark.parametrize("name", TIKTOKEN.values(), ids=TIKTOKEN)
def test_special_tokens_that_stand_in_code_are_unknown_and_not_absent(tmp_path: Path, name: str) -> None:
    ranks = written.tiktoken([b"a", b"b", b"ab"])
    folder = made.folder(tmp_path, {name: ranks}, added_tokens_decoder=decoder(id4="<|im_end|>"))
    summary, columns = named(read(folder), name, 8)
    assert list(columns.text) == ["a", "b", "ab", None, "<|im_end|>", None, None, None]
    assert (summary.tokenizer_size, summary.phantom_rows, columns.phantom) == (None, None, None)
    assert summary.tokenizer_note == (
        f"{name}: its special tokens stand in code: which ids from 3 on are tokens is not known; "
        f"{name} does not say how text is cut: reach is not known"
    )
