"""Requests to the tokenizer process: files, limits, and a vocabulary that takes long."""

from __future__ import annotations

from typing import Any

from support import tokenizers as made

from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.process.isolation import TokenizerLimits

LITTLE = TokenizerLimits(memory_bytes=300 << 20, cpu_s=2, wall_s=60)
ROWS = 3000
LONG = {"a" * 400 + f"{number:05d}": number for number in range(ROWS)}


def of(**contents: bytes) -> TokenizerFiles:
    """Files by their names, whose dots are written as two underlines; the first holds the vocabulary."""
    named = {name.replace("__", "."): content for name, content in contents.items()}
    return TokenizerFiles(next(iter(named)), named)


def whole(**fields: Any) -> TokenizerFiles:
    """A tokenizer.json with these fields, alone."""
    return of(tokenizer__json=made.bpe(**fields))
