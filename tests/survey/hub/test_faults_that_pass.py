"""The Hub's client: a fault that passes costs requests, and no byte of the matrix."""

import dataclasses
import random
import time
from typing import Any

import httpx2
import pytest
from support.hub_model import OUTPUT, TRIES, planned, read, request_log, settings, span

from jobs.demo.hub.local_hub import (
    Fault,
    FaultAction,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    ShortBody,
    Stall,
    Status,
    WrongCommit,
    WrongContentRange,
)
from survey.onepass.geometry import row_blocks
from survey.opening import open_target
from survey.records.settings import RetryPolicy
from survey.sharding.pieces import stream_rows


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
    monkeypatch.setattr("survey.hub.request_policy.TIMEOUT", httpx2.Timeout(5.0, read=0.4))
    target = planned(hub)
    hub.faults = [dataclasses.replace(fault, hits=0) for fault in faults]
    opened = open_target(target, settings(hub))
    counts: list[int] = []
    assert b"".join(bytes(block) for block in opened.blocks(counts.append)) == OUTPUT.data
    assert sum(counts) == len(OUTPUT.data)
    assert request_log(hub) == ["HEAD" if item == "sign" else span(target, int(item)) for item in requests]
    assert opened.checkpoint.traffic.requests == len(requests)
    assert opened.checkpoint.traffic.retries == sum(fault.hits for fault in hub.faults)


def test_an_expired_signature_is_renewed_once_for_all_connections(hub: LocalHub) -> None:
    target = planned(hub)
    opened = open_target(target, settings(hub, connections=8))
    ranges = row_blocks(target.spec, 1000)
    stream = stream_rows(opened.checkpoint, target.spec, ranges, lambda count: None)
    blocks = [bytes(next(stream))]
    hub.expire_signatures()
    blocks.extend(bytes(block) for block in stream)
    assert b"".join(blocks) == OUTPUT.data
    assert [entry.method for entry in hub.requests("hub")] == ["HEAD", "HEAD"]


def test_a_signature_may_expire_any_number_of_times_in_a_long_stream(hub: LocalHub) -> None:
    target = planned(hub)
    opened = open_target(target, settings(hub, connections=2))
    stream = stream_rows(opened.checkpoint, target.spec, row_blocks(target.spec, 1000), lambda count: None)
    blocks = []
    for block in stream:
        blocks.append(bytes(block))
        if len(blocks) % 3 == 0:
            hub.expire_signatures()
    assert b"".join(blocks) == OUTPUT.data
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
    patient = dataclasses.replace(settings(hub), retry_policy=RetryPolicy(TRIES, 0.01, longest_wait_s=1.0))
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
    waits = [RetryPolicy().wait_s(failures, asked_s) for _ in range(50)]
    assert least <= min(waits) <= max(waits) <= most


def test_many_faults_at_once_leave_no_mark_on_the_bytes(hub: LocalHub) -> None:
    dice = random.Random(7)
    actions = [ResetAfter(3), ResetAfter(0), ShortBody(5), IgnoreRange(), WrongContentRange(8), Status(500)]
    target = planned(hub)
    chosen = [Status(403)] * 3 + [dice.choice(actions) for _ in range(40)]
    hub.faults = [Fault(action, server="cdn", skip=dice.randrange(40)) for action in chosen]
    patient = dataclasses.replace(settings(hub, connections=8), retry_policy=RetryPolicy(50, 0.001, 0.001))
    checkpoint = open_target(target, patient).checkpoint
    stream = stream_rows(checkpoint, target.spec, row_blocks(target.spec, 1000), lambda count: None)
    assert b"".join(bytes(block) for block in stream) == OUTPUT.data
    assert checkpoint.traffic.retries == sum(fault.hits for fault in hub.faults) > 10
