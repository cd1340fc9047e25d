"""The model that pasted text names: a URL of the Hub of any form, or a command that downloads."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from survey.errors import UsageError

HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com"})
# First parts of the Hub's paths that name no user and no organisation.
_OTHER_KINDS = {"datasets": "a dataset", "spaces": "a space", "buckets": "a bucket", "kernels": "a kernel"}
_OTHER_PAGES = frozenset(
    (
        *("api", "blog", "chat", "collections", "docs", "enterprise", "jobs"),
        *("join", "learn", "login", "models", "new", "notifications", "organizations"),
        *("papers", "posts", "pricing", "search", "settings", "support", "tasks"),
    )
)
DEFAULT_REVISION = "main"  # of every repository on the Hub
_FILE_PAGES = frozenset({"blob", "resolve", "raw", "blame", "edit"})
_REVISION_PAGES = frozenset({"tree", "commit", "commits", "revision"})
# The URL of a file that only describes a model stands for the model.
_DESCRIPTION = re.compile(r"(?:README\.md|\w*config\.json|.*\.index\.json)")
_DOWNLOAD = re.compile(r"\$?\s*(?:huggingface-cli|hf)\s+download\s+(\S+)(?:\s+--revision[ =](\S+))?")
_CLONE = re.compile(r"\$?\s*git\s+(?:lfs\s+)?clone\s+(https?://\S+)")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?\s*\)")
_QUOTES = "\"'`“”„‟‘’‚‛«»‹›"


def unwrapped(text: str) -> str:
    """A line's text without the bullets, quotes, brackets and commas that other programs put around it."""
    text = re.sub(r"^(?:[-*•]|\d+[.)])\s+", "", text)
    while True:
        before = text
        if link := _LINK.fullmatch(text):
            text = link[1]
        text = text.strip().rstrip(",;").strip()
        if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            text = text[1:-1]
        if text.startswith("<") and text.endswith(">"):
            text = text[1:-1]
        if text == before:
            return text


def without_command(text: str) -> str:
    """The model that a command downloads, as `org/name@revision` or a URL; other text as it is."""
    if match := _DOWNLOAD.fullmatch(text):
        name, revision = unwrapped(match[1]), match[2]
        return f"{name}@{unwrapped(revision)}" if revision else name
    if match := _CLONE.fullmatch(text):
        return match[1].removesuffix(".git")
    return text


def is_url(text: str) -> bool:
    """Whether the text is a URL, also one of the Hub without its scheme."""
    return "://" in text or text.split("/")[0].lower() in HOSTS


def model_of_url(text: str, endpoint: str = "") -> str:
    """`org/name` or `org/name@revision` for a URL of the Hub.

    endpoint: the Hub of this run, if it is not the public one. Raises UsageError if the URL names no model,
    or a file in one; its message continues a sentence that begins with the text.
    """
    if text.startswith("hf://"):
        return _of_file_system(text.removeprefix("hf://").removeprefix("models/"))
    if endpoint and text.startswith(f"{endpoint}/"):
        return _of_path(_path_of(urlsplit(f"//hub/{text.removeprefix(endpoint)}")))
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"is a URL of {parts.scheme}; write org/name, or the URL of a model's page")
    if (parts.hostname or "").lower() not in HOSTS:
        raise UsageError(
            f"is a URL of {parts.hostname}, not of this run's Hub; write org/name, "
            f"with --endpoint {parts.scheme}://{parts.hostname} if its Hub is there"
        )
    return _of_path(_path_of(parts))


def _path_of(parts: SplitResult) -> list[str]:
    path = [part for part in parts.path.split("/") if part]
    if path[:2] == ["api", "models"] or path[:1] == ["models"]:
        path = path[path.index("models") + 1 :]
    return path


def _of_file_system(path: str) -> str:
    """The model of an `hf://` URL, in which a revision follows the name."""
    kind = path.split("/")[0]
    if kind in _OTHER_KINDS:
        raise UsageError(f"is {_OTHER_KINDS[kind]}, not a model")
    match = re.fullmatch(r"([^/@]+/[^/@]+)(?:@(refs/[^/]+/[^/]+|[^/]+))?(?:/(.*))?", path)
    if match is None:
        raise UsageError("names no model; write hf://org/name or org/name")
    name, revision, inner = match[1], match[2], match[3]
    model = f"{name}@{unquote(revision)}" if revision else name
    return _whole(model, inner or "")


def _of_path(path: list[str]) -> str:
    kind = path[0] if path else ""
    if kind in _OTHER_KINDS:
        raise UsageError(f"is {_OTHER_KINDS[kind]}, not a model")
    if not path or kind in _OTHER_PAGES:
        raise UsageError("is a page of the Hub, not a model; write org/name")
    if len(path) == 1 or path[1] in _FILE_PAGES | _REVISION_PAGES:  # gpt2 and its like have no organisation
        name, rest = path[0], path[1:]
    else:
        name, rest = "/".join(path[:2]), path[2:]
    name = unquote(name).removesuffix(".git")
    if not rest or (len(rest) == 1 and rest[0] in _REVISION_PAGES | _FILE_PAGES):
        return name
    page, revision, inner = rest[0], *_revision(rest[1:])
    if page in _REVISION_PAGES:
        return _whole(f"{name}@{revision}", inner)
    if page in _FILE_PAGES:
        return _whole(f"{name}@{revision}", inner if not _DESCRIPTION.fullmatch(inner) else "")
    raise UsageError(f"is a page about a model, not a revision of it; write {name}")


def _revision(path: list[str]) -> tuple[str, str]:
    """A revision, and the path after it; slashes in a revision are quoted, but for refs/pr/1 and its like."""
    length = 3 if path[:1] == ["refs"] and len(path) >= 3 else 1
    return unquote("/".join(path[:length])), unquote("/".join(path[length:]))


def _whole(model: str, inner: str) -> str:
    """The model. Raises UsageError if the URL names a folder or file in it (`inner`)."""
    inner = inner.strip("/")
    if not inner:
        return model
    name, _, revision = model.partition("@")
    if revision in ("", DEFAULT_REVISION):
        raise UsageError(f"names {inner} in a model; write {name}:{inner} for that, {name} for the model")
    branch = f", or {model}/{inner} if that is a branch"
    raise UsageError(
        f"names {inner} in a model; write {model}:{inner} for that, {model} for the model{branch}"
    )
