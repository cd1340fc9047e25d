"""`survey run`: measure models into a catalog."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import (
    address_option,
    device_option,
    executor_option,
    models_options,
    ray_address,
)
from survey.cli.output import console, name_left_out
from survey.cli.plan import show_plan
from survey.cli.request import read_request, reference_tokens
from survey.cli.stopping import stoppable
from survey.cli.streams import give_up_stdout, say
from survey.cli.summary_file import check_summary, write_summary
from survey.errors import UsageError

if TYPE_CHECKING:
    from jobs.run.ledger import RunLedger
    from jobs.run.request import Executor, RunRequest
    from survey.records.settings import Settings, SpectrumChoice
    from survey.records.target import MatrixChoice


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The arguments and options of `survey run` that say what is measured, and how."""

    models: tuple[str, ...]
    matrix: MatrixChoice
    endpoint: str | None
    connections: int | None
    no_tokens: bool
    address: str | None
    executor: Executor
    ship_code: bool
    device: str
    timeout_s: float
    reference_tokens: str | None
    spectrum: SpectrumChoice
    resurvey: bool


@click.command("run")
@click.argument("models", nargs=-1, required=True)
@models_options
@address_option
@executor_option
@click.option("--ship-code", is_flag=True, help="Send this package to nodes that lack it.")
@device_option
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=1800.0, show_default=True,
    metavar="S", help="Seconds that one model may take, from its start.",
)  # fmt: skip
@click.option(
    "--reference-tokens", metavar="own|FILE",
    help="Also measure distances to known unused tokens: phantom rows and those that the tokenizer "
    "names unused, or those in FILE (one id or text a line). Reads each matrix twice more.",
)  # fmt: skip
@click.option(
    "--spectrum", type=click.Choice(("auto", "on", "off")), default="auto", show_default=True,
    help="Also compute each matrix's singular values, from the bytes that are read anyway. auto: if there is "
    "a GPU; on: also on the CPU, and for rows that lack them.",
)  # fmt: skip
@click.option("--resurvey", is_flag=True, help="Measure again what the catalog already holds.")
@click.option(
    "--summary", "summary", type=click.Path(dir_okay=False, path_type=Path), help="Write the outcome as JSON."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def command(uri: str, summary: Path | None, dry_run: bool, **given: Any) -> int:  # Any: see RunOptions
    """Measure models into a catalog, one row each, and skip those that it already holds.

    MODELS are lists (one model a line; - is standard input), Hub ids such as org/name[@revision], URLs of
    the Hub's pages, or checkpoint folders.

    \b
    survey run models.txt
    survey run Qwen/Qwen3-4B ./my-checkpoint --catalog ./mine
    """
    options = RunOptions(**given)
    if dry_run:
        return show_plan(*_request(options), uri)
    # From here on, a stop keeps what is known, and the summary is written.
    with stoppable() as stop:
        result = None
        try:
            with stop.deferred():
                if summary is not None:
                    check_summary(summary)
                result = _empty_result()
            _survey(options, uri, result)
        except KeyboardInterrupt:
            result = result or _empty_result()
            result.interrupted = True
        except Exception:
            if result is not None:
                _say_problems(result)  # files may have been moved by then
            raise
        # The summary first: another program may need it even if printing fails.
        code = result.exit_code if summary is None else write_summary(summary, result)
        _print(result)
    return code


def _request(options: RunOptions) -> tuple[RunRequest, Settings]:
    """The request and the settings of these options. Raises UsageError."""
    request, settings = read_request(
        options.models, options.matrix, options.endpoint, options.connections, no_tokens=options.no_tokens
    )
    if options.reference_tokens is not None and options.no_tokens:
        raise UsageError("--reference-tokens measures columns of the per-token table: leave out --no-tokens")
    request = replace(
        request,
        resurvey=options.resurvey,
        executor=options.executor,
        address=ray_address(options.address),
        ship_code=options.ship_code,
    )
    reference = reference_tokens(options.reference_tokens)
    return request, replace(
        settings,
        device=options.device,
        timeout_s=options.timeout_s,
        reference=reference,
        spectrum=options.spectrum,
    )


def _empty_result() -> RunLedger:
    """The result of a run that has not begun. Loads what a run needs."""
    import jobs.run.driver  # noqa: F401
    from jobs.run.clock import new_run_id
    from jobs.run.ledger import RunLedger

    return RunLedger(new_run_id())


def _survey(options: RunOptions, uri: str, result: RunLedger) -> None:
    """Read the lists and survey their models; the result holds every outcome, even if this raises."""
    from catalog.store.open import open_for_writing
    from jobs.executors.progress import progress_for
    from jobs.run.driver import survey_models as run_survey

    request, settings = _request(options)
    result.run_id = settings.run_id
    try:
        store = open_for_writing(uri)
        run_survey(request, settings, store, progress_for(console(stderr=True)), result)
    except KeyboardInterrupt:  # before it held the catalog
        result.record_stop(request.models, request.matrix)


def _print(result: RunLedger) -> None:
    """Print the result. If it cannot be printed, the exit code still tells the outcome."""
    from jobs.run.summary import print_result

    _say_problems(result)
    if result.unrecorded:
        say(f"could not record this run's attempts: {result.unrecorded}")
    try:
        print_result(result, console())
    except BrokenPipeError:  # `survey run … | head`
        give_up_stdout()
    except OSError as error:
        give_up_stdout()
        say(f"the result cannot be printed: {error.strerror}")


def _say_problems(result: RunLedger) -> None:
    """Print the files that were moved or left out, and the run's warnings."""
    name_left_out(result.set_aside, "set aside in damaged/")
    name_left_out(result.left_out, "left out")
    for warning in result.warnings:
        say(warning)
    for problem in result.no_spectra:
        say(f"no spectrum: {problem}")
