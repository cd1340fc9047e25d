"""The Hub's endpoint, the token, and which origin may receive it.

A token that a user states (HF_TOKEN, `token=`) goes to the endpoint that the user states. The token that
`hf auth login` stored was made for huggingface.co and goes nowhere else: a mirror is somebody else's server.
Neither goes over plain http to another machine, because everybody on the way could read it.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from survey.errors import NotOffered, Unreachable, UsageError
from survey.hub.transport.origins import is_readable_in_transit, origin_of
from survey.process.redaction import TOKEN_VARIABLES, redacted
from survey.records.settings import Settings

PUBLIC_HUB = "https://huggingface.co"


def checked_endpoint(given: str, source: str) -> str:
    """A valid endpoint without slashes at its end. source: its option or variable. Raises UsageError."""
    endpoint = given.strip().rstrip("/")
    expected = f"{source} {redacted(given)!r}: expected a URL such as {PUBLIC_HUB}"
    try:
        origin_of(endpoint)
    except Unreachable as error:
        raise UsageError(f"{expected}; it {error.problem}") from None
    parts = urlsplit(endpoint)
    if parts.query or parts.fragment or not parts.path.isascii() or " " in parts.path:
        raise UsageError(f"{expected}, without a query")
    return endpoint


def stated_endpoint(given: str | None, source: str = "--endpoint") -> str:
    """The given endpoint, else HF_ENDPOINT, else huggingface.co. Raises UsageError."""
    if given is not None:
        return checked_endpoint(given.strip(), source)
    stated = os.environ.get("HF_ENDPOINT", "").strip()
    return checked_endpoint(stated, "HF_ENDPOINT") if stated else PUBLIC_HUB


def endpoint_name(endpoint: str) -> str:
    """An endpoint and its source, for messages."""
    shown = redacted(endpoint)
    if endpoint == os.environ.get("HF_ENDPOINT", "").strip().rstrip("/"):
        return f"{shown} (of HF_ENDPOINT)"
    return shown if endpoint == PUBLIC_HUB else f"{shown} (as given)"


def clean_token(token: str | None, source: str = "the token") -> str | None:
    """A token without surrounding white space, as huggingface_hub strips its own; None if nothing is left.

    Raises UsageError if no header can hold it.
    """
    cleaned = (token or "").strip().strip("\ufeff\x00").strip()
    strange = next((char for char in cleaned if not "!" <= char <= "~"), None)
    if strange is not None:
        raise UsageError(
            f"{source} holds a character that no token has (U+{ord(strange):04X}): copy it again"
        )
    return cleaned or None


def stated_token() -> str | None:
    """The token of the environment, if there is one. Raises UsageError."""
    for variable in TOKEN_VARIABLES:
        if token := clean_token(os.environ.get(variable), variable):
            return token
    return None


def check_variables() -> None:
    """Raise UsageError if huggingface_hub cannot parse its own variables, as its import does."""
    try:
        # Imported for their errors: the first parses numbers, the second the endpoint.
        from huggingface_hub import constants  # noqa: F401
        from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # noqa: F401
    except ValueError as error:
        names = ", ".join(sorted(name for name in os.environ if name.startswith("HF_")))
        problem = redacted(str(error))
        raise UsageError(f"{names}: one of these cannot be used: {problem}; correct or unset it") from None


def token_for(settings: Settings) -> str | None:
    """The token that may be sent to the endpoint, if there is one. Raises NotOffered."""
    from huggingface_hub import constants  # deferred: a slow import

    if is_readable_in_transit(settings.endpoint):
        return None
    try:
        token = clean_token(settings.token) or stated_token()
    except UsageError as error:
        raise NotOffered("unauthorised", redacted(settings.endpoint), str(error)) from None
    if token or origin_of(settings.endpoint) != origin_of(PUBLIC_HUB):
        return token
    return None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else _stored_login()


def _stored_login() -> str | None:
    """The token that `hf auth login` stored, if there is one. Raises NotOffered."""
    from huggingface_hub import constants, get_token

    source = f"the login stored in {constants.HF_TOKEN_PATH}"
    try:
        return clean_token(get_token(), source)
    except UsageError as error:
        problem = str(error)
    except (OSError, ValueError) as error:  # not UTF-8; a folder; no permission
        problem = f"{source} cannot be read: {error}"
    raise NotOffered("unauthorised", PUBLIC_HUB, f"{problem}; or log in again: hf auth login")


def why_no_token(settings: Settings) -> str:
    """What to add to a refusal if a token exists and was not sent."""
    from huggingface_hub import constants

    try:
        stated = bool(clean_token(settings.token) or stated_token())
    except UsageError:
        stated = False
    if stated and is_readable_in_transit(settings.endpoint):
        return "; no token was sent: over plain http everybody on the way could read it; use https"
    is_mirror = origin_of(settings.endpoint) != origin_of(PUBLIC_HUB)
    if not stated and is_mirror and os.path.isfile(constants.HF_TOKEN_PATH):
        return "; no token was sent: the stored login is for huggingface.co alone; set HF_TOKEN to send one"
    return ""
