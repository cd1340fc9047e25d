"""The dead rows of a model along its surveyed revisions, read from the local Hub row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from support import checkpoints
from support.checkpoints import Stored
from support.commands import Ran

from jobs.demo.hub.local_hub import LocalHub

Survey = Callable[..., Ran]
ROWS, DIMS = 2_000, 128
ROW_BYTES = 4 * DIMS
DEAD = np.array([5, 400, 401, 402, 900, 1_999])  # at the end one black hole
STEPS = (1, 10, 100)


def matrices() -> list[NDArray[np.float32]]:
    """At step 1 the dead rows differ; they draw together; at the last step they are bit for bit equal."""
    source = np.random.default_rng(0)
    start = source.normal(size=(ROWS, DIMS)).astype(np.float32)
    spread = source.normal(size=(len(DEAD), DIMS))
    drift = source.normal(size=DIMS)
    made = []
    for number, factor in enumerate((1.0, 0.5, 0.0)):
        matrix = start + np.float32(number)  # every live row moves
        matrix[DEAD] = (drift * (1 + number) + factor * spread).astype(np.float32)
        made.append(matrix)
    return made


def serve(hub: LocalHub, made: list[NDArray[np.float32]], steps: tuple[int, ...] = STEPS) -> None:
    for number, (step, matrix) in enumerate(zip(steps, made, strict=True)):
        tensors = {"model.embed_tokens.weight": Stored("F32", matrix.shape, matrix.tobytes())}
        files = checkpoints.single(tensors, checkpoints.CONFIG | {"tie_word_embeddings": True})
        if number == 0:
            hub.add_repo("org/m", files, branch=f"step{step}")
        else:
            hub.commit("org/m", files, branch=f"step{step}")


def survey_them(survey: Survey, hub: LocalHub, *options: str) -> None:
    ran = survey(
        "run", "org/m@step*", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial", *options
    )
    assert ran.code == 0, ran.err


def follow(survey: Survey, hub: LocalHub, *options: str | Path) -> Ran:
    return survey(
        "kinematics", "--from-catalog", "org/m@step*", "--catalog", "c", "--endpoint", hub.endpoint, *options
    )


def bytes_asked_of_weights(hub: LocalHub) -> int:
    """What the ranges asked for, headers of the file aside."""
    headers = [dict(entry.headers).get("range", "") for entry in hub.log if "GET" in entry.method]
    ranges = [text.removeprefix("bytes=").split("-") for text in headers if text]
    return sum(int(last) - int(first) + 1 for first, last in ranges if int(first) > 0)


def test_positions_centroid_and_radius_are_those_of_the_rows_themselves(
    survey: Survey, hub: LocalHub
) -> None:
    made = matrices()
    serve(hub, made)
    survey_them(survey, hub)
    ran = follow(survey, hub, "-o", "out.safetensors")
    assert ran.code == 0, ran.err
    rows = np.stack([matrix[DEAD].astype(np.float64) for matrix in made])
    tensors = load_file("out.safetensors")
    assert tensors["recorded_steps"].tolist() == list(STEPS)
    assert tensors["dead_token_ids"].tolist() == DEAD.tolist()
    assert tensors["positions"] == pytest.approx(rows, abs=1e-6)
    assert tensors["centroid"] == pytest.approx(rows.mean(axis=1), abs=1e-6)
    moved = np.diff(rows, axis=0)
    bulk = moved.mean(axis=1)
    assert tensors["bulk_velocity"][1:] == pytest.approx(bulk, abs=1e-6)
    assert tensors["thermal_velocities"][1:] == pytest.approx(moved - bulk[:, None], abs=1e-6)
    answer = survey("sql", "SELECT dead_count, steps, mean_radius[1] > 5, mean_radius[-1], bulk_speed[1] FROM kinematics",
                   "--catalog", "c", "--format", "csv")  # fmt: skip
    assert answer.out.splitlines()[1] == '6,"[1, 10, 100]",True,0.0,'


@pytest.mark.parametrize("tokens", [(), ("--no-tokens",)], ids=["hashes known", "hashes not kept"])
def test_only_the_rows_that_are_not_known_are_read(
    survey: Survey, hub: LocalHub, tokens: tuple[str, ...]
) -> None:
    made = matrices()
    made[1] = np.where(np.isin(np.arange(ROWS), DEAD)[:, None], made[0], made[1])  # frozen from 1 to 10
    serve(hub, made)
    survey_them(survey, hub, *tokens)
    hub.clear_log()
    ran = follow(survey, hub)
    assert ran.code == 0, ran.err
    # Known: six rows at step 1, none at 10, one for the black hole at 100. Else six each time. Rows 400
    # to 402 are one request; no other two are near enough.
    rows = 6 + 0 + 1 if not tokens else 18
    assert f"{rows * ROW_BYTES / 1e3:.1f} kB of rows read, of {3 * ROWS * ROW_BYTES / 1e6:.1f} MB" in ran.err
    assert bytes_asked_of_weights(hub) == rows * ROW_BYTES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("org/nobody@step*",), "0 surveyed revisions match, expected two or more"),
        (("org/m@step100",), "1 surveyed revisions match"),
        (("org/m",), "write org/name@pattern"),
        (("org/m@step*", "--tensor", "W"), "--tensor: only for a history"),
        (("org/m@step*", "h.safetensors"), "name a history, or revisions"),
    ],
)
def test_what_cannot_be_followed_is_named(
    survey: Survey, hub: LocalHub, arguments: tuple[str, ...], says: str
) -> None:
    serve(hub, matrices())
    survey_them(survey, hub)
    ran = survey("kinematics", "--catalog", "c", "--endpoint", hub.endpoint, "--from-catalog", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_a_model_without_black_holes_has_nothing_to_follow(survey: Survey, hub: LocalHub) -> None:
    serve(hub, [*matrices()[:2], matrices()[0] + 1])
    survey_them(survey, hub)
    ran = follow(survey, hub)
    assert (ran.code, "org/m@step100 has no black holes" in ran.err) == (2, True)


def test_two_names_of_one_commit_are_one_step(survey: Survey, hub: LocalHub) -> None:
    serve(hub, matrices())
    hub.tag("org/m", "step100-final", hub.repos["org/m"].branches["step100"])
    survey_them(survey, hub)
    assert follow(survey, hub).code == 0
