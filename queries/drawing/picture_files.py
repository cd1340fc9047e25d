"""Static pictures: an Altair chart to a PNG or SVG file, drawn without a browser or a network.

Altair and vl-convert come with the extra `plots`; only this file knows how they are loaded and run.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from queries.drawing.chart_page import chart_page
from survey.errors import UsageError
from survey.process.output_path import check_output_path, write_output

if TYPE_CHECKING:
    import altair as alt

ENDINGS = (".png", ".svg")
HTML_SUFFIX = ".html"  # charts with tooltips
PIXELS = 2.0  # of a PNG, for each unit of a chart's width and height


def check_picture(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Check, before a long computation, that a picture can be drawn there.

    Raises UsageError if the ending is wrong, the folder missing, or the extra `plots` not installed.
    """
    if path.suffix.lower() not in endings:
        raise UsageError(f"--plot {path}: a picture's name ends in {' or '.join(endings)}")
    check_output_path(path, "--plot")
    check_extra("--plot")


def check_extra(feature: str, *more: str) -> None:
    """Check that the extra `plots` is installed. Raises UsageError.

    feature: the option or command that needs it. more: packages that it needs besides.
    """
    needed = ("altair", "vl_convert", *more)
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"{feature} needs {' and '.join(missing)}: pip install 'centroid-survey[plots]' "
            "(in a clone: pip install '.[plots]')"
        )


def save_picture(chart: alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart, path: Path) -> None:
    """Draw a chart into a file: by its ending PNG, SVG, or a page with the library that draws it.

    Raises UsageError as `check_picture`, and if the file cannot be written.
    """
    check_picture(path, (*ENDINGS, HTML_SUFFIX))
    import altair as alt
    import vl_convert

    with alt.data_transformers.enable("default", max_rows=None):  # our data are binned already
        drawn = chart.to_json(indent=None)
    if path.suffix.lower() == ".svg":
        picture = vl_convert.vegalite_to_svg(drawn).encode()
    elif path.suffix.lower() == HTML_SUFFIX:
        picture = chart_page(json.loads(drawn), drawing_library()).encode()
    else:
        picture = _packed(vl_convert.vegalite_to_png(drawn, scale=PIXELS))
    try:
        write_output(path, picture)
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written: {error.strerror}") from error


def drawing_library() -> str:
    """The script that draws charts in a page: it defines `vegaEmbed`."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _packed(png: bytes) -> bytes:
    """The same PNG in half the bytes, as vl-convert compresses for speed."""
    start, at, pixels, others = 8, 8, b"", []
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, chunk = png[at + 4 : at + 8], png[at : at + 12 + size]
        if kind == b"IDAT":
            pixels += chunk[8:-4]
        else:
            others.append(chunk)
        at += 12 + size
    packed = b"IDAT" + zlib.compress(zlib.decompress(pixels), 9)
    new = struct.pack(">I", len(packed) - 4) + packed + struct.pack(">I", zlib.crc32(packed))
    return png[:start] + b"".join(others[:-1]) + new + others[-1]
