"""Errors of object stores: which may be retried, and what a person should do about them.

Each fsspec backend raises the errors of its own library, so they are told apart by their codes and names.
"""

from __future__ import annotations

# Error codes that another try does not change.
_FINAL = ("InvalidBucketName", "AuthorizationHeaderMalformed", "InvalidArgument", "NotImplemented", "501")

_MOST_CHARS = 1_000  # of a server's words


class Unreadable(Exception):
    """A request to the store failed for good. gone: the object does not exist."""

    def __init__(self, problem: str, *, gone: bool = False) -> None:
        super().__init__(problem)
        self.gone = gone


def s3_code(error: object) -> str | None:
    """The code in S3's answer that caused an error; None if there was no such answer."""
    response = getattr(getattr(error, "__cause__", None), "response", None)
    return response["Error"].get("Code") if isinstance(response, dict) and "Error" in response else None


def is_not_implemented(error: Unreadable) -> bool:
    """Whether the store does not know the feature that a request used."""
    return s3_code(error.__cause__) in ("NotImplemented", "501")


def is_precondition_failed(error: Exception) -> bool:
    """Whether the condition of a conditional write did not hold."""
    return s3_code(error) in ("PreconditionFailed", "412")


def is_transient(error: Exception) -> bool:
    """Whether another try may help: the server is busy or ill, or the connection broke."""
    if _is_refused_by_google(error) or s3_code(error) in _FINAL:
        return False
    if type(error).__name__ == "FSTimeoutError":  # of a whole request: it took minutes
        return False
    if "Credential" in type(error).__name__ or "Token" in type(error).__name__:
        return False
    final = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
    ours = (ImportError, NotImplementedError, LookupError, TypeError, ValueError)
    return not isinstance(error, (*final, *ours))


def unreadable(error: Exception) -> Unreadable:
    """The same error for a person, with the remedy if the cause is known."""
    return Unreadable(_text(error), gone=isinstance(error, FileNotFoundError))


def _text(error: Exception) -> str:
    name, text = type(error).__name__, _in_a_line(error) or type(error).__name__
    if "Credential" in name:
        return f"{text}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your store asks for"
    if _is_refused_by_google(error):
        return (
            f"{text}: set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`, "
            "with rights to the bucket"
        )
    if isinstance(error, KeyError):  # of a client that takes a part of the answer for granted
        return f"the store's answer lacks {text}: check that the endpoint is an object store"
    if name == "FSTimeoutError":
        return "the store did not end its answer in minutes"
    if isinstance(error, PermissionError):
        return f"permission denied ({text}): check the credentials in the environment and their rights"
    if s3_code(error) == "NoSuchBucket":
        return f"{text}: make the bucket first, or check its name and the endpoint"
    return text


def _in_a_line(error: Exception) -> str:
    """The head of an error's text: the server's own words may be megabytes."""
    text = " ".join(str(error)[: 2 * _MOST_CHARS].split())
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}…"


def _is_refused_by_google(error: Exception) -> bool:
    """Whether Google's store denies access: gcsfs has no class of errors for that."""
    return getattr(error, "code", None) in (401, 403) or str(error).startswith("Forbidden: ")
