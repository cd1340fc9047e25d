"""A list of models from the Hub's own listing, ready for `survey run`."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from survey.errors import UsageError
from survey.hub.api import Listed, listed_models
from survey.hub.throttle import LocalThrottle
from survey.numerics.dtypes import BITS
from survey.records.settings import Settings
from survey.targets.family import FAMILY_PATTERNS, MODEL_TYPES, ORGS, family_of

# A family that hardly anybody downloads must not make us read the listing of the whole Hub.
LOOK_AT_MOST = 20_000

_AUTHOR = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
# What a line of a list can say: a name such as `x.txt` would be taken for a list itself.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.txt)(?<!\.lst)(?<!\.list)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """Which models are looked for."""

    author: str | None = None
    family: str | None = None
    min_downloads: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Found:
    """What the listing gave. looked_at: entries read; unnamable: those that no list could name."""

    models: list[Listed]
    looked_at: int
    unnamable: int

    def summary(self, wish: ListingFilter) -> str:
        of_whom = f" by {wish.author}" if wish.author else ""
        kind = f"text-generation models with safetensors{of_whom}"
        left_out = f"; {self.unnamable} left out: no model ids" if self.unnamable else ""
        if not self.looked_at:
            return f"the Hub lists no {kind}; check the spelling, and set HF_TOKEN for private ones"
        if not self.models:
            return f"none of the {self.looked_at:,} {kind} is what you look for{left_out}"
        return f"{len(self.models):,} of {self.looked_at:,} {kind} looked at{left_out}"


def discover(wish: ListingFilter, settings: Settings) -> Found:
    """The models that the Hub lists and the wish names, those with the most downloads first.

    Raises UsageError for a wish that nothing can meet, NotOffered or Unreachable as the Hub does.
    """
    if wish.author is not None and not _AUTHOR.fullmatch(wish.author):
        raise UsageError(f"--author {wish.author!r}: not the name of a user or an organisation")
    family = _family(wish.family)
    models: dict[str, Listed] = {}
    looked_at = unnamable = 0
    for entry in itertools.islice(listed_models(wish.author, settings, LocalThrottle()), LOOK_AT_MOST):
        looked_at += 1
        if entry.downloads < wish.min_downloads:
            break  # they come by downloads
        if not _REPO.fullmatch(entry.repo):
            unnamable += 1
        elif family in (None, family_of(entry.model_type, entry.base_model, entry.repo).name):
            models.setdefault(entry.repo, entry)  # a listing that moves while it is read repeats itself
        if len(models) == wish.limit:
            break
    found = sorted(models.values(), key=lambda model: (-model.downloads, model.repo))
    return Found(found, looked_at, unnamable)


def as_list(models: Iterable[Listed]) -> str:
    """A models.txt: a line for each, with size and downloads as its comment."""
    models = list(models)
    width = max((len(model.repo) for model in models), default=0)
    return "".join(f"{model.repo:<{width}}  # {_comment(model)}\n" for model in models)


def _comment(model: Listed) -> str:
    gated = ", gated" if model.gated else ""
    return f"{_size(model.parameters)}, {model.downloads:,} downloads{gated}"


def _size(parameters: Mapping[str, int]) -> str:
    """Parameters, dtypes and bytes; dtypes that we do not know have no width, so no bytes are told."""
    total = sum(parameters.values())
    if not total:
        return "size unknown"
    dtypes = sorted(parameters, key=lambda dtype: -parameters[dtype])
    count = f"{total / 1e9:.2f} B" if total >= 1e9 else f"{total / 1e6:.1f} M"
    if not all(dtype in BITS for dtype in dtypes):
        return f"{count} parameters"
    gigabytes = sum(number * BITS[dtype] for dtype, number in parameters.items()) / 8e9
    return f"{count} parameters, {'+'.join(dtypes)}, {gigabytes:.1f} GB"


def _family(wanted: str | None) -> str | None:
    """The family as we write it."""
    if wanted is None:
        return None
    names = {*MODEL_TYPES.values(), *(name for _, name in FAMILY_PATTERNS), *ORGS.values()}
    known = {name.lower(): name for name in names}
    if wanted.lower() in known:
        return known[wanted.lower()]
    near = difflib.get_close_matches(wanted.lower(), known, n=3) or sorted(known)
    raise UsageError(f"--family {wanted}: unknown; there are {', '.join(known[name] for name in near)}")
