"""Which tensor is the unembedding, and which the embedding, by name.

The files win over the config: a head in the files is the head even where the config says tied. A
config that says *untied* with no head in the files is a base model and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from survey.errors import NotThere
from survey.records import MatrixName

# Where a language model lies inside a checkpoint: alone, or in a multimodal model. Vision and
# audio towers have other prefixes, so their tables are never candidates.
PREFIXES = (
    "",
    "model.",
    "language_model.",
    "language_model.model.",
    "model.language_model.",
    "model.text_model.",
    "text_model.",
)

# Within a list, the earlier name wins.
HEADS = (
    "lm_head.weight",
    "embed_out.weight",  # GPT-NeoX
    "transformer.output_layer.weight",  # ChatGLM
    "transformer.ff_out.weight",  # OLMo-1
    "lm_head.linear.weight",  # phi-msft
    "cls.predictions.decoder.weight",  # BERT
    "lm_head.decoder.weight",  # RoBERTa
    "generator_lm_head.weight",  # ELECTRA
    "output_projection.weight",
    "output.weight",  # Mistral's own format, InternLM2
    "head.weight",  # RWKV
)
EMBEDDINGS = (
    "embed_tokens.weight",  # Llama, Qwen, Gemma, Mistral, Phi, OLMo-2, …
    "tok_embeddings.weight",  # Mistral's own format, InternLM2
    "transformer.wte.weight",  # GPT-2, GPT-J, OLMo-1
    "wte.weight",
    "gpt_neox.embed_in.weight",
    "transformer.word_embeddings.weight",  # Falcon, BLOOM
    "word_embeddings.weight",
    "transformer.embedding.word_embeddings.weight",  # ChatGLM
    "backbone.embeddings.weight",  # Mamba
    "backbone.embedding.weight",
    "shared.weight",  # T5, BART
    "decoder.embed_tokens.weight",  # OPT
    "bert.embeddings.word_embeddings.weight",
    "roberta.embeddings.word_embeddings.weight",
    "embeddings.word_embeddings.weight",
    "rwkv.embeddings.weight",
    "embeddings.weight",
)
_QUANTISED = (".qweight", ".weight_packed", ".weight.absmax", ".weight.quant_state", ".SCB")
_CUT = re.compile(r"\.(?:\d+\.weight|weight\.\d+|weight_part_?\d+)$")


@dataclass(frozen=True, slots=True)
class Choice:
    """The tensor that serves as a matrix, and the rule that chose it.

    tied: the unembedding and the embedding are one tensor in the files.
    """

    tensor: str
    tied: bool
    rule: str


def choose(names: Collection[str], config: Mapping[str, Any], matrix: MatrixName, where: str) -> Choice:
    """The tensor among `names` that serves as `matrix`.

    Raises NotThere: `no-head`, `split-head` or `quantised-head`, with what was found.
    """
    head = _first(names, HEADS)
    embedding = _first(names, EMBEDDINGS)
    if matrix == "input":
        if embedding is None:
            raise NotThere("no-head", where, f"no embedding among its {len(names)} tensors")
        return Choice(embedding, head is None and stated_tie(config) is not False, "embedding")
    if head is not None:
        return Choice(head, False, "a head in the files")
    _refuse_odd_heads(names, where)
    if embedding is None:
        raise NotThere("no-head", where, f"neither head nor embedding among its {len(names)} tensors")
    if stated_tie(config) is False:
        raise NotThere(
            "no-head",
            where,
            "the config says untied (tie_word_embeddings: false) and the files hold no head: "
            "this is a base model",
        )
    return Choice(embedding, True, "no head in the files: tied to the embedding")


def stated_tie(config: Mapping[str, Any]) -> bool | None:
    """What the config says about tying; a multimodal model's text_config speaks for its head."""
    for part in (config.get("text_config"), config):
        if isinstance(part, Mapping) and isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    return None


def has_head_bias(names: Collection[str]) -> bool:
    """Whether the files hold a bias that is added to the logits."""
    biases = tuple(head.removesuffix("weight") + "bias" for head in HEADS)
    return _first(names, (*biases, "cls.predictions.bias", "final_logits_bias")) is not None


def _first(names: Collection[str], wanted: tuple[str, ...]) -> str | None:
    for suffix in wanted:
        for prefix in PREFIXES:
            if prefix + suffix in names:
                return prefix + suffix
    return None


def _refuse_odd_heads(names: Collection[str], where: str) -> None:
    stems = {prefix + head.removesuffix(".weight") for prefix in PREFIXES for head in HEADS}
    for name in sorted(names):
        cut = _CUT.search(name)
        if cut and name[: cut.start()] in stems:
            raise NotThere("split-head", where, f"the unembedding is cut into pieces ({name}, …)")
        for suffix in _QUANTISED:
            if name.endswith(suffix) and name.removesuffix(suffix) in stems:
                raise NotThere("quantised-head", where, f"the unembedding is quantised ({name})")
