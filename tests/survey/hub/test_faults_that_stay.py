"""The Hub's client: a fault that stays is reported after the allowed number of tries."""

import dataclasses

import httpx2
import pytest
from huggingface_hub.utils import close_session
from support.checkpoints import SINGLE
from support.hub_model import OUTPUT, TRIES, planned, read, request_log, settings, span

from jobs.demo.hub.local_hub import (
    Fault,
    FaultAction,
    Garbage,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    ShortBody,
    Stall,
    Status,
    WrongCommit,
    WrongContentRange,
)
from survey.errors import BrokenFile, SurveyError, Unreachable
from survey.hub.repositories import refs, resolve
from survey.opening import open_target

# A fault for ever, how the task then fails, and its requests until then.
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
    monkeypatch.setattr("survey.hub.request_policy.TIMEOUT", httpx2.Timeout(5.0, read=0.4))
    target = planned(hub)
    hub.faults = [dataclasses.replace(fault, times=None)]
    opened = open_target(target, settings(hub))
    with pytest.raises(SurveyError) as caught:
        read(opened)
    assert caught.value.reason == reason
    assert request_log(hub) == ["HEAD" if item == "sign" else span(target, int(item)) for item in requests]
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
    ((file, size),) = target.files
    larger = dataclasses.replace(target, files=((file, size + 1),))
    with pytest.raises(BrokenFile, match=r"expected .* as the Hub lists it") as caught:
        read(open_target(larger, settings(hub)))
    assert (caught.value.reason, caught.value.where) == ("bad-header", f"org/model/{SINGLE}")
    assert request_log(hub) == ["HEAD"]


def test_a_small_file_that_is_huge_is_not_read_to_its_end(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    with pytest.raises(BrokenFile, match="is larger than 1,000 bytes, our cap") as caught:
        checkpoint.read_file(SINGLE, 1000)
    assert caught.value.where == f"org/model/{SINGLE}"
