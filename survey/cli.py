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
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from survey import VERSION
from survey.errors import CatalogInUse, SurveyError, UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from catalog.files import File
    from catalog.read import Answer, Reader
    from jobs.run import Request
    from survey.records import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
_PERSONAL = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "RAY_ADDRESS",
)  # fmt: skip
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
    except (BrokenPipeError, SystemExit):  # `survey sql … | head`; click turns the one into the other
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing more can be printed
        return 0


def _complain(error: Exception, code: int) -> int:
    click.echo("survey: " + "\n".join(printable(line) for line in str(error).splitlines()), err=True)
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
    help="The catalog: a folder, or a URL such as s3://bucket/prefix, gs://… or hf://datasets/….",
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
@click.version_option(VERSION)
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
    if summary is not None:
        _check_writable(summary)
    place = place_to_write(uri)
    before = signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's stop keeps what is finished, too
    try:
        result = run_survey(request, settings, place, progress_for(_console(stderr=True)))
    finally:
        signal.signal(signal.SIGTERM, before)
    _name_damaged(result.set_aside, "set aside")
    for warning in result.warnings:
        click.echo(f"survey: {warning}", err=True)
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}. Name another with --folder") from error
    catalog_uri = str(folder / "catalog")
    with _alone(), _demo_hub(folder) as (endpoint, models):
        click.echo(f"A Hub on loopback at {endpoint} serves {len(models)} small models.\n")
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
        f'  survey sql "SELECT repo, dead_live_angle_deg FROM models" --catalog {catalog_uri}'
    )
    return code


@contextmanager
def _alone() -> Iterator[None]:
    """Nothing of the person's own set-up, which the demo's Hub knows nothing of: token, proxy, cluster."""
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
    from jobs.demo.show import prepared  # only now: the Hub's client reads the environment once

    return prepared(folder)


# ---------------------------------------------------------------------- lists, and every night


@cli.command()
@click.option("--author", metavar="NAME", help="A user or an organisation on the Hub.")
@click.option("--family", metavar="NAME", help="As in the catalog: Qwen, Llama, Gemma, …")
@click.option(
    "--min-downloads", type=click.IntRange(min=0), default=0, show_default=True,
    help="Leave out models with fewer downloads in the last 30 days.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most models.")
@click.option("--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co).")
def discover(endpoint: str | None, **wanted: Any) -> int:
    """Write a list of models from the Hub's listing: text generation, safetensors, by downloads.

    \b
    survey discover --author Qwen --limit 50 > models.txt
    survey discover --family Gemma --min-downloads 10000 > models.txt
    """
    from jobs.discover import Wish, as_list
    from jobs.discover import discover as discover_models
    from survey.records import Settings

    wish = Wish(**wanted)
    settings = Settings(
        endpoint=(endpoint or os.environ.get("HF_ENDPOINT") or Settings().endpoint).rstrip("/"),
        token=os.environ.get("HF_TOKEN") or None,
    )
    found = discover_models(wish, settings)
    click.echo(as_list(found.models), nl=False)
    click.echo(f"survey: {found.summary(wish)}", err=True)
    return 0 if found.models else 1


@cli.command()
@click.argument("models", required=False, type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, metavar="[-- OPTIONS OF RUN]")
@click.option(
    "--on", "scheduler", required=True, type=click.Choice(("cron", "systemd", "kubernetes", "github")),
    help="Who starts the run.",
)  # fmt: skip
@click.option("--at", metavar="HH:MM", help="The time of day.")
@click.option(
    "--timezone", "zone", metavar="TZ",
    help="Where it is that time, such as Europe/Berlin (default: the machine's; UTC off this machine).",
)  # fmt: skip
@catalog_option
@click.option(
    "--log", type=click.Path(dir_okay=False, path_type=Path),
    help="Where the run's output is appended (cron, systemd; default: in ~/.local/state/centroid-survey).",
)  # fmt: skip
@click.option("--image", help="A container image that holds `survey` (kubernetes).")
@click.option("--package", help="What pip installs on the runner (github; default: this version).")
@click.option(
    "--install", "action", flag_value="install", help="Put the unit in place, instead of printing it."
)
@click.option("--list", "action", flag_value="list", help="Name the units that are in place.")
@click.option("--remove", "action", flag_value="remove", help="Remove the unit of MODELS and --catalog.")
def nightly(
    models: Path | None, scheduler: str, uri: str, at: str | None, action: str | None, **given: Any
) -> int:
    """Print or install the unit that runs a survey every night.

    MODELS is a list. What follows a lone -- goes to `survey run`.

    \b
    survey nightly models.txt --at 02:00 --timezone Europe/Berlin --on cron --install
    survey nightly models.txt --at 02:00 --on systemd -- --matrix both
    survey nightly --on cron --list
    """
    from jobs.nightly import install, installed, remove, unit
    from jobs.nightly_job import key_job, make_job, this_machine

    machine = this_machine(os.environ)
    if action == "list":
        for line in installed(scheduler, machine):
            click.echo(line)
        return 0
    if models is None:
        raise UsageError("name the list of models: survey nightly MODELS --at HH:MM --on …")
    if action == "remove":
        click.echo(f"survey: removed {remove(scheduler, key_job(models, uri), machine)}", err=True)
        return 0
    if at is None:
        raise UsageError("say when: --at HH:MM")
    _check_run_options(models, given["options"])
    job = make_job(models, uri, at, **given)
    if action is None:
        click.echo(unit(scheduler, job, machine), nl=False)
        return 0
    for line in install(scheduler, job, machine):
        click.echo(f"survey: {line}", err=True)
    return 0


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
    from catalog.read import Answer
    from queries.library import load, pick

    library = load(folders)
    if name is None and form == "table":
        for item in library.values():
            click.echo(f"{item.name:<14} {item.help}\n{'':<14} {item.signature}")
        return 0
    if name is None:
        rows = [(item.name, item.help, item.signature) for item in library.values()]
        _print_in(form, Answer(["query", "answers", "parameters"], ["VARCHAR"] * 3, list(rows)))
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
@answer_options
def show(model: str, uri: str, form: str) -> int:
    """One model's card: its numbers, its black holes, its failures.

    \b
    survey show Qwen/Qwen3-4B
    survey show Qwen/Qwen3-4B@main --format json
    """
    from queries.card import card_rows, print_card

    name = str(Path(model).resolve()) if Path(model).is_dir() else model
    with _reader(uri) as reader:
        if form == "table":
            print_card(reader, name, _console())
        else:
            _print_answer(reader, form, *card_rows(reader, name))
    return 0


