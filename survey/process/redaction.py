"""Secrets taken out of text that people and files get to see: messages, tracebacks, logs, records."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
SHORTEST = 6  # characters; what is shorter stands in ordinary words, too

# Random letters are of both cases or have digits; ordinary words after "basic" have neither, or are short.
_RANDOM = r"(?=[a-z.~+/=_-]*[A-Z0-9])[\w.~+/=-]{16,}"
# Of signed URLs (S3, CloudFront, Google, Azure) and of requests that hold a key.
_SIGNING = (
    r"[\w-]*(?:signature|credential|token|secret|password|passwd|api-?_?key|access-?_?key-?_?id|auth)|"
    r"policy|key-pair-id|googleaccessid|sig|jwt"
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bhf_(?:oauth_+)?(?=[a-z0-9]*[A-Z]|[a-z0-9]{24})[A-Za-z0-9]{16,}[\w.-]*"), HIDDEN),
    (re.compile(r"((?i:\bauthorization)\W{1,9}(?i:bearer|basic|token) +)[\w.~+/=-]+"), rf"\1{HIDDEN}"),
    (re.compile(rf"\b((?i:bearer|basic)) +{_RANDOM}"), rf"\1 {HIDDEN}"),
    # user:password@ of a URL, up to its last @; one that cannot be parsed, too
    (re.compile(r"(?<=://)[^/\s?#'\"]*@"), f"{HIDDEN}@"),
    # No prefix of the URL is looked at: from each of many beginnings, that would take quadratic time.
    (re.compile(rf"(?<=[?&;])({_SIGNING})=[^&\s'\"<>]+", re.IGNORECASE), rf"\1={HIDDEN}"),
    # A value of another name that is long enough for a signature, and is no commit.
    (re.compile(r"(?<=[?&;])([\w.-]{1,64})=(?![0-9a-f]{40}\b)[\w.~+%-]{32,}[^&\s'\"<>]*"), rf"\1={HIDDEN}"),
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
