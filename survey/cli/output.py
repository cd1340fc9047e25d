"""How commands read a catalog and print: answers, results, bars; and the check of an output file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.stopping import only_reads
from survey.cli.streams import say, show_all_characters, spelled_out
from survey.errors import SurveyError, UsageError, printable
from survey.process.memory_limit import limited_memory
from survey.process.output_path import check_output_path
from survey.process.spool import Spool

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    from catalog.read.pieces import Pieces
    from catalog.read.reader import Answer, Reader
    from catalog.tables.inspection import LeftOut

PLAIN_WIDTH = 400  # off a terminal nothing is wrapped: a program may read it


def known_as(model: str) -> str:
    """A model as the catalog names it: a folder by its full path, a GGUF file as a part of its folder."""
    path = Path(model)
    if path.is_dir():
        return str(path.resolve())
    if path.suffix == ".gguf" and path.is_file():
        return f"{path.parent.resolve()}:{path.name}"
    folder, colon, part = model.rpartition(":")
    return f"{Path(folder).resolve()}:{part}" if colon and folder and Path(folder).is_dir() else model


def answer(uri: str, output_format: str, statement: str, parameters: dict[str, Any]) -> int:
    """Ask a catalog and print the answer; returns exit code 0. Raises UsageError, SurveyError."""
    with catalog_reader(uri) as reader:
        print_answer(reader, output_format, statement, parameters)
    return 0


def print_answer(reader: Reader, output_format: str, statement: str, parameters: dict[str, Any]) -> None:
    """Ask an open catalog and print the answer. Raises UsageError."""
    from queries.text.render import TABLE_ROWS, print_table

    if output_format == "table":
        print_table(reader.ask(statement, parameters, TABLE_ROWS), console())
    elif output_format == "parquet":
        _print_bytes(lambda spool: reader.write_parquet(statement, parameters, spool))
    else:
        _print_pieces(output_format, lambda use: reader.ask_pieces(statement, parameters, use))


def print_in(output_format: str, answer: Answer) -> None:
    """Print an answer in the format of --format. Raises UsageError for Parquet on a terminal."""
    from queries.text.forms import whole
    from queries.text.render import print_table

    if output_format == "table":
        print_table(answer, console())
    elif output_format == "parquet":
        from catalog.write.arrow_tables import as_parquet

        content = as_parquet(answer.names, answer.types, answer.rows)
        _print_bytes(lambda spool: spool.write(content))
    else:
        _print_pieces(output_format, lambda use: use(whole(answer)))


def _print_pieces(output_format: str, ask: Callable[[Callable[[Pieces], None]], None]) -> None:
    """Print what `ask` passes to its argument, perhaps more than once, when all of it is there."""
    from queries.text.forms import FORMS, formulas, terminal_csv_text

    is_csv, cells = output_format == "csv", [0]
    form = terminal_csv_text if is_csv and sys.stdout.isatty() else FORMS[output_format]

    def counted(pieces: Pieces) -> Iterator[Sequence[tuple[Any, ...]]]:
        cells[:] = [formulas([pieces.names])]
        for rows in pieces.rows:
            cells.append(formulas(rows))
            yield rows

    with Spool() as spool:
        ask(lambda pieces: spool.fill(form(replace(pieces, rows=counted(pieces)) if is_csv else pieces)))
        for text in spool.texts():
            click.echo(text, nl=False)
    if sum(cells):
        say(f"a spreadsheet would run {sum(cells)} cells as formulas: text that begins with = + - @")


def print_results(kind: str, rows: Sequence[Any], output_format: str) -> None:
    """Print single results with their view's columns. kind: a key of `survey.records.results.RESULTS`."""
    from catalog.read.reader import Answer
    from catalog.schema_of_records import result_columns
    from catalog.write.arrow_tables import plain

    described = result_columns(kind)
    names = [column.name for column in described]
    values = [tuple(plain(getattr(row, name)) for name in names) for row in rows]
    print_in(output_format, Answer(names, [column.sql_type for column in described], values))


def print_single_result(
    kind: str, row: Any, output_format: str, print_table: Callable[[Any, Console], None]
) -> None:
    """Print one single result: as the table that `print_table` makes, or in another format of --format."""
    if output_format == "table":
        print_table(row, console())
    else:
        print_results(kind, [row], output_format)


def _print_bytes(write: Callable[[Spool], object]) -> None:
    if sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add > FILE.parquet")
    with Spool() as spool:
        write(spool)
        for chunk in spool.chunks():
            sys.stdout.buffer.write(chunk)


@contextmanager
def catalog_reader(uri: str) -> Iterator[Reader]:
    """Open a catalog for reading; files that do not count are named on stderr. Raises UsageError.

    As statements of strangers may be asked of it, a limit of memory and the first signal end what they do.
    """
    from catalog.read.reader import Reader
    from catalog.store.open import open_for_reading

    with only_reads(), limited_memory(), Reader(open_for_reading(uri)) as reader:
        try:
            yield reader
        finally:
            name_left_out(reader.left_out, "left out")


def name_left_out(items: Sequence[LeftOut], action: str) -> None:
    """Name the files of a catalog that do not count, why, and what was done about them."""
    for item in items:
        say(f"{item.file}: {item.problem}; {action}")


def console(*, stderr: bool = False) -> Console:
    """A console that escapes control characters from outside, and wraps nothing if it is no terminal."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            """Escape what the caller forgot to escape; tables are too narrow for it then."""
            for part in super().render(renderable, options):
                yield part if part.control else Segment(spelled_out(part.text), part.style)

        def on_broken_pipe(self) -> None:  # Rich would exit with 1, which means failed models here
            raise BrokenPipeError

    if not stderr:
        show_all_characters()
    # emoji: a model that is called :bomb: has this name, not the picture.
    made = Harmless(stderr=stderr, highlight=False, emoji=False)
    if made.is_terminal:
        return made
    return Harmless(stderr=stderr, highlight=False, emoji=False, width=PLAIN_WIDTH)


def check_output(output: Path, tensors: Sequence[str]) -> None:
    """Check before a long computation that no other program wrote the file that would be replaced.

    tensors: names of some that the command writes. Raises UsageError.
    """
    from survey.formats.safetensors_file import TensorReader

    check_output_path(output, "-o")
    if output.exists():
        try:
            with TensorReader(output) as reader:
                names = set(reader.header.tensors)
        except (SurveyError, UsageError):
            names = set()
        if not names.issuperset(tensors):
            raise UsageError(f"-o {output}: exists, and was not written by this command; name another file")


@contextmanager
def step_bar(name: str) -> Iterator[Callable[[int], Callable[[], None]]]:
    """A bar on stderr if that is a terminal. Yields start(steps), which returns what to call at each step."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=not errors.is_terminal) as bars:

        def start(steps: int) -> Callable[[], None]:
            task = bars.add_task(printable(name), total=steps)
            return lambda: bars.advance(task)

        yield start
