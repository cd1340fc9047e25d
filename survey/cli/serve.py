"""`survey serve`: the report as a live page, with a box for SQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from survey import VERSION
from survey.cli.options import catalog_option, queries_option
from survey.cli.report import page_options
from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.memory_limit import limited_memory

_HOST = r"(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]"  # a name, all names below one, or [an IPv6 address]


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
    help="The port to listen on; 0: any free one.",
)  # fmt: skip
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME",
    help="A host name that browsers may use, besides --host and localhost.",
)  # fmt: skip
@page_options
@click.option(
    "--timeout", "seconds", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
    metavar="S", help="Seconds that one query may take.",
)  # fmt: skip
@click.option(
    "--memory", "memory_mb", type=click.IntRange(min=64), default=1024, show_default=True,
    metavar="MB", help="Memory that one query may take.",
)  # fmt: skip
@queries_option
@catalog_option
def command(
    host: str,
    port: int,
    names: tuple[str, ...],
    title: str,
    uri: str,
    folders: tuple[Path, ...],
    **limits: Any,
) -> int:
    """Serve the report of the catalog as it is now, with a box for SQL, downloads and JSON; read-only.

    \b
    survey serve --catalog ./mine
    curl -H X-Requested-With:survey 'http://127.0.0.1:8765/api/query/families?format=csv'
    """
    from catalog.store.open import open_for_reading
    from queries.drawing.picture_files import check_extra
    from queries.web.report import Heading

    check_extra("survey serve", "starlette", "uvicorn")
    from queries.web.application import Served
    from queries.web.serve import listen

    for name in names:
        if not re.fullmatch(_HOST, name):
            raise UsageError(f"--allow-host {name}: write one name, as in survey.example.org, no port")
    open_for_reading(uri)
    if host in ("0.0.0.0", "::"):
        host_names = " or ".join(names) or "localhost alone: name others with --allow-host"
        say(f"whoever reaches this machine may ask; browsers call it {host_names}")
    served = Served(uri, Heading(title, VERSION), folders=folders, **limits)
    with limited_memory():  # the page is built in this process
        listen(served, host, port, names, lambda url: say(f"{url} (Ctrl-C ends it)"))
    return 0
