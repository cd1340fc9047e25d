"""The index of a sharded checkpoint is a claim: shards are read if it leaves a head open."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, INDEX, Stored, safetensors, stored
from support.in_memory_checkpoint import HeldCheckpoint
from support.layouts import (
    FIRST,
    FULL,
    LLAMA,
    LLAMA_TIED,
    LLAMA_UNTIED,
    NORM,
    OUTPUT,
    SECOND,
    SQUARE,
    TABLE,
    D,
    chosen,
    refused,
    shards,
)

from survey.records.target import MatrixName
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(
    "listed", [{FIRST, SECOND}, {FIRST}], ids=["its-shard-listed", "its-shard-not-listed"]
)
def test_a_head_that_the_index_omits_is_read_from_its_shard(config: dict[str, Any], listed: set[str]) -> None:
    claimed = {
        name: file for name, file in {EMBED: FIRST, "model.norm.weight": SECOND}.items() if file in listed
    }
    files = shards(claimed, config, first={EMBED: TABLE}, second={HEAD: OUTPUT, "model.norm.weight": NORM})
    target = chosen(files)
    assert (target.spec.name, target.spec.file, target.identity.tied) == (HEAD, SECOND, False)
    assert not chosen(files, "input").identity.tied


def test_a_head_that_no_shard_holds_is_tied_if_the_config_says_so() -> None:
    claimed = {EMBED: FIRST, HEAD: SECOND, "model.norm.weight": SECOND}
    tensors = {"first": {EMBED: TABLE}, "second": {"model.norm.weight": NORM}}
    target = chosen(shards(claimed, LLAMA_TIED, **tensors))
    assert (target.spec.name, target.identity.tied) == (EMBED, True)
    for config in (LLAMA_UNTIED, LLAMA):
        assert refused(shards(claimed, config, **tensors)).reason == "index-mismatch"


def test_an_embedding_that_no_shard_holds_is_tied_to_the_head() -> None:
    claimed = {EMBED: SECOND, HEAD: SECOND, "model.norm.weight": FIRST}
    files = shards(claimed, LLAMA_TIED, first={"model.norm.weight": NORM}, second={HEAD: OUTPUT})
    for matrix in ("output", "input"):
        target = chosen(files, matrix)
        assert (target.spec.name, target.identity.tied) == (HEAD, True)


def test_without_a_shard_nobody_knows_whether_there_is_a_head() -> None:
    files = shards({EMBED: FIRST, "model.norm.weight": SECOND}, LLAMA_TIED, first={EMBED: TABLE}, second={})
    del files[SECOND]
    error = refused(files)
    assert error.reason == "index-mismatch"
    assert SECOND in error.where
    assert not chosen(files, "input").identity.tied


MISSING = {
    "the head's shard": ({EMBED: FIRST, HEAD: SECOND}, "output", "input"),
    "the embedding's shard": ({HEAD: FIRST, EMBED: SECOND}, "input", "output"),
    "a shard of neither": ({EMBED: FIRST, "model.norm.weight": SECOND}, "output", "input"),
}


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(("claimed", "refused_matrix", "matrix"), MISSING.values(), ids=MISSING)
def test_a_missing_shard_refuses_only_the_matrix_that_it_may_hold(
    claimed: dict[str, str], refused_matrix: MatrixName, matrix: MatrixName, config: dict[str, Any]
) -> None:
    first = next(name for name, file in claimed.items() if file == FIRST)
    files = shards(claimed, config, first={first: TABLE}, second={})
    del files[SECOND]
    error = refused(files, refused_matrix)
    assert (error.reason, SECOND in error.where) == ("index-mismatch", True)
    target = chosen(files, matrix)
    assert (target.spec.name, target.spec.file, target.identity.tied) == (first, FIRST, False)


def test_an_unknown_head_that_the_index_omits_is_refused() -> None:
    claimed = {EMBED: FIRST, "model.norm.weight": SECOND}
    tensors = {"first": {EMBED: TABLE}, "second": {"unembedder.weight": OUTPUT, "model.norm.weight": NORM}}
    assert refused(shards(claimed, LLAMA_TIED, **tensors)).reason == "unknown-head"


@pytest.mark.parametrize("indexed", [False, True], ids=["no-index", "an-index-that-names-neither"])
def test_a_name_that_two_shards_hold_is_not_chosen_silently(indexed: bool) -> None:
    tensors = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {HEAD: TABLE, "model.norm.weight": NORM}}
    files = shards({EMBED: FIRST, "model.norm.weight": SECOND}, LLAMA_UNTIED, **tensors)
    if not indexed:
        del files[INDEX]
    error = refused(files)
    assert (error.reason, HEAD in error.problem) == ("index-mismatch", True)
    assert chosen(files, "input").spec.name == EMBED


def test_the_index_decides_between_two_shards() -> None:
    tensors = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {HEAD: TABLE}}
    assert chosen(shards({EMBED: FIRST, HEAD: SECOND}, LLAMA_UNTIED, **tensors)).spec.file == SECOND


def test_no_other_shard_is_read_if_the_index_names_both() -> None:
    tensors = {"first": {EMBED: TABLE}, "second": {HEAD: OUTPUT}}
    checkpoint = HeldCheckpoint(shards({EMBED: FIRST, HEAD: SECOND}, LLAMA_UNTIED, **tensors))
    locate(lay_out(checkpoint), "output")
    assert [file for file, _ in checkpoint.read] == ["config.json", INDEX, SECOND]


RIVALS: dict[str, tuple[str, MatrixName, str]] = {
    "a head in another wrapper": ("ema.lm_head.weight", "output", "unknown-head"),
    "a head of another name": ("unembed.weight", "output", "unknown-head"),
    "rows of the head": ("lm_head_special.weight", "output", "split-head"),
    "an embedding in another wrapper": ("ema.model.embed_tokens.weight", "input", "unknown-head"),
    "rows of the embedding": ("model.special_embeddings.weight", "input", "split-head"),
}


NO_RIVALS = ["vision_tower.head.weight", "model.embed_positions.weight", "mtp.lm_head.weight", "encoder.norm.weight",
             "model.embed_tokens_per_layer.weight", "lm_head.bias"]  # fmt: skip


@pytest.mark.parametrize(("name", "matrix", "reason"), RIVALS.values(), ids=RIVALS.keys())
def test_a_rival_in_a_shard_that_is_otherwise_not_read_is_refused(
    name: str, matrix: MatrixName, reason: str
) -> None:
    claimed = {EMBED: FIRST, HEAD: FIRST, name: SECOND, "ema.model.layers.0.mlp.up.weight": SECOND}
    layer = {"ema.model.layers.0.mlp.up.weight": stored(*SQUARE)}
    tensors = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {name: stored(*FULL, seed=3), **layer}}
    error = refused(shards(claimed, LLAMA_UNTIED, **tensors), matrix)
    assert (error.reason, name in error.problem) == (reason, True)
    # of another size, or in the index alone, it is none
    tensors["second"] = {name: stored(4, 3), **layer}
    assert chosen(shards(claimed, LLAMA_UNTIED, **tensors), matrix).spec.file == FIRST
    tensors["second"] = layer
    assert chosen(shards(claimed, LLAMA_UNTIED, **tensors), matrix).spec.file == FIRST
    # and nobody knows what a file that is not there holds
    files = shards(claimed, LLAMA_UNTIED, **tensors)
    del files[SECOND]
    assert refused(files, matrix).reason == "index-mismatch"


@pytest.mark.parametrize("name", NO_RIVALS)
def test_a_name_that_is_no_rival_costs_no_request(name: str) -> None:
    tensors = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {name: NORM}}
    checkpoint = HeldCheckpoint(shards({EMBED: FIRST, HEAD: FIRST, name: SECOND}, LLAMA_UNTIED, **tensors))
    layout = lay_out(checkpoint)
    for matrix in ("output", "input"):
        locate(layout, matrix)
    assert [file for file, _ in checkpoint.read] == ["config.json", INDEX, FIRST]


@pytest.mark.parametrize(
    ("omitted", "reason"),
    [("lm_head.lora_A.weight", "no-head"), ("lm_head.qweight", "quantised-head")],
)
def test_tensors_that_the_index_omits_in_the_heads_own_shard_are_refused(omitted: str, reason: str) -> None:
    claimed = {EMBED: FIRST, HEAD: SECOND}
    tensors = {"first": {EMBED: TABLE}, "second": {HEAD: OUTPUT, omitted: stored(2, D)}}
    assert refused(shards(claimed, LLAMA_UNTIED, **tensors)).reason == reason


@pytest.mark.parametrize("file", ["first", "second"])
def test_a_scale_that_the_index_omits_is_applied(file: str) -> None:
    tensors: dict[str, dict[str, Stored]] = {
        "first": {EMBED: TABLE},
        "second": {HEAD: stored(*FULL, dtype="F8_E4M3")},
    }
    tensors[file]["lm_head.weight_scale"] = stored(1)
    target = chosen(shards({EMBED: FIRST, HEAD: SECOND}, LLAMA_UNTIED, **tensors))
    assert target.identity.scale == "lm_head.weight_scale per tensor"


def test_a_vague_name_in_the_index_hides_no_head() -> None:
    tensors = {"first": {EMBED: TABLE, "output.weight": TABLE}, "second": {HEAD: OUTPUT}}
    target = chosen(shards({EMBED: FIRST, "output.weight": FIRST}, LLAMA_UNTIED, **tensors))
    assert target.spec.name == HEAD


def test_a_head_in_a_file_beside_the_shards_is_refused() -> None:
    files = shards(
        {EMBED: FIRST, "model.norm.weight": SECOND},
        LLAMA_TIED,
        first={EMBED: TABLE},
        second={"model.norm.weight": NORM},
    )
    stray = files | {"extra.safetensors": safetensors({HEAD: OUTPUT})}
    assert refused(stray).reason == "unknown-head"
    assert (chosen(stray, "input").spec.name, chosen(stray, "input").identity.tied) == (EMBED, False)
    for other in ({EMBED: TABLE, HEAD: OUTPUT}, {"zeta": NORM}):  # a copy, and something else
        assert chosen(files | {"extra.safetensors": safetensors(other)}).identity.tied


@pytest.mark.parametrize("cap", ["_MOST_SHARDS", "_MOST_TENSORS"])
def test_the_number_of_shards_to_read_is_capped(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shards(
        {EMBED: FIRST, "model.norm.weight": SECOND}, LLAMA_TIED, first={EMBED: TABLE}, second={HEAD: NORM}
    )
    monkeypatch.setattr(f"survey.checkpoints.index_claims.{cap}", 1)
    error = refused(files)
    assert (error.reason, "our cap" in error.problem) == ("index-mismatch", True)


@pytest.mark.parametrize("inner", ["shards/", "weights/bf16/"])
def test_shards_may_lie_in_a_folder_below_the_index(inner: str) -> None:
    tensors = {"first": {EMBED: TABLE}, "second": {HEAD: OUTPUT, "model.norm.weight": NORM}}
    files = shards({EMBED: inner + FIRST, HEAD: inner + SECOND}, LLAMA_UNTIED, **tensors)
    moved = {inner + name if name in (FIRST, SECOND) else name: content for name, content in files.items()}
    assert chosen(moved).spec.file == inner + SECOND
    assert chosen(moved, "input").spec.file == inner + FIRST
    claimed = {EMBED: inner + FIRST, "model.norm.weight": inner + SECOND}
    omitted = {**moved, INDEX: json.dumps({"weight_map": claimed}).encode()}
    assert chosen(omitted).spec.name == HEAD
    hidden = {**omitted, inner + SECOND: safetensors({"model.norm.weight": NORM})}
    for stray in ("extra.safetensors", f"{inner}extra.safetensors", "lm_head.bin", f"{inner}lm_head.bin"):
        error = refused({**hidden, stray: safetensors({HEAD: OUTPUT})})
        assert (error.reason, stray in str(error)) == ("unknown-head", True)


@pytest.mark.parametrize(
    "path", ["../x/", "/x/", "./", "shards/../", "shards//", "shards/./", "shards\\", "~/../", "../shards/"]
)
def test_no_index_leads_out_of_its_folder(path: str) -> None:
    files = shards(
        {EMBED: path + FIRST, HEAD: path + SECOND}, LLAMA_UNTIED, first={EMBED: TABLE}, second={HEAD: OUTPUT}
    )
    for moved in (
        files,
        {path + name if name in (FIRST, SECOND) else name: content for name, content in files.items()},
    ):
        error = refused(moved)
        assert (error.reason, "said to lie in" in error.problem) == ("index-mismatch", True)
