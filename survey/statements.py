"""What a checkpoint's config says that bears on its vocabulary matrices.

Everything here comes from somebody's JSON: a value of another type than expected says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Where a multimodal model's config, or an encoder-decoder's, speaks of its language part.
LANGUAGE_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
# transformers; Mistral's own params.json; OLMo-1; Mamba's authors.
_TIES = ("tie_word_embeddings", "tied_embeddings", "weight_tying", "tie_embeddings")
NAME_CHARS = 200  # what is longer names neither a model type nor a class
# Classes whose output is a score, a label or a span.
_SCORES = re.compile(r"Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction|Reward|Ranking")


def language_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The whole config, then its language parts, by their dotted names; the whole's is empty."""
    yield "", config
    for name in LANGUAGE_PARTS:
        part = config.get(name)
        if isinstance(part, Mapping):
            yield name, part
            inner = part.get("text_config")
            if isinstance(inner, Mapping):  # Qwen-Omni: thinker_config.text_config
                yield f"{name}.text_config", inner


def ties(config: Mapping[str, Any]) -> dict[str, bool]:
    """Every statement on whether output and input embedding are one, by its dotted name."""
    found = {}
    for place, part in language_parts(config):
        for key in _TIES:
            if isinstance(stated := part.get(key), bool):
                found[f"{place}.{key}".lstrip(".")] = stated
    return found


def stated_tie(config: Mapping[str, Any]) -> bool | None:
    """The model's own statement, else that of its language part; None where neither says anything."""
    return next(iter(ties(config).values()), None)


def model_types(config: Mapping[str, Any]) -> list[str]:
    """`model_type` of the whole and of its language parts."""
    found = [part.get("model_type") for _, part in language_parts(config)]
    return list(
        dict.fromkeys(kind for kind in found if isinstance(kind, str) and 0 < len(kind) <= NAME_CHARS)
    )


def architecture(config: Mapping[str, Any]) -> str | None:
    """The first entry of `architectures`."""
    listed = config.get("architectures")
    first = listed[0] if isinstance(listed, list) and listed else None
    return first if isinstance(first, str) and len(first) <= NAME_CHARS else None


def stated_shape(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """[V, D] as the config states them, for the language part of a multimodal model."""
    part = dict(language_parts(config)).get("text_config", config)
    rows, dims = part.get("vocab_size"), part.get("hidden_size")
    return (rows, dims) if isinstance(rows, int) and isinstance(dims, int) else None


_ROWS = ("vocab_size", "padded_vocab_size", "n_vocab")
_DIMS = ("hidden_size", "n_embd", "d_model", "dim", "model_dim", "n_embed")


def stated_lengths(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """V and D as the config states them, each by itself; the language part's before the whole's."""
    parts = [part for _, part in language_parts(config)][::-1]
    return _length(parts, _ROWS), _length(parts, _DIMS)


def _length(parts: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> int | None:
    stated = (part.get(key) for part in parts for key in keys)
    return next((number for number in stated if type(number) is int and number > 0), None)


def why_untied(config: Mapping[str, Any]) -> str | None:
    """Why a checkpoint without a head cannot be tied; None where it is.

    In multimodal models transformers 4 asks the language part's config and transformers 5 the
    whole one's; they contradict each other in some exports, so one that says tied is enough.
    Where none says anything, transformers 4 meant tied: it wrote only what differed from that. But
    a class called …Model, not …LMHeadModel, was exported without the head that it may have had.
    """
    stated = ties(config)
    if stated and not any(stated.values()):
        return f"the config says untied ({next(iter(stated))}: false)"
    name = architecture(config) or ""
    if not stated and name.endswith("Model") and "HeadModel" not in name:
        return f"its class is {name}"
    return None


def why_scoring(config: Mapping[str, Any]) -> str | None:
    """Why the model gives scores instead of logits, by its class; None where it does not."""
    name = architecture(config) or ""
    return f"its class, {name}, scores" if _SCORES.search(name) else None


def said(config: Mapping[str, Any]) -> list[str]:
    """All of it, line by line, for a person."""
    lines = [f"{key}: {str(stated).lower()}" for key, stated in ties(config).items()]
    for place, part in language_parts(config):
        for key in ("model_type", "vocab_size", "hidden_size"):
            if isinstance(value := part.get(key), str | int):
                lines.append(f"{place}.{key}: {str(value)[:NAME_CHARS]}".lstrip("."))
    name = architecture(config)
    return [*([f"architectures: {name}"] if name else []), *lines]
