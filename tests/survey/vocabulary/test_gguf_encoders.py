"""How tokenizers of llama.cpp cut text: as the tokenizers that they were made from, or not known."""

from __future__ import annotations

from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from support.gguf_models import GgmlTensor, gguf_file, numbers, strings
from support.in_memory_checkpoint import HeldCheckpoint
from support.tokenizers import BYTE_LEVEL_REACH, BYTE_LEVEL_TEXTS, MERGES, PIECES
from support.vocabularies import sentencepiece

from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.vocabulary.cut_rules import CUT_RULES
from survey.vocabulary.entries import TokenizerFiles, Vocabulary
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table
from survey.vocabulary.spelling import byte_alphabet
from survey.vocabulary.table import REACHES

FLOAT32 = 6
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
LETTERS = list(byte_alphabet())


def held(model: str, pieces: list[str], **stated: Any) -> HeldCheckpoint:
    values = {"general.architecture": "llama", "tokenizer.ggml.model": model}
    values |= {"tokenizer.ggml.pre": stated.pop("pre")} if "pre" in stated else {}
    values |= {"tokenizer.ggml.tokens": strings(*pieces)}
    values |= {f"tokenizer.ggml.{key}": value for key, value in stated.items()}
    return HeldCheckpoint(
        {"m.gguf": gguf_file({"token_embd.weight": GgmlTensor(0, (4, 8), bytes(128))}, values)}
    )


def vocabulary(model: str, pieces: list[str], **stated: Any) -> Vocabulary:
    checkpoint = held(model, pieces, **stated)
    return parse_vocabulary(read_tokenizer(checkpoint, tokenizer_files(checkpoint.files)))


def reach(read: Vocabulary) -> list[str | None]:
    return [REACHES[kind & 7] for kind in token_table(read, read.size).kinds]


def merges(*pairs: tuple[str, str]) -> Any:
    return strings(*(f"{left} {right}" for left, right in pairs))


def test_pieces_of_bytes_reach_as_those_of_a_tokenizer_json() -> None:
    types = numbers(5, *([NORMAL] * len(PIECES)), CONTROL, USER)
    read = vocabulary(
        "gpt2", [*PIECES, "<|end|>", "<name>"], pre="gpt-2", token_type=types, merges=merges(*MERGES)
    )
    assert [entry.text for entry in read.entries.values()] == BYTE_LEVEL_TEXTS
    assert (reach(read), read.remarks) == (BYTE_LEVEL_REACH, ())


# By the name of a rule, which of these pieces a text reaches; each but the last is made by merges.
WORDS = {
    "12": ["1 2"],
    "1234": ["12 34", "3 4"],
    "!Ċ": ["! Ċ"],
    "eÌģ": ["Ì ģ", "e Ìģ"],
    "aB": ["a B"],
    "xyz": [],
}
REACHED = {
    "gpt-2": ["12", "1234", "aB"],
    "phi-2": ["12", "1234", "aB"],
    "smollm": ["aB"],
    "starcoder": ["aB"],
    "qwen2": ["!Ċ", "aB"],
    "llama-bpe": ["12", "!Ċ", "aB", "xyz"],
    "gpt-4o": ["12", "!Ċ", "eÌģ"],
    "llama4": ["12", "!Ċ", "eÌģ"],
}


@pytest.mark.parametrize("pre", CUT_RULES)
def test_a_rule_cuts_as_the_tokenizers_of_its_models_do(pre: str) -> None:
    pieces = [*LETTERS, "34", "Ìģ", *WORDS]
    pairs = strings(*dict.fromkeys(pair for parts in WORDS.values() for pair in parts))
    kinds = reach(vocabulary("gpt2", pieces, pre=pre, merges=pairs))
    assert [word for word in WORDS if kinds[pieces.index(word)] == "reachable"] == REACHED[pre]


