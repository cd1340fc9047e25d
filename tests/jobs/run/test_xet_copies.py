"""A fine-tune that kept its head in a file that it changed: the storage's chunks prove it, and none is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.commands import Ran

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.hub.local_hub import Fault, Garbage, LocalHub, Status
from survey.cli import main

Survey = Callable[..., Ran]
HEAD = np.random.default_rng(1).integers(0x3C00, 0x3F00, (8192, 256), dtype="<u2")  # BF16, 4 MiB
OF_THE_RUN = {
    *("run_id", "measured_at", "elapsed_s", "fetch_s", "measure_s", "fetched_bytes", "requests", "retries"),
    "measured_from", "warmup_s",
}  # fmt: skip


def files(seed: int, head: Any = HEAD, notes: str = "") -> dict[str, bytes]:
    """A tied checkpoint whose head lies between layers of random numbers."""
    draw = np.random.default_rng(seed)
    layers = [draw.integers(0x3C00, 0x3F00, (1000, 256), dtype="<u2") for _ in range(2)]
    tensors = {"model.layers.0.mlp.up_proj.weight": layers[0], "model.embed_tokens.weight": head,
               "model.layers.1.mlp.up_proj.weight": layers[1]}  # fmt: skip
    layout: dict[str, Any] = {"__metadata__": {"notes": notes}}
    at = 0
    for name, values in tensors.items():
        layout[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    header = json.dumps(layout).encode()
    content = b"".join(values.tobytes() for values in tensors.values())
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": len(header).to_bytes(8, "little") + header + content,
    }


def changed_head(row: int) -> Any:
    head = HEAD.copy()
    head[row, 0] ^= 1
    return head


def rows(catalog: str) -> dict[str, dict[str, Any]]:
    with Reader(open_for_reading(catalog)) as reader:
        answer = reader.ask("select * from measured_rows")
    return {row[0]: dict(zip(answer.names, row, strict=True)) for row in answer.rows}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalHub, str, str]]:
    """A Hub, a catalog with one model of it, and that model by repo@sha."""
    catalog = str(tmp_path_factory.mktemp("measured") / "catalog")
    with LocalHub() as hub:
        sha = hub.add_repo("org/base", files(0))
        assert main(["run", "org/base", *options(hub, catalog)]) == 0
        yield hub, catalog, f"org/base@{sha}"


def options(hub: LocalHub, catalog: str) -> list[str]:
    return ["--endpoint", hub.endpoint, "--executor", "serial", "--catalog", catalog]


def run(survey: Survey, hub: LocalHub, *models: str, catalog: str = "c") -> Ran:
    return survey("run", *models, *options(hub, catalog))


@pytest.mark.parametrize("with_sizes", [True, False], ids=["chunks with sizes", "terms alone"])
def test_equal_chunks_prove_equal_bytes(
    measured: tuple[LocalHub, str, str], survey: Survey, with_sizes: bool
) -> None:
    hub, catalog, base = measured
    hub.xet.with_sizes = with_sizes
    tuned, made = f"org/tuned-{with_sizes}", files(1 + with_sizes, notes="x" * 1000)
    # A longer header moves the head: no chunk lies where it lay in the base's file.
    hub.add_repo(tuned, made, card_data={"base_model": "org/base"})
    hub.clear_log()
    planned = survey("plan", tuned, "--endpoint", hub.endpoint, "--catalog", catalog).out
    assert f"{tuned}: the same bytes as {base}; its row is copied" in planned
    assert "1 of the measured were copied" in run(survey, hub, tuned, catalog=catalog).out
    run(survey, hub, tuned, catalog="fresh")
    copied, read = rows(catalog)[tuned], rows("fresh")[tuned]
    assert {name for name in copied if copied[name] != read[name]} <= OF_THE_RUN
    assert (copied["measured_from"], read["measured_from"]) == (base, None)
    assert copied["fetched_bytes"] < HEAD.nbytes / 10
    # From now on the file's own digest is known.
    hub.commit(tuned, {**made, "README.md": b"a card"})
    hub.clear_log()
    assert "1 of the measured were copied" in run(survey, hub, tuned, catalog=catalog).out
    assert not hub.requests(path_contains="reconstructions")


NO_PROOFS: dict[str, tuple[Any, str | None, list[Fault]]] = {
    "a changed row in the middle": (changed_head(4000), "org/base", []),
    "a changed first row": (changed_head(0), "org/base", []),
    "a changed last row": (changed_head(-1), "org/base", []),
    "another base on the card": (HEAD, "org/unknown", []),
    "no base on the card": (HEAD, None, []),
    "no token for the storage": (HEAD, "org/base", [Fault(Status(404), path_contains="xet-read-token", times=None)]),
    "a storage that fails": (HEAD, "org/base", [Fault(Status(500), path_contains="reconstructions", times=None)]),
    "a storage that redirects": (
        HEAD, "org/base",
        [Fault(Status(302, {"Location": "http://127.0.0.1:1/"}), path_contains="reconstructions", times=None)],
    ),
    "a storage that answers anything": (
        HEAD, "org/base", [Fault(Garbage(b'{"terms": [{}]}'), path_contains="reconstructions", times=None)]
    ),
    "terms of another range": (
        HEAD, "org/base",
        [Fault(Garbage(b'{"offset_into_first_range": 0, "terms": []}'), path_contains="reconstructions", times=None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("head", "base_model", "faults"), NO_PROOFS.values(), ids=list(NO_PROOFS))
def test_what_proves_nothing_is_measured(
    measured: tuple[LocalHub, str, str],
    survey: Survey,
    request: pytest.FixtureRequest,
    head: Any,
    base_model: str | None,
    faults: list[Fault],
) -> None:
    hub, catalog, _ = measured
    number = list(NO_PROOFS).index(request.node.callspec.id)
    tuned = f"org/unproved{number}"
    hub.add_repo(tuned, files(10 + number, head), card_data={"base_model": base_model} if base_model else {})
    hub.faults = faults
    assert "1 measured, 0 unchanged, 0 failed" in run(survey, hub, tuned, catalog=catalog).out
    hub.faults = []
    assert rows(catalog)[tuned]["measured_from"] is None
    assert all(fault.hits for fault in faults)


def test_a_hub_without_that_storage_is_not_asked_for_it(hub: LocalHub, survey: Survey) -> None:
    hub.xet.offered = False
    hub.add_repo("org/base", files(0))
    hub.add_repo("org/tuned", files(1), card_data={"base_model": "org/base"})
    for model in ("org/base", "org/tuned"):
        assert "1 measured" in run(survey, hub, model).out
    assert rows("c")["org/tuned"]["measured_from"] is None
    assert not hub.requests(path_contains="xet-read-token")


def test_the_hubs_token_never_reaches_the_storage(
    measured: tuple[LocalHub, str, str], survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, catalog, _ = measured
    hub.users = {"hf_secret": frozenset()}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add_repo("org/secret", files(30), card_data={"base_model": "org/base"})
    # The storage refuses every other token than its own.
    assert "1 of the measured were copied" in run(survey, hub, "org/secret", catalog=catalog).out
