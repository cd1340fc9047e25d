"""The tokens of a tokenizer by id, in one form for every file format."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from survey.errors import storable

# Texts to token ids; an empty list for a text that the tokenizer refuses. Raises BadVocabulary.
Encode = Callable[[Sequence[str]], list[list[int]]]
MAX_IDS = 1 << 31
MAX_TOKEN_CHARS = 1000  # of one token's text; real ones stay below 200
SPACE_MARK = "▁"  # how SentencePiece spells a space


class BadVocabulary(Exception):
    """A tokenizer's file is malformed; the message says how."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """Contents of a tokenizer's files by name, without folders. main: the file with the vocabulary."""

    main: str
    contents: Mapping[str, bytes]


class Entry(NamedTuple):
    """One token.

    text        for display
    data        the bytes of text that the token stands for
    added       added beside the vocabulary
    special     a control token
    byte        a single byte that is no character
    continues   occurs inside words only (`##ing`)
    unfinished  more of its word follows: pieces that end words bear a mark (`ing</w>`)
    whole       taken from a text before the rest is cut into pieces: always reachable
    """

    text: str
    data: bytes
    added: bool = False
    special: bool = False
    byte: bool = False
    continues: bool = False
    unfinished: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Entries by token id, and the encoder of texts.

    encode         None if the files do not define it
    second_encode  of the other language: Marian cuts source and target each by their own model
    complete       whether these are all tokens; if not, ids without an entry may be tokens, too
    remarks        what a reader of the names should know
    made_ids       lists the ids that `encode` may give, but for added tokens; None if that is any
    """

    entries: Mapping[int, Entry]
    encode: Encode | None
    second_encode: Encode | None = None
    complete: bool = True
    remarks: tuple[str, ...] = ()
    made_ids: Callable[[], Set[int]] | None = None

    @property
    def encoders(self) -> Sequence[Encode]:
        """The encoders that there are."""
        return [encode for encode in (self.encode, self.second_encode) if encode is not None]

    @property
    def size(self) -> int:
        """The highest token id + 1."""
        return max(self.entries, default=-1) + 1


def is_id(number: object) -> bool:
    """Whether a JSON value is a valid token id (`true` is not)."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MAX_IDS


def repeated_ids(numbers: Iterable[int]) -> tuple[str, ...]:
    """A remark if a vocabulary gives ids to two tokens each. numbers: the id of each token."""
    repeated = sorted(number for number, count in Counter(numbers).items() if count > 1)
    if not repeated:
        return ()
    return (f"{len(repeated):,} ids have two tokens each, {repeated[0]} the first: the later one counts",)


def spelled(data: bytes, *, added: bool = False, special: bool = False) -> Entry:
    """The entry of a token that stands for these bytes; incomplete characters are shown as `\\xe2`."""
    byte = len(data) == 1 and data[0] >= 0x80
    return Entry(shown(data), data, added, special, byte)


def shown(data: bytes) -> str:
    """Bytes as text of at most MAX_TOKEN_CHARS; incomplete characters as `\\xe2`."""
    text = data.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_TOKEN_CHARS else text[: MAX_TOKEN_CHARS - 1] + "…"


def json_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises BadVocabulary."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadVocabulary(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadVocabulary(f"holds a {type(value).__name__}, expected an object")
    return value


def utf8_text(content: bytes) -> str:
    """Decode a text file. Raises BadVocabulary."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"not UTF-8: {error}") from error


def special_entry(text: str) -> Entry:
    """The entry of a control token."""
    return spelled(storable(text).encode(), special=True)


def base64_bytes(data: bytes, where: str) -> bytes:
    """Decode base64. where: the place in the file, for the message. Raises BadVocabulary."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadVocabulary(f"{where}: not base64: {error}") from error
