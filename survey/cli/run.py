"""Commands that fill a catalog: run, plan, compact."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import find_options
from survey.cli.output import catalog_reader, console, hub_access, name_left_out
from survey.cli.stopping import stoppable
from survey.cli.streams import give_up_stdout, say
from survey.errors import UsageError

if TYPE_CHECKING:
    from jobs.run.driver import RunRequest
    from jobs.run.ledger import RunLedger
    from survey.records.settings import ReferenceTokens, Settings


@click.command("run")
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
@click.option(
    "--reference-tokens", metavar="own|FILE",
    help="Measure distances to known unused tokens, too: those that the tokenizer names so, or FILE's "
    "(an id or a text a line). Reads each matrix twice more.",
)  # fmt: skip
@click.option("--resurvey", is_flag=True, help="Measure again what the catalog already holds.")
@click.option(
    "--summary", "summary", type=click.Path(dir_okay=False, path_type=Path), help="Write the outcome as JSON."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def command(models: tuple[str, ...], uri: str, summary: Path | None, dry_run: bool, **options: Any) -> int:
    """Measure models into a catalog, one row each; what is there already is skipped.

    MODELS are lists (one model a line; - is standard input), Hub ids such as org/name[@revision], URLs of
    the Hub's pages, or checkpoint folders.

    \b
    survey run models.txt
    survey run Qwen/Qwen3-4B ./my-checkpoint --catalog ./mine
    """
    if dry_run:
        return show_plan(models, uri, explain=False, **options)
    # From here on a stop ends as it does later: with what is known, and the summary.
    with stoppable() as stop:
        result = None
        try:
            with stop.put_off():
                if summary is not None:
                    _check_writable(summary)
                result = _empty_result()
            _survey(models, uri, result, **options)
        except KeyboardInterrupt:
            result = result or _empty_result()
            result.interrupted = True
        except Exception:
            if result is not None:
                _say_problems(result)  # files may have been moved by then
            raise
        # First of all: whatever becomes of what is printed, another program may read it.
        code = result.exit_code if summary is None else _write_summary(summary, result)
        _say(result)
    return code


def _empty_result() -> RunLedger:
    """Of a run that has not begun; loads what it takes to run."""
    import jobs.run.driver  # noqa: F401
    from jobs.run.clock import new_run_id
    from jobs.run.ledger import RunLedger

    return RunLedger(new_run_id())


def _survey(models: tuple[str, ...], uri: str, result: RunLedger, **options: Any) -> None:
    """Read the list and survey it; what becomes known is put into the result, also where this raises."""
    from catalog.store.open import open_for_writing
    from jobs.executors.progress import progress_for
    from jobs.run.driver import survey_models as run_survey

    request, settings = _request(models, **options)
    result.run_id = settings.run_id
    try:
        place = open_for_writing(uri)
        run_survey(request, settings, place, progress_for(console(stderr=True)), result)
    except KeyboardInterrupt:  # before it held the catalog
        result.record_stop(request.models, request.matrix)


def _say(result: RunLedger) -> None:
    """Print what became known. Where that cannot be printed, the exit code still tells."""
    from jobs.run.summary import print_result

    _say_problems(result)
    if result.unrecorded:
        say(f"what this run did is not written down: {result.unrecorded}")
    try:
        print_result(result, console())
    except BrokenPipeError:  # `survey run … | head`
        give_up_stdout()
    except OSError as error:
        give_up_stdout()
        say(f"the result cannot be printed: {error.strerror}")


def _say_problems(result: RunLedger) -> None:
    """Name the files that were moved or do not count, and what else a person should know."""
    name_left_out(result.set_aside, "set aside in damaged/")
    name_left_out(result.left_out, "left out")
    for warning in result.warnings:
        say(warning)


def show_plan(models: tuple[str, ...], uri: str, *, explain: bool, **options: Any) -> int:
    from catalog.read.measured import NOTHING_MEASURED, read_measured
    from catalog.store.open import open_if_there
    from jobs.executors.progress import progress_for
    from jobs.run.driver import plan_only
    from jobs.run.summary import print_plan

    request, settings = _request(models, **options)
    done = NOTHING_MEASURED
    if open_if_there(uri) is not None and not request.resurvey:
        with catalog_reader(uri) as reader:
            done = read_measured(reader)
    found = plan_only(request, settings, done, progress_for(console(stderr=True)), explain=explain)
    print_plan(found, console())
    return 1 if found.refusals else 0


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
    reference_tokens: str | None = None,
) -> tuple[RunRequest, Settings]:
    from jobs.planning.model_list import read_models
    from jobs.run.clock import new_run_id
    from jobs.run.driver import RunRequest
    from survey.records.settings import Settings

    if "-" in models and sys.stdin.isatty():
        say("type one model a line, then Ctrl-D")
    access = hub_access(endpoint)
    listed = read_models(models, Path.cwd(), access["endpoint"] or "")
    if reference_tokens is not None and no_tokens:
        raise UsageError("--reference-tokens measures columns of the per-token table: leave out --no-tokens")
    for line in (*listed.notes, *(f"{twice}; measured once" for twice in listed.duplicates)):
        say(line)
    request = RunRequest(
        listed.models,
        matrix,
        resurvey,
        executor,
        address or os.environ.get("RAY_ADDRESS") or None,
        ship_code,
        connections,
    )
    settings = Settings(
        **access,
        connections=min(connections or Settings().connections, 64),
        device=device,
        tokens=not no_tokens,
        timeout_s=timeout_s,
        run_id=new_run_id(),
        reference=_reference(reference_tokens),
    )
    return request, settings


def _reference(given: str | None) -> ReferenceTokens | None:
    from survey.records.settings import OWN_UNUSED, ReferenceTokens
    from survey.vocabulary.unused_tokens import parse_reference

    if given is None or given == OWN_UNUSED:
        return None if given is None else ReferenceTokens()
    try:
        found = parse_reference(Path(given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--reference-tokens {given}: write `own` or name a file: {error}") from error
    if not found.entries:
        raise UsageError(f"--reference-tokens {given}: names no token: write one id or text on each line")
    return found


def _check_writable(path: Path) -> None:
    """Before a long run, not after it."""
    if not path.parent.is_dir():
        raise UsageError(f"--summary {path}: there is no folder {path.parent}")
    if path.is_dir() or not all(os.access(place, os.W_OK) for place in _written(path)):
        raise UsageError(f"--summary {path}: cannot be written; name a file in a folder of yours")
    if path.is_file() and path.stat().st_size and _first_byte(path) != b"{":
        raise UsageError(f"--summary {path}: is there and no summary of a run: name another file")


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(1)


def _written(path: Path) -> list[Path]:
    """What must be writable: a file is written beside itself first, anything else, such as a pipe, itself."""
    if path.exists() and not path.is_file():
        return [path]
    return [Path(os.path.realpath(path)).parent, *([path] if path.exists() else [])]


def _write_summary(path: Path, result: RunLedger) -> int:
    """Whole or not at all. Returns the run's exit code: one that cannot be written down is no success."""
    from jobs.run.ledger import summary_json
    from survey.process.atomic_write import write_atomically

    text = summary_json(result)
    try:
        if path.is_file() or not path.exists():
            write_atomically(Path(os.path.realpath(path)), text.encode())
        else:  # a pipe, or /dev/stdout
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"--summary {path}: {error.strerror}")
        return result.exit_code or 1
    return result.exit_code
