"""Checkpoints in which a tensor is planted that may be a head, or a part of one, by seed.

By hand, over many of them: PYTHONPATH=.:tests python -m support.planted_heads 20000
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from support.checkpoints import Stored, single, stored
from support.in_memory_checkpoint import HeldCheckpoint

from survey.errors import SurveyError
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

SIZES = [(96, 8), (509, 8), (1536, 12), (2000, 16)]
WRAPPERS = """
    model module _orig_mod core inner wrapped net lm nucleus x7 base llm language_model text_model transformer backbone
    student policy actor net_g encoder decoder params ema kopf 0 modules.3 pipeline.9 stage_1 student.0 seq.12
""".split()  # noqa: SIM905 - words
BODIES = ["", "model.", "transformer."]
LISTS = ["layers", "h", "blocks", "layer", "block"]
EMBEDDINGS = ["embed_tokens.weight", "wte.weight", "tok_embeddings.weight", "word_embeddings.weight", "wte", "embeddings.word_embeddings.weight"]  # fmt: skip
STEMS = """
    lm_head lm-head lmHead LMHead LMHead_0 LM_HEAD lmhead lm_heads lm_head_2 my_lm_head lm_head_projector kopf_lm_head
    unembed unembedding unembedder unEmbed un-embed embed_out output_embedding to_logits toLogits to-logits logits
    logits_proj logits_head logits_projector final_logits output outputLayer output_layer output_head output_projection
    OutputProjection output_proj output_projector out out_proj proj_out pred pred_layer predict predictor predictions
    prediction_head decoder decoder_head generator generator_proj tgt_generator classifier classifier_head
    token_classifier score score_head logit_scorer scoring readout read_out softmax vocab_proj vocabProj vocab_head
    vocab_out vocab_projector proj_vocab word_head token_head text_head mlm_head sequence_head next_token_head head
    final_head language_head
""".split()  # noqa: SIM905 - words
RESTS = """
    .weight .kernel .w .W .weights .weight_v .0.weight .1.weight .3.weight .weight.0 .dense.weight .transform.weight
    .norm.weight .proj.weight .projection.weight .linear.weight .fc.weight .out_proj.weight .output.weight
    .decoder.weight .module.weight .net.2.weight .layers.0.weight _w _weight _kernel _0 _1.weight
""".split()  # noqa: SIM905 - words
TIES: list[dict[str, Any]] = [{"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {}, {"tie_embedding": True}]  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {},
    {"model_type": "gemma"},
    {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
    {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
]


@dataclass(frozen=True)
class Planted:
    """A checkpoint, and the tensor that is planted in it. whole: whether that is a [V, D] that may be measured."""

    tensors: dict[str, Stored]
    config: dict[str, Any]
    name: str
    shape: tuple[int, ...]
    whole: bool

    def outcome(self) -> tuple[str, str]:
        """The tensor that is measured, or the reason and the message."""
        try:
            target = locate(lay_out(HeldCheckpoint(single(self.tensors, self.config))), "output")
        except SurveyError as refusal:
            return refusal.reason, str(refusal)
        return "measured", target.spec.name

    def is_passed_over(self) -> bool:
        """Whether something else is measured, or a refusal does not name the tensor."""
        reason, text = self.outcome()
        return not (self.whole and text == self.name if reason == "measured" else self.name in text)


def planted(seed: int) -> Planted:
    """The checkpoint of a seed."""
    source = Random(seed)
    rows, dims = source.choice(SIZES)
    tensors, wrapper, body = _model(source, rows, dims)
    strange = "".join(source.choice("bcdfghjkqrwxz") for _ in range(5)) + "."
    inner = f"{wrapper}{source.choice(WRAPPERS)}."
    prefix = source.choice([wrapper, wrapper + body, "", inner, strange, "stages.0.", "model.layers.3."])
    name = prefix + source.choice(STEMS) + source.choice(["", *RESTS, *RESTS])
    shape, dtype = source.choice(_shapes(rows, dims))
    size = {"vocab_size": rows, source.choice(["hidden_size", "n_embd", "d_model"]): dims}
    stated = source.choice([size, size, {"text_config": size}])
    planted_tensor = stored(*shape, dtype=dtype, seed=1) if dtype != "F5_E2M2" else Stored(dtype, shape, b"?")
    config = {**stated, **source.choice(TIES), **source.choice(KINDS)}
    whole = len(shape) == 2 and shape[0] >= rows and shape[1] == dims
    return Planted({**tensors, name: planted_tensor}, config, name, shape, whole)


def _model(source: Random, rows: int, dims: int) -> tuple[dict[str, Stored], str, str]:
    """The tensors of a model without a head, what wraps it, and the module of its layers."""
    wrapper = "".join(f"{source.choice(WRAPPERS)}." for _ in range(source.randrange(4)))
    body, layers = source.choice(BODIES), source.choice(LISTS)
    tensors = {wrapper + body + source.choice(EMBEDDINGS): stored(rows, dims), f"{wrapper}{body}norm.weight": stored(dims)}  # fmt: skip
    for number in range(source.randrange(1, 4)):
        layer = f"{wrapper}{body}{layers}.{number}."
        tensors[f"{layer}mlp.up_proj.weight"] = stored(4 * dims, dims)
        tensors[f"{layer}mlp.down_proj.weight"] = stored(dims, 4 * dims)
        tensors[f"{layer}self_attn.o_proj.weight"] = stored(dims, dims)
        tensors[f"{layer}norm.weight"] = stored(dims)
    if source.random() < 0.3:
        tensors[f"{wrapper}{body}position_embeddings.weight"] = stored(64, dims)
    return tensors, wrapper, body


def _shapes(rows: int, dims: int) -> list[tuple[tuple[int, ...], str]]:
    plain: list[tuple[int, ...]] = [
        (rows, dims), (dims, rows), (1, rows, dims), (rows * dims,), (rows // 2, dims), (dims, rows // 2), (1, rows // 2, dims),
        (2, rows // 2, dims), (rows // 3, dims), (rows // 4, dims), (rows // 8, dims), (2 * rows, dims), (4 * rows, dims),
        (rows + 8, dims), (rows + 64, dims),
    ]  # fmt: skip
    packed = [((rows, dims // 2), dtype) for dtype in ("F32", "I32", "U8", "F5_E2M2")]
    return [*((shape, "F32") for shape in plain), *packed]


def passed_over(seeds: Iterable[int]) -> list[str]:
    """The planted tensors that are silently passed over, with their shapes, configs and seeds."""
    models = ((seed, planted(seed)) for seed in seeds)
    return [f"{model.name} {model.shape} {model.config} (seed {seed}): {model.outcome()}" for seed, model in models if model.is_passed_over()]  # fmt: skip


if __name__ == "__main__":
    silent = passed_over(range(int(sys.argv[1])))
    print("\n".join([*silent, f"{len(silent)} of {sys.argv[1]} passed over"]))
    sys.exit(bool(silent))
