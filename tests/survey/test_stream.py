"""Blocks of whole rows, in order, a bounded number of them at a time."""

import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from survey.dtypes import FLOATS
from survey.records import ByteRange, TensorSpec
from survey.stream import BLOCK_BYTES, in_order, row_blocks, window_blocks
from survey.width import Fixed


def spec(rows: int, dims: int, dtype: str = "BF16", start: int = 0) -> TensorSpec:
    stop = start + rows * dims * FLOATS[dtype].item_bytes
    return TensorSpec("w", "w.safetensors", dtype, (rows, dims), ByteRange(start, stop))


# ---- cutting


@pytest.mark.parametrize(
    ("tensor", "block_bytes", "cuts"),
    [
        pytest.param(spec(6, 4), 16, [0, 16, 32, 48], id="two-rows-a-block"),
        pytest.param(spec(6, 4), 23, [0, 16, 32, 48], id="no-half-row"),
        pytest.param(spec(6, 4), 24, [0, 24, 48], id="three-rows-a-block"),
        pytest.param(spec(7, 4), 24, [0, 24, 48, 56], id="a-shorter-last-block"),
        pytest.param(spec(3, 4), 7, [0, 8, 16, 24], id="a-row-larger-than-a-block"),
        pytest.param(spec(3, 4), 1000, [0, 24], id="all-in-one"),
        pytest.param(spec(1, 1), 1000, [0, 2], id="one-number"),
        pytest.param(spec(6, 4, start=1003), 16, [1003, 1019, 1035, 1051], id="later-in-the-file"),
        pytest.param(spec(2, 3, "F64"), 24, [0, 24, 48], id="doubles"),
        pytest.param(
            spec(2**20, 2**11, start=2**33),
            2**31,
            [2**33, 2**33 + 2**31, 2**33 + 2**32],
            id="past-32-bits",
        ),
    ],
)
def test_blocks_are_consecutive_whole_rows(tensor: TensorSpec, block_bytes: int, cuts: list[int]) -> None:
    assert row_blocks(tensor, block_bytes) == [ByteRange(*pair) for pair in pairwise(cuts)]


@pytest.mark.parametrize("rows", [1, 818, 819, 820, 151_936])
def test_blocks_of_the_usual_size_cover_the_tensor(rows: int) -> None:
    tensor = spec(rows, 2560, start=77)
    blocks = row_blocks(tensor)
    assert (blocks[0].start, blocks[-1].stop) == (77, tensor.bytes.stop)
    assert all(left.stop == right.start for left, right in pairwise(blocks))
    assert all(0 < len(block) <= BLOCK_BYTES and len(block) % 5120 == 0 for block in blocks)


# ---- fetching


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within some seconds."""
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    return true()


def ranges(count: int) -> list[ByteRange]:
    return [ByteRange(number, number + 1) for number in range(count)]


def named(wanted: ByteRange) -> bytearray:
    return bytearray(str(wanted.start).encode())


@pytest.mark.parametrize("connections", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_blocks_come_in_order_whatever_is_fetched_first(connections: int, count: int) -> None:
    delays = [random.Random(count).uniform(0, 0.004) for _ in range(count)]

    def fetch(wanted: ByteRange, stop: threading.Event) -> bytearray:
        time.sleep(delays[wanted.start])
        return named(wanted)

    found = [bytes(block) for block in in_order(ranges(count), fetch, Fixed(connections))]
    assert found == [str(number).encode() for number in range(count)]


def test_as_many_are_fetched_at_once_as_there_are_connections() -> None:
    together = threading.Barrier(4, timeout=5)  # passes only when four fetches stand at it

    def fetch(wanted: ByteRange, stop: threading.Event) -> bytearray:
        together.wait()
        return named(wanted)

    assert len(list(in_order(ranges(16), fetch, Fixed(4)))) == 16


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

    def fetch(wanted: ByteRange, stop: threading.Event) -> Block:
        nonlocal most
        block = Block(8)
        with lock:
            alive.add(block)
            most = max(most, sum(1 for _ in alive))
        time.sleep(0.002)
        return block

    for block in in_order(ranges(40), fetch, Fixed(connections)):
        time.sleep(0.003)  # a slow consumer, who lets go of a block before asking for the next
        del block
    assert most <= window_blocks(connections)


def test_nothing_is_fetched_ahead_of_a_consumer_who_waits() -> None:
    started: list[int] = []

    def fetch(wanted: ByteRange, stop: threading.Event) -> bytearray:
        started.append(wanted.start)
        return named(wanted)

    blocks = in_order(ranges(40), fetch, Fixed(3))
    assert started == []
    for held in (4, 5, 6):
        next(blocks)
        eventually(lambda held=held: len(started) >= held)
        time.sleep(0.02)  # long enough for one more to begin, were it allowed to
        assert sorted(started) == list(range(held))
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
    """The first block at once, and fetches that last until they are told to stop."""

    def fetch(wanted: ByteRange, stop: threading.Event) -> bytearray:
        if wanted.start > 0:
            assert stop.wait(10), "nobody told this fetch to stop"
            ended.append(wanted.start)
        return named(wanted)

    return fetch


@pytest.mark.usefixtures("no_thread_stays")
def test_the_other_fetches_stop_when_the_consumer_does() -> None:
    ended: list[int] = []
    blocks = in_order(ranges(40), first_then_wait(ended), Fixed(4))
    assert next(blocks) == b"0"
    blocks.close()
    assert eventually(lambda: len(ended) >= 3)
    assert set(ended) <= {1, 2, 3, 4}


@pytest.mark.usefixtures("no_thread_stays")
def test_the_other_fetches_stop_when_the_consumer_fails() -> None:
    ended: list[int] = []

    def consume() -> None:
        for _ in in_order(ranges(40), first_then_wait(ended), Fixed(4)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert eventually(lambda: len(ended) >= 3)
    assert set(ended) <= {1, 2, 3, 4}


@pytest.mark.usefixtures("no_thread_stays")
@pytest.mark.parametrize("failing", [0, 1, 3, 9, 39])
def test_the_other_fetches_stop_when_one_fails(failing: int) -> None:
    started: list[int] = []

    def fetch(wanted: ByteRange, stop: threading.Event) -> bytearray:
        started.append(wanted.start)
        if wanted.start == failing:
            raise OSError(f"block {failing}")
        if wanted.start > failing:
            assert stop.wait(10), "nobody told this fetch to stop"
        return named(wanted)

    found: list[bytes] = []
    with pytest.raises(OSError, match=f"block {failing}"):
        found.extend(bytes(block) for block in in_order(ranges(40), fetch, Fixed(4)))
    assert found == [str(number).encode() for number in range(failing)]
    time.sleep(0.02)  # long enough for one more to begin, were it allowed to
    assert max(started) <= failing + 4


@pytest.mark.usefixtures("no_thread_stays")
def test_a_stream_that_nobody_reads_fetches_nothing() -> None:
    in_order(ranges(3), lambda wanted, stop: pytest.fail("fetched"), Fixed(4))
