"""Blocks of whole rows, in order, a bounded number of them at a time."""

import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from survey.hub.concurrency import FixedLimit
from survey.hub.prefetch import in_order, window_blocks
from survey.records.tensors import ByteRange

# ---- fetching


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within some seconds."""
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    return true()


def ranges(count: int) -> list[ByteRange]:
    return [ByteRange(number, number + 1) for number in range(count)]


def named(byte_range: ByteRange) -> bytearray:
    return bytearray(str(byte_range.start).encode())


@pytest.mark.parametrize("connections", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_blocks_come_in_order_whatever_is_fetched_first(connections: int, count: int) -> None:
    delays = [random.Random(count).uniform(0, 0.004) for _ in range(count)]

    def fetch(byte_range: ByteRange, stop: threading.Event) -> bytearray:
        time.sleep(delays[byte_range.start])
        return named(byte_range)

    blocks = [bytes(block) for block in in_order(ranges(count), fetch, FixedLimit(connections))]
    assert blocks == [str(number).encode() for number in range(count)]


def test_as_many_are_fetched_at_once_as_there_are_connections() -> None:
    together = threading.Barrier(4, timeout=5)  # passes only when four fetches stand at it

    def fetch(byte_range: ByteRange, stop: threading.Event) -> bytearray:
        together.wait()
        return named(byte_range)

    assert len(list(in_order(ranges(16), fetch, FixedLimit(4)))) == 16


class Block(bytearray):
    """A block that can be watched: known by its place in memory, not by its bytes."""

    __slots__ = ("__weakref__",)
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__  # type: ignore[assignment]


@pytest.mark.parametrize("connections", [1, 2, 4, 8])
def test_no_more_blocks_exist_at_once_than_the_plan_counts(connections: int) -> None:
    alive: weakref.WeakSet[Block] = weakref.WeakSet()
    lock = threading.Lock()
    most = 0

    def fetch(byte_range: ByteRange, stop: threading.Event) -> Block:
        nonlocal most
        block = Block(8)
        with lock:
            alive.add(block)
            most = max(most, sum(1 for _ in alive))
        time.sleep(0.002)
        return block

    for block in in_order(ranges(40), fetch, FixedLimit(connections)):
        time.sleep(0.003)  # a slow consumer, who lets go of a block before asking for the next
        del block
    assert most <= window_blocks(connections)


def test_nothing_is_fetched_ahead_of_a_consumer_who_waits() -> None:
    started: list[int] = []

    def fetch(byte_range: ByteRange, stop: threading.Event) -> bytearray:
        started.append(byte_range.start)
        return named(byte_range)

    blocks = in_order(ranges(40), fetch, FixedLimit(3))
    assert started == []
    for count in (4, 5, 6):
        next(blocks)
        eventually(lambda count=count: len(started) >= count)
        time.sleep(0.02)  # long enough for one more to begin, were it allowed to
        assert sorted(started) == list(range(count))
    blocks.close()
    assert len(started) == 6


# ---- stopping


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert eventually(lambda: set(threading.enumerate()) <= before)


Fetch = Callable[[ByteRange, threading.Event], bytearray]


def first_then_wait(ended: list[int]) -> Fetch:
    """The first block at once, and fetches that last until the event stops them."""

    def fetch(byte_range: ByteRange, stop: threading.Event) -> bytearray:
        if byte_range.start > 0:
            assert stop.wait(10), "this fetch was not stopped"
            ended.append(byte_range.start)
        return named(byte_range)

    return fetch


@pytest.mark.usefixtures("no_thread_stays")
def test_the_other_fetches_stop_when_the_consumer_does() -> None:
    ended: list[int] = []
    blocks = in_order(ranges(40), first_then_wait(ended), FixedLimit(4))
    assert next(blocks) == b"0"
    blocks.close()
    assert eventually(lambda: len(ended) >= 3)
    assert set(ended) <= {1, 2, 3, 4}


@pytest.mark.usefixtures("no_thread_stays")
def test_the_other_fetches_stop_when_the_consumer_fails() -> None:
    ended: list[int] = []

    def consume() -> None:
        for _ in in_order(ranges(40), first_then_wait(ended), FixedLimit(4)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert eventually(lambda: len(ended) >= 3)
    assert set(ended) <= {1, 2, 3, 4}


@pytest.mark.usefixtures("no_thread_stays")
@pytest.mark.parametrize("failing", [0, 1, 3, 9, 39])
def test_the_other_fetches_stop_when_one_fails(failing: int) -> None:
    started: list[int] = []

    def fetch(byte_range: ByteRange, stop: threading.Event) -> bytearray:
        started.append(byte_range.start)
        if byte_range.start == failing:
            raise OSError(f"block {failing}")
        if byte_range.start > failing:
            assert stop.wait(10), "this fetch was not stopped"
        return named(byte_range)

    blocks: list[bytes] = []
    with pytest.raises(OSError, match=f"block {failing}"):
        blocks.extend(bytes(block) for block in in_order(ranges(40), fetch, FixedLimit(4)))
    assert blocks == [str(number).encode() for number in range(failing)]
    time.sleep(0.02)  # long enough for one more to begin, were it allowed to
    assert max(started) <= failing + 4


@pytest.mark.usefixtures("no_thread_stays")
def test_a_stream_that_nobody_reads_fetches_nothing() -> None:
    in_order(ranges(3), lambda byte_range, stop: pytest.fail("fetched"), FixedLimit(4))
