"""Public models from the real Hub against the figures that the notebooks printed (`make hub`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from survey.cli import main

FIGURES = Path(__file__).parent / "real_models.json"
MODELS: dict[str, dict[str, Any]] = {
    name: figures for name, figures in json.loads(FIGURES.read_text()).items() if "/" in name
}
# Of the tokenizer, or compared below in a form of their own.
ELSEWHERE = {"matrix", "tokenizer_size", "phantom_rows", "first_token_of_each_black_hole", "exponents_dead", "exponents_live"}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All of them, surveyed once."""
    uri = str(tmp_path_factory.mktemp("real") / "catalog")
    assert main(["run", *MODELS, "--catalog", uri]) == 0
    return uri


@pytest.mark.hub
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("repo", MODELS)
def test_a_public_model_has_the_published_figures(catalog: str, repo: str) -> None:
    expected = MODELS[repo]
    with Reader(open_for_reading(catalog)) as reader:
        answer = reader.ask("SELECT * FROM models WHERE repo = $repo AND matrix = 'output'", {"repo": repo})
        columns = dict(zip(answer.names, answer.rows[0], strict=True))
        firsts = reader.ask(
            "SELECT token_ids[1] FROM black_holes WHERE repo = $repo ORDER BY rank", {"repo": repo}
        )
        histogram = reader.ask(
            "SELECT exponent, dead_count, live_count FROM exponents WHERE repo = $repo", {"repo": repo}
        )
    for name in expected.keys() - ELSEWHERE:
        if isinstance(expected[name], float):
            # The notebooks computed in float32 and printed five or six digits, angles one decimal.
            tolerance = {"abs": 0.05} if name.endswith("_deg") else {"rel": 2e-5, "abs": 6e-8}
            if name == "centroid_ratio":
                tolerance = {"abs": 5e-5}
            assert columns[name] == pytest.approx(expected[name], **tolerance), name
        else:
            assert columns[name] == expected[name], name
    if "first_token_of_each_black_hole" in expected:
        assert [row[0] for row in firsts.rows] == expected["first_token_of_each_black_hole"]
    for name, index in (("exponents_dead", 1), ("exponents_live", 2)):
        if name in expected:
            counted = {str(row[0]): row[index] for row in histogram.rows if row[index]}
            assert counted == expected[name]
