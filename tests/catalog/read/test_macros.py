"""Macros that several queries share: what a text means, and which rows it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from support.deliveries import delivered

from catalog.read.macros import MACROS, named_in
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.arrow_tables import attempts_table
from catalog.write.commit import commit, commit_attempts
from survey.records.catalog_rows import Attempt

Make = Callable[..., Path]
MEANINGS = [
    ("org/m", ("org/m", "")),
    ("org/m@main", ("org/m", "main")),
    ("org/m@v1@2", ("org/m", "v1@2")),
    ("org/m@", ("org/m", "")),
    ("/models/run@3", ("/models/run@3", "")),
    ("/models/run@3@main", ("/models/run", "3@main")),
]


@pytest.fixture
def store(tmp_path: Path, checkpoint: Make) -> CatalogStore:
    """A catalog with a measured model, and an attempt at a folder that failed."""
    store = open_for_writing(str(tmp_path / "catalog"))
    commit(store, delivered(checkpoint("one")).tables)
    failed = {field.name: None for field in dataclasses.fields(Attempt)}
    failed |= {"run_id": "20260102T030405", "repo": "/models/run@3", "revision": "main", "matrix": "output"}
    failed |= {"status": "failed", "reason": "no-config", "finished_at": datetime(2026, 1, 2, 3, 4, 5)}
    commit_attempts(store, "20260102T030405", attempts_table([Attempt(**failed)]))
    return store


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=lambda value: str(value))
def test_a_text_names_a_repository_and_a_revision(
    store: CatalogStore, text: str, meaning: tuple[str, str]
) -> None:
    with Reader(store) as reader:
        assert reader.ask("select name, at_revision from requested_model($text)", {"text": text}).rows == [
            meaning
        ]


def test_rows_of_a_model_are_those_of_its_name_and_of_its_commit(store: CatalogStore) -> None:
    with Reader(store) as reader:
        ((repo, sha, revision),) = reader.ask("select repo, sha, revision from models").rows
        for text in (repo, f"{repo}@{revision}", f"{repo}@{sha[:9]}"):
            assert reader.ask("select sha from model_rows($text)", {"text": text}).rows == [(sha,)]


@pytest.mark.parametrize("suffix", ["x", "@nothing", "@0000000"])
def test_a_name_that_is_not_in_the_catalog_has_no_rows(store: CatalogStore, suffix: str) -> None:
    with Reader(store) as reader:
        ((repo,),) = reader.ask("select repo from models").rows
        assert reader.ask("select sha from model_rows($text)", {"text": repo + suffix}).rows == []


@pytest.mark.parametrize("name", MACROS)
def test_what_a_macro_calls_is_named_with_it(name: str) -> None:
    bodies = named_in(f"from {name}('x')").values()
    assert MACROS[name] in bodies
    assert all(MACROS[other] in bodies for other in MACROS if any(f"{other}(" in body for body in bodies))


# Vectors of a forged row, each with one that they cannot be compared with.
INCOMPARABLE = {
    "another-length": ("[1, 2]", "[1, 2, 3]"),
    "no-length": ("[]", "[1, 2]"),
    "a-null-within": ("[1, NULL]", "[1, 2]"),
    "nulls-alone": ("[NULL, NULL]", "[1, 2]"),
    "none": ("NULL", "[1, 2]"),
    "no-direction": ("[0, 0]", "[1, 2]"),
    "not-a-number": ("['nan'::double, 1]", "[1, 2]"),
    "infinite": ("['inf'::double, 1]", "[1, 2]"),
}


# By macro: what it makes of two equal vectors.
COMPARISONS = {"cosine_between": 1, "angle_between_deg": 0, "distance_between": 0}
FORGED = [
    pytest.param(macro, *vectors, id=f"{macro}-{name}")
    for macro in COMPARISONS
    for name, vectors in INCOMPARABLE.items()
    if (macro, name) != ("distance_between", "no-direction")  # which lies somewhere
]


@pytest.mark.parametrize(("macro", "forged", "sound"), FORGED)
def test_vectors_that_cannot_be_compared_have_no_cosine_angle_or_distance(
    committed: CatalogStore, macro: str, forged: str, sound: str
) -> None:
    pairs = f"""with pairs as (
        select unnest([{sound}::double[], {forged}::double[]]) as a, unnest([{sound}, {sound}]::double[][]) as b
    )"""
    with Reader(committed) as reader:
        for given in (f"{macro}(a, b)", f"{macro}(b, a)"):
            [(same,), (none,)] = reader.ask(f"{pairs} select {given} from pairs").rows
            assert same == pytest.approx(COMPARISONS[macro])
            assert none is None


def test_an_angle_takes_time_in_proportion_to_the_dimensions(committed: CatalogStore) -> None:
    vectors = "select list(i::double) as a, list((i + 1)::double) as b from range(200_000) as each_of(i)"
    with Reader(committed) as reader:
        [(angle,)] = reader.ask(f"select angle_between_deg(a, b) from ({vectors})").rows
    assert 0 < angle < 1


NAMES = [
    ("unsloth/Qwen3-4B-GGUF", "BF16/Qwen3-4B-BF16-00001-of-00002.gguf", "qwen3-4b"),
    ("mradermacher/A-7B-i1-GGUF:i1-Q4_K_M", "A-7B.i1-Q4_K_M.gguf", "a-7b"),
    ("mlx-community/Qwen3-4B-4bit", "model.safetensors", "qwen3-4b"),
    ("nvidia/Qwen3-8B-NVFP4", "model.safetensors", "qwen3-8b"),
    ("RedHatAI/Llama-3.1-8B-quantized.w4a16", "model.safetensors", "llama-3.1-8b"),
    ("org/many:A-7B.Q4_0.gguf", "A-7B.Q4_0.gguf", "a-7b"),
    ("/models:Qwen3-4B-UD-IQ4_NL.gguf", "Qwen3-4B-UD-IQ4_NL.gguf", "qwen3-4b"),
    ("/models:B-00001-of-00003.gguf", "B-00003-of-00003.gguf", "b"),
    ("/models/x", "y-MXFP4_MOE.gguf", "y"),
    ("/models/x:ggml-model-f16.gguf", "ggml-model-f16.gguf", "/models/x:ggml-model-f16.gguf"),
    ("/a/4bit", "model.safetensors", "/a/4bit"),
    ("org/GPT-2", "model.safetensors", "gpt-2"),
    ("org/gguf", "model.gguf", "org/gguf"),
]


@pytest.mark.parametrize(("repo", "file", "name"), NAMES)
def test_a_plain_name_is_that_of_what_was_quantised(
    store: CatalogStore, repo: str, file: str, name: str
) -> None:
    with Reader(store) as reader:
        given = {"repo": repo, "file": file}
        assert reader.ask("select plain_name($repo, $file)", given).rows == [(name,)]
