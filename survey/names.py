"""The names that unembeddings and embeddings have in checkpoints.

A name is `wrapper + body + ending`: what holds the language model (a multimodal model, an adapter),
what holds its layers, and what the matrix is called. Only what is listed is a candidate: a tower for
images or sound, a draft head, a codebook or a table for each layer has another name, or stands elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from survey.quantised import PACKED, packed_beside, packed_stem
from survey.statements import model_types

# The language model: alone, in a multimodal model, in an encoder-decoder, in an adapter.
WRAPPERS = (
    "",
    "model.",
    "language_model.",
    "model.language_model.",
    "text_model.",
    "model.text_model.",
    "llm.",
    "model.llm.",
    "thinker.",  # Qwen-Omni, beside its talker
    "text_decoder.",  # BLIP, SeamlessM4T
    "decoder.",  # any encoder and any decoder, as in Donut
    "base_model.model.",  # PEFT, around any of the above
    "base_model.model.language_model.",
    "base_model.model.model.language_model.",
    "pretrained_model.",  # TRL
)
# What holds its layers; a model type's own name (`bert.`, `gpt_neox.`) is added from the config.
BODIES = ("", "model.", "transformer.", "backbone.", "gpt_neox.", "rwkv.",
          "bert.", "roberta.", "electra.", "distilbert.", "albert.", "deberta.")  # fmt: skip

# Within a list, the earlier name wins.
HEADS = (
    "lm_head.weight",
    "lm_head.modules_to_save.weight",  # early PEFT
    "embed_out.weight",  # GPT-NeoX
    "transformer.ff_out.weight",  # OLMo-1: a layer's own ff_out has a longer name
    "lm_head.linear.weight",  # phi-msft
    "lm_head.out_proj.weight",  # T5Gemma
    "cls.predictions.decoder.weight",  # BERT
    "lm_head.decoder.weight",  # RoBERTa
    "predictions.decoder.weight",  # ALBERT
    "vocab_projector.weight",  # DistilBERT
    "generator_lm_head.weight",  # ELECTRA
    "pred_layer.proj.weight",  # XLM
    "lm_loss.weight",  # XLNet
    "unembed.weight",  # Inkling
    "decoder.output_projection.weight",  # FSMT
)
# Other models call a classifier so, or what leaves a diffusion transformer: a head only beside an embedding.
VAGUE_HEADS = (
    "output_layer.weight",  # ChatGLM
    "proj_out.weight",  # Whisper
    "output_projection.weight",
    "output.weight",  # Mistral's own format, InternLM2
    "head.weight",  # RWKV
    "decoder.weight",  # ModernBERT
)
EMBEDDINGS = (
    "embed_tokens.weight",  # Llama, Qwen, Gemma, Mistral, Phi, OLMo-2, …
    "embed_tokens.modules_to_save.weight",  # early PEFT
    "tok_embeddings.weight",  # Mistral's own format, InternLM2
    "wte.weight",  # GPT-2, GPT-J, OLMo-1
    "embd.wte.weight",  # phi-msft
    "embed_in.weight",  # GPT-NeoX
    "decoder.word_embeddings.weight",  # ProphetNet
    "word_embeddings.weight",  # Falcon, BLOOM
    "embedding.word_embeddings.weight",  # ChatGLM
    "shared.weight",  # T5, BART
    "decoder.embed_tokens.weight",  # OPT
    "embeddings.word_embeddings.weight",  # BERT
    "embeddings.tok_embeddings.weight",  # ModernBERT
    "word_embedding.weight",  # XLNet
    "tokens_embed.weight",  # GPT-1
    "transformer.w.weight",  # CTRL
    "embeddings.weight",  # Mamba, RWKV, XLM
    "embedding.weight",  # Mamba of its authors
    "input_embedding.weight",  # CPM-Ant
    "local_encoder.embed_tokens.weight",  # BLT
    "encoder.embed_tokens.weight",  # T5Gemma
    "emb.weight",  # RWKV of its authors
    "embed.weight",  # Inkling
)
BIASES = ("cls.predictions.bias", "final_logits_bias")

# Pieces of one matrix, the heads of several codebooks, and Molmo's embedding with its new rows apart.
_CUT = re.compile(r"\.(?:\d+\.weight|weight\.\d+|weight_part_?\d+|new_embedding)$")

_PACKED = tuple(PACKED)


class Names:
    """The names of a checkpoint's tensors, and which of them have a place in a language model."""

    def __init__(self, names: Collection[str], config: Mapping[str, Any]) -> None:
        self.all = names
        kinds = [kind.replace("-", "_") + "." for kind in model_types(config)]
        bodies = dict.fromkeys((*BODIES, *kinds))
        self._prefixes = tuple(dict.fromkeys(wrapper + body for wrapper in WRAPPERS for body in bodies))
        self.embeddings = tuple(self._held(EMBEDDINGS))
        self.heads = tuple(self._held((*HEADS, *(VAGUE_HEADS if self.embeddings else ()))))

    @property
    def head_bias(self) -> bool:
        """Whether a bias is added to the logits."""
        biases = [name.removesuffix("weight") + "bias" for name in HEADS]
        beside = (head.removesuffix("weight") + "bias" in self.all for head in self.heads)
        return any(beside) or bool(self._held((*biases, "output.bias", *BIASES)))

    def packed(self, *, of_head: bool) -> str | None:
        """A tensor that shows a head, or an embedding, to be stored quantised."""
        stems, found = self._stems(of_head), []
        for name in self.all:
            if name.endswith(_PACKED) and (stem := packed_stem(name)) in stems:
                found.append(stem)
        return packed_beside(self.all, min(found)) if found else None

    def cut(self, *, of_head: bool) -> str | None:
        """A tensor that shows a head, or an embedding, to be cut over several."""
        stems = self._stems(of_head)
        found = (name for name in self.all if (piece := _CUT.search(name)) and name[: piece.start()] in stems)
        return min(found, default=None)

    def _stems(self, of_head: bool) -> frozenset[str]:
        return _stems(self._prefixes, (*HEADS, *VAGUE_HEADS, "lm_heads.weight") if of_head else EMBEDDINGS)

    def _held(self, wanted: Iterable[str]) -> list[str]:
        """Those of the wanted names that there are, the better known first."""
        return [name for name in _candidates(self._prefixes, tuple(wanted)) if name in self.all]


@lru_cache(16)  # thousands of names, the same for every model of a type
def _candidates(prefixes: tuple[str, ...], endings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(prefix + ending for ending in endings for prefix in prefixes))


@lru_cache(16)
def _stems(prefixes: tuple[str, ...], known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(prefix + name.removesuffix(".weight") for prefix in prefixes for name in known)
