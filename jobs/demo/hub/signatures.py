"""Signed addresses of the CDN, which hold for a while."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence

from jobs.demo.hub.request import Request


class UrlSigner:
    """Signs paths with a secret of its own, and checks the signatures of requests."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def signed_query(self, segments: Sequence[str], lifetime_s: float) -> str:
        """The query that opens a path, given by its decoded parts, for `lifetime_s` seconds."""
        expires = f"{time.time() + lifetime_s:.3f}"
        return f"Expires={expires}&Signature={self._signature(segments, expires)}"

    def is_valid(self, request: Request) -> bool:
        """Whether a request has a valid signature for its path that has not expired."""
        expires = request.query.get("Expires", [""])[-1]
        signature = request.query.get("Signature", [""])[-1]
        expected = self._signature(request.segments, expires)
        # If the signature is valid, so is the number.
        return hmac.compare_digest(signature.encode(), expected.encode()) and float(expires) >= time.time()

    def _signature(self, segments: Sequence[str], expires: str) -> str:
        return hmac.new(self._secret, json.dumps([segments, expires]).encode(), hashlib.sha256).hexdigest()
