"""What the charts of the survey share: their colours, their theme, and how records become their data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from survey.errors import printable

_OF_EVERY_OBJECT = (
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString",
    "valueOf", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
)  # fmt: skip
DEAD, LIVE = "#d1495b", "#3d7ea6"


def theme(chart: alt.TopLevelMixin, ink: str = "currentColor") -> alt.TopLevelMixin:
    """No background, thin lines, text in the page's own colour, so that dark pages can be read, too.

    ink: the colour of text; a picture without a page needs one of its own.
    """
    text: dict[str, Any] = {"labelColor": ink, "titleColor": ink}
    return chart.configure(
        background="transparent",
        axis=alt.AxisConfig(
            **text, domainColor=ink, tickColor=ink, gridOpacity=0.15, gridColor=ink, titleFontWeight="normal"
        ),
        legend=alt.LegendConfig(**text, orient="bottom", columns=4, symbolLimit=40, symbolBaseFillColor=ink),
        title=alt.TitleConfig(color=ink, anchor="start", fontWeight="normal"),
        header=alt.HeaderConfig(**text),
        view=alt.ViewConfig(stroke="transparent"),
        font="system-ui, sans-serif",
    )


def chart_name(text: str) -> str:
    """A name of others as charts show it; the same text for nearly all.

    Vega fails at line separators in names, and at names that every object of JavaScript has.
    """
    shown = printable(text)
    return f"“{shown}”" if shown in _OF_EVERY_OBJECT else shown


def chart_data(rows: Sequence[Any] | str) -> alt.Data | alt.NamedData:  # Any: a record, or a dict of JSON
    """Data of a chart: records or dicts by value, or the name under which a page holds them."""
    if isinstance(rows, str):
        return alt.NamedData(name=rows)
    return alt.Data(values=list(map(_as_dict, rows)))


def _as_dict(row: Any) -> dict[str, Any]:
    return row if isinstance(row, dict) else asdict(row)
