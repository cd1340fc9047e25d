"""A changed tokenizer.json is a vocabulary or a refusal, whatever was changed: by a small seeded fuzzer."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from support import tokenizers as made

from survey.vocabulary.entries import BadVocabulary, TokenizerFiles
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.reachability import token_table

ROWS = 40
TEXTS = ["", "\x00", "\ud800", "a" * 10_000, "ByteLevel", "BPE", "WordPiece", "Unigram", "Sequence"]
NUMBERS = [-1, 0, 10**9, 2**31, 2**63, 10**30, float("nan"), float("inf"), -0.0, 1e308]
ODD: list[Any] = [None, True, *NUMBERS, *TEXTS, [], {}, [[]], {"a": {}}]


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # Any: JSON
    if path:
        yield path
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            yield from _places(value, (*path, key))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _mutated(content: bytes, chance: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(chance.randint(1, 3)):
        *parent, key = chance.choice(list(_places(document)))
        owner = _at(document, tuple(parent))
        match chance.randrange(5):
            case 0:
                owner[key] = chance.choice(ODD)
            case 1:
                owner[key] = _nested(chance.choice([5, 90]))
            case 2 if isinstance(owner, list):
                owner += 50 * [owner[key]]  # duplicates
            case 2:
                owner[chance.choice(["id", "content", "vocab", "merges", "type"])] = owner[key]
            case 3:
                owner[key] = json.loads(json.dumps(_at(document, chance.choice(list(_places(document))))))
            case _:
                del owner[key]
        if not document:
            break
    return json.dumps(document).encode()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(4))
def test_a_mutation_of_a_tokenizer_is_a_vocabulary_or_a_refusal(seed: int) -> None:
    chance = random.Random(seed)
    whole = made.byte_level(added_tokens=[made.special(20, "<far>")])
    refusals: list[str] = []
    tables = []
    for _ in range(100):
        files = TokenizerFiles("tokenizer.json", {"tokenizer.json": _mutated(whole, chance)})
        try:
            tables.append(token_table(parse_vocabulary(files), ROWS))
        except BadVocabulary as error:
            refusals.append(str(error))
    assert tables
    assert all(0 < len(table.texts) <= ROWS for table in tables)
    assert refusals
    assert max(map(len, refusals)) < 2000
