"""What the lineage queries say of planted checkpoints, surveyed from the local Hub; checked with numpy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from support.checkpoints import Stored, single
from support.commands import Ran
from support.matrices import CODES, raw

from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
Ask = Callable[..., list[dict[str, Any]]]
V, D = 1500, 64
HOLES = [(10, 11, 12, 13), (700, 1400), (1490, 1491)]
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}


def rows(seed: int, count: int = V, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Random rows with three black holes, one zero row and one that is not finite: in every model."""
    weight = torch.randn(count, D, generator=torch.Generator().manual_seed(seed)).to(dtype)
    for first, *others in HOLES:
        weight[others] = weight[first].clone()
    weight[5], weight[6] = 0.0, float("nan")
    weight[1000:1003] = 0.0  # the same black hole at other ids, with the same bytes, everywhere
    return weight


def changed(weight: torch.Tensor, which: list[int]) -> torch.Tensor:
    """The same with rows moved a little, as training does."""
    moved = weight.clone()
    moved[which] = moved[which] * 1.25
    return moved


BASE = rows(0)
LAST = [row for row in range(V) if row % 10 == 7]  # in no black hole
MODELS: dict[str, tuple[torch.Tensor, str | None]] = {
    "org/base": (BASE, None),
    "org/tuned": (changed(BASE, LAST), "org/base"),  # shares 90 % of its rows
    "org/cut": (BASE[:900].clone(), "org/base"),
    "org/padded": (torch.cat([BASE, rows(9)[:64]]), "org/base"),
    "org/resaved": (BASE.half(), "org/base"),
    "org/copy": (BASE.clone(), None),
    "org/moved": (torch.cat([BASE[-1:], BASE[:-1]]), None),  # every row one id on
    "org/regrouped": (rows(1), "org/base"),  # other values, the same black holes
    "org/stranger": (rows(2)[torch.randperm(V, generator=torch.Generator().manual_seed(1))], None),
    "org/liar": (changed(BASE, LAST[:50]), "org/stranger"),
    "org/narrow": (rows(3)[:, :32].clone(), "org/base"),
}


def files(head: torch.Tensor, embedding: torch.Tensor | None = None) -> dict[str, bytes]:
    def stored(weight: torch.Tensor) -> Stored:
        return Stored(CODES[weight.dtype], tuple(weight.shape), bytes(raw(weight)))

    tensors = {"lm_head.weight": stored(head)}
    if embedding is not None:
        tensors["model.embed_tokens.weight"] = stored(embedding)
    return single(tensors, CONFIG)


def survey_all(
    folder: Path, models: Mapping[str, tuple[dict[str, bytes], str | None]], *options: str
) -> Path:
    from survey.cli import main

    with LocalHub() as hub:
        for repo, (content, base) in models.items():
            hub.add_repo(repo, content, card_data={"base_model": base} if base else {})
        common = ["--catalog", str(folder / "c"), "--endpoint", hub.endpoint, "--executor", "serial"]
        assert main(["run", *models, *common, *options]) == 0
    return folder / "c"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HF_HOME", str(home))
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "token"))
        yield survey_all(
            tmp_path_factory.mktemp("lineage"),
            {repo: (files(head), base) for repo, (head, base) in MODELS.items()},
        )


@pytest.fixture
def ask(survey: Survey, catalog: Path) -> Ask:
    def run(name: str, **params: str) -> list[dict[str, Any]]:
        given = [f"--param={key}={value}" for key, value in params.items()]
        ran = survey("query", name, *given, "--catalog", catalog, "--format", "json")
        assert ran.code == 0, ran.err
        rows: list[dict[str, Any]] = json.loads(ran.out)
        return rows

    return run


# ------------------------------------------------------------------- the reference, row by row


def row_bytes(weight: torch.Tensor) -> list[bytes]:
    content, width = bytes(raw(weight)), weight.shape[1] * weight.element_size()
    return [content[start : start + width] for start in range(0, len(content), width)]