@cli.command()
@answer_options
def status(uri: str, form: str) -> int:
    """What the catalog holds, what the last runs did, what is failing.

    \b
    survey status --catalog ./mine
    """
    from queries.status import COUNTS, print_status

    with _reader(uri) as reader:
        if form == "table":
            print_status(reader, uri, _console())
        else:
            _print_answer(reader, form, COUNTS, {})
    return 0


@cli.command()
@catalog_option
def compact(uri: str) -> int:
    """Merge loose files into few large ones; a run does it by itself from 500 on.

    Readers may go on meanwhile. What was merged is removed by the next compaction or run.

    \b
    survey compact --catalog ./mine
    """
    from catalog.place import place_to_read
    from jobs.run import compact_now

    done = compact_now(place_to_read(uri))
    click.echo(
        f"{done.merged} loose files merged: {done.rows} rows in {done.parts} new parts; "
        f"{done.removed} files removed that had been merged before"
    )
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
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise UsageError(f"--endpoint {endpoint}: expected a URL such as https://huggingface.co")
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


def _check_run_options(models: Path, options: Sequence[str]) -> None:
    """Let `survey run` itself judge what a unit would hand to it, now and not at night."""
    context = run.make_context("survey run", [str(models), *options])
    if len(context.params["models"]) != 1:
        raise UsageError(f"a unit runs one list, and after -- come options: {' '.join(options)}")
    if any(option.partition("=")[0] == "--catalog" for option in options):
        raise UsageError("give --catalog before the --, so that the unit knows it")


def _print_plan(models: tuple[str, ...], uri: str, *, explain: bool, **options: Any) -> int:
    from catalog.done import NOTHING_DONE, read_done
    from catalog.place import place_if_there
    from jobs.progress import progress_for
    from jobs.run import plan_only
    from jobs.summary import print_plan

    request, settings = _request(models, **options)
    done = NOTHING_DONE
    if place_if_there(uri) is not None and not request.resurvey:
        with _reader(uri) as reader:
            done = read_done(reader)
    found = plan_only(request, settings, done, progress_for(_console(stderr=True)))
    print_plan(found, _console(), explain=explain)
    return 1 if found.refusals else 0


def _answer(uri: str, form: str, statement: str, parameters: dict[str, Any]) -> int:
    with _reader(uri) as reader:
        _print_answer(reader, form, statement, parameters)
    return 0


def _print_answer(reader: Reader, form: str, statement: str, parameters: dict[str, Any]) -> None:
    if form == "parquet":
        if sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal: add > FILE.parquet")
        sys.stdout.buffer.write(reader.ask_parquet(statement, parameters))
        return
    _print_in(form, reader.ask(statement, parameters))


def _print_in(form: str, answer: Answer) -> None:
    from queries.render import as_csv, as_json, as_markdown, print_table

    if form == "table":
        print_table(answer, _console())
        return
    printers: dict[str, Callable[[Answer], str]] = {"csv": as_csv, "json": as_json, "md": as_markdown}
    click.echo(printers[form](answer), nl=False)


def _check_writable(path: Path) -> None:
    """Before a long run, not after it."""
    if not path.parent.is_dir():
        raise UsageError(f"--summary {path}: there is no folder {path.parent}")


@contextmanager
def _reader(uri: str) -> Iterator[Reader]:
    from catalog.place import place_to_read
    from catalog.read import Reader

    with Reader(place_to_read(uri)) as reader:
        try:
            yield reader
        finally:
            _name_damaged(reader.damaged, "left out")


def _name_damaged(files: Sequence[File], done: str) -> None:
    for file in files:
        click.echo(f"survey: {file}: not a whole Parquet file; {done}", err=True)


def _pairs(params: Sequence[str]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise UsageError(f"--param {param}: write name=value")
    given = dict(param.split("=", 1) for param in params)
    # A checkpoint folder is known by its full path.
    forced = ("./", "../", "/", "~")
    return {
        name: str(Path(value).expanduser().resolve()) if value.startswith(forced) else value
        for name, value in given.items()
    }


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # Rich would exit with 1, which means failed models here
            raise BrokenPipeError

    console = Piped(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Piped(stderr=stderr, highlight=False, width=PLAIN_WIDTH)
    return console


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
