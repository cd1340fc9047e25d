"""Which tokens are reachable: encode a token's text, alone or beside other letters, and look for its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from survey.vocabulary.byte_tokens import never_in_text, unreachable_bytes
from survey.vocabulary.entries import Encode, Entry, Vocabulary
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

MAX_ENCODED_CHARS = 512  # longer texts are not encoded: the libraries may take quadratic time
_CONTEXTS = ("«", " ", "\n", "a", "0")  # some tokens are reachable only after another character
_RARE_LETTERS = 12  # further contexts, for pieces inside words: the letters that begin the fewest words
_AFTER_SPACES = ("«", "a", "0", "東")
_FOLLOWING_LETTERS = 4  # contexts after pieces that do not end a word
_SAMPLE = 2048  # texts that are cut to see whether most tokens come back


def token_table(vocabulary: Vocabulary, rows: int) -> TokenTable:
    """The tokens of a matrix of V = `rows` rows. Raises BadVocabulary if the tokenizer cannot encode."""
    known = {number: vocabulary.entries[number] for number in sorted(vocabulary.entries) if number < rows}
    reach = _reach(known, vocabulary)
    return TokenTable(
        size=vocabulary.size,
        tokens=len(vocabulary.entries),
        added=sum(entry.added for entry in vocabulary.entries.values()),
        encodes=bool(vocabulary.encoders),
        complete=vocabulary.complete,
        remarks=vocabulary.remarks,
        ids=list(known),
        texts=[entry.text for entry in known.values()],
        kinds=_kinds(known, reach),
    )


def _kinds(known: Mapping[int, Entry], reach: Mapping[int, str]) -> bytes:
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(REACHES)}
    reaches = [numbers[reach.get(number)] for number in known]
    return bytes(
        reach | (SPECIAL * entry.special | BYTE * entry.byte | ADDED * entry.added)
        for reach, entry in zip(reaches, known.values(), strict=True)
    )


@dataclass(slots=True)
class _Texts:
    """The texts to be cut, by id; some of them apart.

    whole       ids by text, of those taken from a text before the rest is cut
    unfinished  of pieces that do not end a word
    spaces      of spaces only, which are cut off at the end of a text
    """

    all: dict[int, str] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    spaces: set[int] = field(default_factory=set)


def _reach(known: Mapping[int, Entry], vocabulary: Vocabulary) -> dict[int, str]:
    """The reach of each token (one of REACHES); tokens whose reach is unknown are left out."""
    bytes_by_id = {number: entry.data[0] for number, entry in known.items() if entry.byte and entry.data}
    unreachable = unreachable_bytes(bytes_by_id, vocabulary.encoders)
    reach, texts = _by_kind(known)
    reach |= {number: "unreachable" for number in unreachable if not known[number].special}
    if not vocabulary.encoders:
        return reach
    reachable = _reachable(known, texts, vocabulary)
    return reach | {number: "reachable" if number in reachable else "unreachable" for number in texts.all}


def _by_kind(known: Mapping[int, Entry]) -> tuple[dict[int, str], _Texts]:
    """The reach of tokens that are no text, and the texts of the others."""
    reach, texts = {}, _Texts()
    for number, (_, data, _, special, byte, _, unfinished, whole) in known.items():
        if special or byte:
            reach[number] = "special" if special else "byte"
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            reach[number] = "unreachable" if never_in_text(data) else "fragment"
            continue
        if not text or len(text) > MAX_ENCODED_CHARS:
            continue
        texts.all[number] = text
        if whole:
            texts.whole[text] = number
        if unfinished:
            texts.unfinished.add(number)
        if text.isspace():
            texts.spaces.add(number)
    return reach, texts


def _reachable(known: Mapping[int, Entry], texts: _Texts, vocabulary: Vocabulary) -> set[int]:
    """Ids of the texts into which some text is cut by one of these encoders."""
    reachable, cut = set(texts.whole.values()), texts.all
    if texts.whole:  # a text that is taken whole never reaches another token of the same text
        cut = {number: text for number, text in cut.items() if text not in texts.whole}
    cut = _possible(cut, known, vocabulary)
    contexts = ["", *_CONTEXTS, *_rare_letters(known)]
    following = _following_letters(known)
    unfinished = {number: cut[number] for number in sorted(texts.unfinished & cut.keys())}
    spaces = {number: cut[number] for number in sorted(texts.spaces & cut.keys())}
    for encode in vocabulary.encoders:
        reachable |= _reachable_after(cut, encode, contexts, reachable)
        reachable |= _reachable_before(unfinished, encode, following, reachable)
        reachable |= _reachable_before(spaces, encode, _AFTER_SPACES, reachable)
    return reachable


def _possible(texts: dict[int, str], known: Mapping[int, Entry], vocabulary: Vocabulary) -> dict[int, str]:
    """The texts without those whose ids no text is cut into, as the model has no rule that makes them.

    To list what a model makes takes a fifth of a second, so it is done only if much can be left out: 150,000
    tokens that no merge makes would be cut in vain in each context.
    """
    sample = list(texts)[:: max(1, len(texts) // _SAMPLE)]
    if vocabulary.made_ids is None or not sample:
        return texts
    encoded = vocabulary.encoders[0]([texts[number] for number in sample])
    if sum(ids == [number] for number, ids in zip(sample, encoded, strict=True)) > len(sample) / 2:
        return texts
    made = vocabulary.made_ids()
    return {number: text for number, text in texts.items() if number in made or known[number].added}


def _reachable_after(
    texts: Mapping[int, str], encode: Encode, contexts: Sequence[str], known: set[int]
) -> set[int]:
    """Ids whose text encodes back to that id, alone or after a context. known: ids to leave out."""
    candidates = [number for number in texts if number not in known]
    remaining = candidates
    for context in contexts:
        prefix = encode([context])[0] if context else []
        encoded = encode([context + texts[number] for number in remaining])
        remaining = [
            number for number, ids in zip(remaining, encoded, strict=True) if ids != [*prefix, number]
        ]
    return set(candidates).difference(remaining)


def _reachable_before(
    texts: Mapping[int, str], encode: Encode, following: Sequence[str], known: set[int]
) -> set[int]:
    """Ids that occur if more of a word follows, and perhaps precedes. known: ids to leave out.

    A context alone ends a word, so that its ids are others than inside one; any occurrence proves reach.
    """
    candidates = [number for number in texts if number not in known]
    remaining = candidates
    for before in ("", *following[:1]):
        for after in following:
            encoded = encode([before + texts[number] + after for number in remaining])
            remaining = [number for number, ids in zip(remaining, encoded, strict=True) if number not in ids]
    return set(candidates).difference(remaining)


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
