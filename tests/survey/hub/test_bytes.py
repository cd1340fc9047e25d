"""The Hub's client: the bytes that it reads, over how many connections, and their cost."""

import dataclasses
import json
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints import CONFIG, EMBED, HEAD, INDEX, TIED, sharded, single, sparse_safetensors, stored
from support.hub_model import MODEL, OUTPUT, TABLE, TOKEN, located, planned, read, request_log, settings, span

import survey
from jobs.demo.hub.local_hub import Fault, LocalHub, ReplyShape, ResetAfter, ShortBody, Stall, Status
from survey.checkpoints.checkpoint import Card
from survey.hub.checkpoint import HubCheckpoint
from survey.hub.range_reader import RangeReader
from survey.hub.repositories import resolve
from survey.hub.request_policy import RequestPolicy
from survey.onepass.geometry import row_blocks
from survey.opening import Matrix, open_target
from survey.records.tensors import ByteRange
from survey.sharding.pieces import stream_rows


@pytest.mark.parametrize("connections", [1, 3, 8])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(MODEL, id="single"),
        pytest.param(sharded([{EMBED: TABLE}, {HEAD: OUTPUT}]), id="sharded"),
        pytest.param(single({EMBED: OUTPUT}, CONFIG | TIED), id="tied"),
    ],
)
def test_the_bytes_that_come_are_those_of_the_file(
    hub: LocalHub, files: dict[str, bytes], connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/model", files)
    monkeypatch.setattr("survey.opening.row_blocks", lambda spec: row_blocks(spec, 1000))
    opened = survey.open_matrix("org/model", endpoint=hub.endpoint, connections=connections)
    assert read(opened) == OUTPUT.data
    assert (opened.shape, opened.dtype) == ((500, 16), "F32")
    assert opened.target.identity.org == "org"


def test_the_card_of_a_repository_travels_with_the_matrix(hub: LocalHub) -> None:
    hub.add_repo(
        "org/model",
        MODEL,
        library_name="transformers",
        model_tags=("en", "chat"),
        card_data={"base_model": ["meta-llama/Llama-3.1-8B", "other/model"]},
        last_modified="2025-03-04T05:06:07.000Z",
    )
    checkpoint = resolve("org/model", "main", settings(hub))
    assert checkpoint.card.base_model == "meta-llama/Llama-3.1-8B"
    assert checkpoint.card.library_name == "transformers"
    assert {"en", "chat"} <= set(checkpoint.card.tags)
    assert str(checkpoint.card.last_modified) == "2025-03-04 05:06:07"
    target = located(checkpoint, 1)
    assert (target.identity.family, target.identity.family_by) == ("Llama", "base_model")
    assert target.identity.sha == hub.repos["org/model"].branches["main"]
    hub.add_repo("org/bare", MODEL)
    assert resolve("org/bare", None, settings(hub)).card.base_model is None
    assert (
        HubCheckpoint("org/x", "main", "f" * 40, {}, settings(hub), RequestPolicy(settings(hub))).card
        == Card()
    )


def test_blocks_come_in_order_however_long_each_request_takes(hub: LocalHub) -> None:
    dice = random.Random(5)
    target = planned(hub)
    hub.faults = [Fault(Stall(dice.uniform(0.001, 0.05)), server="cdn") for _ in range(32)]
    checkpoint = open_target(target, settings(hub, connections=8)).checkpoint
    counts: list[int] = []
    ranges = row_blocks(target.spec, 1000)
    blocks = [bytes(block) for block in stream_rows(checkpoint, target.spec, ranges, counts.append)]
    assert [len(block) for block in blocks] == [len(byte_range) for byte_range in ranges]
    assert b"".join(blocks) == OUTPUT.data
    assert sum(counts) == len(OUTPUT.data)
    assert len(hub.requests("cdn")) == len(ranges) > 30


def test_a_measurement_has_the_same_bits_over_1_and_8_connections(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.opening.row_blocks", lambda spec: row_blocks(spec, 7000))
    head = stored(3000, 32, dtype="BF16")
    twice = dataclasses.replace(head, data=head.data[:640] + head.data[:640] + head.data[1280:])
    hub.add_repo("org/model", single({HEAD: twice}))
    dice = random.Random(6)
    measured = []
    for connections in (1, 8):
        hub.faults = [Fault(Stall(dice.uniform(0, 0.01)), server="cdn", skip=1) for _ in range(28)]
        opened = survey.open_matrix("org/model", endpoint=hub.endpoint, connections=connections)
        measured.append(survey.measure(opened, device="cpu"))
    one, eight = (dataclasses.asdict(measurement) for measurement in measured)
    assert measured[0].black_hole_count == 10
    assert one.keys() == eight.keys()
    assert [name for name in one if bits(one[name]) != bits(eight[name])] == []


def bits(value: Any) -> Any:
    """The value as what can be compared bit for bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: bits(item) for name, item in value.items()}
    return value.hex() if isinstance(value, float) else value


def test_what_the_hub_serves_itself_is_read_by_range_too(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    assert checkpoint.read_range("config.json", ByteRange(2, 9)) == MODEL["config.json"][2:9]
    assert {entry.server for entry in hub.log} == {"hub"}


def test_what_the_hub_serves_itself_of_a_gated_model_is_read_with_the_token(hub: LocalHub) -> None:
    hub.add_repo("org/gated", MODEL, gated="auto")
    checkpoint = resolve("org/gated", None, settings(hub, token=TOKEN))
    assert checkpoint.read_range("config.json", ByteRange(2, 9)) == MODEL["config.json"][2:9]


# ---- costs


def test_traffic_is_what_the_servers_sent(hub: LocalHub) -> None:
    hub.add_repo("org/model", sharded([{EMBED: TABLE}, {HEAD: OUTPUT}]))
    opened = survey.open_matrix("org/model", endpoint=hub.endpoint, connections=1)
    assert opened.target.planning == opened.checkpoint.traffic
    read(opened)
    traffic = opened.checkpoint.traffic
    assert traffic.bytes == sum(entry.sent_bytes for entry in hub.log)
    assert traffic.requests == len(hub.log)
    assert traffic.retries == 0


def test_traffic_counts_failed_attempts(hub: LocalHub) -> None:
    sorry = b"<html>sorry</html>"
    hub.faults = [
        Fault(Status(500, body=sorry), path_contains="/api/models", times=2),
        Fault(Status(503, body=sorry), path_contains="config.json"),
        Fault(Status(502, body=sorry), server="hub", method="HEAD"),
        Fault(ResetAfter(1000), server="cdn", skip=1),
        Fault(ShortBody(77), server="cdn", skip=1),
        Fault(Status(500, body=sorry), server="cdn", skip=1),
    ]
    target = located(checkpoint := resolve("org/model", None, settings(hub)), 1)
    assert read(Matrix(target, checkpoint)) == OUTPUT.data
    assert all(fault.hits for fault in hub.faults)
    assert checkpoint.traffic.requests == len(hub.log)
    assert checkpoint.traffic.retries == 7
    unread = sum(entry.sent_bytes for entry in hub.log) - checkpoint.traffic.bytes
    assert 0 <= unread <= len(sorry)  # the body of a refused range is not waited for


def test_a_large_model_costs_its_head_and_little_more(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "8 GB"
    folder.mkdir()
    layers = {f"model.layers.{number}.mlp.down_proj.weight": ("BF16", (8192, 14_336)) for number in range(36)}
    names = list(layers)
    shards = [
        {EMBED: ("BF16", (4096, 1024)), **{name: layers[name] for name in names[:9]}},
        {name: layers[name] for name in names[9:18]},
        {name: layers[name] for name in names[18:27]},
        {**{name: layers[name] for name in names[27:]}, HEAD: ("BF16", (4096, 1024))},
    ]
    weight_map = {}
    for number, layout in enumerate(shards, start=1):
        file = f"model-{number:05}-of-00004.safetensors"
        sparse_safetensors(folder / file, layout)
        weight_map |= dict.fromkeys(layout, file)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    assert sum(file.stat().st_size for file in folder.iterdir()) > 8e9

    hub.add_repo("org/large", folder)
    opened = survey.open_matrix("org/large", endpoint=hub.endpoint, connections=2)
    head_bytes = 4096 * 1024 * 2
    assert sum(len(block) for block in opened.blocks()) == head_bytes
    blocks = len(row_blocks(opened.target.spec))
    traffic = opened.checkpoint.traffic
    assert traffic.bytes - head_bytes <= 1 << 20
    assert traffic.requests - blocks <= 8
    assert sum(entry.sent_bytes for entry in hub.log) - head_bytes <= 1 << 20
    assert len(hub.log) - blocks <= 8
    assert opened.target.repo_bytes > 8e9


def test_a_task_asks_for_a_signature_and_the_matrix_alone(hub: LocalHub) -> None:
    target = planned(hub)
    assert hub.log == []
    opened = open_target(target, settings(hub))
    assert hub.log == []
    assert read(opened) == OUTPUT.data
    assert request_log(hub) == ["HEAD", span(target)]


def test_a_consumer_who_leaves_early_costs_no_more_than_the_window(hub: LocalHub) -> None:
    target = planned(hub)
    checkpoint = open_target(target, settings(hub, connections=2)).checkpoint
    ranges = row_blocks(target.spec, 1000)
    blocks = stream_rows(checkpoint, target.spec, ranges, lambda count: None)
    next(blocks)
    blocks.close()
    assert len(hub.requests("cdn")) <= 3 < len(ranges)


# ---- as many connections as the link is worth


def test_a_stream_begins_with_few_connections_and_takes_more_if_each_is_capped(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.hub.concurrency.ROUND_S", 0.1)
    monkeypatch.setattr("survey.hub.concurrency.WARM_UP_S", 0.02)
    large = stored(60_000, 16)
    hub.add_repo("org/long", single({HEAD: large}))
    hub.shape = ReplyShape(connection_bytes_s=1_000_000)
    opened = survey.open_matrix("org/long", endpoint=hub.endpoint)
    target = opened.target
    busy, most, lock = 0, [0], threading.Lock()
    real = RangeReader._receive

    def counted(*arguments: Any) -> None:
        nonlocal busy
        with lock:
            busy += 1
            most.append(max(most[-1], busy))
        try:
            real(*arguments)
        finally:
            with lock:
                busy -= 1

    monkeypatch.setattr(RangeReader, "_receive", counted)
    stream = stream_rows(opened.checkpoint, target.spec, row_blocks(target.spec, 40_000), lambda count: None)
    first = bytes(next(stream))
    assert most[-1] == 4
    assert first + b"".join(bytes(block) for block in stream) == large.data
    assert 4 < most[-1] <= 16
