"""The explanation of a choice: the candidates, the statements of the config, and the rule that decided."""

from collections.abc import Callable
from pathlib import Path

from support.checkpoints import sharded, single, stored, write
from support.commands import Ran

from survey.checkpoints.folder import FolderCheckpoint
from survey.targets.explain import Decision, Explanation, explain
from survey.targets.layout_reader import lay_out

EMBED, TABLE = (
    "model.language_model.embed_tokens.weight",
    "model.language_model.embed_tokens_per_layer.weight",
)
GEMMA = {
    EMBED: stored(6, 4),
    TABLE: stored(6, 12, seed=1),
    "vision_tower.patch_embedding.weight": stored(4, 4, seed=2),
    "model.layers.0.mlp.up_proj.weight": stored(4, 4, seed=3),
    "model.layers.4.shared_head.head.weight": stored(6, 4, seed=4),
}
CONFIG = {
    "architectures": ["Gemma3nForConditionalGeneration"],
    "model_type": "gemma3n",
    "text_config": {"tie_word_embeddings": True, "vocab_size": 6, "hidden_size": 4},
}


def explained(folder: Path) -> Explanation:
    checkpoint = FolderCheckpoint(folder)
    return explain(lay_out(checkpoint))


def test_candidates_and_what_is_passed_over_are_told_apart(tmp_path: Path) -> None:
    report = explained(write(tmp_path, single(GEMMA, CONFIG)))
    assert report.files == "model.safetensors: 5 tensors in 1 file"
    assert report.said == (
        "architectures: Gemma3nForConditionalGeneration",
        "text_config.tie_word_embeddings: true",
        "model_type: gemma3n",
        "text_config.vocab_size: 6",
        "text_config.hidden_size: 4",
    )
    assert report.heads == ()
    assert [(item.tensor, item.dtype, item.shape) for item in report.embeddings] == [(EMBED, "F32", (6, 4))]
    assert [item.tensor for item in report.passed_over] == [
        TABLE,
        "model.layers.4.shared_head.head.weight",
        "vision_tower.patch_embedding.weight",
    ]
    assert report.decisions == (
        Decision("output", EMBED, "no head in the files: tied to the embedding"),
        Decision("input", EMBED, "the name of an embedding"),
    )


def test_the_longest_name_is_passed_over(tmp_path: Path) -> None:
    tensors = {EMBED: stored(6, 4), "embed" * 199 + "norm": stored(2, 2)}
    assert explained(write(tmp_path, single(tensors, CONFIG))).passed_over == ()


def test_a_refusal_is_a_decision(tmp_path: Path) -> None:
    folder = write(tmp_path, single({EMBED: stored(6, 4)}, {"tie_word_embeddings": False}))
    output, embedding = explained(folder).decisions
    assert output.tensor is None
    assert output.because.startswith("no-head: the files hold no head and the config says untied")
    assert embedding.tensor == EMBED


def test_headers_that_decide_nothing_are_not_read(tmp_path: Path) -> None:
    shards = [{EMBED: stored(6, 4)}, {"lm_head.weight": stored(6, 4, seed=1)}, {TABLE: stored(6, 12)}]
    report = explained(write(tmp_path, sharded(shards, CONFIG)))
    assert report.files == "model.safetensors.index.json: 3 tensors in 3 files"
    assert [item.shape for item in (*report.heads, *report.embeddings)] == [(6, 4), (6, 4)]
    assert [(item.tensor, item.shape, item.file) for item in report.passed_over] == [
        (TABLE, None, "model-00003-of-00003.safetensors")
    ]


def test_many_tables_are_counted(tmp_path: Path) -> None:
    tables = {f"tower_{number}.embed.weight": stored(2, 2) for number in range(12)}
    report = explained(write(tmp_path, single({EMBED: stored(6, 4), **tables}, CONFIG)))
    assert (len(report.passed_over), report.omitted) == (8, 4)


def test_the_plan_explains_what_it_takes_and_what_it_refuses(
    survey: Callable[..., Ran], tmp_path: Path
) -> None:
    taken = write(tmp_path / "gemma", single(GEMMA, CONFIG))
    refused = write(tmp_path / "base", single({EMBED: stored(6, 4)}, {"tie_word_embeddings": False}))
    ran = survey("plan", taken, refused, "--explain")
    assert ran.code == 1
    for line in (
        f"passed over  {TABLE}  F32 [6, 12]  in model.safetensors",
        f"→ output     {EMBED}: no head in the files: tied to the embedding",
        "config says  tie_word_embeddings: false",
        "→ output     no-head: the files hold no head and the config says untied",
    ):
        assert line in ran.out


def test_what_the_catalog_holds_already_is_explained_too(
    survey: Callable[..., Ran], checkpoint: Callable[..., Path]
) -> None:
    folder = checkpoint("little")
    assert survey("run", folder, "--executor", "serial", "--catalog", "c").code == 0
    ran = survey("plan", folder, "--catalog", "c", "--explain")
    assert "1 already measured" in ran.out
    assert "→ output     model.embed_tokens.weight: no head in the files" in ran.out
