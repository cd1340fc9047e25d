"""The command line: parse, build one frozen request, call one function, print, return a code.

Exit codes: 0 all measured or already there; 1 some models failed; 2 misuse; 3 another run holds
the catalog; 130 interrupted. Results go to stdout, progress and complaints to stderr.

The only module that may import every folder. Imports stand inside the commands, so that
`survey query` never loads torch or Ray and `--help` loads neither.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from survey.errors import CatalogInUse, SurveyError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from catalog.read import Answer, Reader
    from jobs.run import Request
    from survey.records import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
PLAIN_WIDTH = 400  # off a terminal nothing is wrapped: a program may read it


def entry() -> None:
    """The console script."""
    code = main(sys.argv[1:])
    if code == INTERRUPTED:
        # Everything finished is in the catalog; threads that wait for a stalled server would
        # hold the process until their timeout.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = cli.main(args=list(argv), prog_name="survey", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except CatalogInUse as error:
        return _complain(error, 3)
    except (UsageError, SurveyError) as error:
        return _complain(error, 2)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # `survey sql … | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing more can be printed
        return 0


def _complain(error: Exception, code: int) -> int:
    click.echo(f"survey: {error}", err=True)
    return code


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


catalog_option = click.option(
    "--catalog",
    "uri",
    default="./survey-catalog",
    show_default=True,
    metavar="URI",
    help="The catalog's folder.",
)
answer_options = _options(
    catalog_option,
    click.option(
        "--format",
        "form",
        type=click.Choice(("table", "csv", "json", "md", "parquet")),
        default="table",
        show_default=True,
        help="How to print the answer.",
    ),
)
find_options = _options(
    catalog_option,
    click.option(
        "--matrix",
        type=click.Choice(("output", "input", "both")),
        default="output",
        show_default=True,
        help="The unembedding, the embedding, or both (once, where they are tied).",
    ),
    click.option("--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co)."),
    click.option(
        "--connections",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Connections at a time in the whole run (default: 8 for each running model).",
    ),
    click.option("--no-tokens", is_flag=True, help="Leave out the per-token table."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="centroid-survey")
def cli() -> None:
    """Survey the vocabulary matrices of many language models.

    \b
    survey demo                              everything, offline, in a minute
    survey run Qwen/Qwen3-4B models.txt      measure models into ./survey-catalog
    survey query families                    ask the catalog
    """


# --------------------------------------------------------------------------------- measuring


@cli.command()
@click.argument("models", nargs=-1, required=True)
@find_options
@click.option("--address", metavar="ADDR", help="A Ray cluster (default: RAY_ADDRESS, else an embedded Ray).")
@click.option(
    "--executor", type=click.Choice(("ray", "serial")), default="ray", show_default=True,
    help="Ray tasks, or one model after another in this process.",
)  # fmt: skip
@click.option("--ship-code", is_flag=True, help="Send this package to nodes that lack it.")
@click.option(
    "--device", type=click.Choice(("auto", "cpu", "cuda", "mps")), default="auto", show_default=True,
    help="Where the arithmetic is done.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=1800.0, show_default=True,
    metavar="S", help="Seconds that one model may take, from its start.",
)  # fmt: skip
@click.option("--resurvey", is_flag=True, help="Measure again what the catalog already holds.")
@click.option(
    "--summary", "summary", type=click.Path(dir_okay=False, path_type=Path), help="Write the outcome as JSON."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def run(models: tuple[str, ...], uri: str, summary: Path | None, dry_run: bool, **options: Any) -> int:
    """Measure models into a catalog, one row each; what is there already is skipped.

    MODELS are lists (one model a line), Hub ids such as org/name[@revision], or checkpoint folders.

    \b
    survey run models.txt
    survey run Qwen/Qwen3-4B ./my-checkpoint --catalog ./mine
    """
    from catalog.place import place_to_write
    from jobs.progress import progress_for
    from jobs.run import run as run_survey
    from jobs.run import summary_json
    from jobs.summary import print_result

    if dry_run:
        return _print_plan(models, uri, explain=False, **options)
    request, settings = _request(models, **options)
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's stop keeps what is finished, too
    result = run_survey(request, settings, place_to_write(uri), progress_for(_console(stderr=True)))
    _name_damaged(result.set_aside, "set aside")
    print_result(result, _console())
    if summary is not None:
        summary.write_text(summary_json(result), encoding="utf-8")
    return result.exit_code


@cli.command()
@click.argument("models", nargs=-1, required=True)
@find_options
@click.option("--explain", is_flag=True, help="Say why this tensor was chosen.")
def plan(models: tuple[str, ...], uri: str, explain: bool, **options: Any) -> int:
    """Print what a run would read: commit, tensor, file, bytes, memory.

    \b
    survey plan Qwen/Qwen3-4B --explain
    """
    return _print_plan(models, uri, explain=explain, **options)


@cli.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("survey-demo"),
    show_default=True,
    help="Where the demo's models and catalog are put.",
)
@click.option(
    "--executor", type=click.Choice(("ray", "serial")), default="ray", show_default=True, help="As in run."
)
def demo(folder: Path, executor: str) -> int:
    """Everything, offline, in a minute: small models, a local Hub, a run, an answer.

    \b
    survey demo
    survey sql "SELECT repo, dead_count FROM models" --catalog survey-demo/catalog
    """
    from jobs.demo.show import prepared

    catalog_uri = str(folder / "catalog")
    with prepared(folder) as (endpoint, models):
        click.echo(f"A Hub on loopback at {endpoint} serves {len(models)} small models.\n")
        arguments = ["--catalog", catalog_uri, "--endpoint", endpoint, "--executor", executor]
        click.echo(f"$ survey run {folder / 'models.txt'} --catalog {catalog_uri} --endpoint {endpoint}")
        code = main(["run", str(folder / "models.txt"), *arguments])
    click.echo(f"\n$ survey query families --catalog {catalog_uri}")
    code = max(code, main(["query", "families", "--catalog", catalog_uri]))
    click.echo(
        "\nThe catalog stays. Ask it more:\n"
        f"  survey query black_holes --catalog {catalog_uri}\n"
        f"  survey show {models[0]} --catalog {catalog_uri}\n"
        f'  survey sql "SELECT repo, dead_live_angle_deg FROM models" --catalog {catalog_uri}'
    )
    return code


# ------------------------------------------------------------------------------------ asking


@cli.command()
@click.argument("name", required=False)
@click.option("--param", "params", multiple=True, metavar="K=V", help="A parameter of the query.")
@click.option(
    "--queries",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder with more .sql files.",
)
@answer_options
def query(name: str | None, params: tuple[str, ...], folders: tuple[Path, ...], uri: str, form: str) -> int:
    """Run a named query; without NAME, list them.

    \b
    survey query
    survey query families
    survey query compare --param a=Qwen/Qwen3-4B --param b=google/gemma-3-4b-it
    """
    from queries.library import load, pick

    library = load(folders)
    if name is None:
        for item in library.values():
            click.echo(f"{item.name:<14} {item.help}\n{'':<14} {item.signature}")
        return 0
    chosen = pick(library, name)
    return _answer(uri, form, chosen.sql, chosen.bind(_pairs(params)))


# A statement may begin with a comment, which looks like an option.
@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("statement")
@answer_options
def sql(statement: str, uri: str, form: str) -> int:
    """Ask in SQL: views models, black_holes, exponents, vectors, tokens, attempts.

    \b
    survey sql "SELECT family, avg(centroid_ratio) FROM models GROUP BY family"
    """
    return _answer(uri, form, statement, {})


@cli.command()
@click.argument("model")
@catalog_option
def show(model: str, uri: str) -> int:
    """One model's card: its numbers, its black holes, its failures.

    \b
    survey show Qwen/Qwen3-4B
    """
    from queries.card import print_card

    name = str(Path(model).resolve()) if Path(model).is_dir() else model
    with _reader(uri) as reader:
        print_card(reader, name, _console())
    return 0


@cli.command()
@catalog_option
def status(uri: str) -> int:
    """What the catalog holds, what the last runs did, what is failing.

    \b
    survey status --catalog ./mine
    """
    from queries.status import print_status

    with _reader(uri) as reader:
        print_status(reader, uri, _console())
    return 0


# ------------------------------------------------------------------------------------ pieces


def _request(
    models: tuple[str, ...],
    *,
    matrix: Any,
    endpoint: str | None,
    connections: int | None,
    no_tokens: bool,
    address: str | None = None,
    executor: Any = "serial",
    ship_code: bool = False,
    device: str = "auto",
    timeout_s: float = 1800.0,
    resurvey: bool = False,
) -> tuple[Request, Settings]:
    from jobs.model_list import read_models
    from jobs.run import Request, new_run_id
    from survey.records import Settings

    listed = read_models(models, Path.cwd())
    for line in listed.duplicates:
        click.echo(f"survey: {line}; measured once", err=True)
    request = Request(
        listed.models,
        matrix,
        resurvey,
        executor,
        address or os.environ.get("RAY_ADDRESS") or None,
        ship_code,
        connections,
    )
    settings = Settings(
        endpoint=(endpoint or os.environ.get("HF_ENDPOINT") or Settings().endpoint).rstrip("/"),
        token=os.environ.get("HF_TOKEN") or None,
        connections=min(connections or 8, 64),
        device=device,
        tokens=not no_tokens,
        timeout_s=timeout_s,
        run_id=new_run_id(),
    )
    return request, settings


def _print_plan(models: tuple[str, ...], uri: str, *, explain: bool, **options: Any) -> int:
    from catalog.done import NOTHING_DONE, read_done
    from jobs.progress import progress_for
    from jobs.run import plan_only
    from jobs.summary import print_plan

    request, settings = _request(models, **options)
    done = NOTHING_DONE
    if Path(uri).is_dir() and not request.resurvey:
        with _reader(uri) as reader:
            done = read_done(reader)
    found = plan_only(request, settings, done, progress_for(_console(stderr=True)))
    print_plan(found, _console(), explain=explain)
    return 1 if found.refusals else 0


def _answer(uri: str, form: str, statement: str, parameters: dict[str, Any]) -> int:
    from queries.render import as_csv, as_json, as_markdown, print_table

    with _reader(uri) as reader:
        if form == "parquet":
            sys.stdout.buffer.write(reader.ask_parquet(statement, parameters))
            return 0
        answer = reader.ask(statement, parameters)
    if form == "table":
        print_table(answer, _console())
        return 0
    printers: dict[str, Callable[[Answer], str]] = {
        "csv": as_csv,
        "json": as_json,
        "md": as_markdown,
    }
    click.echo(printers[form](answer), nl=False)
    return 0


def _reader(uri: str) -> Reader:
    from catalog.place import place_to_read
    from catalog.read import Reader

    reader = Reader(place_to_read(uri))
    _name_damaged(reader.damaged, "left out")
    return reader


def _name_damaged(files: Sequence[Path], done: str) -> None:
    for file in files:
        click.echo(f"survey: {file}: not a whole Parquet file; {done}", err=True)


def _pairs(params: Sequence[str]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise UsageError(f"--param {param}: write name=value")
    return dict(param.split("=", 1) for param in params)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)
    return console


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
