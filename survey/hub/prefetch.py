"""Blocks of byte ranges, in order, several fetched ahead at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from survey.hub.concurrency import AdaptiveLimit, FixedLimit
from survey.records.blocks import Block

LIMIT_POLL_S = 0.05  # how often a waiting consumer re-reads the concurrency limit


Range = TypeVar("Range")  # any type that names a range of bytes
Fetch = Callable[[Range, threading.Event], Block]


def window_blocks(connections: int) -> int:
    """How many blocks may exist at once: one per connection, one being measured, one being handed over."""
    return connections + 2


def in_order(
    ranges: Sequence[Range], fetch: Fetch[Range], limit: AdaptiveLimit | FixedLimit
) -> Iterator[Block]:
    """Yield `fetch(range, stop)` for each range in order, `limit.current` at a time.

    At most `window_blocks(limit.maximum)` blocks exist at once. If the consumer stops early or a fetch
    raises, the event `stop` is set, which ends the other fetches.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(limit.maximum, thread_name_prefix="fetch")
    pending: deque[Future[Block]] = deque()
    remaining = iter(ranges)

    def fill_up() -> None:
        while len(pending) < limit.current and (byte_range := next(remaining, None)) is not None:
            pending.append(pool.submit(fetch, byte_range, stop))

    try:
        fill_up()
        while pending:
            if not wait([pending[0]], LIMIT_POLL_S).done:
                fill_up()  # the limit may have grown meanwhile
                continue
            block = pending.popleft().result()
            fill_up()
            yield block
    finally:
        stop.set()
        # Not waited for: a stalled read would delay an interrupt by its whole timeout.
        pool.shutdown(wait=False, cancel_futures=True)
