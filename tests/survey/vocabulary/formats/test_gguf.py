"""Tokens of llama.cpp's files: from the header alone, spelled as the kind of tokenizer says."""

from __future__ import annotations

import random

import pytest
from support.gguf_models import STRING, GgmlTensor, Typed, gguf_file, numbers, strings
from support.in_memory_checkpoint import HeldCheckpoint

from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.errors import BrokenFile
from survey.vocabulary.entries import BadVocabulary, Entry, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.parse import parse_vocabulary

TABLE = {"token_embd.weight": GgmlTensor(0, (4, 8), bytes(128))}
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def checkpoint(values: dict[str, object]) -> HeldCheckpoint:
    stated = {"general.architecture": "llama", **values}
    files = {"m-Q8_0.gguf": gguf_file(TABLE, stated), "tokenizer.json": b"{}"}  # type: ignore[arg-type]
    return HeldCheckpoint(files)


def vocabulary(model: str, pieces: list[str | bytes], types: list[int] | None = None) -> Vocabulary:
    values: dict[str, object] = {"tokenizer.ggml.model": model, "tokenizer.ggml.tokens": strings(*pieces)}
    if types is not None:
        values["tokenizer.ggml.token_type"] = numbers(5, *types)
    held = checkpoint(values)
    return parse_vocabulary(read_tokenizer(held, tokenizer_files(held.files)))


@pytest.mark.parametrize(
    ("model", "piece", "text"),
    [
        pytest.param("gpt2", "ĠParis", " Paris", id="bytes as letters"),
        pytest.param("gpt2", "æĿ", "\\xe6\\x9d", id="a fragment of a character"),
        pytest.param("llama", "▁Paris", " Paris", id="spaces as a mark"),
        pytest.param("llama", "<0xE2>", "<0xE2>", id="a byte of SentencePiece"),
        pytest.param("t5", "▁the", " the", id="unigrams"),
        pytest.param("bert", "▁word", "word", id="the beginning of a word"),
        pytest.param("bert", "ing", "##ing", id="within a word"),
        pytest.param("rwkv", "\\x20caf\\xc3\\xa9", " café", id="Python's escapes"),
    ],
)
def test_a_piece_is_spelled_as_its_tokenizer_says(model: str, piece: str, text: str) -> None:
    read = vocabulary(model, [piece])
    assert read.entries[0].text == text
    assert (read.encode, read.remarks) == (None, ())


def test_types_say_what_a_token_is() -> None:
    pieces = ["a", "<unk>", "</s>", "<tool>", "<unused7>", "<0x0A>", "[PAD6]"]
    read = vocabulary("llama", [*pieces], [NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE, UNUSED])
    kinds = {number: (entry.special, entry.added, entry.byte) for number, entry in read.entries.items()}
    assert kinds == {
        0: (False, False, False),
        1: (True, False, False),
        2: (True, False, False),
        3: (False, True, False),
        4: (True, False, False),
        5: (False, False, True),
    }


@pytest.mark.parametrize(
    ("model", "piece", "text"),
    [
        pytest.param(
            "gpt2", "<｜tool▁call▁begin｜>", "<｜tool▁call▁begin｜>", id="a mark that is part of it"
        ),
        pytest.param("gpt2", "Ġ", "Ġ", id="a letter that would stand for a byte"),
        pytest.param("llama", "▁▁", "  ", id="spaces of SentencePiece"),
        pytest.param("llama", "  ", "  ", id="spaces as they are"),
    ],
)
def test_a_token_that_a_user_defined_is_a_text_as_it_is(model: str, piece: str, text: str) -> None:
    assert vocabulary(model, [piece], [USER]).entries[0] == Entry(text, text.encode(), added=True)


def test_rows_that_a_converter_filled_have_no_token() -> None:
    pieces = ["a", "b", *(f"[PAD{number}]" for number in range(2, 8))]
    read = vocabulary("gpt2", [*pieces], [NORMAL, NORMAL, *([UNUSED] * 6)])
    assert (read.size, len(read.entries)) == (2, 2)


