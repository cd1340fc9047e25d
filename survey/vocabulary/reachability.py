"""Which tokens some text is cut into: each token's own text, alone or after something else, is cut again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from survey.vocabulary.entries import Encode, Entry, Vocabulary
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

ASKED_CHARS = 512  # longer texts are not encoded: what cuts texts may take quadratic time
_BEFORE = ("«", " ", "\n", "a", "0")  # a token may come back only after something else
_LETTERS = 12  # for pieces that stand inside words: after the letters that begin the fewest words


def token_table(vocabulary: Vocabulary, rows: int) -> TokenTable:
    """What a vocabulary says of a matrix of V = `rows` rows. Raises BadVocabulary where none can be cut."""
    known = {number: vocabulary.entries[number] for number in sorted(vocabulary.entries) if number < rows}
    reach = _reach(known, vocabulary.encode)
    return TokenTable(
        size=vocabulary.size,
        added=sum(entry.added for entry in vocabulary.entries.values()),
        cuts=vocabulary.encode is not None,
        ids=list(known),
        texts=[entry.text for entry in known.values()],
        kinds=bytes(_flags(entry) | REACHES.index(reach.get(number)) for number, entry in known.items()),
    )


def _flags(entry: Entry) -> int:
    return SPECIAL * entry.special | BYTE * entry.byte | ADDED * entry.added


def _reach(known: Mapping[int, Entry], encode: Encode | None) -> dict[int, str]:
    """For each token whether some text is cut into it, as far as that is known."""
    reach: dict[int, str] = {}
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
    return reach | {number: "reachable" if number in came else "unreachable" for number in asked}


def _came_back(asked: Mapping[int, str], encode: Encode, before: Sequence[str]) -> set[int]:
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


def _rare_letters(known: Mapping[int, Entry]) -> list[str]:
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
