"""A process that ends as soon as the one that started it does, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """From now on Linux kills this process once the thread that started it has ended.

    parent: the process id of the one that started it; if it has ended already, so does this one. Other
    systems have no such signal: there an alarm must do.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
