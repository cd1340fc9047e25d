"""The small files beside a vocabulary: which class of tokenizer reads it, special tokens, added tokens.

They are JSON from outside. A malformed file states nothing, and is named; neither does a value of an
unexpected type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from survey.unembedding.model_config import model_types
from survey.vocabulary.entries import BadVocabulary, is_id, json_object

# Named special tokens, in the order in which transformers gives ids to those that have none.
SPECIAL_KEYS = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip
_SPECIAL_LISTS = ("additional_special_tokens", "extra_special_tokens")
_GENERIC = frozenset({"", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"})
_FILES = ("tokenizer_config.json", "special_tokens_map.json", "config.json", "added_tokens.json")
_MAX_SPECIAL = 1 << 16  # of each list; a short file could name any number


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that a companion file adds to a vocabulary, or describes."""

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class Companions:
    """What the companion files state.

    tokenizer_class  without `Fast`; None if no file states one
    model_types      of the model's config and of its language parts
    vocab_rows       V that the config states; None if it states none, or several
    settings         tokenizer_config.json
    named            texts of special tokens by key of SPECIAL_KEYS; None if a file says that there is none
    listed           texts of further special tokens
    added            tokens by id
    repeated         ids that the files give to two different texts
    malformed        files that are no JSON objects
    """

    tokenizer_class: str | None = None
    model_types: tuple[str, ...] = ()
    vocab_rows: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, str | None] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    added: Mapping[int, AddedToken] = field(default_factory=dict)
    repeated: tuple[int, ...] = ()
    malformed: tuple[str, ...] = ()

    @property
    def special(self) -> tuple[str, ...]:
        """Texts of all special tokens that the files state."""
        texts = [self.named.get(key) for key in SPECIAL_KEYS]
        return tuple(dict.fromkeys([*(text for text in texts if text), *self.listed]))

    def setting(self, key: str, default: str) -> str:
        """A text of tokenizer_config.json; a special token may be an object with its content."""
        return _content(self.settings.get(key)) or default


def read_companions(contents: Mapping[str, bytes]) -> Companions:
    """What the companion files among these state. contents: by file name, without folders."""
    malformed: list[str] = []
    settings, special_map, config, listed = (_read(contents, name, malformed) for name in _FILES)
    added, repeated = _added(listed, settings)
    return Companions(
        tokenizer_class=_class(settings) or _class(config),
        model_types=tuple(model_types(config)),
        vocab_rows=_vocab_rows(config),
        settings=settings,
        named=_named(special_map) | _named(settings),
        listed=tuple(dict.fromkeys([*_listed(settings), *_listed(special_map)])),
        added=added,
        repeated=repeated,
        malformed=tuple(malformed),
    )


def _class(config: Mapping[str, Any]) -> str | None:
    name = config.get("tokenizer_class")
    base = name.removesuffix("Fast") if isinstance(name, str) else ""
    return None if base in _GENERIC else base


def _vocab_rows(config: Mapping[str, Any]) -> int | None:
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    stated = {part["vocab_size"] for part in parts if is_id(part.get("vocab_size"))}
    return stated.pop() if len(stated) == 1 else None


def _named(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {key: _content(values[key]) for key in SPECIAL_KEYS if key in values}


def _listed(values: Mapping[str, Any]) -> list[str]:
    listed: list[Any] = []  # JSON
    for key in _SPECIAL_LISTS:
        value = values.get(key)
        value = list(value.values()) if isinstance(value, dict) else value
        listed += value[:_MAX_SPECIAL] if isinstance(value, list) else []
    return [text for value in listed if (text := _content(value))]


def _content(value: Any) -> str | None:  # Any: JSON
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def _added(
    listed: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[dict[int, AddedToken], tuple[int, ...]]:
    """Tokens of added_tokens.json, then of `added_tokens_decoder`, which knows more; and repeated ids."""
    added: dict[int, AddedToken] = {}
    repeated: list[int] = []
    for text, number in listed.items():
        if is_id(number):
            if number in added:
                repeated.append(number)
            added[number] = AddedToken(text, special=False)
    decoder = settings.get("added_tokens_decoder")
    for key, item in decoder.items() if isinstance(decoder, dict) else ():
        content = _content(item)
        if content and len(key) < 11 and key.isascii() and key.isdecimal() and is_id(int(key)):
            if int(key) in added and added[int(key)].text != content:
                repeated.append(int(key))
            special = item.get("special") is True if isinstance(item, dict) else False
            added[int(key)] = AddedToken(content, special)
    return added, tuple(sorted(set(repeated)))


def _read(contents: Mapping[str, bytes], name: str, malformed: list[str]) -> Mapping[str, Any]:
    try:
        return json_object(contents[name]) if name in contents else {}
    except BadVocabulary:
        malformed.append(name)
        return {}
