"""The command line: parse, build one frozen request, call one function, print, return a code.

Exit codes: 0 all measured or already there; 1 some models failed; 2 misuse; 3 another run holds
the catalog; 130 interrupted. Results go to stdout, progress and errors to stderr.

The only package that may import every folder. A command imports what it needs when it runs, so that
`survey query` never loads torch or Ray and `--help` loads neither.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

import click

from survey import VERSION
from survey.cli import (
    attach,
    cluster,
    compact,
    demo,
    discover,
    kinematics,
    lineage,
    nightly,
    plan,
    query,
    report,
    run,
    serve,
    shell,
    show,
    spectrum,
    sql,
    status,
    tokens,
    train,
)
from survey.cli.stopping import INTERRUPTED, ended_by_second_signal
from survey.cli.streams import give_up_stdout, open_streams, printed, spelled_out, was_printing
from survey.errors import CatalogInUse, SurveyError, UsageError, printable, storable
from survey.process.home_folder import refuse_home_in_working_folder
from survey.process.redaction import redacted
from survey.process.ulimits import shortage, too_small_for

HELP = {"help_option_names": ["-h", "--help"]}
CLOSED_PIPES = ("_PacifyFlushWrapper", "PacifyFlushWrapper")  # click's wrapper of one, in several versions


@click.group(context_settings={**HELP, "max_content_width": 100})
@click.version_option(VERSION)
@click.pass_context
def cli(context: click.Context) -> None:
    """Survey the vocabulary matrices of many language models.

    \b
    survey demo                              everything, offline, in a minute
    survey run Qwen/Qwen3-4B models.txt      measure models into ./survey-catalog
    survey query families                    ask the catalog
    """
    if problem := too_small_for(context.invoked_subcommand or ""):
        raise UsageError(problem)


for module in (
    run,
    plan,
    compact,
    demo,
    discover,
    nightly,
    query,
    sql,
    shell,
    attach,
    report,
    serve,
    show,
    tokens,
    lineage,
    status,
    kinematics,
    train,
    cluster,
    spectrum,
):
    command = module.command
    # click makes a command's help option once, also for a context that is not below `cli`.
    command.context_settings = {**HELP, **command.context_settings}
    cli.add_command(command)


def entry() -> None:
    """The console script."""
    open_streams()
    refuse_home_in_working_folder()
    sys.excepthook = _show_defect
    with ended_by_second_signal():
        code = main(sys.argv[1:])
    if code == INTERRUPTED:
        # What is finished is in the catalog. Threads that wait for a stalled server would keep the
        # process alive until their timeout.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = cli.main(args=list(argv), prog_name="survey", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)  # it quotes the arguments, among them names that a shell completed
        click.echo(spelled_out(storable(redacted(shown.getvalue()))), err=True, nl=False)
        return 2
    except CatalogInUse as error:
        return _print_error(str(error), 3)
    except (UsageError, SurveyError) as error:
        return _print_error(str(error), 2)
    except (click.Abort, KeyboardInterrupt):
        if not printed():
            give_up_stdout()
        return INTERRUPTED
    except (OSError, SystemExit) as error:
        return _code_of_system_error(error)
    except UnicodeEncodeError as error:
        if error.encoding.lower() in ("utf-8", "utf8") or error.encoding != sys.stdout.encoding:
            raise
        text = error.object[error.start : error.end]
        give_up_stdout()
        return _print_error(f"stdout cannot show {text!a} in {error.encoding}: set PYTHONIOENCODING=utf-8", 2)
    except Exception as error:
        if problem := shortage(error):
            return _print_error(problem, 2)
        raise


def _code_of_system_error(error: OSError | SystemExit) -> int:
    """The exit code if the system refused access to a file, or did not take what was printed."""
    # click turns a BrokenPipeError into a SystemExit, and wraps the stream that it came from.
    if isinstance(error, BrokenPipeError) or type(sys.stdout).__name__ in CLOSED_PIPES:
        give_up_stdout()
        return 0  # `survey sql … | head`
    if isinstance(error, SystemExit):
        raise error
    if error.filename is None and was_printing(error):
        give_up_stdout()
        return _print_error(f"stdout: {error.strerror}; not all was printed", 2)
    if error.filename is None and (problem := shortage(error)):
        return _print_error(problem, 2)
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return _print_error(": ".join([*files, error.strerror or str(error)]), 2)


def _show_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an unexpected exception without secrets; an excepthook."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _print_error(problem: str, code: int) -> int:
    """Print what is wrong on stderr; returns the exit code."""
    lines = redacted(problem).splitlines()
    click.echo("survey: " + "\n".join(printable(line) for line in lines), err=True)
    return code