def informative(weight: torch.Tensor) -> list[bool]:
    rows = row_bytes(weight)
    counts = Counter(rows)
    finite, zero = weight.isfinite().all(dim=1).tolist(), (weight == 0).all(dim=1).tolist()
    return [
        fine and not nothing and counts[row] == 1
        for row, fine, nothing in zip(rows, finite, zero, strict=True)
    ]


def expected_shared(a: torch.Tensor, b: torch.Tensor) -> dict[str, Any]:
    ours, theirs, mine, yours = row_bytes(a), row_bytes(b), informative(a), informative(b)
    informative_rows = {row for row, tells in zip(theirs, yours, strict=True) if tells}
    common = range(min(len(a), len(b)))
    return {
        "rows_a": len(a),
        "rows_b": len(b),
        "common_ids": len(common),
        "informative_a": sum(mine),
        "informative_b": sum(yours),
        "same_id": sum(ours[row] == theirs[row] for row in common),
        "anywhere": sum(row in set(theirs) for row in ours),
        "informative_same_id": sum(ours[row] == theirs[row] and mine[row] and yours[row] for row in common),
        "informative_anywhere": sum(
            row in informative_rows for row, tells in zip(ours, mine, strict=True) if tells
        ),
    }


def groups(weight: torch.Tensor, below: int) -> list[set[int]]:
    by_content: dict[bytes, set[int]] = {}
    for number, row in enumerate(row_bytes(weight)[:below]):
        by_content.setdefault(row, set()).add(number)
    return [members for members in by_content.values() if len(members) > 1]


def pairs(partition: list[set[int]]) -> set[tuple[int, int]]:
    return {(i, j) for members in partition for i in members for j in members if i < j}


# --------------------------------------------------------------------------------- shared rows

SHARED = [
    ("org/base", "org/copy", "identical"),
    ("org/base", "org/tuned", "rows in common"),
    ("org/base", "org/cut", "identical over the common ids"),
    ("org/padded", "org/base", "identical over the common ids"),
    ("org/base", "org/moved", "rows in common"),
    ("org/base", "org/regrouped", "no informative row in common"),
    ("org/base", "org/stranger", "no informative row in common"),
    ("org/cut", "org/tuned", "rows in common"),
]


@pytest.mark.parametrize(("a", "b", "verdict"), SHARED, ids=[f"{a} {b}" for a, b, _ in SHARED])
def test_shared_rows_are_counted_as_the_bytes_say(ask: Ask, a: str, b: str, verdict: str) -> None:
    (row,) = ask("shared_rows", a=a, b=b)
    assert row["verdict"] == verdict
    expected = expected_shared(MODELS[a][0], MODELS[b][0])
    assert {name: row[name] for name in expected} == expected


def test_a_fine_tune_keeps_nine_rows_in_ten(ask: Ask) -> None:
    (row,) = ask("shared_rows", a="org/tuned", b="org/base")
    assert row["share_same_id"] == pytest.approx(0.9, abs=0.005)


def test_zeros_and_black_holes_relate_nobody(ask: Ask) -> None:
    """The stranger has the base's zero row and its hole of zeros: rows, but no informative ones."""
    (row,) = ask("shared_rows", a="org/base", b="org/regrouped")
    assert row["same_id"] == 5  # two kinds of zero rows: alone and together; and the NaNs
    assert row["informative_same_id"] == row["informative_anywhere"] == 0


NOT_COMPARABLE = [
    ("org/base", "org/narrow", "not comparable: 64 against 32 dimensions", None),
]


@pytest.mark.parametrize(("a", "b", "verdict", "lengths_agree"), NOT_COMPARABLE)
def test_other_widths_are_not_called_unrelated(
    ask: Ask, a: str, b: str, verdict: str, lengths_agree: float | None
) -> None:
    (row,) = ask("shared_rows", a=a, b=b)
    assert row["verdict"] == verdict
    assert row["same_id"] is row["anywhere"] is row["share_same_id"] is None
    assert row["lengths_agree"] == lengths_agree


