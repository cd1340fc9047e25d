"""A part named like a tower may hold the language model, and a tower a head: structure decides."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, Stored, single, stored
from support.in_memory_checkpoint import HeldCheckpoint
from support.layouts import FULL, LLAMA, LLAMA_TIED, LLAMA_UNTIED, SQUARE, D, V

from survey.errors import NotThere
from survey.records.target import MatrixName, Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

ONLINE = {EMBED: FULL, "model.layers.0.mlp.up.weight": SQUARE, "model.layers.1.mlp.up.weight": SQUARE}
Shapes = dict[str, tuple[int, ...]]


def below(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def chosen(shapes: Shapes, config: dict[str, Any], matrix: MatrixName = "output") -> Target:
    tensors: dict[str, Stored] = {
        name: stored(*shape, seed=seed, dtype="I32" if name.endswith("qweight") else "F32")
        for seed, (name, shape) in enumerate(shapes.items())
    }
    checkpoint = HeldCheckpoint(single(tensors, config))
    return locate(lay_out(checkpoint), matrix)


def refused(shapes: Shapes, config: dict[str, Any], matrix: MatrixName = "output") -> NotThere:
    with pytest.raises(NotThere) as caught:
        chosen(shapes, config, matrix)
    return caught.value


HOLDERS = [
    "video_lm.",
    "vision_language_model.",
    "model.speech_lm.",
    "clip_llm.transformer.",
    "ema.",
    "ema_model.module.",
    "teacher.",
    "ref_model.",
    "reward_model.",
    "actor.",
    "generator.",
    "diffusion.",
    "codec_lm.",
    "draft_model.",
]


@pytest.mark.parametrize("prefix", HOLDERS)
def test_the_only_language_model_is_found_whatever_its_holder_is_called(prefix: str) -> None:
    towers: Shapes = {
        "vision_tower.blocks.0.attn.weight": SQUARE,
        "vision_tower.blocks.1.attn.weight": SQUARE,
    }
    untied = {**below(prefix, {**ONLINE, HEAD: FULL}), **towers}
    assert chosen(untied, LLAMA_UNTIED).spec.name == prefix + HEAD
    assert chosen(untied, LLAMA_UNTIED, "input").spec.name == prefix + EMBED
    tied = chosen({**below(prefix, ONLINE), **towers}, LLAMA_TIED)
    assert (tied.spec.name, tied.identity.tied) == (prefix + EMBED, True)


@pytest.mark.parametrize("prefix", ["video_lm.", "codec_lm."])
@pytest.mark.parametrize(
    ("added", "reason"),
    [
        ({"lm_head.qweight": (V // 8, D)}, "quantised-head"),
        ({"lm_head.weight": FULL, "lm_head.lora_A.weight": (2, D)}, "no-head"),
        ({"final_proj.weight": FULL}, "unknown-head"),
        ({"audio_tower.lm_head.weight": FULL}, "unknown-head"),
    ],
    ids=["codes", "an update", "a second table", "in a tower of its own"],
)
def test_what_is_odd_about_a_head_is_odd_there_too(prefix: str, added: Shapes, reason: str) -> None:
    error = refused({**below(prefix, {**ONLINE, **added})}, LLAMA_TIED)
    assert (error.reason, prefix in error.problem) == (reason, True), error


@pytest.mark.parametrize("config", [LLAMA, {"model_type": "gemma", "vocab_size": V, "hidden_size": D}])
def test_silence_ties_nothing_in_a_part_of_another_name(config: dict[str, Any]) -> None:
    assert refused(below("video_lm.", ONLINE), config).reason in ("no-head", "unknown-head")


def test_a_codecs_table_of_codes_is_not_the_tokens() -> None:
    codec: Shapes = {"codec.embed_tokens.weight": (V // 4, D), "codec.layers.0.mlp.up.weight": SQUARE}
    assert refused(codec, LLAMA_TIED).reason == "no-head"


TWO = [("", "ema."), ("model.", "ema."), ("student.", "teacher."), ("policy.", "ref_model."),
       ("online.", "target."), ("vision_lm.", "speech_lm."), ("", "ema_model.module.")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), TWO, ids=str)
def test_of_two_language_models_both_are_named(one: str, other: str) -> None:
    tied = {**below(one, ONLINE), **below(other, ONLINE)}
    untied = {**below(one, {**ONLINE, HEAD: FULL}), **below(other, {**ONLINE, HEAD: FULL})}
    cases: list[tuple[Shapes, dict[str, Any], MatrixName, str]] = [
        (tied, LLAMA_TIED, "output", EMBED),
        (untied, LLAMA_UNTIED, "output", HEAD),
        (untied, LLAMA_UNTIED, "input", EMBED),
    ]
    for shapes, config, matrix, name in cases:
        error = refused(shapes, config, matrix)
        named = one + name in error.problem and other + name in error.problem
        assert (error.reason, named) == ("unknown-head", True), error


UNPLACED: dict[str, Shapes] = {
    "a codec's": {"tts_codec.lm_head.weight": FULL},
    "transposed": {"tts_codec.lm_head.weight": (D, V)},
    "padded": {"audio_decoder.lm_head.weight": (V + 8, D)},
    "by its shape alone": {"vision_tower.proj.weight": FULL},
    "in codes": {"talker.lm_head.qweight": (V // 8, D)},
    "with layers and no table": {"talker.lm_head.weight": FULL, "talker.layers.0.mlp.up.weight": SQUARE},
}
PLACED: dict[str, Shapes] = {
    "for its own codes": {"tts_codec.lm_head.weight": (V // 2, D)},
    "of another width": {"tts_codec.lm_head.weight": (V, D // 2)},
    "a draft's": {
        "model.mtp.lm_head.weight": FULL,
        "medusa_head.0.1.weight": FULL,
        "eagle.lm_head.weight": FULL,
    },
    "a language model's of its own": {
        "talker.lm_head.weight": FULL,
        "talker.embed_tokens.weight": FULL,
        "talker.layers.0.mlp.up.weight": SQUARE,
    },
    "a codebook": {"audio_codec.codebook.weight": FULL},
}


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("added", UNPLACED.values(), ids=UNPLACED.keys())
def test_a_head_in_another_part_is_refused_unless_that_part_explains_it(
    added: Shapes, config: dict[str, Any]
) -> None:
    error = refused({**ONLINE, **added}, config)
    assert error.reason == ("quantised-head" if "qweight" in str(added) else "unknown-head")
    assert next(iter(added)) in error.problem


@pytest.mark.parametrize("added", PLACED.values(), ids=PLACED.keys())
def test_another_parts_own_head_changes_nothing(added: Shapes) -> None:
    target = chosen({**ONLINE, **added}, LLAMA_TIED)
    assert (target.spec.name, target.identity.tied) == (EMBED, True)


def test_an_embedding_in_another_part_is_not_passed_over() -> None:
    shapes = {HEAD: FULL, "model.layers.0.mlp.up.weight": SQUARE, "tts_codec.embed_tokens.weight": FULL}
    error = refused(shapes, LLAMA_TIED, "input")
    assert (error.reason, "tts_codec.embed_tokens.weight" in error.problem) == ("unknown-head", True)
    assert not chosen(shapes, LLAMA_TIED).identity.tied


TOWER = {"text_model.embeddings.token_embedding.weight": FULL, "text_model.encoder.layers.0.mlp.fc1.weight": SQUARE}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "owlvit.", "model."])
@pytest.mark.parametrize("config", [LLAMA, LLAMA_TIED, LLAMA_UNTIED], ids=["silent", "tied", "untied"])
def test_the_table_of_a_text_tower_is_an_input_and_no_output(prefix: str, config: dict[str, Any]) -> None:
    shapes = below(prefix, TOWER)
    embedding = chosen(shapes, config, "input")
    assert (embedding.spec.name, embedding.identity.tied) == (next(iter(shapes)), False)
    assert refused(shapes, config).reason == "no-head"
    assert chosen({**shapes, HEAD: FULL}, config).spec.name == HEAD
