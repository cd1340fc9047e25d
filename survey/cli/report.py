"""`survey report`: the whole catalog on one page, for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from survey import VERSION
from survey.cli.options import catalog_option, options_of
from survey.cli.output import catalog_reader, console
from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.output_path import check_output_path, write_output
from survey.records.units import bytes_text

page_options = options_of(
    click.option("--title", default="Centroid Survey", show_default=True, help="The page's title."),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=2000,
        show_default=True,
        metavar="N",
        help="Show at most N models, the most recently measured ones.",
    ),
)


@click.command("report")
@click.option(
    "-o", "out", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
    help="The page to write.",
)  # fmt: skip
@page_options
@catalog_option
def command(out: Path, title: str, limit: int, uri: str) -> int:
    """Write one page with charts, tables and cards, which opens from disk and needs no network.

    \b
    survey report -o report.html --catalog ./mine
    """
    from queries.drawing.picture_files import check_extra
    from queries.web.report import Heading
    from queries.web.report import build_report as write_report

    check_extra("survey report")
    check_output_path(out, "-o")
    if out.is_file() and out.stat().st_size and not _is_page(out):
        raise UsageError(f"-o {out}: exists and is no HTML page; name another file")
    progress = console(stderr=True)
    with catalog_reader(uri) as reader, progress.status("reading the catalog") as status:
        page = write_report(reader, Heading(title, VERSION), limit, status.update)
    try:
        write_output(out, page.encode())
    except OSError as error:  # it names no file if the write itself fails, as on a full disk
        raise UsageError(f"-o {out}: cannot be written: {error.strerror}") from error
    say(f"{out}: {bytes_text(len(page.encode()))}")
    return 0


def _is_page(path: Path) -> bool:
    with path.open("rb") as opened:
        return opened.read(15).lower() == b"<!doctype html>"
