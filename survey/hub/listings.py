"""The Hub's listing of models for text generation, by the format of their weights."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from survey.errors import storable
from survey.hub.api_client import ApiClient
from survey.hub.documents import ApiDocument, stated_base_model
from survey.hub.request_policy import RequestPolicy
from survey.hub.throttle import Throttle
from survey.records.settings import Settings

TEXT_GENERATION = "text-generation"
# The Hub's tags. Most repositories of GGUF state no task, so the Hub cannot select by it.
_QUERIES = {
    "safetensors": [("filter", "safetensors"), ("pipeline_tag", TEXT_GENERATION)],
    "gguf": [("filter", "gguf")],
    "mlx": [("filter", "mlx")],
}
WEIGHT_FORMATS = tuple(_QUERIES)
_FIELDS = ("downloads", "gated", "safetensors", "gguf", "config", "cardData", "pipeline_tag")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the Hub's listing: strings from outside, of which only the types are checked.

    parameters: their number for each dtype ("": whatever it is); empty if the Hub has not counted them.
    task: its pipeline; None if none is stated.
    """

    repo: str
    downloads: int
    gated: bool
    parameters: Mapping[str, int]
    model_type: str | None
    base_model: str | None
    task: str | None = TEXT_GENERATION


def listed_models(
    author: str | None, settings: Settings, throttle: Throttle, formats: tuple[str, ...] = ("safetensors",)
) -> Iterator[Listed]:
    """Models with weights in one of the formats, the most downloaded first, requested page by page.

    Those with safetensors are for text generation; of other formats, other tasks are listed, too. A model
    with several formats may be listed as often. Raises NotOffered or Unreachable.
    """
    api = ApiClient(settings, RequestPolicy(settings, throttle))
    common = [("author", author)] if author else []
    shown = [("sort", "downloads"), *(("expand", name) for name in _FIELDS)]
    listings = [map(_listed, api.listing([*common, *_QUERIES[name], *shown])) for name in formats]
    return heapq.merge(*listings, key=lambda model: -model.downloads)


def _listed(info: ApiDocument) -> Listed:
    gguf, task = info.raw.get("gguf"), info.raw.get("pipeline_tag")
    kinds = (_member(info.raw.get("config"), "model_type"), _member(gguf, "architecture"))
    counts = _member(info.raw.get("safetensors"), "parameters")
    if not isinstance(counts, dict):
        counts = {"": _member(gguf, "total")}
    return Listed(
        repo=storable(info.get("id", str)),
        downloads=_count(info.raw.get("downloads")) or 0,
        gated=bool(info.raw.get("gated")),
        parameters={
            storable(dtype): number
            for dtype, stated in counts.items()
            if (number := _count(stated)) is not None
        },
        model_type=next((storable(kind) for kind in kinds if isinstance(kind, str)), None),
        base_model=stated_base_model(info),
        task=storable(task) if isinstance(task, str) else None,
    )


def _member(value: Any, name: str) -> Any:  # Any: JSON
    return value.get(name) if isinstance(value, dict) else None


def _count(value: Any) -> int | None:  # Any: JSON
    """A plausible count; None for anything else."""
    return value if type(value) is int and 0 <= value < 1 << 62 else None
