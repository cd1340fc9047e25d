"""The models that the user names: by lists, Hub ids and checkpoint folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.planning.hub_url import DEFAULT_REVISION, is_url, model_of_url, unwrapped, without_command
from jobs.planning.list_text import (
    NOT_UTF8,
    STANDARD_INPUT,
    ListText,
    is_list,
    read_list,
    read_standard_input,
)
from survey.errors import UsageError, printable
from survey.process.home_folder import expanded
from survey.records.target import ModelRef

# The Hub's ids: no -- and no .. in them, and a letter, digit or _ at both ends.
_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))(?:\w(?:[\w.-]*\w)?/)?\w(?:[\w.-]*\w)?", re.ASCII)
_LIST_SUFFIXES = (".txt", ".lst", ".list")
SHOWN_CHARS = 200
LONGEST_LINE = 8192  # characters, twice the longest path: unwrapping a line takes time in its square
MAX_PROBLEMS = 10_000  # lines that name no model; with more, the file is something else than a list
SHOWN_DUPLICATES = 20  # named one by one; of the others, only their number


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models to survey, each once; notes: how lists were decoded.

    duplicates: lines that repeat a model; of many, the first SHOWN_DUPLICATES and the number of the others.

    A line that names no model is among the models, with its problem, and the plan refuses it alone.
    """

    models: list[ModelRef]
    duplicates: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return [f"{model.origin}: {model.problem}" for model in self.models if model.problem]


def read_models(arguments: Sequence[str], base: Path, endpoint: str = "") -> ModelList:
    """Resolve arguments: an existing path is a folder or a list, `-` standard input, anything else a Hub id.

    Relative paths start at `base`; in a list file, at the file's folder. endpoint: a Hub whose URLs are
    understood, too. Raises UsageError naming what is wrong with an argument, or the lines of a list that
    holds no model at all, or more than MAX_PROBLEMS other lines.
    """
    models: dict[tuple[str, str], ModelRef] = {}
    duplicates: list[str] = []
    repeats = problems = 0
    notes: list[str] = []
    for model, origin in _all(arguments, base, endpoint, notes):
        key = (model.name, model.revision or DEFAULT_REVISION)
        if (first := models.get(key)) is not None:
            repeats += 1
            if repeats <= SHOWN_DUPLICATES:
                duplicates.append(f"{origin}: {model} repeats {first} of {first.origin}")
            continue
        models[key] = model
        problems += model.problem is not None
        if problems > MAX_PROBLEMS:
            raise _no_list(models.values(), f"more than {MAX_PROBLEMS:,} lines name no model")
    if repeats > SHOWN_DUPLICATES:
        duplicates.append(f"{repeats - SHOWN_DUPLICATES:,} further lines repeat models of the list")
    if problems == len(models):
        raise _no_list(models.values(), f"no model in {', '.join(arguments)}")
    return ModelList(list(models.values()), duplicates, notes)


def _no_list(models: Iterable[ModelRef], problem: str) -> UsageError:
    lines = [f"\n  {model.origin}: {model.problem}" for model in models if model.problem][:5]
    return UsageError(f"{problem}: write one Hub id or folder a line{''.join(lines)}")


def _all(
    arguments: Sequence[str], base: Path, endpoint: str, notes: list[str]
) -> Iterable[tuple[ModelRef, str]]:
    """Each line's model, and the line's origin; lines of equal text share a model, of the first's origin."""
    for argument in arguments:
        listed = _list(argument, base)
        if listed is None:
            yield _model(argument, base, "command line", endpoint), "command line"
            continue
        if listed.encoding != "utf-8":
            notes.append(f"{listed.origin}: read as {listed.encoding}, as its byte order mark says")
        # A line is looked at once, however often it is repeated: the path that it may be costs time.
        known: dict[str, ModelRef] = {}
        for origin, text in listed.lines():
            if text not in known:
                known[text] = _model_of_line(text, listed.folder, origin, endpoint)
            yield known[text], origin


def _list(argument: str, base: Path) -> ListText | None:
    """The list that an argument stands for, if it does."""
    if argument == STANDARD_INPUT:
        return read_standard_input(base)
    path = _path(argument, base, "command line")
    is_text = path is not None and path.exists() and is_list(path) and not _describes_itself(path)
    return read_list(path, base) if path is not None and is_text else None


