"""What the user wrote, as models: lists, Hub ids and checkpoint folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from survey.errors import UsageError
from survey.target import ModelRef

_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_LIST_SUFFIXES = (".txt", ".lst", ".list")


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models asked for, each once, and what was said twice."""

    models: list[ModelRef]
    duplicates: list[str]


def read_models(arguments: Sequence[str], base: Path) -> ModelList:
    """Resolve arguments: an existing path is a folder or a list, anything else a Hub id.

    Relative paths start at `base`; in a list file, at the file's folder. Raises UsageError naming
    the file and the line of what is wrong.
    """
    models: dict[tuple[str, str | None], ModelRef] = {}
    duplicates: list[str] = []
    for model in _all(arguments, base):
        key = (model.name, model.revision)
        if key in models:
            duplicates.append(f"{model.origin}: {model} is already named in {models[key].origin}")
        models.setdefault(key, model)
    if not models:
        raise UsageError(f"no model in {', '.join(arguments)}: write one Hub id or folder a line")
    return ModelList(list(models.values()), duplicates)


def _all(arguments: Sequence[str], base: Path) -> Iterable[ModelRef]:
    for argument in arguments:
        path = _path(argument, base, "command line")
        if path is not None and path.is_file():
            yield from _read_list(path)
        else:
            yield _model(argument, base, "command line")


def _read_list(path: Path) -> Iterable[ModelRef]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        problem = "cannot be read as a list of models, as it is no text: name a checkpoint by its folder"
        raise UsageError(f"{path}: {problem}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as a list of models: {error}") from error
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            yield _model(text, path.parent, f"{path}:{number}")


def _model(text: str, base: Path, origin: str) -> ModelRef:
    path, part = _path(text, base, origin), None
    if path is None or not path.exists():
        text, part = _part(text, origin)
        path = _path(text, base, origin)
    if path is not None and path.is_dir():
        return ModelRef(str(path.resolve()), None, path.resolve(), origin, part=part)
    if path is not None and path.exists():
        raise UsageError(f"{origin}: {path} is a file; a line names a Hub id or a folder")
    if text.startswith((".", "/", "~")) or text.endswith(_LIST_SUFFIXES):
        raise UsageError(f"{origin}: no such file or folder: {text}")
    repo, at, revision = text.partition("@")
    if "://" in text:
        short = re.sub(r"^https?://[^/]+/([^/]+/[^/]+)(?:/tree/([^/]+))?.*$", r"\1@\2", text).rstrip("@")
        raise UsageError(f"{origin}: {text!r} is a URL; write {short}")
    if not _HUB_ID.fullmatch(repo) or (at and not revision) or re.search(r"\s", text):
        raise UsageError(f"{origin}: {text!r} is not a model; write org/name, org/name@revision or a folder")
    return ModelRef(repo, revision or None, None, origin, part=part)


def _part(text: str, origin: str) -> tuple[str, str | None]:
    """What stands before a `:`, and the folder or file in it that stands behind it."""
    model, colon, part = text.rpartition(":")  # a folder's own name may hold one
    if not colon or "://" in text:
        return text, None
    part = part.removesuffix("/")
    if not model or not part or any(step in ("", ".", "..") for step in part.split("/")):
        raise UsageError(f"{origin}: {text!r}: what follows the : is to be a folder or file of the model")
    return model, part


def _path(text: str, base: Path, origin: str) -> Path | None:
    """The path that a word stands for, if it exists or is forced by its first character."""
    if not text.strip():
        raise UsageError(f"{origin}: an empty name stands for no model")
    try:
        path = base / Path(text).expanduser()
        return path if path.exists() or text.startswith((".", "/", "~")) else None
    except (OSError, RuntimeError) as error:  # too long, or a home that nobody has
        raise UsageError(f"{origin}: {text[:60]!r} is not a path: {error}") from error
