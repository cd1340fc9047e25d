"""Redaction of secrets from messages, tracebacks, logs and records."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
MIN_SECRET = 6  # characters; shorter strings occur in ordinary words, too

# Random strings mix cases or have digits; ordinary words after "basic" do neither, or are short.
_RANDOM = r"(?=[a-z.~+/=_-]*[A-Z0-9])[\w.~+/=-]{16,}"
# Parameters of signed URLs (S3, CloudFront, Google, Azure) and of requests that hold a key.
_SIGNING = (
    r"[\w-]*(?:signature|credential|token|secret|password|passwd|api-?_?key|access-?_?key-?_?id|auth)|"
    r"policy|key-pair-id|googleaccessid|sig|jwt"
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bhf_(?:oauth_+)?(?=[a-z0-9]*[A-Z]|[a-z0-9]{24})[A-Za-z0-9]{16,}[\w.-]*"), HIDDEN),
    (re.compile(r"((?i:\bauthorization)\W{1,9}(?i:bearer|basic|token) +)[\w.~+/=-]+"), rf"\1{HIDDEN}"),
    (re.compile(rf"\b((?i:bearer|basic)) +{_RANDOM}"), rf"\1 {HIDDEN}"),
    # user:password@ of a URL, up to its last @; also if the URL cannot be parsed
    (re.compile(r"(?<=://)[^/\s?#'\"]*@"), f"{HIDDEN}@"),
    # The URL before the parameter is not matched: from each of many starts, that would take quadratic time.
    (re.compile(rf"(?<=[?&;])({_SIGNING})=[^&\s'\"<>]+", re.IGNORECASE), rf"\1={HIDDEN}"),
    # The value of any other parameter, if it is long enough for a signature and not a commit id.
    (re.compile(r"(?<=[?&;])([\w.-]{1,64})=(?![0-9a-f]{40}\b)[\w.~+%-]{32,}[^&\s'\"<>]*"), rf"\1={HIDDEN}"),
)


def redacted(text: str, *secrets: str | None) -> str:
    """A text without tokens, passwords in URLs and signatures. secrets: further strings to remove."""
    # Read here, not passed in: whatever wrote the text, it may hold the environment's tokens.
    tokens = (os.environ.get(name, "") for name in TOKEN_VARIABLES)
    for secret in (*secrets, *tokens):
        if secret and len(bare := secret.strip()) >= MIN_SECRET:
            text = text.replace(bare, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
