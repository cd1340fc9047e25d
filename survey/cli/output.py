"""What several commands share: their options, where they print, how they read a catalog."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.streams import say, show_all_characters, spelled_out
from survey.errors import SurveyError, UsageError, printable
from survey.process.output_folder import check_folder

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    from catalog.read.reader import Answer, Reader
    from catalog.tables.inspection import LeftOut

PLAIN_WIDTH = 400  # off a terminal nothing is wrapped: a program may read it


def known_as(model: str) -> str:
    """A model as the catalog names it: a checkpoint folder by its full path."""
    if Path(model).is_dir():
        return str(Path(model).resolve())
    folder, colon, part = model.rpartition(":")
    return f"{Path(folder).resolve()}:{part}" if colon and folder and Path(folder).is_dir() else model


def answer(uri: str, form: str, statement: str, parameters: dict[str, Any]) -> int:
    with catalog_reader(uri) as reader:
        print_answer(reader, form, statement, parameters)
    return 0


def print_answer(reader: Reader, form: str, statement: str, parameters: dict[str, Any]) -> None:
    if form == "parquet":
        _print_bytes(lambda: reader.ask_parquet(statement, parameters))
        return
    print_in(form, reader.ask(statement, parameters))


def print_in(form: str, answer: Answer) -> None:
    from queries.text.render import as_csv, as_json, as_markdown, as_terminal_csv, formulas, print_table

    if form == "table":
        print_table(answer, console())
        return
    if form == "parquet":
        from catalog.write.arrow_tables import as_parquet

        _print_bytes(lambda: as_parquet(answer.names, answer.types, answer.rows))
        return
    written = as_terminal_csv if sys.stdout.isatty() else as_csv
    printers: dict[str, Callable[[Answer], str]] = {"csv": written, "json": as_json, "md": as_markdown}
    click.echo(printers[form](answer), nl=False)
    if form == "csv" and (cells := formulas(answer)):
        warning = f"a spreadsheet would run {cells} cells as formulas: text that begins with = + - @"
        say(warning)


def print_results(kind: str, rows: Sequence[Any], form: str) -> None:
    """Single results with their view's columns. kind: a key of `survey.records.results.RESULTS`."""
    from catalog.read.reader import Answer
    from catalog.schema import result_columns

    described = result_columns(kind)
    names = [column.name for column in described]
    values = [tuple(getattr(row, name) for name in names) for row in rows]
    print_in(form, Answer(names, [column.sql_type for column in described], values))


def _print_bytes(made: Callable[[], bytes]) -> None:
    if sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add > FILE.parquet")
    sys.stdout.buffer.write(made())


@contextmanager
def catalog_reader(uri: str) -> Iterator[Reader]:
    from catalog.read.reader import Reader
    from catalog.store.open import open_for_reading

    with Reader(open_for_reading(uri)) as reader:
        try:
            yield reader
        finally:
            name_left_out(reader.left_out, "left out")


def name_left_out(items: Sequence[LeftOut], done: str) -> None:
    """Say of files in a catalog that they do not count, and why."""
    for item in items:
        say(f"{item.file}: {item.problem}; {done}")


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            """What was escaped where it was printed has its right width; this is for what was forgotten."""
            for part in super().render(renderable, options):
                yield part if part.control else Segment(spelled_out(part.text), part.style)

        def on_broken_pipe(self) -> None:  # Rich would exit with 1, which means failed models here
            raise BrokenPipeError

    if not stderr:
        show_all_characters()
    made = Harmless(stderr=stderr, highlight=False)
    return made if made.is_terminal else Harmless(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def check_output(output: Path, tensors: Sequence[str]) -> None:
    """Before a long computation, not after it: only what a command wrote is written over by it.

    tensors: names of some that it writes. Raises UsageError.
    """
    from survey.formats.safetensors_file import TensorReader

    check_folder(output, "-o")
    if output.exists():
        try:
            with TensorReader(output) as reader:
                there = set(reader.header.tensors)
        except (SurveyError, UsageError):
            there = set()
        if not there.issuperset(tensors):
            raise UsageError(f"-o {output}: is there, and was not written by this command; name another file")


@contextmanager
def step_bar(name: str) -> Iterator[Callable[[int], Callable[[], None]]]:
    """A bar on stderr, where that is a terminal: given a number of steps, a function to call at each."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=not errors.is_terminal) as bars:

        def start(steps: int) -> Callable[[], None]:
            task = bars.add_task(printable(name), total=steps)
            return lambda: bars.advance(task)

        yield start
