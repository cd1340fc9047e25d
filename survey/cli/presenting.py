"""Commands that show a catalog in a browser: report, serve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from survey import VERSION
from survey.cli.common import catalog_option, catalog_reader, console, options_of, queries_option
from survey.cli.streams import say
from survey.errors import UsageError

_HOST = r"(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]"  # a name, all names below one, or [an IPv6 address]
_page_options = options_of(
    click.option("--title", default="Centroid Survey", show_default=True, help="The page's title."),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=2000,
        show_default=True,
        help="Show that many models at most, those measured last.",
    ),
)


@click.command()
@click.option(
    "-o", "out", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
    help="The page to write.",
)  # fmt: skip
@_page_options
@catalog_option
def report(out: Path, title: str, limit: int, uri: str) -> int:
    """Write one page with everything: charts, tables, cards; it opens from disk and asks nobody.

    \b
    survey report -o report.html --catalog ./mine
    """
    from queries.pictures import check_extra
    from queries.report import Heading
    from queries.report import report as write_report

    check_extra("survey report")
    if not out.parent.is_dir():
        raise UsageError(f"-o {out}: there is no folder {out.parent}")
    if out.is_file() and out.stat().st_size and not _is_page(out):
        raise UsageError(f"-o {out}: is there and no page: name another file")
    progress = console(stderr=True)
    with catalog_reader(uri) as reader, progress.status("reading the catalog") as status:
        page = write_report(reader, Heading(title, VERSION), limit, status.update)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:  # which names no file where it comes of what is written, as on a full disk
        raise UsageError(f"-o {out}: cannot be written: {error.strerror}") from error
    say(f"{out}: {len(page.encode()) / 1e6:.1f} MB")
    return 0


def _is_page(path: Path) -> bool:
    with path.open("rb") as opened:
        return opened.read(15).lower() == b"<!doctype html>"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any that is free."
)
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME",
    help="A name by which browsers may call it, besides --host and localhost.",
)  # fmt: skip
@_page_options
@click.option(
    "--timeout", "seconds", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
    metavar="S", help="Seconds that one question may take.",
)  # fmt: skip
@click.option(
    "--memory", "memory_mb", type=click.IntRange(min=64), default=1024, show_default=True,
    metavar="MB", help="Memory that one question may take.",
)  # fmt: skip
@queries_option
@catalog_option
def serve(
    host: str,
    port: int,
    names: tuple[str, ...],
    title: str,
    uri: str,
    folders: tuple[Path, ...],
    **limits: Any,
) -> int:
    """The report live: always as the catalog is now, with a box for SQL, files and JSON; it only reads.

    \b
    survey serve --catalog ./mine
    curl -H X-Requested-With:survey 'http://127.0.0.1:8765/api/query/families?format=csv'
    """
    from catalog.place import place_to_read
    from queries.pictures import check_extra
    from queries.report import Heading

    check_extra("survey serve", "starlette", "uvicorn")
    from queries.serve import Served, listen

    for name in names:
        if not re.fullmatch(_HOST, name):
            raise UsageError(f"--allow-host {name}: write one name, as in survey.example.org, no port")
    place_to_read(uri)
    if host in ("0.0.0.0", "::"):
        called = " or ".join(names) or "localhost alone: name others with --allow-host"
        say(f"whoever reaches this machine may ask; browsers call it {called}")
    served = Served(uri, Heading(title, VERSION), folders=folders, **limits)
    listen(served, host, port, names, lambda url: say(f"{url} (Ctrl-C ends it)"))
    return 0
