"""The addresses of a host name, within a deadline.

`getaddrinfo` takes no deadline: behind a name server that is silent it waits as long as /etc/resolv.conf
says, half a minute or for hours. It cannot be stopped, so it runs in a thread that is left alone after the
deadline.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import Any


class NameTimeout(TimeoutError):
    """A name was not resolved in time."""


Address = tuple[Any, ...]  # as `socket.getnameinfo` takes it; Any: of two kinds, by the family

# One look-up of a name at a time, shared by all who need it: retries must not pile up threads.
_lock = threading.Lock()
_pending: dict[tuple[str, int], Future[list[Address]]] = {}


def addresses(host: str, port: int, limit_s: float) -> list[Address]:
    """The addresses of a host. Raises NameTimeout after `limit_s`, and what `getaddrinfo` raises."""
    key = (host, port)
    with _lock:
        answer = _pending.get(key)
        is_ours = answer is None
        if answer is None:
            answer = _pending[key] = Future()
    if is_ours:
        _start(key, answer)
    try:
        return answer.result(limit_s)
    except TimeoutError:
        if answer.done():
            raise  # of the look-up itself
        raise NameTimeout(f"was not resolved within {limit_s:.0f} s") from None


def _start(key: tuple[str, int], answer: Future[list[Address]]) -> None:
    # A daemon: the interpreter ends without it.
    thread = threading.Thread(target=_resolve, args=(key, answer), daemon=True, name="resolve")
    try:
        thread.start()
    except RuntimeError as error:  # no further thread
        _forget(key)
        answer.set_exception(error)


def _resolve(key: tuple[str, int], answer: Future[list[Address]]) -> None:
    try:
        result = [address for *_, address in socket.getaddrinfo(*key, type=socket.SOCK_STREAM)]
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        _forget(key)
        answer.set_exception(error)
    else:
        _forget(key)
        answer.set_result(result)


def _forget(key: tuple[str, int]) -> None:
    """The next caller asks anew: addresses change."""
    with _lock:
        _pending.pop(key, None)
