"""Whether the config says that the unembedding and the input embedding are one matrix (tied)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from survey.unembedding.model_config import CONFIG_NAME_CHARS, architecture, language_parts, model_types
from survey.unembedding.tying_defaults import UNTIED_IN_SILENCE

# transformers; Mistral's own params.json; OLMo-1; Mamba's authors; LFM2; OpenELM.
_TIES = ("tie_word_embeddings", "tied_embeddings", "weight_tying", "tie_embeddings", "tie_embedding",
         "share_input_output_layers")  # fmt: skip
# Other libraries: share_embeddings, tie_weights, share_decoder_input_output_embed, tie_lm_head, …
_TIE = re.compile(r"(?i)(?:^|_)(?:un)?(?:tied?|tying|shared?)_(?:\w+_)?"
                  r"(?:embed|embeds|embeddings?|head|weights?|emb|output\w*|vocab)(?:_|$)"
                  r"|(?:^|_)(?:embeddings?|embed|emb|head|weights)_(?:are_|is_)?(?:un)?(?:tied|shared)$"
                  r"|^(?:un)?tied$")  # fmt: skip
# Classes of this ending are base models, without a head; these alone are language models.
_BASE = re.compile(r"Model$")
_NO_BASE = re.compile(r"HeadModel|(?:MT|EncoderDecoder|Chat|M4T(?:v2)?)Model$")
_UNTIE = re.compile(r"(?i)(?:^|_)(?:untied?|no|not|dont|without)(?:_|$)|(?:^|_)unshared$")
# Other sharing: of an encoder with a decoder, or among layers and experts.
_NO_TIE = re.compile(
    r"(?i)encoder(?!\w*output)|layer|expert|question|block|attn|attention|cross|mtp|adapter|position"
)


def tie_statements(config: Mapping[str, Any]) -> dict[str, bool]:
    """Every statement of the config on tying, by its dotted path; True means tied."""
    statements = {}
    for path, part in language_parts(config):
        others = sorted(
            key
            for key in part
            if isinstance(key, str) and len(key) <= CONFIG_NAME_CHARS and _speaks_of_tying(key)
        )
        for key in dict.fromkeys((*_TIES, *others)):
            if isinstance(stated := part.get(key), bool):
                statements[f"{path}.{key}".lstrip(".")] = stated != bool(_UNTIE.search(key))
    return statements


def _speaks_of_tying(key: str) -> bool:
    return _TIE.search(key) is not None and _NO_TIE.search(key) is None


def stated_tie(config: Mapping[str, Any]) -> bool | None:
    """The whole model's statement, else that of its language part; None if there is none."""
    return next(iter(tie_statements(config).values()), None)


def implied_tie(config: Mapping[str, Any]) -> bool | None:
    """The statement, else the default of transformers for the model type; None if there is no model type."""
    stated, kinds = stated_tie(config), model_types(config)
    if stated is not None or not kinds:
        return stated
    # The default of a language part's own type is often overridden by the whole model's type.
    return any(
        kind not in UNTIED_IN_SILENCE
        for kind in (kinds[0], *kinds[1:])
        if kind == kinds[0] or "_text" not in kind
    )


def why_untied(config: Mapping[str, Any]) -> str | None:
    """Why a checkpoint without a head cannot be tied; None if it can.

    In multimodal models transformers 4 reads the language part's statement and transformers 5 the
    whole model's. They contradict each other in some exports, so one that says tied is enough.
    Without a statement the default of transformers for the model type decides. A class named
    …Model, not …LMHeadModel or …MTModel, was exported without the head that it may have had.
    """
    statements = tie_statements(config)
    if statements and not any(statements.values()):
        first = next(iter(statements))
        return (
            f"the config says untied ({first}: {str(bool(_UNTIE.search(first.rpartition('.')[2]))).lower()})"
        )
    name = architecture(config) or ""
    if not statements and _BASE.search(name) and not _NO_BASE.search(name):
        return f"its class is {name}"
    if not statements and implied_tie(config) is False:
        return f"the config says nothing of tying, which means untied for {model_types(config)[0]}"
    return None
