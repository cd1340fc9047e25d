"""`survey cluster`: a model's sky from a folder or the Hub, as text, JSON, tensors, a picture and a row."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.commands import Ran
from support.little_models import little

import survey as package
from catalog.schema_of_records import result_columns
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
Make = Callable[..., Path]


def only_row(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    (row,) = json.loads(ran.out)
    assert isinstance(row, dict)
    return row


def test_the_largest_black_hole_is_the_default(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    ran = survey("cluster", folder, "--catalog", "c")
    assert ran.code == 0, ran.err
    assert str(folder) in ran.out
    assert "of the largest black hole, 5 rows with its bytes" in ran.out
    assert "radius 0.0005° around the reference: " in ran.out
    assert max(map(len, ran.out.splitlines())) < 200


def test_json_is_the_row_of_the_view_and_alone_on_stdout(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    row = only_row(survey("cluster", folder, "--format", "json", "--catalog", "c"))
    assert list(row) == [column.name for column in result_columns("clusters")]
    stored = only_row(survey("sql", "SELECT * FROM clusters", "--format", "json", "--catalog", "c"))
    assert stored == row
    with package.open_matrix(folder) as matrix:
        figures = package.cluster(matrix).figures
    assert row["n_cluster"] == figures.n_cluster
    assert row["exponent_ladder"] == list(figures.exponent_ladder)


def test_tensors_have_the_notebooks_names_and_dtypes(survey: Survey, checkpoint: Make) -> None:
    row = only_row(survey("cluster", checkpoint("mine"), "-o", "out.safetensors", "--format", "json"))
    tensors = load_file("out.safetensors")
    assert {name: str(value.dtype) for name, value in tensors.items()} == {
        "cluster_mask": "torch.uint8",
        "cluster_token_ids": "torch.int32",
        "ref_token_id": "torch.int32",
        "n_cluster": "torch.int32",
    }
    assert tensors["cluster_mask"].shape == (300,)
    assert tensors["cluster_mask"].nonzero()[:, 0].tolist() == tensors["cluster_token_ids"].tolist()
    assert tensors["cluster_token_ids"].tolist() == row["cluster_token_ids"]
    assert tensors["ref_token_id"].tolist() == [row["ref_token_id"]]
    assert tensors["n_cluster"].tolist() == [row["n_cluster"]] == [len(tensors["cluster_token_ids"])]
    assert [path.name for path in Path().glob(".*")] == []  # nothing half-written stays


def test_the_telescope_finds_again_what_stands_there(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    there = only_row(survey("cluster", folder, "--format", "json"))
    for size in (["--diameter", "0.002"], ["--radius", "0.001"]):
        pointed = ["--lat", str(there["ref_lat_deg"]), "--lon", str(there["ref_lon_deg"]), *size]
        row = only_row(survey("cluster", folder, *pointed, "--format", "json"))
        assert (row["ref_by"], row["ref_token_id"]) == ("field", there["ref_token_id"])
        assert row["n_field"] >= 5  # type: ignore[operator]
        assert row["cluster_token_ids"] == there["cluster_token_ids"]


def test_each_request_is_a_row_and_the_same_one_replaces_its_answer(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    for more in ([], ["--token", "3"], ["--north", "-2"], ["--matrix", "input"], ["--token", "3"], []):
        assert survey("cluster", folder, *more, "--catalog", "c").code == 0
    ran = survey(
        "sql", "SELECT matrix, north, ref_by FROM clusters ORDER BY ALL", "--format", "csv", "--catalog", "c"
    )
    assert ran.out.split()[1:] == [
        "input,2,black_hole",
        "output,-2,black_hole",
        "output,2,black_hole",
        "output,2,token",
    ]


def test_clusters_join_models(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    assert survey("run", folder, "--catalog", "c", "--executor", "serial").code == 0
    assert survey("cluster", folder, "--catalog", "c").code == 0
    joined = "SELECT dead_count, ref_population FROM models JOIN clusters USING (repo, sha, matrix)"
    assert survey("sql", joined, "--format", "csv", "--catalog", "c").out.split() == [
        "dead_count,ref_population",
        "10,5",
    ]


def test_a_model_of_the_hub_is_fetched_once_at_its_revision(
    survey: Survey, hub: LocalHub, tmp_path: Path
) -> None:
    write(little("org/one"), tmp_path / "one")
    hub.add_repo("org/one", tmp_path / "one")
    hub.tag("org/one", "v1", hub.repos["org/one"].default_commit().sha)
    with package.open_matrix("org/one@v1", endpoint=hub.endpoint) as matrix:
        matrix_bytes = matrix.target.spec.bytes
    hub.clear_log()
    everywhere = ["--lat", "0", "--lon", "0", "--radius", "180"]
    row = only_row(
        survey("cluster", "org/one@v1", "--endpoint", hub.endpoint, *everywhere, "--format", "json")
    )
    assert (row["repo"], row["revision"], row["ref_token_id"], row["n_field"]) == ("org/one", "v1", 0, 300)
    ranges = [entry.range for entry in hub.requests(path_contains="model.safetensors") if entry.range]
    starts = [int(text.removeprefix("bytes=").split("-")[0]) for text in ranges]
    assert starts.count(matrix_bytes.start) == 1
    assert all(start <= matrix_bytes.start for start in starts)


def test_a_models_own_weights_are_not_written_over(survey: Survey, checkpoint: Make) -> None:
    weights = Path(checkpoint("mine")) / "model.safetensors"
    before = weights.read_bytes()
    ran = survey("cluster", weights.parent, "-o", weights, "--catalog", "c")
    assert ran.code == 2
    assert "was not written by this command; name another file" in ran.err
    assert weights.read_bytes() == before


def test_a_picture_of_the_sky(survey: Survey, checkpoint: Make) -> None:
    folder = checkpoint("mine")
    assert survey("cluster", folder, "--plot", "sky.png").code == 0
    assert Path("sky.png").read_bytes().startswith(b"\x89PNG")
    assert (
        survey("cluster", folder, "--lat", "85", "--lon", "175", "--radius", "40", "--plot", "sky.svg").code
        == 0
    )
    drawn = Path("sky.svg").read_text()
    for text in ("mine: 300 rows", "cross-hair: reference token", "rows in black holes"):
        assert text in drawn


MISUSE = [
    ("an unknown token", ["--token", "300"], "token 300: the matrix has the rows 0 … 299"),
    ("a component out of range", ["--north", "17"], "north is component 17, expected 1 … 16"),
    ("component 0", ["--equinox", "0"], "equinox is component 0"),
    ("one component twice", ["--north", "1"], "must be three different components"),
    ("an empty field", ["--lat", "0", "--lon", "0", "--radius", "0"], "no row stands in the field (radius 0°"),
    ("half a place", ["--lat", "1"], "all of --lat, --lon and one of --diameter and --radius"),
    ("a place without a size", ["--lat", "1", "--lon", "2"], "all of --lat"),
    ("two sizes", ["--lat", "1", "--lon", "2", "--radius", "1", "--diameter", "2"], "one of --diameter and --radius"),
    ("a place off the sphere", ["--lat", "91", "--lon", "2", "--radius", "1"], "latitude 91 is not between"),
    ("a picture of another kind", ["--plot", "sky.jpg"], "ends in .png or .svg"),
    ("no folder for the picture", ["--plot", "nowhere/sky.png"], "there is no folder nowhere"),
    ("no folder for the tensors", ["-o", "nowhere/out.safetensors"], "there is no folder nowhere"),
    ("a folder for the tensors", ["-o", "."], "is a directory"),
    ("an endpoint that is no URL", ["--endpoint", "nonsense"], "expected a URL such as"),
    ("a catalog that is none", ["--catalog", "/proc"], "is not a catalog"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "message"), [case[1:] for case in MISUSE], ids=[case[0] for case in MISUSE])
def test_misuse_is_named_with_code_2(survey: Survey, checkpoint: Make, more: list[str], message: str) -> None:
    ran = survey("cluster", checkpoint("mine"), *more)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere/", "not a model"),
        ("./nowhere", "no such file or folder"),
        ("org/name@step*", "may be many revisions; this command takes one"),
        ("two.txt", "two.txt names 2 models; this command takes one"),
    ],
)
def test_models_that_are_not_one(survey: Survey, tmp_path: Path, model: str, message: str) -> None:
    (tmp_path / "two.txt").write_text("org/a\norg/b\n")
    ran = survey("cluster", model)
    assert ran.code == 2
    assert message in ran.err


def test_a_model_that_cannot_be_read_names_its_fault(survey: Survey, hub: LocalHub) -> None:
    ran = survey("cluster", "org/none", "--endpoint", hub.endpoint)
    assert ran.code == 2
    assert "org/none" in ran.err
    assert not Path("survey-catalog").exists() or not list(Path("survey-catalog").glob("clusters/*"))


def test_without_the_extra_nothing_is_computed(
    survey: Survey, checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ran = survey("cluster", checkpoint("mine"), "--plot", "sky.png", "--catalog", "c")
    assert ran.code == 2
    assert "pip install 'centroid-survey[plots]'" in ran.err
    assert not Path("c").exists()