@pytest.mark.parametrize("prefix", [True, False])
def test_pieces_with_scores_reach_as_those_of_their_model(prefix: bool) -> None:
    identity = {"normalization_rule_name": "identity"}  # as Llama's and Gemma's
    content = sentencepiece(model_type="bpe", byte_fallback=True, vocab_size=300, **identity)
    model = SentencePieceProcessor()
    model.LoadFromSerializedProto(content)
    pieces = [model.IdToPiece(number) for number in range(model.GetPieceSize())]
    kinds = [
        UNKNOWN
        if model.IsUnknown(n)
        else CONTROL
        if model.IsControl(n)
        else BYTE
        if model.IsByte(n)
        else NORMAL
        for n in range(len(pieces))
    ]
    scores = numbers(FLOAT32, *(model.GetScore(number) for number in range(len(pieces))))
    stated = {"scores": scores, "token_type": numbers(5, *kinds), "remove_extra_whitespaces": True}
    read = vocabulary("llama", pieces, **stated, add_space_prefix=prefix)
    original = parse_vocabulary(TokenizerFiles("tokenizer.model", {"tokenizer.model": content}))
    assert read.encode is not None
    assert original.encode is not None
    if prefix:
        texts = ["the cat sat on the mat", "  hills", "Ärger", ""]
        assert read.encode(texts) == original.encode(texts)
    assert reach(read) == reach(original)
    assert {"reachable", "special", "byte"} <= set(reach(read))


def test_a_piece_that_no_pair_makes_is_not_reached() -> None:
    pieces = ["<unk>", "a", "b", "c", "ab", "abcc", "  "]
    types = numbers(5, UNKNOWN, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, USER)
    scores = numbers(FLOAT32, 0.0, -4.0, -5.0, -6.0, -1.0, -2.0, 0.0)
    kinds = reach(vocabulary("llama", pieces, scores=scores, token_type=types))
    assert kinds == ["special", *["reachable"] * 4, "unreachable", "reachable"]


UNKNOWN_WAYS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a rule that nobody knows": ("gpt2", {"pre": "new-bpe", "merges": merges(("a", "b"))}, ""),
    "no rule": ("gpt2", {"merges": merges(("a", "b"))}, ""),
    "no merges": ("gpt2", {"pre": "qwen2"}, ""),
    "merges that are no texts": ("gpt2", {"pre": "qwen2", "merges": numbers(5, 1, 2)}, ""),
    "merges of nothing": (
        "gpt2",
        {"pre": "qwen2", "merges": strings("x y")},
        "cuts no text: a merge is of pieces",
    ),
    "a merge that makes nothing": (
        "gpt2",
        {"pre": "qwen2", "merges": strings("b a")},
        "cuts no text: a merge is of pieces",
    ),
    "fewer scores than pieces": ("llama", {"scores": numbers(FLOAT32, 1.0)}, ""),
    "no unknown piece": ("llama", {"scores": numbers(FLOAT32, 1.0, 2.0, 3.0)}, "cuts no text: SentencePiece"),
    "a type that nobody knows": (
        "llama",
        {"scores": numbers(FLOAT32, 1.0, 2.0, 3.0), "token_type": numbers(5, 2, 1, -1)},
        "cuts no text: a token is of type -1",
    ),
    "a score that is no number": (
        "llama",
        {"scores": numbers(FLOAT32, 1.0, 2.0, float("nan"))},
        "cuts no text: the score",
    ),
    "another kind": ("t5", {"scores": numbers(FLOAT32, 1.0, 2.0, 3.0)}, ""),
}


@pytest.mark.parametrize(("model", "stated", "remark"), UNKNOWN_WAYS.values(), ids=UNKNOWN_WAYS)
def test_of_what_is_not_known_there_are_names_and_no_reach(
    model: str, stated: dict[str, Any], remark: str
) -> None:
    read = vocabulary(model, ["a", "b", "ab"], **stated)
    assert [entry.text for entry in read.entries.values()] == ["a", "b", "ab"]
    assert read.encode is None
    assert [said[: len(remark)] for said in read.remarks] == ([remark] if remark else [])


def test_merges_of_a_rule_that_nobody_knows_are_not_read() -> None:
    many = strings(*(f"a{number} b{number}" for number in range(200_000)))
    size = {}
    for pre in ("new-bpe", "qwen2"):
        checkpoint = held("gpt2", ["a", "b"], token_type=numbers(5, 1, 1), pre=pre, merges=many)
        read_tokenizer(checkpoint, tokenizer_files(checkpoint.files))
        size[pre] = sum(len(span) for _, span in checkpoint.read)
    assert size["new-bpe"] <= 1 << 20 < 4 << 20 < size["qwen2"] < 8 << 20
