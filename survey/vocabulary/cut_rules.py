"""The rules by which a file of llama.cpp says that text is cut into words, by their names.

A name (`tokenizer.ggml.pre`) stands for code in llama.cpp, which repeats what the tokenizers of certain
models do. The rules here are these models' own, from their tokenizer.json; of other names nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CutRule:
    """How text is cut into words before pairs merge. words: a pattern; None for GPT-2's own.

    digits: whether each stands alone. nfc: whether text is composed first. whole: whether a word that is a
    piece needs no merges.
    """

    words: str | None = None
    digits: bool = False
    nfc: bool = False
    whole: bool = False


_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = rf"{_SUFFIXES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASES = "|".join(
    rf"[^\r\n\p{{L}}\p{{N}}]?{upper}{lower}{_SUFFIXES}?"
    for upper, lower in ((f"{_UPPER}*", f"{_LOWER}+"), (f"{_UPPER}+", f"{_LOWER}*"))
)
_GPT2, _DIGITS = CutRule(), CutRule(digits=True)
_O200K = CutRule(rf"{_CASES}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}")
CUT_RULES: Mapping[str, CutRule] = {
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "qwen2": CutRule(rf"{_WORDS}|\p{{N}}|{_SIGNS}|{_REST}", nfc=True),
    "llama-bpe": CutRule(rf"{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}|{_REST}", whole=True),
    "gpt-4o": _O200K,
    "llama4": _O200K,
}
