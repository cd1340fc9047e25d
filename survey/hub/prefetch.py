"""Ranges of files as blocks, in order, fetched several at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from survey.hub.concurrency import AdaptiveLimit, FixedLimit
from survey.records.blocks import Block

LIMIT_POLL_S = 0.05  # how often a consumer who waits looks whether more may be fetched at once


Range = TypeVar("Range")  # whatever says which bytes
Fetch = Callable[[Range, threading.Event], Block]


def window_blocks(connections: int) -> int:
    """How many blocks may be held at once: one a connection, one measured, one handed over."""
    return connections + 2


def in_order(
    ranges: Sequence[Range], fetch: Fetch[Range], width: AdaptiveLimit | FixedLimit
) -> Iterator[Block]:
    """Yield `fetch(range, stop)` for each range in order, `width.now` at a time.

    At most `window_blocks(width.most)` blocks exist at once. When the consumer stops early or a
    fetch raises, the event `stop` is set and the other fetches are told to end.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(width.most, thread_name_prefix="fetch")
    waiting: deque[Future[Block]] = deque()
    todo = iter(ranges)

    def fill_up() -> None:
        while len(waiting) < width.now and (following := next(todo, None)) is not None:
            waiting.append(pool.submit(fetch, following, stop))

    try:
        fill_up()
        while waiting:
            if not wait([waiting[0]], LIMIT_POLL_S).done:
                fill_up()  # the width may have grown meanwhile
                continue
            block = waiting.popleft().result()
            fill_up()
            yield block
    finally:
        stop.set()
        # Not waited for: a read that stalls would hold up an interrupt for its whole timeout.
        pool.shutdown(wait=False, cancel_futures=True)
