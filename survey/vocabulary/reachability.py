"""Which tokens are reachable: encode a token's text, alone or beside other letters, and look for its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from survey.vocabulary.byte_tokens import never_in_text, unreachable_bytes
from survey.vocabulary.entries import Encode, Entry, Vocabulary
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

MAX_ENCODED_CHARS = 512  # longer texts are not encoded: the libraries may take quadratic time
_CONTEXTS = ("«", " ", "\n", "a", "0")  # some tokens are reachable only after another character
_RARE_LETTERS = 12  # further contexts, for pieces inside words: the letters that begin the fewest words
_AFTER_SPACES = ("«", "a", "0", "東")
_FOLLOWING_LETTERS = 4  # contexts after pieces that do not end a word


def token_table(vocabulary: Vocabulary, rows: int) -> TokenTable:
    """The tokens of a matrix of V = `rows` rows. Raises BadVocabulary if the tokenizer cannot encode."""
    known = {number: vocabulary.entries[number] for number in sorted(vocabulary.entries) if number < rows}
    encoders = [encode for encode in (vocabulary.encode, vocabulary.second_encode) if encode is not None]
    reach = _reach(known, encoders)
    return TokenTable(
        size=vocabulary.size,
        tokens=len(vocabulary.entries),
        added=sum(entry.added for entry in vocabulary.entries.values()),
        encodes=bool(encoders),
        complete=vocabulary.complete,
        remarks=vocabulary.remarks,
        ids=list(known),
        texts=[entry.text for entry in known.values()],
        kinds=bytes(_flags(entry) | REACHES.index(reach.get(number)) for number, entry in known.items()),
    )


def _flags(entry: Entry) -> int:
    return SPECIAL * entry.special | BYTE * entry.byte | ADDED * entry.added


def _reach(known: Mapping[int, Entry], encoders: Sequence[Encode]) -> dict[int, str]:
    """The reach of each token (one of REACHES); tokens whose reach is unknown are left out."""
    bytes_by_id = {number: entry.data[0] for number, entry in known.items() if entry.byte and entry.data}
    unreachable = unreachable_bytes(bytes_by_id, encoders)
    reach: dict[int, str] = {}
    texts: dict[int, str] = {}
    for number, entry in known.items():
        if entry.special or entry.byte:
            reach[number] = "special" if entry.special else "byte"
            continue
        try:
            text = entry.data.decode("utf-8")
        except UnicodeDecodeError:
            reach[number] = "unreachable" if never_in_text(entry.data) else "fragment"
            continue
        if text and len(text) <= MAX_ENCODED_CHARS:
            texts[number] = text
    reach |= {number: "unreachable" for number in unreachable if not known[number].special}
    if not encoders:
        return reach
    reachable = _reachable(known, texts, encoders)
    return reach | {number: "reachable" if number in reachable else "unreachable" for number in texts}


def _reachable(known: Mapping[int, Entry], texts: Mapping[int, str], encoders: Sequence[Encode]) -> set[int]:
    """Ids of the texts into which some text is cut by one of these encoders."""
    whole = {texts[number]: number for number in texts if known[number].whole}
    reachable = set(whole.values())
    # A text that is taken whole never reaches another token of the same text.
    cut = {number: text for number, text in texts.items() if text not in whole}
    contexts = ["", *_CONTEXTS, *_rare_letters(known)]
    following = _following_letters(known)
    unfinished = {number: text for number, text in cut.items() if known[number].unfinished}
    spaces = {number: text for number, text in cut.items() if text.isspace()}  # cut off at the end of a text
    for encode in encoders:
        reachable |= _reachable_after(cut, encode, contexts, reachable)
        reachable |= _reachable_before(unfinished, encode, following, reachable)
        reachable |= _reachable_before(spaces, encode, _AFTER_SPACES, reachable)
    return reachable


def _reachable_after(
    texts: Mapping[int, str], encode: Encode, contexts: Sequence[str], known: set[int]
) -> set[int]:
    """Ids whose text encodes back to that id, alone or after a context. known: ids to leave out."""
    reachable: set[int] = set()
    for context in contexts:
        remaining = [number for number in texts if number not in reachable and number not in known]
        prefix = encode([context])[0] if context else []
        encoded = encode([context + texts[number] for number in remaining])
        reachable |= {
            number for number, ids in zip(remaining, encoded, strict=True) if list(ids) == [*prefix, number]
        }
    return reachable


def _reachable_before(
    texts: Mapping[int, str], encode: Encode, following: Sequence[str], known: set[int]
) -> set[int]:
    """Ids that occur if more of a word follows, and perhaps precedes. known: ids to leave out.

    A context alone ends a word, so that its ids are others than inside one; any occurrence proves reach.
    """
    reachable: set[int] = set()
    for before in ("", *following[:1]):
        for after in following:
            remaining = [number for number in texts if number not in reachable and number not in known]
            encoded = encode([before + texts[number] + after for number in remaining])
            reachable |= {number for number, ids in zip(remaining, encoded, strict=True) if number in ids}
    return reachable


def _rare_letters(known: Mapping[int, Entry]) -> list[str]:
    """Letters of the vocabulary that begin the fewest of its words; none if no piece needs them.

    WordPiece takes the longest word that fits: `ing` after `s` is cut as `sin|g`, after `ɦ` as `ɦ|##ing`.
    """
    if not any(entry.continues for entry in known.values()):
        return []
    texts = [entry.text for entry in known.values() if not entry.continues]
    return _rarest(texts, [text for text in texts if len(text) == 1 and text.isalpha()])[:_RARE_LETTERS]


def _following_letters(known: Mapping[int, Entry]) -> list[str]:
    """Letters that few pieces begin with; none if every piece may end a word."""
    if not any(entry.unfinished for entry in known.values()):
        return []
    texts = [entry.text for entry in known.values()]
    letters = [text for text in texts if len(text) == 1 and text.isalpha()]
    return _rarest(texts, letters)[:_FOLLOWING_LETTERS] or ["z"]


def _rarest(texts: Sequence[str], letters: Sequence[str]) -> list[str]:
    """Letters in the order of how many texts begin with them."""
    first = Counter(text[0] for text in texts if text)
    return sorted(letters, key=lambda letter: (first[letter], letter))
