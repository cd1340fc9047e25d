"""The door to the Hub, through the real client and a local Hub: bytes, costs, secrets, faults."""

import dataclasses
import json
import random
import re
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from checkpoints import CONFIG, INDEX, SINGLE, sharded, single, sparse_safetensors, stored
from huggingface_hub.utils import close_session

import survey
from jobs.demo.hub import (
    Fault,
    FaultAction,
    Garbage,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    Shape,
    ShortBody,
    Stall,
    Status,
    WrongCommit,
    WrongContentRange,
)
from survey.checkpoint import Card, Checkpoint
from survey.errors import BrokenFile, NotOffered, SurveyError, Unreachable
from survey.hub import HubCheckpoint
from survey.hub_api import refs, resolve
from survey.hub_http import Manners
from survey.locate import lay_out, locate
from survey.matrix import Matrix, open_target
from survey.slabs import row_blocks
from survey.target import ByteRange, Patience, Settings, Target

TOKEN, STRANGER = "hf_a-token-that-nobody-may-see", "hf_a-stranger"
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TABLE, OUTPUT = stored(500, 16, seed=1), stored(500, 16)  # 32,000 bytes each
OTHER = stored(500, 16, seed=2)
MODEL = single({EMBED: TABLE, HEAD: OUTPUT})
TRIES = 4


def located(checkpoint: Checkpoint, connections: int) -> Target:
    return locate(checkpoint, lay_out(checkpoint), "output", connections)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    users = {TOKEN: frozenset({"org/gated", "org/private"}), STRANGER: frozenset[str]()}
    with LocalHub(users=users, large_file_bytes=10 << 20) as served:
        served.add_repo("org/model", MODEL)
        yield served
        close_session()


def settings(hub: LocalHub, connections: int = 1, token: str | None = None) -> Settings:
    patience = Patience(tries=TRIES, first_wait_s=0.01, longest_wait_s=0.05)
    return Settings(endpoint=hub.endpoint, token=token, connections=connections, patience=patience)


def planned(hub: LocalHub, repo: str = "org/model", **options: Any) -> Target:
    """What a plan hands to a task; the hub's log is empty afterwards."""
    target = located(resolve(repo, None, settings(hub, **options)), 1)
    hub.clear_log()
    return target


def read(matrix: Matrix) -> bytes:
    return b"".join(bytes(block) for block in matrix.blocks())


def asked(hub: LocalHub) -> list[str]:
    """The requests in short: HEAD, and the ranges of the matrix that were asked of the CDN."""
    return [entry.method if entry.server == "hub" else str(entry.range) for entry in hub.log]


def span(target: Target, start: int = 0) -> str:
    return ByteRange(target.spec.bytes.start + start, target.spec.bytes.stop).http_header()


# ---- bytes


