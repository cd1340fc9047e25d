"""Tokens that companion files add to a vocabulary, and special tokens that are only named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from survey.checkpoints.tokenizer_files import SENTENCEPIECE
from survey.errors import storable
from survey.vocabulary.companions import SPECIAL_KEYS, AddedToken, Companions
from survey.vocabulary.entries import Entry, Vocabulary, spelled
from survey.vocabulary.piece_layouts import LAYOUTS
from survey.vocabulary.tokenizer_classes import DEFAULT_SPECIAL, VOCAB_FILE_CLASSES, class_of

# Files whose ids are given by a class of transformers, which also numbers special tokens that have none.
_BY_CLASS = frozenset({"vocab.json", "vocab.txt", *SENTENCEPIECE})


def with_added(base: Vocabulary, companions: Companions, main: str) -> Vocabulary:
    """The vocabulary with the tokens of its companion files. main: the file of the vocabulary.

    tokenizer.json is a whole tokenizer: it decides if a companion contradicts it. Beside other files the
    companions decide: they rename tokens that a vocabulary held in reserve.
    """
    entries, remarks = dict(base.entries), list(base.remarks)
    known = {entry.text for entry in entries.values()} if main == "tokenizer.json" else set()
    contradicted = {
        number: token.text
        for number, token in companions.added.items()
        if _contradicts(token, entries.get(number), known)
    }
    last_id = {token.text: number for number, token in companions.added.items()}
    special = frozenset(companions.special)
    for number, token in companions.added.items():
        if number not in contradicted:
            old = entries.get(number)
            whole = last_id[token.text] == number and (main != "tokenizer.json" or old is None)
            entries[number] = _entry(token, old, special)._replace(whole=whole)
    if contradicted:
        first_text = next(iter(contradicted.values()))
        remarks.append(
            f"{len(contradicted):,} added tokens of its companion files contradict it and are left out, "
            f"{first_text[:80]!r} the first"
        )
    if companions.repeated:
        count, first = len(companions.repeated), companions.repeated[0]
        remarks.append(f"{count:,} ids have two added tokens each, {first} the first: the later one counts")
    _mark_special(entries, special)
    if main in _BY_CLASS:
        entries |= _unnumbered(entries, companions)
    return replace(base, entries=entries, remarks=tuple(remarks))


def _contradicts(token: AddedToken, entry: Entry | None, known: set[str]) -> bool:
    """Whether a tokenizer.json gives this token another id, or its id to another token."""
    if not known:
        return False
    text = storable(token.text)
    return entry.text != text if entry is not None else text in known


def _entry(token: AddedToken, old: Entry | None, special_texts: frozenset[str]) -> Entry:
    same = old is not None and old.text == storable(token.text)
    special = token.special or token.text in special_texts or (same and old is not None and old.special)
    return spelled(storable(token.text).encode(), added=True, special=special)


def _mark_special(entries: dict[int, Entry], special_texts: frozenset[str]) -> None:
    for number, entry in entries.items():
        if entry.text in special_texts and not entry.special:
            entries[number] = entry._replace(special=True)


def _unnumbered(entries: Mapping[int, Entry], companions: Companions) -> dict[int, Entry]:
    """Special tokens without an id: the class numbers them after all others, in this order."""
    name = class_of(companions)
    if name not in LAYOUTS and name not in VOCAB_FILE_CLASSES:
        return {}
    known = {entry.text for entry in entries.values()}
    default: dict[str, str | None] = dict(
        zip(SPECIAL_KEYS, DEFAULT_SPECIAL.get(name or "", ()), strict=False)
    )
    named = default | dict(companions.named)
    texts = dict.fromkeys([*(named.get(key) for key in SPECIAL_KEYS), *companions.listed])
    missing = [text for text in texts if text and storable(text) not in known]
    start = max(entries, default=-1) + 1
    return {
        number: spelled(storable(text).encode(), added=True, special=True)
        for number, text in enumerate(missing, start)
    }
