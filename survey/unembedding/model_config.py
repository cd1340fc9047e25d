"""What a checkpoint's config says that bears on its vocabulary matrices.

Everything here comes from somebody's JSON: a value of another type than expected says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from survey.unembedding.model_parts import of_another_part
from survey.unembedding.tying_defaults import UNTIED_IN_SILENCE

# Where a multimodal model's config, or an encoder-decoder's, speaks of its language part.
LANGUAGE_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
_OTHER_PARTS = re.compile(
    r"(?i)quant|rope|generation|tokenizer|encoder|lora|peft|assistant|auto_map|talker|token2wav"
)
_WIDTH = re.compile(r"(?i)embd|embed|(?:^|_)emb_")
_DEEPEST, _MOST_PARTS = 4, 64
ROW_KEYS = ("vocab_size", "padded_vocab_size", "n_vocab", "n_words", "tgt_vocab_size")
DIM_KEYS = ("hidden_size", "n_embd", "d_model", "dim", "model_dim", "n_embed", "emb_dim", "embed_dim",
            "hidden_dim", "embedding_dim", "embedding_size")  # fmt: skip
# transformers; Mistral's own params.json; OLMo-1; Mamba's authors; LFM2; OpenELM.
_TIES = ("tie_word_embeddings", "tied_embeddings", "weight_tying", "tie_embeddings", "tie_embedding",
         "share_input_output_layers")  # fmt: skip
# The words of others: share_embeddings, tie_weights, share_decoder_input_output_embed, tie_lm_head, …
_TIE = re.compile(r"(?i)(?:^|_)(?:un)?(?:tied?|tying|shared?)_(?:\w+_)?"
                  r"(?:embed|embeds|embeddings?|head|weights?|emb|output\w*|vocab)(?:_|$)"
                  r"|(?:^|_)(?:embeddings?|embed|emb|head|weights)_(?:are_|is_)?(?:un)?(?:tied|shared)$"
                  r"|^(?:un)?tied$")  # fmt: skip
_UNTIE = re.compile(r"(?i)(?:^|_)(?:untied?|no|not|dont|without)(?:_|$)|(?:^|_)unshared$")
# What an encoder shares with a decoder, or layers and experts with one another.
_NO_TIE = re.compile(
    r"(?i)encoder(?!\w*output)|layer|expert|question|block|attn|attention|cross|mtp|adapter|position"
)
CONFIG_NAME_CHARS = 200  # what is longer names neither a model type nor a class
# Classes whose output is a score, a label, a span or a box.
_SCORES = re.compile(
    r"Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction|Reward|Ranking|Scor(?:e|ing)|Regression|Critic"
    r"|Retriev|Detection|Segmentation|Grounding|Alignment|Reasoning|Discriminat|EmbeddingModel|ForTextEncoding"
)
# What a class is for, and which of it are tokens.
_TASK = re.compile(r"For(?=[A-Z])")
_TOKENS = re.compile(r"LM|Language|Generation|Pre[Tt]raining|Seq|Text|Speech|Chat|Caption|Translat|Summari")
# Classes that read sound or images: what they have for tokens is a head alone.
_READS_NO_TOKENS = re.compile(r"ForCTC$|ForMaskedImageModeling$|ForAudioFrame")
_DRAFTS = re.compile(r"Eagle|EAGLE|Medusa|Speculator|Draft")


def language_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The whole config, then its language parts, by their dotted names; the whole's is empty.

    Besides those of known names, whatever states a vocabulary is one, but for towers and drafts.
    """
    yield from islice(_parts("", config, _DEEPEST), _MOST_PARTS)


