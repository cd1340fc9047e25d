"""Results are committed and recorded: few as they come, many several at a time."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from jobs.run.committing import AT_ONCE, MANY, Committer
from jobs.tasks.outcome import Failed, Outcome
from survey.records.target import Target


def outcome(name: str) -> Outcome:
    return cast(Outcome, name)  # what it is concerns the functions that are passed in alone


def test_few_are_recorded_before_the_next_one_is_taken() -> None:
    recorded: list[Any] = []
    with Committer(lambda item: item, lambda item, tries: recorded.append((item, tries)), MANY - 1) as taker:
        taker.take(outcome("a"), 1)
        assert recorded == [("a", 1)]


def test_many_wait_for_the_disk_together_and_all_are_recorded_when_it_ends() -> None:
    together = threading.Barrier(AT_ONCE, timeout=20)  # of commits that run at the same time
    recorded: list[Any] = []

    def commit(item: Outcome) -> Outcome:
        together.wait()
        return item

    names = [f"m{number}" for number in range(2 * AT_ONCE)]
    with Committer(commit, lambda item, tries: recorded.append((item, tries)), MANY) as committer:
        for name in names:
            committer.take(outcome(name), 1)
    assert sorted(recorded) == [(name, 1) for name in names]


def test_a_failure_is_recorded_at_once_beside_commits_that_wait() -> None:
    may_end, recorded = threading.Event(), list[Any]()

    def commit(item: Outcome) -> Outcome:
        assert isinstance(item, Failed) or may_end.wait(20)
        return item

    failed = Failed(cast(Target, None), "network", "m: gone")
    with Committer(commit, lambda item, tries: recorded.append(item), MANY) as committer:
        committer.take(outcome("slow"), 1)
        committer.take(failed, 1)
        assert recorded == [failed]
        may_end.set()
    assert recorded == [failed, "slow"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, LookupError], ids=["interrupted", "a defect"])
def test_what_was_taken_is_recorded_however_it_ends(stop: type[BaseException]) -> None:
    recorded: list[Any] = []

    def commit(item: Outcome) -> Outcome:
        if item == outcome("defect"):
            raise LookupError("our defect")
        return item

    def stopped() -> None:
        with Committer(commit, lambda item, tries: recorded.append(item), MANY) as committer:
            committer.take(outcome("good"), 1)
            if stop is KeyboardInterrupt:
                raise stop
            committer.take(outcome("defect"), 1)

    with pytest.raises(stop):
        stopped()
    assert recorded == ["good"]
