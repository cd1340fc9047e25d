"""Secrets taken out of text that people and files get to see: messages, tracebacks, logs, records."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
SHORTEST = 6  # characters; what is shorter stands in ordinary words, too

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bhf_(?:oauth_+)?[A-Za-z0-9]{16,}[\w.-]*"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic) +[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # user:password@ of a URL, up to its last @; one that cannot be parsed, too
    (re.compile(r"(?<=://)[^/\s?#'\"]*@"), f"{HIDDEN}@"),
    # A query is the signature of a signed URL, and nothing that a reader would miss of another.
    (re.compile(r"(\bhttps?://[^\s?'\"<>]*)\?[^\s'\"<>]*", re.IGNORECASE), r"\1"),
    (
        re.compile(
            r"\b((?:X-Amz-)?(?:Signature|Credential|Security-Token)|Policy)=[^&\s'\"]+", re.IGNORECASE
        ),
        rf"\1={HIDDEN}",
    ),
)


def redacted(text: str, *secrets: str | None) -> str:
    """A text without tokens, passwords in URLs and signatures. secrets: further ones to take out."""
    # Read here, not passed on: whatever wrote the text, it may hold what the environment holds.
    stated = (os.environ.get(name, "") for name in TOKEN_VARIABLES)
    for secret in (*secrets, *stated):
        if secret and len(bare := secret.strip()) >= SHORTEST:
            text = text.replace(bare, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
