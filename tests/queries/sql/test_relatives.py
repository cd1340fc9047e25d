"""`relatives` ranks kin before strangers, whatever training, merging and re-saving did to the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checkpoints import Stored, single
from support.commands import Ran
from support.kinships import RELATIVES, RESAVED, RESERVED, STRANGERS, Rows, trained
from support.matrices import CODES, raw

from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
V, D = 2000, 48
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
KIN = {**RELATIVES, **RESAVED}
ZEROS, CONSTANT = "base with zeros", "base with a constant"


def name(kind: str) -> str:
    return "org/" + kind.replace(" ", "-")


def base(seed: int) -> Rows:
    return trained(np.random.default_rng(seed), V, D)


def with_hole(value: float) -> Rows:
    rows = base(0)
    rows[RESERVED] = value
    return rows


def files(rows: Rows, dtype: torch.dtype = torch.bfloat16) -> dict[str, bytes]:
    weight = torch.from_numpy(rows).to(dtype)
    return single({"lm_head.weight": Stored(CODES[dtype], tuple(weight.shape), bytes(raw(weight)))}, CONFIG)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One base with a relative of each kind, and a stranger of each kind."""
    from survey.cli import main

    folder = tmp_path_factory.mktemp("relatives")
    chance = np.random.default_rng(7)
    models = {
        "org/base": files(base(0)),
        name(ZEROS): files(with_hole(0.0)),
        name(CONSTANT): files(with_hole(0.125)),
        **{name(kind): files(make(base(0), chance)) for kind, (make, _) in RELATIVES.items()},
        **{name(kind): files(make(base(0), chance), torch.float16) for kind, (make, _) in RESAVED.items()},
        **{name(kind): files(make(base(0), chance)) for kind, (make, _) in STRANGERS.items()},
    }
    cards = {name(kind): "org/base" for kind in (*KIN, *STRANGERS)}
    with pytest.MonkeyPatch.context() as patch, LocalHub() as hub:
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "token"))
        for repo, content in models.items():
            hub.add_repo(repo, content, card_data={"base_model": cards[repo]} if repo in cards else {})
        options = ["--catalog", str(folder / "c"), "--endpoint", hub.endpoint, "--executor", "serial"]
        assert main(["run", *models, *options]) == 0
    return folder / "c"


@pytest.fixture(scope="module")
def ask(catalog: Path) -> Callable[..., list[dict[str, Any]]]:
    from catalog.read.reader import Reader
    from catalog.store.open import open_for_reading
    from queries.library import find

    def rows(query: str, **params: Any) -> list[dict[str, Any]]:
        with Reader(open_for_reading(str(catalog))) as reader:
            answer = reader.ask(find(query).sql, params)
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]

    return rows


Ask = Callable[..., list[dict[str, Any]]]


def relatives(ask: Ask, model: str = "org/base") -> dict[str, dict[str, Any]]:
    return {row["repo"]: row for row in ask("relatives", model=model, matrix="output", limit=100)}


@pytest.mark.parametrize(
    ("kind", "relation"), [(kind, relation) for kind, (_, relation) in KIN.items()], ids=[*KIN]
)
def test_a_relative_is_recognised(ask: Ask, kind: str, relation: str) -> None:
    assert relatives(ask)[name(kind)]["relation"] == relation


@pytest.mark.parametrize(
    ("kind", "relation"), [(kind, relation) for kind, (_, relation) in STRANGERS.items()], ids=[*STRANGERS]
)
def test_a_stranger_is_no_relative(ask: Ask, kind: str, relation: str | None) -> None:
    model = {"zeros": name(ZEROS), "constant": name(CONSTANT)}
    of = next((repo for word, repo in model.items() if word in kind), "org/base")
    row = relatives(ask, of).get(name(kind))
    assert (row and row["relation"]) == relation


def test_relatives_stand_before_strangers(ask: Ask) -> None:
    repos = [*relatives(ask)]
    kin = [repos.index(name(kind)) for kind in KIN]
    strangers = [repos.index(name(kind)) for kind in STRANGERS if name(kind) in repos]
    assert max(kin) < min(strangers)


def test_the_figures_are_those_of_numpy(ask: Ask) -> None:
    row = relatives(ask)["org/scaled"]
    assert row["norm_ratio"] == pytest.approx(1.3, rel=2e-3)
    assert row["norm_correlation"] == pytest.approx(1, abs=1e-4)
    assert row["centroid_cosine"] == pytest.approx(1, abs=1e-6)


def test_a_claim_is_confirmed_by_a_share_of_rows_and_shows_the_count(ask: Ask) -> None:
    claims = {row["repo"]: row for row in ask("lineage_conflicts", matrix="output", all=1)}
    confirmed = {repo for repo, row in claims.items() if row["finding"] == "confirmed"}
    assert confirmed == {
        name(kind) for kind, (_, relation) in KIN.items() if relation in ("identical", "rows in common")
    }
    assert all(
        claims[repo]["rows_in_common"] > 0 and claims[repo]["share_of_model"] > 0 for repo in confirmed
    )
    assert claims[name("with the same reserved rows")]["finding"] == "few rows in common"
    assert claims[name("with the same reserved rows")]["rows_in_common"] > 0
    assert claims[name("fine-tuned much")]["finding"] == "same centroid"
    assert claims[name("of the same tokenizer")]["finding"] == "no row in common"


def test_without_black_holes_nothing_is_said_of_their_grouping(ask: Ask) -> None:
    (row,) = ask("same_grouping", a="org/base", b=name("scaled"), matrix="output")
    assert row["same_grouping"] is None
    (row,) = ask("same_grouping", a=name(CONSTANT), b=name("with the same constant row"), matrix="output")
    assert row["same_grouping"] is True