def _parts(name: str, config: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield name, config
    others = [
        key
        for key in config
        if isinstance(key, str) and len(key) <= CONFIG_NAME_CHARS and key not in LANGUAGE_PARTS
    ]
    for key in (*LANGUAGE_PARTS, *others) if depth else ():
        part = config.get(key)
        if not isinstance(part, Mapping) or of_another_part(f"{key}.") or _OTHER_PARTS.search(key):
            continue
        if key in LANGUAGE_PARTS or any(_is_count(part.get(stated)) for stated in ROW_KEYS):
            yield from _parts(f"{name}.{key}".lstrip("."), part, depth - 1)


def ties(config: Mapping[str, Any]) -> dict[str, bool]:
    """Every statement on whether output and input embedding are one, by its dotted name."""
    found = {}
    for place, part in language_parts(config):
        others = sorted(
            key
            for key in part
            if isinstance(key, str) and len(key) <= CONFIG_NAME_CHARS and _speaks_of_tying(key)
        )
        for key in dict.fromkeys((*_TIES, *others)):
            if isinstance(stated := part.get(key), bool):
                found[f"{place}.{key}".lstrip(".")] = stated != bool(_UNTIE.search(key))
    return found


def _speaks_of_tying(key: str) -> bool:
    return _TIE.search(key) is not None and _NO_TIE.search(key) is None


def stated_tie(config: Mapping[str, Any]) -> bool | None:
    """The model's own statement, else that of its language part; None where neither says anything."""
    return next(iter(ties(config).values()), None)


def meant_tie(config: Mapping[str, Any]) -> bool | None:
    """The statement, else how transformers reads silence for the model type; None where there is no type."""
    stated, kinds = stated_tie(config), model_types(config)
    if stated is not None or not kinds:
        return stated
    # A language part's own type often leaves it to the whole's.
    return any(
        kind not in UNTIED_IN_SILENCE
        for kind in (kinds[0], *kinds[1:])
        if kind == kinds[0] or "_text" not in kind
    )


def model_types(config: Mapping[str, Any]) -> list[str]:
    """`model_type` of the whole and of its language parts."""
    found = [part.get("model_type") for _, part in language_parts(config)]
    return list(
        dict.fromkeys(kind for kind in found if isinstance(kind, str) and 0 < len(kind) <= CONFIG_NAME_CHARS)
    )


def architecture(config: Mapping[str, Any]) -> str | None:
    """The first entry of `architectures`."""
    listed = config.get("architectures")
    first = listed[0] if isinstance(listed, list) and listed else None
    return first if isinstance(first, str) and len(first) <= CONFIG_NAME_CHARS else None


def stated_shapes(config: Mapping[str, Any]) -> list[tuple[int, int | None]]:
    """[V, D] as the config states them for the whole and for its language parts; D may stay unsaid."""
    found: list[tuple[int, int | None]] = []
    outer = None
    for _, part in language_parts(config):
        dims = next((part[key] for key in DIM_KEYS if _is_count(part.get(key))), outer)
        outer = outer or dims
        found.extend((part[key], dims) for key in ROW_KEYS if _is_count(part.get(key)))
    return list(dict.fromkeys(found))


def stated_rows(config: Mapping[str, Any]) -> int | None:
    """V of the language part, else of the whole."""
    stated = [rows for rows, _ in stated_shapes(config)]
    return next(iter(stated[1:] or stated), None)


def stated_widths(config: Mapping[str, Any]) -> set[int]:
    """Every number that the config gives for a width; some embeddings are narrower than the model."""
    return {
        value
        for _, part in language_parts(config)
        for key, value in part.items()
        if isinstance(key, str) and _is_count(value) and _WIDTH.search(key[:CONFIG_NAME_CHARS])
    }


def stated_prompts(config: Mapping[str, Any]) -> int:
    """Rows of an embedding that stand for learnt prompts, not for tokens (CPM-Ant)."""
    stated = [config.get(key) for key in ("prompt_types", "prompt_length")]
    counts = [number for number in stated if type(number) is int and number > 0]
    return counts[0] * counts[1] if len(counts) == 2 else 0


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def stated_lengths(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """V and D as the config states them, each by itself; the language part's before the whole's."""
    parts = [part for _, part in language_parts(config)][::-1]
    return _length(parts, ROW_KEYS), _length(parts, DIM_KEYS)


def _length(parts: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> int | None:
    stated = (part.get(key) for part in parts for key in keys)
    return next((number for number in stated if type(number) is int and number > 0), None)


def why_untied(config: Mapping[str, Any]) -> str | None:
    """Why a checkpoint without a head cannot be tied; None where it is.

    In multimodal models transformers 4 asks the language part's config and transformers 5 the
    whole one's; they contradict each other in some exports, so one that says tied is enough.
    Where none says anything, transformers reads what it does for the model type. A class called
    …Model, not …LMHeadModel, was exported without the head that it may have had.
    """
    stated = ties(config)
    if stated and not any(stated.values()):
        first = next(iter(stated))
        return (
            f"the config says untied ({first}: {str(bool(_UNTIE.search(first.rpartition('.')[2]))).lower()})"
        )
    name = architecture(config) or ""
    if not stated and name.endswith("Model") and "HeadModel" not in name:
        return f"its class is {name}"
    if not stated and meant_tie(config) is False:
        return f"the config says nothing of tying, which means untied for {model_types(config)[0]}"
    return None


def why_scoring(config: Mapping[str, Any]) -> str | None:
    """Why the model gives scores instead of logits, by its class; None where it does not."""
    name = architecture(config) or ""
    if _DRAFTS.search(name):
        return f"its class, {name}, is a draft for another model, whose head it uses"
    if _SCORES.search(name):
        return f"its class, {name}, scores"
    if stated_tie(config) is None and (tasks := _TASK.split(name)[1:]) and not _TOKENS.search(tasks[-1]):
        return f"its class, {name}, is for another task than tokens, and the config says nothing of tying"
    return None


def reads_tokens(config: Mapping[str, Any]) -> bool:
    """Whether the model has an embedding, as far as its class says."""
    return _READS_NO_TOKENS.search(architecture(config) or "") is None


def said(config: Mapping[str, Any]) -> list[str]:
    """All of it, line by line, for a person."""
    lines = [f"{key}: {str(stated).lower()}" for key, stated in ties(config).items()]
    for place, part in language_parts(config):
        for key in ("model_type", *ROW_KEYS, *DIM_KEYS):
            if isinstance(value := part.get(key), str | int):
                lines.append(f"{place}.{key}: {str(value)[:CONFIG_NAME_CHARS]}".lstrip("."))
    name = architecture(config)
    return [*([f"architectures: {name}"] if name else []), *lines]
