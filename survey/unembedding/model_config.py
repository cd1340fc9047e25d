"""What a checkpoint's config states of its vocabulary matrices: parts, model types, class, sizes.

A config is JSON from outside: a value of an unexpected type is ignored, as if it were missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from survey.errors import BrokenFile
from survey.unembedding.model_parts import of_another_part

# Keys under which a multimodal or encoder-decoder model's config describes its language part.
LANGUAGE_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
_OTHER_PARTS = re.compile(
    r"(?i)quant|rope|generation|tokenizer|encoder|lora|peft|assistant|auto_map|talker|token2wav"
)
_WIDTH = re.compile(r"(?i)embd|embed|(?:^|_)emb_")
_MAX_DEPTH, _MAX_PARTS = 4, 64
ROW_KEYS = ("vocab_size", "padded_vocab_size", "n_vocab", "n_words", "tgt_vocab_size", "decoder_vocab_size")
DIM_KEYS = ("hidden_size", "n_embd", "d_model", "dim", "model_dim", "n_embed", "emb_dim", "embed_dim",
            "hidden_dim", "embedding_dim", "embedding_size")  # fmt: skip
MOST_SETTINGS = 2_000  # of a model's parts; real configs have some two hundred, each looked at often
CONFIG_NAME_CHARS = 200  # a longer value names neither a model type nor a class


def language_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the whole config, then its language parts, each with its dotted path (the whole's is empty).

    A part counts if its key is listed, or if it states a vocabulary size and is no tower and no draft.
    """
    yield from islice(_parts("", config, _MAX_DEPTH), _MAX_PARTS)


def _parts(path: str, config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, config
    others = [
        key
        for key in config
        if isinstance(key, str) and len(key) <= CONFIG_NAME_CHARS and key not in LANGUAGE_PARTS
    ]
    for key in (*LANGUAGE_PARTS, *others) if depth else ():
        part = config.get(key)
        if not isinstance(part, Mapping) or of_another_part(f"{key}.") or _OTHER_PARTS.search(key):
            continue
        if key in LANGUAGE_PARTS or any(_is_count(part.get(row_key)) for row_key in ROW_KEYS):
            yield from _parts(f"{path}.{key}".lstrip("."), part, depth - 1)


def refuse_many_settings(config: Mapping[str, Any], where: str) -> None:
    """Raise BrokenFile (`no-config`) if looking at each setting again and again would take minutes."""
    count = 0
    for _, part in language_parts(config):
        count += len(part)
        if count > MOST_SETTINGS:
            problem = f"holds more than {MOST_SETTINGS:,} settings of the model, our cap"
            raise BrokenFile("no-config", where, problem, "remove what is no setting of the model")


def model_types(config: Mapping[str, Any]) -> list[str]:
    """`model_type` of the whole and of its language parts."""
    types = [part.get("model_type") for _, part in language_parts(config)]
    return list(
        dict.fromkeys(kind for kind in types if isinstance(kind, str) and 0 < len(kind) <= CONFIG_NAME_CHARS)
    )


def architecture(config: Mapping[str, Any]) -> str | None:
    """The first entry of `architectures`: the class of the model."""
    listed = config.get("architectures")
    first = listed[0] if isinstance(listed, list) and listed else None
    return first if isinstance(first, str) and len(first) <= CONFIG_NAME_CHARS else None


def stated_shapes(config: Mapping[str, Any]) -> list[tuple[int, int | None]]:
    """Every (V, D) that the config states for the whole and for its language parts; D may be None."""
    shapes: list[tuple[int, int | None]] = []
    outer_dims = None
    for _, part in language_parts(config):
        dims = next((part[key] for key in DIM_KEYS if _is_count(part.get(key))), outer_dims)
        outer_dims = outer_dims or dims
        shapes.extend((part[key], dims) for key in ROW_KEYS if _is_count(part.get(key)))
    return list(dict.fromkeys(shapes))


def stated_rows(config: Mapping[str, Any]) -> int | None:
    """V of the language part, else of the whole."""
    stated = [rows for rows, _ in stated_shapes(config)]
    return next(iter(stated[1:] or stated), None)


def stated_widths(config: Mapping[str, Any]) -> set[int]:
    """Every number that the config gives for a width (some embeddings are narrower than the model)."""
    return {
        value
        for _, part in language_parts(config)
        for key, value in part.items()
        if isinstance(key, str) and _is_count(value) and _WIDTH.search(key[:CONFIG_NAME_CHARS])
    }


def stated_prompts(config: Mapping[str, Any]) -> int:
    """Number of embedding rows that stand for learnt prompts, not for tokens (CPM-Ant)."""
    stated = [config.get(key) for key in ("prompt_types", "prompt_length")]
    counts = [number for number in stated if type(number) is int and number > 0]
    return counts[0] * counts[1] if len(counts) == 2 else 0


def stated_lengths(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """V and D as the config states them, independently; the language part takes precedence over the whole."""
    parts = [part for _, part in language_parts(config)][::-1]
    return _length(parts, ROW_KEYS), _length(parts, DIM_KEYS)


def _length(parts: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> int | None:
    stated = (part.get(key) for part in parts for key in keys)
    return next((number for number in stated if type(number) is int and number > 0), None)


def _is_count(value: Any) -> bool:  # Any: a value of the config's JSON
    return type(value) is int and value > 0
