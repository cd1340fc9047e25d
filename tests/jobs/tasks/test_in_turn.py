"""Targets that one process measures one after another, and what it loads before the first of them."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.deliveries import delivered
from support.little_models import little

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from jobs.tasks.measure_one import Try, measure_in_turn
from jobs.tasks.outcome import Delivered, Failed
from survey.hub.throttle import LocalThrottle
from survey.opening import open_checkpoint
from survey.records.settings import Settings
from survey.records.target import ModelRef, Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


def planned(model: ModelRef, settings: Settings) -> Target:
    return locate(lay_out(open_checkpoint(model, settings)), "output")


def test_the_next_models_bytes_are_fetched_before_one_is_measured(hub: LocalHub, tmp_path: Path) -> None:
    settings = Settings(endpoint=hub.endpoint, device="cpu")
    targets = []
    for name in ("one", "two"):
        write(little(name), tmp_path / name)
        hub.add_repo(f"org/{name}", tmp_path / name)
        targets.append(planned(ModelRef(f"org/{name}"), settings))
    hub.clear_log()

    def arrives(target: Target) -> None:
        if target is targets[0]:
            end = time.monotonic() + 20
            while not any("two" in request.path for request in hub.requests("cdn")):
                assert time.monotonic() < end
                time.sleep(0.01)

    tries = (Try(target, settings, lambda count: None) for target in targets)
    outcomes = list(measure_in_turn(tries, LocalThrottle(), on_turn=arrives))
    assert [outcome.target.identity.repo for outcome in outcomes] == ["org/one", "org/two"]
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)


def test_one_that_cannot_be_opened_fails_in_its_turn_and_the_next_is_measured(
    checkpoint: Callable[..., Path],
) -> None:
    settings = Settings(device="cpu")
    folders = [checkpoint(name) for name in ("one", "two", "three")]
    targets = [planned(ModelRef(str(folder), folder=folder), settings) for folder in folders]
    (folders[1] / "config.json").write_text("{}")  # it changed after it was planned
    tries = (Try(target, settings, lambda count: None) for target in targets)
    first, second, third = measure_in_turn(tries, LocalThrottle())
    assert isinstance(first, Delivered)
    assert isinstance(second, Failed)
    assert (second.reason, "changed after it was planned" in second.message) == ("bad-header", True)
    assert isinstance(third, Delivered)


@pytest.mark.parametrize("tokens", [True, False])
def test_a_delivery_arrives_as_it_was_sent(tokens: bool, checkpoint: Callable[..., Path]) -> None:
    sent = delivered(checkpoint(), Settings(device="cpu", tokens=tokens)).tables
    received = pickle.loads(pickle.dumps(sent, protocol=5))  # noqa: S301 - our own
    assert sent is not None
    assert received.row.equals(sent.row, check_metadata=True)
    assert received.row.schema.equals(sent.row.schema, check_metadata=True)
    assert (received.tokens is None) == (sent.tokens is None) == (not tokens)
    assert sent.tokens is None or received.tokens.equals(sent.tokens, check_metadata=True)


# Numbers of compiled variants of each loop, before and after a matrix is measured.
COUNTED = """
import importlib, pkgutil, sys
from pathlib import Path
import survey
from jobs.tasks.warm_up import wait_until_warm
from survey.onepass import kernels

def variants():
    modules = [importlib.import_module(f"{kernels.__name__}.{item.name}") for item in pkgutil.iter_modules(kernels.__path__)]
    loops = {f"{module.__name__}.{name}": loop for module in modules for name, loop in vars(module).items()}
    return {name: len(loop.signatures) for name, loop in loops.items() if hasattr(loop, "signatures")}

assert wait_until_warm("BF16", "cpu") > 0
assert wait_until_warm("BF16", "cpu") < 0.1
before = variants()
survey.measure(survey.open_matrix(Path(sys.argv[1])), device="cpu", threads=1)
after = variants()
print(sum(before.values()) > 5, {name for name in after if after[name] != before[name]})
"""


def test_what_is_loaded_beforehand_is_all_that_measuring_needs(checkpoint: Callable[..., Path]) -> None:
    command = [sys.executable, "-c", COUNTED, str(checkpoint())]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ran.stdout == "True set()\n", ran.stderr
