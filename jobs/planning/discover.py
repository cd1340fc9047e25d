"""A list of models from the Hub's own listing, ready for `survey run`."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from survey.errors import UsageError
from survey.hub.listings import TEXT_GENERATION, WEIGHT_FORMATS, Listed, listed_models
from survey.hub.throttle import LocalThrottle
from survey.numerics.dtypes import BITS
from survey.records.settings import Settings
from survey.targets.family import FAMILY_PATTERNS, MODEL_TYPES, ORGS, family_of

# A search for a rarely downloaded family must not read the listing of the whole Hub.
MAX_LISTED = 20_000

_FORMAT_NAMES = {
    "safetensors": "safetensors", "gguf": "GGUF", "mlx": "MLX", "any": "safetensors, GGUF or MLX",
}  # fmt: skip
_AUTHOR = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
# Ids that a line of a list can hold: a name such as `x.txt` would be taken for a list.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.txt)(?<!\.lst)(?<!\.list)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """Conditions on listed models. format: safetensors, gguf, mlx, or any of them."""

    author: str | None = None
    family: str | None = None
    min_downloads: int = 0
    limit: int = 50
    format: str = "safetensors"

    def formats(self) -> tuple[str, ...]:
        return WEIGHT_FORMATS if self.format == "any" else (self.format,)


@dataclass(frozen=True, slots=True)
class Listing:
    """Models of the Hub's listing. looked_at: models read; unnamable: entries that no list could name."""

    models: list[Listed]
    looked_at: int
    unnamable: int

    def summary(self, conditions: ListingFilter) -> str:
        of_whom = f" by {conditions.author}" if conditions.author else ""
        kind = f"text-generation models with {_FORMAT_NAMES[conditions.format]}{of_whom}"
        left_out = f"; {self.unnamable} left out: no model ids" if self.unnamable else ""
        if not self.looked_at:
            return f"the Hub lists no {kind}; check the spelling, and set HF_TOKEN for private ones"
        if not self.models:
            return f"none of the {self.looked_at:,} {kind} matches{left_out}"
        return f"{len(self.models):,} of the {self.looked_at:,} {kind} that were read{left_out}"


def discover(conditions: ListingFilter, settings: Settings) -> Listing:
    """The listed models that match, the most downloaded first.

    Raises UsageError for conditions that no model can meet, NotOffered and Unreachable.
    """
    if conditions.author is not None and not _AUTHOR.fullmatch(conditions.author):
        raise UsageError(f"--author {conditions.author!r}: not the name of a user or an organisation")
    family = _family(conditions.family)
    models: dict[str, Listed] = {}
    known: set[str] = set()  # a listing that changes while it is read repeats entries, as several listings do
    unnamable = 0
    listing = listed_models(conditions.author, settings, LocalThrottle(), conditions.formats())
    for entry in itertools.islice(listing, MAX_LISTED):
        if entry.repo in known or entry.task not in (None, TEXT_GENERATION):
            continue
        known.add(entry.repo)
        if entry.downloads < conditions.min_downloads:
            break  # sorted by downloads
        if not _REPO.fullmatch(entry.repo):
            unnamable += 1
        elif family in (None, family_of(entry.model_type, entry.base_model, entry.repo).name):
            models[entry.repo] = entry
        if len(models) == conditions.limit:
            break
    most_downloaded = sorted(models.values(), key=lambda model: (-model.downloads, model.repo))
    return Listing(most_downloaded, len(known), unnamable)


def as_list(models: Iterable[Listed]) -> str:
    """A models.txt: a line for each, with size and downloads as its comment."""
    models = list(models)
    width = max((len(model.repo) for model in models), default=0)
    return "".join(f"{model.repo:<{width}}  # {_comment(model)}\n" for model in models)


def _comment(model: Listed) -> str:
    gated = ", gated" if model.gated else ""
    return f"{_size(model.parameters)}, {model.downloads:,} downloads{gated}"


def _size(parameters: Mapping[str, int]) -> str:
    """Parameters, dtypes and bytes; unknown dtypes have no width, so the size is left out."""
    total = sum(parameters.values())
    if not total:
        return "size unknown"
    dtypes = sorted(parameters, key=lambda dtype: -parameters[dtype])
    count = f"{total / 1e9:.2f} B" if total >= 1e9 else f"{total / 1e6:.1f} M"
    if not all(dtype in BITS for dtype in dtypes):
        return f"{count} parameters"
    gigabytes = sum(number * BITS[dtype] for dtype, number in parameters.items()) / 8e9
    return f"{count} parameters, {'+'.join(dtypes)}, {gigabytes:.1f} GB"


def _family(name: str | None) -> str | None:
    """The family as the catalog spells it. Raises UsageError for an unknown one."""
    if name is None:
        return None
    names = {*MODEL_TYPES.values(), *(family for _, family in FAMILY_PATTERNS), *ORGS.values()}
    known = {family.lower(): family for family in names}
    if name.lower() in known:
        return known[name.lower()]
    similar = difflib.get_close_matches(name.lower(), known, n=3) or sorted(known)
    raise UsageError(f"--family {name}: unknown; there are {', '.join(known[key] for key in similar)}")
