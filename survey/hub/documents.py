"""JSON documents of the Hub's API, read strictly: a wrong type is an error, never a missing value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from survey.errors import NotTheHubs, storable

_SHA = re.compile(r"[0-9a-f]{40}")
SHA256 = " sha256:"  # in the content id of a large file
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ELSEWHERE = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\\|[\x00-\x1f]")  # ``, `.`, `..` between slashes
FILE_CHARS = 4096  # of a name: the longest path of common systems
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
_REQUIRED: Any = object()  # Any: stands for a default of every type

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """A JSON object. where: its subject, for messages."""

    raw: Mapping[str, Any]  # Any: JSON
    where: str

    def get(self, name: str, kind: type[Value], default: Any = _REQUIRED) -> Any:  # Any: JSON
        """A value of one type; if there is a default, it stands for null and a missing value.

        Raises NotTheHubs.
        """
        value = self.raw.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if not isinstance(value, kind):
            shown = "missing" if name not in self.raw else f"a {type(value).__name__}"
            raise NotTheHubs(
                "network",
                self.where,
                f"not an answer of the Hub: {name} is {shown}, expected a {kind.__name__}",
            )
        return value


def document(value: Any, where: str) -> ApiDocument:  # Any: JSON
    """A JSON value as an object. Raises NotTheHubs if it is not one."""
    if not isinstance(value, dict):
        problem = f"not an answer of the Hub: a {type(value).__name__}, expected an object"
        raise NotTheHubs("network", where, problem)
    return ApiDocument(value, where)


def is_commit(value: Any) -> TypeGuard[str]:  # Any: JSON
    """Whether a value is a full commit id: 40 hex digits."""
    return isinstance(value, str) and _SHA.fullmatch(value) is not None


def model_name(info: ApiDocument, repo: str) -> str:
    """The current name of a repository: a renamed one answers under its new name. Raises NotTheHubs."""
    name = info.get("id", str)
    if not _HUB_ID.fullmatch(name) or _ELSEWHERE.search(name):
        raise NotTheHubs(
            "network", repo, f"the Hub calls it {storable(name[:100])!r}, which is not a model id"
        )
    return str(name)


def stated_base_model(info: ApiDocument) -> str | None:
    """The first base model that a card states; None if it states none."""
    data = info.raw.get("cardData")
    base = data.get("base_model") if isinstance(data, dict) else None
    first = base[0] if isinstance(base, list) and base else base
    return storable(first) if isinstance(first, str) else None


def listed_files(siblings: list[Any] | None) -> dict[str, int | None]:  # Any: JSON
    """File name -> size in bytes, None if unknown.

    Names that no file can have, or that could lead a URL elsewhere, are left out.
    """
    return {
        storable(item["rfilename"]): _size(item.get("size"))
        for item in siblings or []
        if isinstance(item, dict)
        and isinstance(item.get("rfilename"), str)
        and len(item["rfilename"]) <= FILE_CHARS
        and not _ELSEWHERE.search(item["rfilename"])
    }


def content_ids(siblings: list[Any] | None, endpoint: str, repo: str) -> dict[str, str]:  # Any: JSON
    """File name -> a text that only files of equal bytes have; without the files for which none is stated.

    The SHA-256 of a large file means the same in all repositories of one Hub. The id of a file in git is a
    SHA-1, to which an attacker may make another file: it counts within its repository, whose commits git
    names by it, too.
    """
    ids: dict[str, str] = {}
    for item in siblings or []:
        if not isinstance(item, dict) or not isinstance(name := item.get("rfilename"), str):
            continue
        large, blob = item.get("lfs"), item.get("blobId")
        if large is None:
            if is_commit(blob):  # as long as a commit's id, and made alike
                ids[storable(name)] = f"{endpoint} {repo} git:{blob}"
        elif isinstance(large, dict) and _is_sha256(large.get("sha256")):
            ids[storable(name)] = f"{endpoint}{SHA256}{large['sha256']}"
    return ids


def _is_sha256(value: Any) -> bool:  # Any: JSON
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _size(value: Any) -> int | None:  # Any: JSON
    return value if type(value) is int and 0 <= value < 1 << 62 else None