def _model_of_line(text: str, base: Path, origin: str, endpoint: str) -> ModelRef:
    """The model of one line of a list; a bad line becomes a model with a problem, and stops no other."""
    try:
        if len(text) > LONGEST_LINE:
            raise UsageError(f"has {len(text):,} characters, no name more than {LONGEST_LINE:,}")
        if text.startswith((".", "/", "~")) and not text.endswith(_LIST_SUFFIXES):
            path, part = _path(text, base, origin), None
            if path is not None and not path.exists():
                text_of_folder, part = _part(text, base, origin)
                path = _path(text_of_folder, base, origin)
            if path is not None and not path.exists():  # perhaps on a disk that is not mounted
                return _folder(path, origin, part)
        return _model(text, base, origin, endpoint)
    except UsageError as error:
        # Without the password of a pasted URL, which would go into the catalog.
        shown = re.sub(r"//[^/@\s]*@", "//", printable(text[:SHOWN_CHARS]))
        return ModelRef(shown, origin=origin, problem=str(error).removeprefix(f"{origin}: "))


def _model(text: str, base: Path, origin: str, endpoint: str = "") -> ModelRef:
    path, part, whole = _path(text, base, origin), None, text
    if path is None or not path.exists():
        text, part = _part(text, base, origin)
        path = path if part is None else _path(text, base, origin)
    if path is not None and path.is_dir():
        return _folder(path, origin, part)
    if path is not None and _describes_itself(path):
        return _folder(path.parent, origin, path.name)
    if path is not None and path.exists():
        raise UsageError(f"{origin}: {path} is a file; a line names a Hub id, a folder or a .gguf file")
    is_file = text.endswith(_LIST_SUFFIXES) or (text.endswith(".gguf") and "/" not in text)
    if text.startswith((".", "/", "~")) or is_file:
        raise UsageError(f"{origin}: no such file or folder: {text}")
    return _on_hub(whole, text, part, origin, endpoint)


def _describes_itself(path: Path) -> bool:
    """Whether a path is a file that is a model without anything beside it."""
    return path.suffix == ".gguf" and path.is_file()


def _folder(path: Path, origin: str, part: str | None = None) -> ModelRef:
    real = os.path.realpath(path)  # Path.resolve raises RuntimeError for links that lead in a circle
    return ModelRef(real, None, Path(real), origin, part=part)


def _part(text: str, base: Path, origin: str) -> tuple[str, str | None]:
    """The text before a `:`, and the folder or file of that model after it; None if there is none."""
    word = without_command(unwrapped(text))
    model, colon, part = word.rpartition(":")  # a folder's name may hold one
    if colon and is_url(word) and "/" in model.partition("://")[2 if "://" in model else 0]:
        return (text, None) if "/" in part else (model, part)  # hf.co/org/name:Q4_K_M, as Ollama takes it
    if not colon or is_url(word):
        return text, None
    folder = _path(model, base, origin) if model else None
    is_model = _HUB_ID.fullmatch(model.partition("@")[0]) or (folder is not None and folder.is_dir())
    if not (is_model or model.startswith((".", "/", "~")) or not model):
        return text, None
    part = part.removesuffix("/")
    if not model or any(step in ("", ".", "..") for step in part.split("/")):
        raise UsageError(f"{origin}: {text!r}: after the : write a folder or file of the model")
    return model, part


def _on_hub(whole: str, text: str, part: str | None, origin: str, endpoint: str) -> ModelRef:
    shown = re.sub(r"//[^/@\s]*@", "//", printable(whole[:SHOWN_CHARS]))
    word = without_command(unwrapped(text))
    if is_url(word):
        try:
            word = model_of_url(word, endpoint)
        except UsageError as error:
            raise UsageError(f"{origin}: {shown!r} {error}") from None
        except ValueError as error:  # brackets that hold no address
            raise UsageError(f"{origin}: {shown!r} is no URL: {error}") from None
    repo, at, revision = word.partition("@")
    if _HUB_ID.fullmatch(repo) and (revision or not at) and not re.search(r"\s", word):
        return ModelRef(repo, revision or None, None, origin, part=part)
    raise UsageError(f"{origin}: {shown!r} is not a model; {_advice(word)}")


def _advice(word: str) -> str:
    if NOT_UTF8 in word:
        return "the line is not UTF-8; save the list as UTF-8"
    if word.endswith("/") and _HUB_ID.fullmatch(word.rstrip("/")):
        return f"there is no such folder; for the model of the Hub write {word.rstrip('/')}"
    if re.search(r"\S[\s,;]+\S", word):
        return "write one model a line: org/name, org/name@revision or a folder"
    return "write org/name, org/name@revision or a folder"


def _path(text: str, base: Path, origin: str) -> Path | None:
    """The path that a word names, if it exists or its first character makes it one; else None."""
    if not text.strip():
        raise UsageError(f"{origin}: an empty name stands for no model")
    try:
        path = base / expanded(text)
        return path if path.exists() or text.startswith((".", "/", "~")) else None
    except (OSError, UsageError) as error:  # too long, or a home that nobody has
        raise UsageError(f"{origin}: {text[:60]!r} is not a path: {error}") from error
