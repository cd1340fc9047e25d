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
from survey.quantised import packed_beside, scheme
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
    "proj_out.weight",  # Whisper
    "output.weight",  # Mistral's own format, InternLM2
    "head.weight",  # RWKV
)
EMBEDDINGS = (
    "embed_tokens.weight",  # Llama, Qwen, Gemma, Mistral, Phi, OLMo-2, …
    "tok_embeddings.weight",  # Mistral's own format, InternLM2
    "transformer.wte.weight",  # GPT-2, GPT-J, OLMo-1
    "wte.weight",
    "gpt_neox.embed_in.weight",
    "embed_in.weight",
    "transformer.word_embeddings.weight",  # Falcon, BLOOM
    "word_embeddings.weight",
    "transformer.embedding.word_embeddings.weight",  # ChatGLM
    "backbone.embeddings.weight",  # Mamba
    "backbone.embedding.weight",
    "shared.weight",  # T5, BART
    "decoder.embed_tokens.weight",  # OPT
    "bert.embeddings.word_embeddings.weight",
    "roberta.embeddings.word_embeddings.weight",
    "electra.embeddings.word_embeddings.weight",
    "distilbert.embeddings.word_embeddings.weight",
    "deberta.embeddings.word_embeddings.weight",
    "albert.embeddings.word_embeddings.weight",
    "transformer.word_embedding.weight",  # XLNet
    "embeddings.word_embeddings.weight",
    "rwkv.embeddings.weight",
    "embeddings.weight",
)
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
    untied = _why_untied(config)
    if matrix == "input":
        if embedding is None:
            _refuse_odd_matrices(names, config, where, EMBEDDINGS)
            raise NotThere("no-head", where, f"no embedding among its {len(names)} tensors")
        return Choice(embedding, head is None and untied is None, "the name of an embedding")
    if head is not None:
        return Choice(head, False, "a head in the files")
    _refuse_odd_matrices(names, config, where, HEADS if embedding else (*HEADS, *EMBEDDINGS))
    if embedding is None:
        raise NotThere("no-head", where, f"neither head nor embedding among its {len(names)} tensors")
    if untied is not None:
        raise NotThere("no-head", where, f"the files hold no head and {untied}: this is a base model")
    return Choice(embedding, True, "no head in the files: tied to the embedding")


def stated_tie(config: Mapping[str, Any]) -> bool | None:
    """`tie_word_embeddings`: the model's own statement, else that of its language part."""
    return next(iter(_statements(config)), None)


def _statements(config: Mapping[str, Any]) -> list[bool]:
    parts = [config, config.get("text_config")]
    found = [part.get("tie_word_embeddings") for part in parts if isinstance(part, Mapping)]
    return [stated for stated in found if isinstance(stated, bool)]


def _why_untied(config: Mapping[str, Any]) -> str | None:
    """Why a checkpoint without a head cannot be tied; None where it is.

    In multimodal models transformers 4 asks the language part's config and transformers 5 the
    whole one's; they contradict each other in some exports, so one that says tied is enough.
    Where none says anything, transformers 4 meant tied: it wrote only what differed from that. But
    a class called …Model, not …LMHeadModel, was exported without the head that it may have had.
    """
    stated = _statements(config)
    if stated and not any(stated):
        return "the config says untied (tie_word_embeddings: false)"
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    if not stated and isinstance(name, str) and name.endswith("Model") and "HeadModel" not in name:
        return f"its class is {name}"
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


def _refuse_odd_matrices(
    names: Collection[str], config: Mapping[str, Any], where: str, known: tuple[str, ...]
) -> None:
    stems = {prefix + name.removesuffix(".weight") for prefix in PREFIXES for name in known}
    for name in sorted(names):
        cut = _CUT.search(name)
        if cut and name[: cut.start()] in stems:
            raise NotThere("split-head", where, f"the matrix is cut into pieces ({name}, …)")
    for stem in sorted(stems):
        packed = packed_beside(names, stem)
        if packed is not None:
            by = scheme(config, names, packed)
            raise NotThere("quantised-head", where, f"the matrix is quantised by {by} ({packed})")
