"""Which tokens are reachable: encode each token's own text, alone or after a context, and look for its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from survey.vocabulary.entries import Encode, Entry, Vocabulary
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

MAX_ENCODED_CHARS = 512  # longer texts are not encoded: the libraries may take quadratic time
_CONTEXTS = ("«", " ", "\n", "a", "0")  # some tokens are reachable only after another character
_RARE_LETTERS = 12  # further contexts, for pieces inside words: the letters that begin the fewest words


def token_table(vocabulary: Vocabulary, rows: int) -> TokenTable:
    """The tokens of a matrix of V = `rows` rows. Raises BadVocabulary if the tokenizer cannot encode."""
    known = {number: vocabulary.entries[number] for number in sorted(vocabulary.entries) if number < rows}
    reach = _reach(known, vocabulary.encode)
    return TokenTable(
        size=vocabulary.size,
        added=sum(entry.added for entry in vocabulary.entries.values()),
        encodes=vocabulary.encode is not None,
        ids=list(known),
        texts=[entry.text for entry in known.values()],
        kinds=bytes(_flags(entry) | REACHES.index(reach.get(number)) for number, entry in known.items()),
    )


def _flags(entry: Entry) -> int:
    return SPECIAL * entry.special | BYTE * entry.byte | ADDED * entry.added


def _reach(known: Mapping[int, Entry], encode: Encode | None) -> dict[int, str]:
    """The reach of each token (one of REACHES); tokens whose reach is unknown are left out."""
    reach: dict[int, str] = {}
    texts: dict[int, str] = {}
    for number, entry in known.items():
        if entry.special or entry.byte:
            reach[number] = "special" if entry.special else "byte"
            continue
        try:
            text = entry.data.decode("utf-8")
        except UnicodeDecodeError:
            reach[number] = "fragment"
            continue
        if text and len(text) <= MAX_ENCODED_CHARS:
            texts[number] = text
    if encode is None:
        return reach
    reachable = _reachable(texts, encode, ["", *_CONTEXTS, *_rare_letters(known)])
    return reach | {number: "reachable" if number in reachable else "unreachable" for number in texts}


def _reachable(texts: Mapping[int, str], encode: Encode, contexts: Sequence[str]) -> set[int]:
    """Ids whose text encodes back to that id, alone or after one of these contexts."""
    reachable: set[int] = set()
    for context in contexts:
        remaining = [number for number in texts if number not in reachable]
        prefix = encode([context])[0] if context else []
        encoded = encode([context + texts[number] for number in remaining])
        reachable |= {
            number for number, ids in zip(remaining, encoded, strict=True) if list(ids) == [*prefix, number]
        }
    return reachable


def _rare_letters(known: Mapping[int, Entry]) -> list[str]:
    """Letters of the vocabulary that begin the fewest of its words; none if no piece needs them.

    WordPiece takes the longest word that fits: `ing` after `s` is cut as `sin|g`, after `ɦ` as `ɦ|##ing`.
    """
    if not any(entry.continues for entry in known.values()):
        return []
    texts = [entry.text for entry in known.values() if not entry.continues]
    words_from = Counter(text[0] for text in texts if text)
    letters = [text for text in texts if len(text) == 1 and text.isalpha()]
    return sorted(letters, key=lambda letter: (words_from[letter], letter))[:_RARE_LETTERS]
