"""Files side by side, and a named part of a repository or a folder."""

import json
from pathlib import Path

import pytest
from support.checkpoints import SINGLE, Stored, safetensors, single, stored, write
from support.llama_files import LLAMA, MISTRAL, STORED_EMBEDDING, STORED_HEAD, UNTIED_CONFIG, read

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.errors import NotThere

VISION = {"encoder.conv_in.weight": stored(4, 4)}
SIDE_BY_SIDE: dict[str, tuple[dict[str, Stored], dict[str, Stored]]] = {
    "a model and a decoder of images": (LLAMA, VISION),
    "the head in one, the embedding in the other": (
        {"lm_head.weight": STORED_HEAD},
        {"model.embed_tokens.weight": STORED_EMBEDDING},
    ),
}
RIVALS: dict[str, tuple[dict[str, Stored], dict[str, Stored], str]] = {
    "one model twice": (LLAMA, LLAMA, "both a.safetensors and b.safetensors hold an unembedding"),
    "two models": (LLAMA, MISTRAL, "hold an unembedding → write .* a colon and one of a.safetensors, b.safe"),
    "one name twice": (LLAMA | VISION, VISION, "hold encoder.conv_in.weight"),
}


@pytest.mark.parametrize(("one", "other"), SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
def test_files_side_by_side_are_one_model_if_one_holds_the_matrix(
    one: dict[str, Stored], other: dict[str, Stored], tmp_path: Path
) -> None:
    files = {"a.safetensors": safetensors(one), "b.safetensors": safetensors(other)}
    write(tmp_path, {"config.json": json.dumps(UNTIED_CONFIG).encode(), **files})
    assert read(survey.open_matrix(tmp_path)) == STORED_HEAD.data
    assert read(survey.open_matrix(tmp_path, "input")) == STORED_EMBEDDING.data


@pytest.mark.parametrize(("one", "other", "problem"), RIVALS.values(), ids=RIVALS)
def test_files_side_by_side_that_could_both_be_it_are_refused(
    one: dict[str, Stored], other: dict[str, Stored], problem: str, tmp_path: Path
) -> None:
    files = {"a.safetensors": safetensors(one), "b.safetensors": safetensors(other)}
    write(tmp_path, {"config.json": json.dumps(UNTIED_CONFIG).encode(), **files})
    with pytest.raises(NotThere, match=problem) as caught:
        survey.open_matrix(tmp_path)
    assert caught.value.reason == "no-safetensors"
    if problem.startswith("both"):
        assert read(survey.open_matrix(f"{tmp_path}:b.safetensors")) == STORED_HEAD.data


def test_a_named_folder_of_a_checkpoint_is_a_model_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, single(LLAMA, UNTIED_CONFIG))
    write(tmp_path / "runs" / "last", single({"lm_head.weight": STORED_EMBEDDING}, UNTIED_CONFIG))
    root, inner = survey.open_matrix(tmp_path), survey.open_matrix(f"{tmp_path}:runs/last")
    assert (read(root), read(inner)) == (STORED_HEAD.data, STORED_EMBEDDING.data)
    assert inner.target.identity.repo == f"{tmp_path}:runs/last"
    assert inner.target.key != root.target.key
    before = inner.target.identity.sha
    (tmp_path / "runs" / "last" / "config.json").write_text("{}")
    assert survey.open_matrix(f"{tmp_path}:runs/last").target.identity.sha != before


def test_a_named_part_of_a_repository_is_read_at_its_commit(hub: LocalHub) -> None:
    files = {
        f"{at}/{name}": content
        for at in ("fp16", "bf16")
        for name, content in single(LLAMA, UNTIED_CONFIG).items()
    }
    files["bf16/model.safetensors"] = single({"lm_head.weight": STORED_EMBEDDING}, UNTIED_CONFIG)[SINGLE]
    sha = hub.add_repo("org/two", files)
    for part, data in (
        ("fp16", STORED_HEAD.data),
        ("bf16", STORED_EMBEDDING.data),
        ("bf16/model.safetensors", STORED_EMBEDDING.data),
    ):
        matrix = survey.open_matrix(f"org/two@main:{part}", endpoint=hub.endpoint)
        assert read(matrix) == data
        identity = matrix.target.identity
        assert (identity.repo, identity.revision, identity.sha) == (f"org/two:{part}", "main", sha)
        assert identity.org == "org"
    with pytest.raises(NotThere, match="one of bf16, fp16"):
        survey.open_matrix("org/two", endpoint=hub.endpoint)