def test_lengths_of_strangers_rarely_agree(ask: Ask) -> None:
    (row,) = ask("shared_rows", a="org/base", b="org/regrouped")
    assert row["lengths_agree"] < 0.1


# -------------------------------------------------------------------------------- same grouping


GROUPING = [
    ("org/copy", True), ("org/regrouped", True), ("org/resaved", True), ("org/cut", True), ("org/tuned", True),
    ("org/moved", False), ("org/stranger", False), ("org/narrow", True),
]  # fmt: skip


@pytest.mark.parametrize(("b", "alike"), GROUPING)
def test_grouping_is_compared_whatever_the_values(ask: Ask, b: str, alike: bool) -> None:
    (row,) = ask("same_grouping", a="org/base", b=b)
    below = min(V, len(MODELS[b][0]))
    ours, theirs = groups(BASE, below), groups(MODELS[b][0], below)
    both = pairs(ours) & pairs(theirs)
    either = pairs(ours) | pairs(theirs)
    assert row["holes_same"] == sum(members in theirs for members in ours)
    assert (row["holes_a"], row["holes_b"]) == (len(ours), len(theirs))
    assert row["dead_a"] == sum(map(len, ours))
    assert row["dead_both"] == len(set().union(*ours) & set().union(*theirs))
    assert row["grouping_similarity"] == pytest.approx(len(both) / len(either))
    assert row["same_grouping"] == (ours == theirs) == alike


# ------------------------------------------------------------------------------ across the catalog


def test_relatives_are_those_that_share_rows(ask: Ask) -> None:
    by_repo = {row["repo"]: row for row in ask("relatives", model="org/base")}
    assert [row["repo"] for row in ask("relatives", model="org/base")][:2] == ["org/copy", "org/resaved"]
    relations = {repo: row["relation"] for repo, row in by_repo.items()}
    assert relations == {
        "org/copy": "identical",
        "org/moved": "rows in common",
        "org/padded": "rows in common",
        "org/liar": "rows in common",
        "org/tuned": "rows in common",
        "org/cut": "rows in common",
        "org/resaved": "identical across dtypes",
        "org/narrow": "not comparable: 32 dimensions",
        "org/regrouped": "same black holes",
    }
    assert by_repo["org/resaved"]["figures_agree"] is True
    assert by_repo["org/regrouped"]["holes_same"] == len(HOLES)  # the hole of zeros proves nothing


@pytest.mark.parametrize("repo", ["org/tuned", "org/cut", "org/padded", "org/liar", "org/copy", "org/moved"])
def test_similarity_is_estimated_within_its_error(ask: Ask, repo: str) -> None:
    relative = {row["repo"]: row for row in ask("relatives", model="org/base")}[repo]
    sets = [
        {row for row, tells in zip(row_bytes(head), informative(head), strict=True) if tells}
        for head in (BASE, MODELS[repo][0])
    ]
    exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert relative["similarity"] == pytest.approx(exact, abs=4 * relative["standard_error"] + 1e-12)
    assert 0 < relative["share_of_model"] <= 1
    assert relative["share_of_other"] == pytest.approx(len(sets[0] & sets[1]) / len(sets[1]), abs=0.1)


def test_twins_are_groups_of_identical_matrices(ask: Ask) -> None:
    columns = ("group", "twins", "same_bytes", "repo")
    assert [tuple(row[name] for name in columns) for row in ask("twins")] == [
        (1, 3, 2, "org/base"),
        (1, 3, 2, "org/copy"),
        (1, 3, 1, "org/resaved"),
    ]


def test_a_card_that_names_another_base_is_a_conflict(ask: Ask) -> None:
    by_repo = {row["repo"]: row for row in ask("lineage_conflicts")}
    assert {repo: row["finding"] for repo, row in by_repo.items()} == {
        "org/liar": "rows of another model",
        "org/narrow": "other width: 32, the base has 64",
    }
    assert by_repo["org/liar"]["nearest"] in ("org/base", "org/copy", "org/moved")
    assert by_repo["org/liar"]["nearest_similarity"] > 0.9


