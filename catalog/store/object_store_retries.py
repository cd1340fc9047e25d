"""The one retry loop of requests to an object store: a busy server, a broken connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from catalog.store.object_store_errors import is_precondition_failed, is_transient, unreadable

_T = TypeVar("_T")
WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before the second try, the third, …


def with_retries(request: Callable[[], _T]) -> _T:
    """Make a request, again if the server is busy or the connection broke.

    Raises FileExistsError if a precondition failed, else Unreadable.
    """
    import random  # here: a local catalog, which makes no request, does not wait for it

    for wait_s in (*WAITS_S, None):
        try:
            return request()
        except FileExistsError:
            raise
        except Exception as error:  # each backend raises the errors of its own library
            if is_precondition_failed(error):
                raise FileExistsError(str(error)) from error
            if wait_s is None or not is_transient(error):
                raise unreadable(error) from error
            time.sleep(wait_s * random.uniform(0.5, 1.5))  # so that nodes do not retry in step
    raise AssertionError("the last try returns or raises")
