"""The headers of the Hub's quotas, counted over all callers; the local Hub never enforces them."""

import time
from threading import Lock

_WINDOW_S = 300
_QUOTAS = {"api": (500, 1000), "resolvers": (3000, 5000)}  # requests of anonymous and of known callers


class Quota:
    """Counts requests by the Hub's two kinds: to the API, and for files (`resolvers`)."""

    def __init__(self) -> None:
        self._used = dict.fromkeys(_QUOTAS, 0)
        self._lock = Lock()
        self._started = time.monotonic()

    def headers(self, kind: str, known_caller: bool) -> dict[str, str]:
        """Count a request; returns its RateLimit headers."""
        quota = _QUOTAS[kind][known_caller]
        with self._lock:
            self._used[kind] += 1
            left = max(quota - self._used[kind], 1)
        reset_s = _WINDOW_S - int(time.monotonic() - self._started) % _WINDOW_S
        return {
            "RateLimit": f'"{kind}";r={left};t={reset_s}',
            "RateLimit-Policy": f'"fixed window";"{kind}";q={quota};w={_WINDOW_S}',
        }