@pytest.mark.parametrize("connections", [1, 3, 8])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(MODEL, id="single"),
        pytest.param(sharded([{EMBED: TABLE}, {HEAD: OUTPUT}]), id="sharded"),
        pytest.param(single({EMBED: OUTPUT}), id="tied"),
    ],
)
def test_the_bytes_that_come_are_those_of_the_file(
    hub: LocalHub, files: dict[str, bytes], connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repo("org/model", files)
    monkeypatch.setattr("survey.matrix.row_blocks", lambda spec: row_blocks(spec, 1000))
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
    assert HubCheckpoint("org/x", "main", "f" * 40, {}, settings(hub), Manners(settings(hub))).card == Card()


def test_blocks_come_in_order_however_long_each_request_takes(hub: LocalHub) -> None:
    dice = random.Random(5)
    target = planned(hub)
    hub.faults = [Fault(Stall(dice.uniform(0.001, 0.05)), server="cdn") for _ in range(32)]
    checkpoint = open_target(target, settings(hub, connections=8)).checkpoint
    told: list[int] = []
    ranges = row_blocks(target.spec, 1000)
    blocks = [bytes(block) for block in checkpoint.stream(target.spec.file, ranges, told.append)]
    assert [len(block) for block in blocks] == [len(wanted) for wanted in ranges]
    assert b"".join(blocks) == OUTPUT.data
    assert sum(told) == len(OUTPUT.data)
    assert len(hub.requests("cdn")) == len(ranges) > 30


def test_a_measurement_has_the_same_bits_over_1_and_8_connections(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.matrix.row_blocks", lambda spec: row_blocks(spec, 7000))
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
    assert asked(hub) == ["HEAD", span(target)]


def test_a_consumer_who_leaves_early_costs_no_more_than_the_window(hub: LocalHub) -> None:
    target = planned(hub)
    checkpoint = open_target(target, settings(hub, connections=2)).checkpoint
    ranges = row_blocks(target.spec, 1000)
    blocks = checkpoint.stream(target.spec.file, ranges, lambda count: None)
    next(blocks)
    blocks.close()
    assert len(hub.requests("cdn")) <= 3 < len(ranges)


# ---- secrets


def test_the_token_goes_to_the_hub_and_never_to_the_cdn(hub: LocalHub) -> None:
    hub.add_repo("org/gated", sharded([{EMBED: TABLE}, {HEAD: OUTPUT}]), gated="manual")
    hub.faults = [Fault(Status(403), server="cdn", skip=1), Fault(ResetAfter(9), server="cdn", skip=2)]
    opened = survey.open_matrix("org/gated", endpoint=hub.endpoint, token=TOKEN, connections=3)
    assert read(opened) == OUTPUT.data
    assert {entry.authorization for entry in hub.requests("hub")} == {True}
    assert {entry.authorization for entry in hub.requests("cdn")} == {False}
    assert all(TOKEN not in json.dumps(entry.headers) for entry in hub.requests("cdn"))


SPOILERS: dict[str, FaultAction] = {
    **{str(code): Status(code) for code in (403, 404, 416, 429, 500)},
    "reset": ResetAfter(0),
    "ignored-range": IgnoreRange(),
    "no-body": ShortBody(1 << 20),
    "wrong-range": WrongContentRange(1),
}


@pytest.mark.parametrize("action", SPOILERS.values(), ids=SPOILERS)
def test_no_error_tells_a_secret(hub: LocalHub, action: FaultAction) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    target = planned(hub, "org/gated", token=TOKEN)
    hub.faults = [Fault(action, server="cdn", times=None)]
    opened = open_target(target, settings(hub, token=TOKEN))
    with pytest.raises(SurveyError) as caught:
        read(opened)
    said = f"{caught.value} {caught.value!r} {caught.value.args} {opened.target} {settings(hub, token=TOKEN)}"
    assert not re.search(f"{TOKEN}|Signature|Expires|[?]", said)
    assert "org/gated" in said


@pytest.mark.parametrize("action", SPOILERS.values(), ids=SPOILERS)
def test_no_traceback_tells_a_secret(hub: LocalHub, action: FaultAction) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    target = planned(hub, "org/gated", token=TOKEN)
    hub.faults = [Fault(action, server="cdn", times=None)]
    with pytest.raises(SurveyError) as caught:
        read(open_target(target, settings(hub, token=TOKEN)))
    shown = "".join(traceback.format_exception(caught.value))  # as a notebook prints it, with its causes
    assert not re.search(f"{TOKEN}|Signature=|Expires=", shown)


# ---- faults that pass


def twice(action: FaultAction, **options: Any) -> list[Fault]:
    return [Fault(action, server="cdn", times=2, **options)]


# What happens to a task that reads one range of 32,000 bytes, and what it then asks for: a number
# is a range that begins so far into the matrix, "sign" asks the Hub for a signature.
PASSING = {
    "nothing": ([], ["sign", 0]),
    "500-in-a-burst": ([Fault(Status(500), server="cdn", times=3)], ["sign", 0, 0, 0, 0]),
    "503-in-a-burst": ([Fault(Status(503), server="cdn", times=3)], ["sign", 0, 0, 0, 0]),
    "500-and-503-and-408": (
        [Fault(Status(code), server="cdn") for code in (500, 503, 408)],
        ["sign", 0, 0, 0, 0],
    ),
    "429": (twice(Status(429)), ["sign", 0, 0, 0]),
    "429-with-retry-after": (twice(Status(429, {"Retry-After": "3600"})), ["sign", 0, 0, 0]),
    "429-with-a-broken-retry-after": (twice(Status(429, {"Retry-After": "soon"})), ["sign", 0, 0, 0]),
    "reset-before-the-body": (twice(ResetAfter(0)), ["sign", 0, 0, 0]),
    "reset-mid-body": ([Fault(ResetAfter(1000), server="cdn")], ["sign", 0, 1000]),
    "more-resets-than-tries-with-progress": (
        [Fault(ResetAfter(1000), server="cdn", times=7)],
        ["sign", 0, 1000, 2000, 3000, 4000, 5000, 6000, 7000],
    ),
    "reset-on-the-last-byte": ([Fault(ResetAfter(31_999), server="cdn")], ["sign", 0, 31_999]),
    "reset-after-a-reset-without-progress": (
        [Fault(ResetAfter(1000), server="cdn"), *twice(ResetAfter(0))],
        ["sign", 0, 1000, 1000, 1000],
    ),
    "ignored-range": (twice(IgnoreRange()), ["sign", 0, 0, 0]),
    "a-later-range": (twice(WrongContentRange(1)), ["sign", 0, 0, 0]),
    "an-earlier-range": (twice(WrongContentRange(-64)), ["sign", 0, 0, 0]),
    "short-body": ([Fault(ShortBody(10), server="cdn")], ["sign", 0, 31_990]),
    "no-body": (twice(ShortBody(1 << 20)), ["sign", 0, 0, 0]),
    "signature-expired": ([Fault(Status(403), server="cdn")], ["sign", 0, "sign", 0]),
    "signature-expired-mid-body": (
        [Fault(ResetAfter(500), server="cdn"), Fault(Status(403), server="cdn")],
        ["sign", 0, 500, "sign", 500],
    ),
    "signature-expired-three-times": (
        [Fault(Status(401), server="cdn", times=3)],
        ["sign", 0, "sign", 0, "sign", 0, "sign", 0],
    ),
    "stall-before-the-answer": (twice(Stall(5)), ["sign", 0, 0, 0]),
    "stall-mid-body": ([Fault(Stall(5, 800), server="cdn")], ["sign", 0, 800]),
    "wrong-commit": ([Fault(WrongCommit("f" * 40), server="hub", times=3)], ["sign"] * 4 + [0]),
    "hub-busy-when-signing": (
        [Fault(Status(code), server="hub") for code in (500, 429, 503)],
        ["sign"] * 4 + [0],
    ),
    "hub-silent-when-signing": ([Fault(Stall(5), server="hub")], ["sign", "sign", 0]),
}


@pytest.mark.parametrize(("faults", "requests"), PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_costs_requests_and_no_bytes_of_the_matrix(
    hub: LocalHub, faults: list[Fault], requests: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.hub_http.TIMEOUT", httpx2.Timeout(5.0, read=0.4))
    target = planned(hub)
    hub.faults = [dataclasses.replace(fault, hits=0) for fault in faults]
    opened = open_target(target, settings(hub))
    told: list[int] = []
    assert b"".join(bytes(block) for block in opened.blocks(told.append)) == OUTPUT.data
    assert sum(told) == len(OUTPUT.data)
    assert asked(hub) == ["HEAD" if item == "sign" else span(target, int(item)) for item in requests]
    assert opened.checkpoint.traffic.requests == len(requests)
    assert opened.checkpoint.traffic.retries == sum(fault.hits for fault in hub.faults)


def test_an_expired_signature_is_renewed_once_for_all_connections(hub: LocalHub) -> None:
    target = planned(hub)
    opened = open_target(target, settings(hub, connections=8))
    ranges = row_blocks(target.spec, 1000)
    stream = opened.checkpoint.stream(target.spec.file, ranges, lambda count: None)
    found = [bytes(next(stream))]
    hub.expire_signatures()
    found.extend(bytes(block) for block in stream)
    assert b"".join(found) == OUTPUT.data
    assert [entry.method for entry in hub.requests("hub")] == ["HEAD", "HEAD"]


def test_a_signature_may_expire_any_number_of_times_in_a_long_stream(hub: LocalHub) -> None:
    target = planned(hub)
    opened = open_target(target, settings(hub, connections=2))
    stream = opened.checkpoint.stream(target.spec.file, row_blocks(target.spec, 1000), lambda count: None)
    found = []
    for block in stream:
        found.append(bytes(block))
        if len(found) % 3 == 0:
            hub.expire_signatures()
    assert b"".join(found) == OUTPUT.data
    assert len(hub.requests("hub")) > 5


def test_a_signature_may_expire_any_number_of_times_within_one_range(hub: LocalHub) -> None:
    target = planned(hub)
    hub.faults = [
        fault
        for _ in range(6)
        for fault in (Fault(ResetAfter(100), server="cdn"), Fault(Status(403), server="cdn"))
    ]
    assert read(open_target(target, settings(hub))) == OUTPUT.data


def test_a_retry_after_is_waited_for(hub: LocalHub) -> None:
    target = planned(hub)
    hub.faults = [Fault(Status(429, {"Retry-After": "1"}), server="cdn")]
    patient = dataclasses.replace(settings(hub), patience=Patience(TRIES, 0.01, longest_wait_s=1.0))
    started = time.monotonic()
    assert read(open_target(target, patient)) == OUTPUT.data
    assert 1.0 <= time.monotonic() - started < 3.0


@pytest.mark.parametrize(
    ("failures", "asked_s", "least", "most"),
    [
        pytest.param(1, None, 0.5, 0.625, id="first"),
        pytest.param(3, None, 2.0, 2.5, id="third"),
        pytest.param(9, None, 60, 60, id="never-longer-than-the-longest"),
        pytest.param(1, 7.0, 7.0, 8.75, id="as-asked"),
        pytest.param(4, 0.0, 0.0, 0.0, id="asked-not-to-wait"),
        pytest.param(1, 86_400.0, 60, 60, id="asked-for-a-day"),
    ],
)
def test_waits_double_with_some_jitter_up_to_a_longest_one(
    failures: int, asked_s: float | None, least: float, most: float
) -> None:
    waits = [Patience().wait_s(failures, asked_s) for _ in range(50)]
    assert least <= min(waits) <= max(waits) <= most


def test_many_faults_at_once_leave_no_mark_on_the_bytes(hub: LocalHub) -> None:
    dice = random.Random(7)
    actions = [ResetAfter(3), ResetAfter(0), ShortBody(5), IgnoreRange(), WrongContentRange(8), Status(500)]
    target = planned(hub)
    chosen = [Status(403)] * 3 + [dice.choice(actions) for _ in range(40)]
    hub.faults = [Fault(action, server="cdn", skip=dice.randrange(40)) for action in chosen]
    patient = dataclasses.replace(settings(hub, connections=8), patience=Patience(50, 0.001, 0.001))
    checkpoint = open_target(target, patient).checkpoint
    stream = checkpoint.stream(target.spec.file, row_blocks(target.spec, 1000), lambda count: None)
    assert b"".join(bytes(block) for block in stream) == OUTPUT.data
    assert checkpoint.traffic.retries == sum(fault.hits for fault in hub.faults) > 10


# ---- faults that stay

# A fault for ever, how the task then fails, and what it had asked for until then.
STAYING = {
    "500": (Fault(Status(500), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "503": (Fault(Status(503), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "429": (Fault(Status(429, {"Retry-After": "0"}), server="cdn"), "rate-limited", ["sign"] + [0] * TRIES),
    "reset": (Fault(ResetAfter(0), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "ignored-range": (Fault(IgnoreRange(), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "wrong-range": (Fault(WrongContentRange(1), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "no-body": (Fault(ShortBody(1 << 20), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "short-body": (
        Fault(ShortBody(10), server="cdn"),
        "network",
        ["sign", 0] + [31_990] * TRIES,  # the first brought bytes
    ),
    "stall": (Fault(Stall(5), server="cdn"), "network", ["sign"] + [0] * TRIES),
    "forbidden": (
        Fault(Status(403), server="cdn"),
        "unauthorised",
        ["sign", 0] * TRIES,
    ),
    "wrong-commit": (Fault(WrongCommit("f" * 40), server="hub"), "network", ["sign"] * TRIES),
    "hub-500": (Fault(Status(500), server="hub"), "network", ["sign"] * TRIES),
    "hub-429": (Fault(Status(429, {"Retry-After": "0"}), server="hub"), "rate-limited", ["sign"] * TRIES),
    "hub-stall": (Fault(Stall(5), server="hub"), "network", ["sign"] * TRIES),
    # asking again would not help
    "404": (Fault(Status(404), server="cdn"), "network", ["sign", 0]),
    "416": (Fault(Status(416), server="cdn"), "network", ["sign", 0]),
    "hub-400": (Fault(Status(400), server="hub"), "network", ["sign"]),
    "hub-401": (
        Fault(Status(401, {"X-Error-Message": "Invalid credentials"}), server="hub"),
        "unauthorised",
        ["sign"],
    ),
}


@pytest.mark.parametrize(("fault", "reason", "requests"), STAYING.values(), ids=STAYING)
def test_a_fault_that_stays_is_reported_after_as_many_tries_as_allowed(
    hub: LocalHub, fault: Fault, reason: str, requests: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.hub_http.TIMEOUT", httpx2.Timeout(5.0, read=0.4))
    target = planned(hub)
    hub.faults = [dataclasses.replace(fault, times=None)]
    opened = open_target(target, settings(hub))
    with pytest.raises(SurveyError) as caught:
        read(opened)
    assert caught.value.reason == reason
    assert asked(hub) == ["HEAD" if item == "sign" else span(target, int(item)) for item in requests]
    assert opened.checkpoint.traffic.requests == len(requests)
    assert opened.checkpoint.traffic.retries == hub.faults[0].hits - 1


def test_a_task_does_not_begin_to_fail_because_another_did(hub: LocalHub) -> None:
    target = planned(hub)
    hub.faults = [Fault(Status(500), server="cdn", times=TRIES)]
    with pytest.raises(Unreachable):
        read(open_target(target, settings(hub)))
    assert read(open_target(target, settings(hub))) == OUTPUT.data


@pytest.mark.parametrize(
    ("action", "reason", "tries"),
    [
        pytest.param(Status(500), "network", TRIES, id="500"),
        pytest.param(Status(429, {"Retry-After": "0"}), "rate-limited", TRIES, id="429"),
        pytest.param(ResetAfter(0), "network", TRIES, id="reset"),
        pytest.param(ResetAfter(20), "network", TRIES, id="reset-mid-body"),
        pytest.param(Status(400), "network", 1, id="400"),
    ],
)
def test_a_hub_that_cannot_be_asked_is_reported(
    hub: LocalHub, action: FaultAction, reason: str, tries: int
) -> None:
    hub.faults = [Fault(action, times=None)]
    for ask in (resolve, lambda repo, revision, asking: refs(repo, asking)):
        hub.clear_log()
        with pytest.raises(Unreachable) as caught:
            ask("org/model", None, settings(hub))
        assert (caught.value.reason, caught.value.where, len(hub.log)) == (reason, "org/model", tries)


@pytest.mark.parametrize("body", [b"<html>Please log in to the Wi-Fi</html>", b""], ids=["html", "empty"])
def test_an_answer_that_is_not_the_hubs_is_reported(hub: LocalHub, body: bytes) -> None:
    hub.faults = [Fault(Garbage(body), times=None)]
    with pytest.raises(Unreachable) as caught:
        resolve("org/model", None, settings(hub))
    assert caught.value.reason == "network"


def test_a_hub_that_is_not_there_is_reported() -> None:
    with LocalHub() as closed:
        asking = settings(closed)
    with pytest.raises(Unreachable) as caught:
        resolve("org/model", None, asking)
    assert caught.value.reason == "network"
    close_session()


def test_a_hub_that_comes_back_is_asked_again(hub: LocalHub) -> None:
    hub.faults = [Fault(Status(503), times=TRIES - 1)]
    assert resolve("org/model", None, settings(hub)).sha == hub.repos["org/model"].branches["main"]
    assert len(hub.log) == TRIES


def test_a_file_of_another_size_than_listed_is_refused(hub: LocalHub) -> None:
    target = planned(hub)
    larger = dataclasses.replace(target, file_bytes=target.file_bytes + 1)
    with pytest.raises(BrokenFile, match=r"expected .* as the Hub lists it") as caught:
        read(open_target(larger, settings(hub)))
    assert (caught.value.reason, caught.value.where) == ("bad-header", f"org/model/{SINGLE}")
    assert asked(hub) == ["HEAD"]


def test_a_small_file_that_is_huge_is_not_read_to_its_end(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    with pytest.raises(BrokenFile, match="is larger than 1,000 bytes, our cap") as caught:
        checkpoint.read_file(SINGLE, 1000)
    assert caught.value.where == f"org/model/{SINGLE}"


# ---- what is not offered


@pytest.mark.parametrize(
    ("repo", "revision", "token", "reason"),
    [
        pytest.param("org/gated", None, None, "gated", id="gated-without-a-token"),
        pytest.param("org/gated", None, STRANGER, "gated", id="gated-before-its-terms-are-accepted"),
        pytest.param("org/private", None, None, "not-found", id="private-without-a-token"),
        pytest.param("org/private", None, STRANGER, "not-found", id="private-to-a-stranger"),
        pytest.param("org/absent", None, None, "not-found", id="unknown"),
        pytest.param("org/absent", None, TOKEN, "not-found", id="unknown-with-a-token"),
        pytest.param("org/disabled", None, None, "disabled", id="disabled"),
        pytest.param("org/model", "nowhere", None, "revision-not-found", id="unknown-branch"),
        pytest.param("org/model", "f" * 40, None, "revision-not-found", id="unknown-commit"),
        pytest.param("org/model", None, "hf_wrong", "unauthorised", id="bad-token"),
        pytest.param("a/b/c", None, None, "not-found", id="no-id-at-all"),
        pytest.param("org/..", None, None, "not-found", id="dots"),
    ],
)
def test_what_is_not_offered_is_refused_at_once_with_its_reason(
    hub: LocalHub, repo: str, revision: str | None, token: str | None, reason: str
) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    hub.add_repo("org/private", MODEL, private=True)
    hub.add_repo("org/disabled", MODEL, disabled=True)
    with pytest.raises(NotOffered) as caught:
        survey.open_matrix(repo, revision=revision, endpoint=hub.endpoint, token=token)
    assert caught.value.reason == reason
    assert caught.value.where.startswith(repo)
    assert TOKEN not in str(caught.value)
    assert len(hub.log) <= 2  # a gated repository shows its files, and refuses the first


@pytest.mark.parametrize("repo", ["org/gated", "org/private"])
def test_a_token_that_may_read_it_opens_a_closed_model(hub: LocalHub, repo: str) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    hub.add_repo("org/private", MODEL, private=True)
    assert read(survey.open_matrix(repo, endpoint=hub.endpoint, token=TOKEN)) == OUTPUT.data


def test_a_model_gated_after_planning_is_refused(hub: LocalHub) -> None:
    target = planned(hub)
    hub.repos["org/model"].gated = "manual"
    with pytest.raises(NotOffered) as caught:
        read(open_target(target, settings(hub)))
    assert caught.value.reason == "gated"
    assert asked(hub) == ["HEAD"]


def test_all_branches_and_tags_are_listed(hub: LocalHub) -> None:
    sha = hub.add_repo("org/model", MODEL, branch="step100")
    hub.tag("org/model", "v1", sha)
    assert refs("org/model", settings(hub)) == {"main": sha, "step100": sha, "v1": sha}
    with pytest.raises(NotOffered) as caught:
        refs("org/absent", settings(hub))
    assert caught.value.reason == "not-found"


# ---- one commit


@pytest.mark.parametrize("revision", [None, "main", "v1", "sha"])
def test_a_branch_that_moves_after_planning_changes_nothing(hub: LocalHub, revision: str | None) -> None:
    sha = hub.repos["org/model"].branches["main"]
    hub.tag("org/model", "v1", sha)
    asking = settings(hub)
    checkpoint = resolve("org/model", sha if revision == "sha" else revision, asking)
    assert (checkpoint.sha, checkpoint.revision) == (sha, sha if revision == "sha" else revision or "main")
    later = hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}, {"model_type": "qwen3"}))
    target = located(checkpoint, 1)
    assert (target.identity.sha, target.identity.model_type) == (sha, "llama")
    assert read(Matrix(target, checkpoint)) == OUTPUT.data
    assert read(open_target(target, asking)) == OUTPUT.data
    now = survey.open_matrix("org/model", endpoint=hub.endpoint)
    assert (now.target.identity.sha, read(now)) == (later, OTHER.data)


def test_a_branch_that_moves_during_a_stream_changes_nothing(hub: LocalHub) -> None:
    target = planned(hub)
    checkpoint = open_target(target, settings(hub, connections=2)).checkpoint
    stream = checkpoint.stream(target.spec.file, row_blocks(target.spec, 1000), lambda count: None)
    found = [bytes(next(stream))]
    hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}))
    hub.expire_signatures()
    found.extend(bytes(block) for block in stream)
    assert b"".join(found) == OUTPUT.data


def test_a_config_of_another_commit_is_never_used(hub: LocalHub) -> None:
    hub.faults = [Fault(WrongCommit("f" * 40), path_contains="config.json", times=None)]
    with pytest.raises(Unreachable, match=r"config\.json: came from commit ffff") as caught:
        located(resolve("org/model", None, settings(hub)), 1)
    assert caught.value.reason == "network"


def test_another_commit_is_read_by_its_own_name(hub: LocalHub) -> None:
    hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}), branch="step2")
    assert read(survey.open_matrix("org/model", endpoint=hub.endpoint)) == OUTPUT.data
    assert read(survey.open_matrix("org/model", revision="step2", endpoint=hub.endpoint)) == OTHER.data


def test_two_models_are_read_at_once_without_disturbing_each_other(hub: LocalHub) -> None:
    hub.add_repo("org/other", single({HEAD: OTHER}))
    hub.faults = [Fault(ResetAfter(100), server="cdn", skip=number * 3) for number in range(8)]
    found: dict[str, bytes] = {}

    def fetch(repo: str) -> None:
        target = located(checkpoint := resolve(repo, None, settings(hub, connections=4)), 4)
        ranges = row_blocks(target.spec, 1000)
        found[repo] = b"".join(map(bytes, checkpoint.stream(target.spec.file, ranges, lambda count: None)))

    readers = [threading.Thread(target=fetch, args=(repo,)) for repo in ("org/model", "org/other")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == {"org/model": OUTPUT.data, "org/other": OTHER.data}


# ---- as many connections as the link is worth


def test_a_stream_begins_with_few_connections_and_takes_more_where_each_is_capped(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.width.ROUND_S", 0.1)
    monkeypatch.setattr("survey.width.SETTLE_S", 0.02)
    large = stored(60_000, 16)
    hub.add_repo("org/long", single({HEAD: large}))
    hub.shape = Shape(connection_bytes_s=1_000_000)
    opened = survey.open_matrix("org/long", endpoint=hub.endpoint)
    target = opened.target
    busy, most, lock = 0, [0], threading.Lock()
    real = HubCheckpoint._receive

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

    monkeypatch.setattr(HubCheckpoint, "_receive", counted)
    stream = opened.checkpoint.stream(target.spec.file, row_blocks(target.spec, 40_000), lambda count: None)
    first = bytes(next(stream))
    assert most[-1] == 4
    assert first + b"".join(bytes(block) for block in stream) == large.data
    assert 4 < most[-1] <= 16
