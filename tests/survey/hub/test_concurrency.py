"""The number of connections follows the link; the clock and the bytes are simulated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from survey.hub.concurrency import FIRST, ROUND_S, WARM_UP_S, AdaptiveLimit

STEP_S = 0.01
MB = 1_000_000


def capped_each(connections: int) -> float:
    return connections * 12.5 * MB


def capped_each_less(connections: int) -> float:
    return connections * 50 * MB


def capped_in_all(connections: int) -> float:
    return 312.5 * MB


def slow(connections: int) -> float:
    return 5 * MB


def capped_each_and_in_all(connections: int) -> float:
    return min(connections * 50 * MB, 400 * MB)


def slow_each_and_in_all(connections: int) -> float:
    return min(connections * 12.5 * MB, 80 * MB)


class Link:
    """A simulated link, whose rate depends on the number of connections."""

    def __init__(self, bytes_s: Callable[[int], float], maximum: int = 16) -> None:
        self.bytes_s, self.now, self.tried = bytes_s, 0.0, [0]
        self.limit = AdaptiveLimit(maximum, lambda: self.now)
        self.tried = [self.limit.current]

    def run(self, seconds: float) -> Link:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.limit.add(round(self.bytes_s(self.limit.current) * STEP_S))
            if self.limit.current != self.tried[-1]:
                self.tried.append(self.limit.current)
        return self


@pytest.mark.parametrize(
    ("bytes_s", "tried"),
    [
        pytest.param(capped_each_less, [4, 8, 16], id="each-is-capped"),
        pytest.param(capped_each, [4, 16], id="each-is-capped-and-slow"),
        pytest.param(capped_in_all, [4, 8, 4], id="few-fill-the-link"),
        pytest.param(slow, [4, 16, 4], id="few-fill-a-slow-link"),
        pytest.param(capped_each_and_in_all, [4, 8, 16, 8], id="some-fill-the-link"),
        pytest.param(slow_each_and_in_all, [4, 16], id="some-fill-a-slow-link"),
    ],
)
def test_as_many_connections_are_used_as_bring_more_bytes(
    bytes_s: Callable[[int], float], tried: list[int]
) -> None:
    assert Link(bytes_s).run(2.0).tried == tried


@pytest.mark.parametrize(("maximum", "tried"), [(1, [1]), (3, [3]), (4, [4]), (5, [4, 5]), (12, [4, 8, 12])])
def test_never_more_than_allowed(maximum: int, tried: list[int]) -> None:
    assert Link(capped_each_less, maximum).run(3.0).tried == tried


def test_a_short_stream_stays_with_few() -> None:
    assert Link(capped_each).run(ROUND_S + WARM_UP_S - 2 * STEP_S).tried == [FIRST]


def test_a_link_that_becomes_better_is_noticed() -> None:
    link = Link(capped_in_all).run(2.0)
    link.bytes_s = capped_each_less
    assert link.run(5.0).tried == [4, 8, 4, 8, 16]


def test_what_does_not_pay_is_tried_less_and_less() -> None:
    changes = [len(Link(capped_in_all).run(seconds).tried) for seconds in (10, 20, 40, 80)]
    assert changes[-1] <= 13  # each of at most six tries is a change and the way back
    assert changes == sorted(changes)
