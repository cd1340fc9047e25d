"""What the tokenizer says of the rows: their texts, which are no token at all, which no text leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from survey.measurement import Naming, Reach, TokenNames
from survey.vocabulary.entries import Encode, Entry, Vocabulary

NAMES = {"names": 1}  # the measure and its version
SAMPLE_TEXTS = 5  # of a black hole
SAMPLE_CHARS = 40
ASKED_CHARS = 512  # longer texts are not encoded: what cuts texts may take quadratic time
_BEFORE = ("«", " ", "\n", "a", "0")  # a token may come back only after something else
_LETTERS = 12  # for pieces that stand inside words: after the letters that begin the fewest words


def name_rows(
    vocabulary: Vocabulary, file: str, rows: int, black_holes: Sequence[Sequence[int]]
) -> tuple[Naming, TokenNames]:
    """The columns of a matrix of V = `rows` rows. black_holes: the rows of each, by rank.

    Raises BadVocabulary where text cannot be cut at all.
    """
    size = vocabulary.size
    known = {number: entry for number, entry in vocabulary.entries.items() if number < rows}
    text: list[str | None] = [None] * rows
    flags = np.zeros((3, rows), dtype=bool)
    for number, entry in known.items():
        text[number] = entry.text
        flags[:, number] = entry.special, entry.byte, entry.added
    reach = _reach(known, vocabulary.encode, rows)
    untold = None if vocabulary.encode else f"{file} does not say how text is cut: reach is not known"
    naming = Naming(
        tokenizer_file=file,
        tokenizer_note=untold,
        tokenizer_size=size,
        added_tokens=sum(entry.added for entry in vocabulary.entries.values()),
        phantom_rows=max(rows - size, 0),
        unreachable_rows=None if untold else reach.count("unreachable"),
        reference_rows=None,
        black_hole_texts=tuple(_samples([text[row] for row in hole]) for hole in black_holes),
    )
    special, byte, added = flags
    phantom = np.arange(rows) >= size
    return naming, TokenNames(
        text=text, reach=reach, phantom=phantom, is_special=special, is_byte=byte, is_added=added
    )


def nameless(note: str) -> Naming:
    """The columns where no tokenizer can be read, and why."""
    return Naming(**(dict.fromkeys(Naming.__dataclass_fields__) | {"tokenizer_note": note}))


def _samples(texts: Sequence[str | None]) -> tuple[str, ...]:
    """The first texts of a black hole, shortened; phantom rows have none."""
    some = [text for text in texts if text is not None][:SAMPLE_TEXTS]
    return tuple(text if len(text) <= SAMPLE_CHARS else text[: SAMPLE_CHARS - 1] + "…" for text in some)


def _reach(known: dict[int, Entry], encode: Encode | None, rows: int) -> list[Reach | None]:
    """For each row whether some text is cut into its token."""
    reach: list[Reach | None] = [None] * rows
    asked: dict[int, str] = {}
    for number, entry in known.items():
        if entry.special or entry.byte:
            reach[number] = "special" if entry.special else "byte"
            continue
        try:
            meant = entry.data.decode("utf-8")
        except UnicodeDecodeError:
            reach[number] = "fragment"
            continue
        if meant and len(meant) <= ASKED_CHARS:
            asked[number] = meant
    if encode is None:
        return reach
    came = _came_back(asked, encode, ["", *_BEFORE, *_rare_letters(known)])
    for number in asked:
        reach[number] = "reachable" if number in came else "unreachable"
    return reach


def _came_back(asked: dict[int, str], encode: Encode, before: Sequence[str]) -> set[int]:
    """The tokens that their text, alone or after one of these, is cut into."""
    came: set[int] = set()
    for context in before:
        numbers = [number for number in asked if number not in came]
        start = encode([context])[0] if context else []
        cut = encode([context + asked[number] for number in numbers])
        came |= {
            number for number, found in zip(numbers, cut, strict=True) if list(found) == [*start, number]
        }
    return came


def _rare_letters(known: dict[int, Entry]) -> list[str]:
    """Letters of the vocabulary that begin the fewest of its words; none where no piece needs them.

    WordPiece takes the longest word that fits: `ing` after `s` is cut as `sin|g`, after `ɦ` as `ɦ|##ing`.
    """
    if not any(entry.continues for entry in known.values()):
        return []
    texts = [entry.text for entry in known.values() if not entry.continues]
    begun = Counter(text[0] for text in texts if text)
    letters = sorted(
        (text for text in texts if len(text) == 1 and text.isalpha()), key=lambda one: (begun[one], one)
    )
    return letters[:_LETTERS]
