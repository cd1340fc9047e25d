"""A catalog that an earlier version wrote is asked, surveyed again and merged by this one.

`earlier_catalog/` was written before the source tree was divided into sub-packages: `org/one` merged into a part,
`org/two` loose, each with its per-token table and the attempts of its runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from jobs.demo.checkpoints import Cloud, DemoModel, write
from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
EARLIER = Path(__file__).with_name("earlier_catalog")
MODELS = ("org/one", "org/two")
ANSWERS = (
    # Merging adds newer measures, from the stored tokens.
    "select * exclude (measures, measured_at, norm_id_spearman) from models order by repo",
    "select * from black_holes order by all",
    "select * from exponents order by all",
    "select repo, count(*), sum(norm), bit_xor(row_hash) from tokens group by repo order by repo",
    "select repo, list_sum(live_centroid) from vectors order by repo",
)


def as_earlier(name: str, cloud: Cloud = LITTLE) -> DemoModel:
    """The model as it was surveyed then, with four layers: its commit is the digest of its bytes."""
    return replace(little(name, cloud=cloud), layers=4)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EARLIER, tmp_path / "catalog"))


@pytest.fixture
def served(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """The models of the catalog at the commits that it holds."""
    for name in MODELS:
        write(as_earlier(name), tmp_path / "served" / name)
        hub.add_repo(name, tmp_path / "served" / name)
    return hub


@pytest.fixture
def again(survey: Survey, catalog: Path, served: LocalHub) -> Callable[[], Ran]:
    """A survey of the catalog's models, as its next night."""
    options = ("--catalog", str(catalog), "--endpoint", served.endpoint, "--executor", "serial")
    return lambda: survey("run", *MODELS, *options)


def answers(survey: Survey, catalog: Path) -> list[str]:
    answered = [
        survey("sql", question, "--catalog", str(catalog), "--format", "json") for question in ANSWERS
    ]
    assert [ran.code for ran in answered] == [0] * len(ANSWERS), answered
    return [ran.out for ran in answered]


def test_an_earlier_catalog_answers(survey: Survey, catalog: Path) -> None:
    models = json.loads(answers(survey, catalog)[0])
    assert [(row["repo"], row["vocab_rows"], row["black_hole_count"]) for row in models] == [
        (name, 300, 3) for name in MODELS
    ]


def test_what_an_earlier_version_measured_by_other_formulas_is_measured_again_once(
    again: Callable[[], Ran],
) -> None:
    assert "2 measured, 0 unchanged, 0 failed" in again().out
    assert "0 measured, 2 unchanged, 0 failed" in again().out


def test_a_model_that_moved_is_measured_beside_its_earlier_row(
    survey: Survey, catalog: Path, again: Callable[[], Ran], served: LocalHub, tmp_path: Path
) -> None:
    assert "2 measured" in again().out
    write(as_earlier("org/two", replace(LITTLE, seed=7)), tmp_path / "moved")
    served.add_repo("org/two", tmp_path / "moved")
    assert "1 measured, 1 unchanged, 0 failed" in again().out
    history = survey("sql", "select count(*) as n from models_history where repo = 'org/two'", "--catalog",
                     str(catalog), "--format", "json")  # fmt: skip
    assert json.loads(history.out) == [{"n": 2}]


def test_an_earlier_catalog_is_merged_to_the_same_answers(survey: Survey, catalog: Path) -> None:
    before = answers(survey, catalog)
    for _ in range(2):  # the second removes what the first merged
        assert survey("compact", "--catalog", str(catalog)).code == 0
    assert all(path.name.startswith("part-") for path in (catalog / "rows").iterdir())
    assert answers(survey, catalog) == before
    asked = ["select count(norm_id_spearman) as filled from models", "--catalog", str(catalog)]
    assert survey("sql", *asked, "--format", "csv").out.split() == ["filled", "2"]