def test_every_claim_is_listed_on_request(ask: Ask) -> None:
    assert {row["repo"]: row["finding"] for row in ask("lineage_conflicts", all="1")} == {
        "org/tuned": "confirmed",
        "org/cut": "confirmed",
        "org/padded": "confirmed",
        "org/resaved": "confirmed",
        "org/regrouped": "no row in common",
        "org/liar": "rows of another model",
        "org/narrow": "other width: 32, the base has 64",
    }


# ------------------------------------------------------------------------------------ the command


def test_lineage_puts_it_all_in_one_row(survey: Survey, catalog: Path) -> None:
    given = ("lineage", "org/tuned@main", "org/base", "--catalog", catalog, "--format")
    (row,) = json.loads(survey(*given, "json").out)
    assert row["verdict"] == "rows in common"
    assert row["same_grouping"] is True
    assert (row["base_model_a"], row["base_model_b"]) == ("org/base", None)
    assert "rows in common" in survey(*given, "table").out
    assert survey(*given, "csv").out.splitlines()[0].split(",") == [*row]
    assert survey(*given, "md").out.startswith("| a | b | verdict |")


def test_lineage_as_parquet_keeps_types(catalog: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [
        "from survey.cli import entry; entry()",
        "lineage",
        "org/tuned",
        "org/base",
        "--catalog",
        str(catalog),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", *command, "--format", "parquet"], capture_output=True, check=True
    )
    (row,) = pq.read_table(BytesIO(ran.stdout)).to_pylist()
    assert (row["rows_a"], row["same_grouping"]) == (V, True)
    assert isinstance(row["share_same_id"], float)


def test_a_model_that_is_not_there_is_named(survey: Survey, catalog: Path) -> None:
    for named, complaint in (
        ("org/nobody@main", "org/nobody is not in the catalog; did you mean"),
        ("org/base@nowhere", "not in the catalog as output: org/base@nowhere"),
    ):
        ran = survey("lineage", "org/base", named, "--catalog", catalog)
        assert ran.code == 2
        assert complaint in ran.err


def test_folders_are_compared_by_path(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    one, other = checkpoint("one"), checkpoint("other")
    assert survey("run", one, other, "--catalog", "c", "--executor", "serial").code == 0
    (row,) = json.loads(survey("lineage", one, other, "--catalog", "c", "--format", "json").out)
    assert row["verdict"] == "identical"


# --------------------------------------------------------------------------------- over revisions


def test_unchanged_rows_from_each_revision_to_the_next(survey: Survey, hub: LocalHub) -> None:
    steps = [BASE, changed(BASE, LAST), changed(BASE, LAST), torch.cat([BASE, BASE[:7] * 2])]
    for number, head in zip((1, 2, 10, 20), steps, strict=True):
        put = hub.add_repo if number == 1 else hub.commit
        put("org/t", files(head), branch=f"step{number}")
    ran = survey("run", "org/t@step*", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert ran.code == 0, ran.out
    out = survey("query", "unchanged_rows", "--param=repo=org/t", "--catalog", "c", "--format", "json").out
    by_revision = {row["revision"]: row for row in json.loads(out)}
    assert [(name, row["before"]) for name, row in by_revision.items()] == [
        ("step1", None),
        ("step2", "step1"),
        ("step10", "step2"),
        ("step20", "step10"),
    ]
    assert by_revision["step1"]["unchanged"] is None
    for before, name in ((0, "step2"), (1, "step10"), (2, "step20")):
        expected = expected_shared(steps[before], steps[before + 1])
        assert by_revision[name]["unchanged"] == expected["same_id"]
        assert by_revision[name]["informative_unchanged"] == expected["informative_same_id"]
    assert by_revision["step10"]["share_unchanged"] == 1


# ------------------------------------------------------------------------------ without the tables


def test_without_per_token_tables_the_sketches_still_answer(
    survey: Survey, hub: LocalHub, tmp_path: Path
) -> None:
    for repo in ("org/base", "org/tuned"):
        hub.add_repo(repo, files(MODELS[repo][0]))
    common = ("--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert survey("run", "org/base", "org/tuned", "--no-tokens", *common).code == 0
    (exact,) = json.loads(
        survey("lineage", "org/base", "org/tuned", "--catalog", "c", "--format", "json").out
    )
    assert exact["verdict"] == "not comparable: no per-token table of org/base@main"
    assert exact["same_id"] is None
    out = survey("query", "relatives", "--param=model=org/base", "--catalog", "c", "--format", "json").out
    assert json.loads(out)[0]["relation"] == "rows in common"


def test_a_catalog_from_before_the_sketches_still_answers(survey: Survey, hub: LocalHub) -> None:
    for repo in ("org/base", "org/tuned"):
        hub.add_repo(repo, files(MODELS[repo][0]))
    common = ("--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert survey("run", "org/base", "org/tuned", *common).code == 0
    for path in Path("c/rows").iterdir():
        pq.write_table(
            pq.read_table(path).drop_columns(["informative_rows", "rows_hash", "row_sketch", "norm_sketch"]),
            path,
        )
    (exact,) = json.loads(
        survey("lineage", "org/base", "org/tuned", "--catalog", "c", "--format", "json").out
    )
    assert exact["verdict"] == "rows in common"
    assert (
        exact["informative_same_id"] == expected_shared(BASE, MODELS["org/tuned"][0])["informative_same_id"]
    )
    out = survey("query", "relatives", "--param=model=org/base", "--catalog", "c", "--format", "json").out
    (nearest,) = json.loads(out)
    assert (nearest["relation"], nearest["similarity"], nearest["norm_correlation"]) == (
        "same centroid",
        None,
        None,
    )


def test_models_of_nothing_but_zeros_are_no_relatives(survey: Survey, hub: LocalHub) -> None:
    nothing = torch.zeros(300, D, dtype=torch.bfloat16)
    for repo in ("org/one", "org/other"):
        hub.add_repo(repo, files(nothing))
    common = ("--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert survey("run", "org/one", "org/other", *common).code == 0
    (row,) = json.loads(survey("lineage", "org/one", "org/other", "--catalog", "c", "--format", "json").out)
    assert row["verdict"] == "not comparable: no informative rows"
    assert json.loads(survey("query", "twins", "--catalog", "c", "--format", "json").out) == []


# ---------------------------------------------------------------------------------- input, output


def test_in_vs_out_compares_the_two_sides(survey: Survey, hub: LocalHub) -> None:
    head, embedding = rows(20), rows(21)
    embedding[[20, 21, 22]] = embedding[20].clone()  # dead on the input side only
    head[[1200, 1201]] = head[1200].clone()
    hub.add_repo("org/untied", files(head, embedding))
    hub.add_repo("org/zero", files(head, torch.zeros_like(head)))
    common = ("--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert survey("run", "org/untied", "org/zero", "--matrix", "both", *common).code == 0
    out = survey("query", "in_vs_out", "--catalog", "c", "--format", "json").out
    by_repo = {row["repo"]: row for row in json.loads(out)}
    one = by_repo["org/untied"]
    assert (one["only_out_ids"], one["only_in_ids"]) == ([1200, 1201], [20, 21, 22])
    assert (one["dead_only_out"], one["dead_only_in"]) == (2, 3)
    shared = set().union(*groups(head, V)) & set().union(*groups(embedding, V))
    assert one["dead_both"] == len(shared)
    means = [w[w.isfinite().all(dim=1)].double().mean(dim=0) for w in (head, embedding)]
    cosine = torch.nn.functional.cosine_similarity(*means, dim=0)
    assert one["centroid_angle_deg"] == pytest.approx(float(torch.rad2deg(torch.acos(cosine))), abs=1e-4)
    assert by_repo["org/zero"]["centroid_angle_deg"] is None  # the zero vector has no direction
    assert by_repo["org/zero"]["zero_in"] == V
