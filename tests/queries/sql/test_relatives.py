"""`relatives` ranks kin before strangers, whatever training, merging and re-saving did to the rows."""

from __future__ import annotations

import functools
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
from support.quantisations import GGUF_TYPES, QUANTISATIONS, values_of_gguf, values_of_mlx

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.hub.local_hub import LocalHub
from queries.library import find

Survey = Callable[..., Ran]
V, D = 2000, 64
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
KIN = {**RELATIVES, **RESAVED}
# What was quantised of each base, of which that of a missing one is not in the catalog.
QUANTISED = {f"base in {kind}": (lambda: base(0), kind) for kind in QUANTISATIONS} | {
    "a fine-tune in Q8_0": (lambda: tuned(), "Q8_0"),
    "a missing fine-tune in Q8_0": (lambda: tuned(0.3), "Q8_0"),
    "a missing fine-tune in MXFP4": (lambda: tuned(0.4), "MXFP4"),
    "a stranger in Q8_0": (lambda: base(99), "Q8_0"),
}
OF_BASE = [kind for kind in QUANTISED if kind.startswith("base")]
TUNED = "fine-tuned for Q8_0"
ZEROS, CONSTANT = "base with zeros", "base with a constant"


def name(kind: str) -> str:
    return "org/" + kind.replace(" ", "-")


def base(seed: int) -> Rows:
    return trained(np.random.default_rng(seed), V, D)


def tuned(share: float = 0.02) -> Rows:
    """Each row moved in a direction of its own, by a share of its length."""
    rows, chance = base(0), np.random.default_rng(5)
    step = chance.normal(size=rows.shape) / D**0.5
    return rows + share * np.linalg.norm(rows, axis=1, keepdims=True) * step


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
        **{name(kind): QUANTISATIONS[to](make()) for kind, (make, to) in QUANTISED.items()},
        name(TUNED): files(tuned()),
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
    @functools.cache
    def rows(query: str, **params: Any) -> list[dict[str, Any]]:
        with Reader(open_for_reading(str(catalog))) as reader:
            answer = reader.ask(find(query).sql, params)
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]

    return rows


Ask = Callable[..., list[dict[str, Any]]]


def relatives(ask: Ask, model: str = "org/base") -> dict[str, dict[str, Any]]:
    return {
        row["repo"]: row for row in ask("relatives", model=model, matrix="output", limit=100, stored_as="*")
    }


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


@pytest.mark.parametrize("kind", OF_BASE)
def test_a_quantised_model_and_its_original_are_recognised_from_either_side(ask: Ask, kind: str) -> None:
    assert relatives(ask, name(kind))["org/base"]["relation"] == "quantised from"
    assert relatives(ask)[name(kind)]["relation"] == "quantised to"


@pytest.mark.parametrize("kind", [kind for kind in OF_BASE if kind != "base in Q8_0"])
def test_two_quantisations_of_one_model_are_recognised(ask: Ask, kind: str) -> None:
    assert relatives(ask, name("base in Q8_0"))[name(kind)]["relation"] == "other quantisation"


def test_what_a_model_was_quantised_from_is_the_nearest(ask: Ask) -> None:
    model = name("a fine-tune in Q8_0")
    assert relatives(ask, model)[name(TUNED)]["relation"] == "quantised from"
    assert relatives(ask, name(TUNED))[model]["relation"] == "quantised to"
    assert relatives(ask, model)["org/base"]["relation"] == "same centroid"
    assert relatives(ask)[model]["relation"] == "same centroid"


@pytest.mark.parametrize("kind", ["a missing fine-tune in Q8_0", "a missing fine-tune in MXFP4"])
def test_what_lies_farther_than_the_type_rounds_was_not_quantised_from_it(ask: Ask, kind: str) -> None:
    assert relatives(ask, name(kind))["org/base"]["relation"] == "same centroid"
    assert relatives(ask)[name(kind)]["relation"] == "same centroid"


def test_a_quantised_stranger_is_no_relative(ask: Ask) -> None:
    assert name("a stranger in Q8_0") not in relatives(ask)
    assert "org/base" not in relatives(ask, name("a stranger in Q8_0"))


def test_relatives_of_one_format_are_chosen(ask: Ask) -> None:
    rows = ask("relatives", model="org/base", matrix="output", limit=100, stored_as="Q5*")
    assert {(row["repo"], row["dtype"]) for row in rows} == {
        ("org/base-in-Q5_0", "Q5_0"), ("org/base-in-Q5_1", "Q5_1"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", [*GGUF_TYPES, "mlx-4bit-g64"])
@pytest.mark.parametrize("outliers", [1, 8], ids=["even dimensions", "outlying dimensions"])
@pytest.mark.parametrize("dims", [128, 1024])
def test_a_types_own_error_is_within_what_is_allowed(
    catalog: Path, kind: str, outliers: int, dims: int
) -> None:
    rows = trained(np.random.default_rng(3), 300, dims)
    rows[:, [7, 60]] *= outliers
    coarse = values_of_mlx(rows) if kind.startswith("mlx") else values_of_gguf(rows, kind)
    moved = np.abs(np.log(np.linalg.norm(coarse, axis=1) / np.linalg.norm(rows, axis=1))).mean()
    bits = {"Q8_0": 8.5, "Q5_0": 5.5, "Q5_1": 6.0, "Q4_0": 4.5, "Q4_1": 5.0, "MXFP4": 4.25}.get(kind, 4.5)
    with Reader(open_for_reading(str(catalog))) as reader:
        ((allowed,),) = reader.ask(
            "select length_error($kind, $bits, $dims)", {"kind": kind, "bits": bits, "dims": dims}
        ).rows
    assert moved <= allowed < 30 * moved


@pytest.mark.parametrize(
    ("shares", "cosine", "related"),
    [
        pytest.param((1.0, 0.3), 0.1, True, id="all rows of one, and more than twice as many others"),
        pytest.param((0.6, 0.5), 0.3, True, id="half of the rows"),
        pytest.param((0.8, 0.8), -0.1, False, id="rows that were never trained, beside trained ones unlike"),
        pytest.param((0.6, 0.5), None, True, id="half of the rows, and no direction"),
        pytest.param((0.05, 0.02), 0.95, True, id="few rows, and one direction"),
        pytest.param((0.3, 0.3), 0.6, False, id="few rows"),
        pytest.param((0.005, 0.005), 1.0, False, id="a handful"),
    ],
)
def test_rows_in_common_make_relatives_by_their_share_and_the_directions(
    catalog: Path, shares: tuple[float, float], cosine: float | None, related: bool
) -> None:
    with Reader(open_for_reading(str(catalog))) as reader:
        ((answer,),) = reader.ask(
            "select rows_relate($one, $other, $cosine::double)",
            {"one": shares[0], "other": shares[1], "cosine": cosine},
        ).rows
    assert bool(answer) is related


def test_two_checkpoints_side_by_side_are_judged_by_the_same_rule(ask: Ask) -> None:
    for kind, verdict in [
        ("one row in ten kept", "rows in common"),
        ("with the same reserved rows", "few rows in common"),
        ("with a fifth of its rows", "few rows in common"),
    ]:
        (row,) = ask("shared_rows", a="org/base", b=name(kind), matrix="output")
        assert row["verdict"] == verdict


def test_relatives_stand_before_strangers(ask: Ask) -> None:
    repos = [*relatives(ask)]
    kin = [repos.index(name(kind)) for kind in (*KIN, *OF_BASE)]
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