def test_a_token_of_that_name_that_is_in_use_stays() -> None:
    assert vocabulary("gpt2", ["[PAD0]"], [NORMAL]).entries[0].text == "[PAD0]"


def test_an_unknown_kind_of_tokenizer_is_said() -> None:
    read = vocabulary("future", ["ĠParis"])
    assert (read.entries[0].text, read.remarks) == (
        "ĠParis",
        ("the kind of tokenizer 'future' is unknown: pieces as they are stored",),
    )


def test_a_piece_that_is_no_text_is_shown_by_its_bytes() -> None:
    assert vocabulary("llama", [b"\xff\xfe"]).entries[0] == Entry("\\xff\\xfe", b"\\xff\\xfe")


def test_quantisations_of_one_model_have_one_vocabulary() -> None:
    def held(**values: object) -> bytes:
        tokens = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": strings("a", "b")}
        read = checkpoint({**values, **tokens, "tokenizer.ggml.merges": strings("a b")})
        files = read_tokenizer(read, tokenizer_files(read.files))
        return files.contents[files.main]

    assert held(**{"general.file_type": 7}) == held(**{"general.file_type": 15, "general.name": "another"})


def test_tokens_are_read_once() -> None:
    held = checkpoint(
        {"tokenizer.ggml.tokens": strings(*(f"token {number}" * 9 for number in range(60_000)))}
    )
    files = read_tokenizer(held, tokenizer_files(held.files))
    tokens = files.contents[files.main]
    assert len(tokens) > 4 << 20
    assert sum(len(span) for _, span in held.read) < len(tokens) + (2 << 20)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param({}, "holds no tokens", id="none"),
        pytest.param({"tokenizer.ggml.tokens": strings()}, "holds no tokens", id="empty"),
    ],
)
def test_a_file_without_tokens_says_so(values: dict[str, object], problem: str) -> None:
    held = checkpoint(values)
    with pytest.raises(BadVocabulary, match=problem):
        parse_vocabulary(read_tokenizer(held, tokenizer_files(held.files)))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param(
            {"tokenizer.ggml.tokens": numbers(5, 1, 2)}, "elements of type 5, expected texts", id="numbers"
        ),
        pytest.param(
            {"tokenizer.ggml.tokens": strings("a"), "tokenizer.ggml.token_type": numbers(5, 1, 1)},
            "2 elements of type 5, expected one for each token",
            id="more types than tokens",
        ),
        pytest.param(
            {"tokenizer.ggml.tokens": strings("a"), "tokenizer.ggml.token_type": strings("1")},
            "elements of type 8",
            id="types as texts",
        ),
    ],
)
def test_tokens_that_contradict_themselves_are_refused(values: dict[str, object], problem: str) -> None:
    held = checkpoint(values)
    with pytest.raises(BrokenFile, match=problem):
        read_tokenizer(held, tokenizer_files(held.files))


def test_a_thousand_mutated_vocabularies_are_read_or_refused() -> None:
    pieces = ["a", "<0x0A>", "▁b", "[PAD3]"]
    values = {"general.architecture": "llama", "tokenizer.ggml.model": "llama",
              "tokenizer.ggml.tokens": strings(*pieces), "tokenizer.ggml.scores": numbers(6, 1.0, 0.0, 2.0, 0.0),
              "tokenizer.ggml.token_type": numbers(5, 2, 6, 1, 5), "x": Typed(9, (STRING, ["y"]))}  # fmt: skip
    whole, dice = gguf_file(TABLE, values), random.Random(5)  # type: ignore[arg-type]
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1_000):
        content = bytearray(whole)
        content[dice.randrange(len(whole) - 128)] = dice.choice((0, 1, 8, 9, 0x7F, 0xFF, dice.randrange(256)))
        held = HeldCheckpoint({"m.gguf": bytes(content)})
        try:
            parse_vocabulary(read_tokenizer(held, {"m.gguf": len(content)}))
            outcomes["read"] += 1
        except (BadVocabulary, BrokenFile):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100
