"""`survey demo`: the whole survey, offline, in a minute."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event

import click

from survey.cli.options import executor_option
from survey.cli.stopping import INTERRUPTED, stoppable
from survey.errors import UsageError

_PERSONAL = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "RAY_ADDRESS",
)  # fmt: skip


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("survey-demo"),
    show_default=True,
    help="Folder of the demo's list of models and catalog.",
)
@executor_option
@click.option(
    "--hub", "hub_only", is_flag=True, help="Only serve the models, until Ctrl-C, for commands of your own."
)
def command(folder: Path, executor: str, hub_only: bool) -> int:
    """Run the whole survey offline, in a minute: small models, a local Hub, a run, an answer.

    \b
    survey demo
    survey demo --hub
    survey sql "SELECT repo, dead_count FROM models" --catalog survey-demo/catalog
    """
    from survey.cli import main

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}. Name another with --folder") from error
    catalog_uri = str(folder / "catalog")
    with stoppable(), _without_own_settings(), _demo_hub(folder) as (endpoint, models):
        click.echo(f"A Hub on loopback at {endpoint} serves {len(models)} small models.\n")
        if hub_only:
            click.echo(f"Until Ctrl-C. In another terminal:\n  export HF_ENDPOINT={endpoint}")
            click.echo(f"  survey run {folder / 'models.txt'}")
            Event().wait()
        arguments = ["--catalog", catalog_uri, "--endpoint", endpoint, "--executor", executor]
        click.echo(f"$ survey run {folder / 'models.txt'} --catalog {catalog_uri} --endpoint {endpoint}")
        code = main(["run", str(folder / "models.txt"), *arguments])
    if code == INTERRUPTED:
        return code
    click.echo(f"\n$ survey query families --catalog {catalog_uri}")
    code = max(code, main(["query", "families", "--catalog", catalog_uri]))
    click.echo(
        "\nThe catalog stays. Ask it more:\n"
        f"  survey query black_holes --catalog {catalog_uri}\n"
        f"  survey show {models[0]} --catalog {catalog_uri}\n"
        f"  survey lineage {models[0]} {models[0]}-GGUF --catalog {catalog_uri}\n"
        f'  survey sql "SELECT repo, dead_live_angle_deg FROM models" --catalog {catalog_uri}'
    )
    return code


@contextmanager
def _without_own_settings() -> Iterator[None]:
    """An environment without the user's token, proxy and cluster, none of which fit the demo's Hub."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="survey-home-") as home:
        for name in _PERSONAL:
            os.environ.pop(name, None)
            os.environ.pop(name.lower(), None)
        os.environ |= {"HF_HOME": home, "NO_PROXY": "127.0.0.1,127.0.0.2"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _demo_hub(folder: Path) -> AbstractContextManager[tuple[str, list[str]]]:
    # Only now: the Hub's client reads the environment once, when it is imported.
    from jobs.demo.demo_hub import demo_hub

    return demo_hub(folder)
