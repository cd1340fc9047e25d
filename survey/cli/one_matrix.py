"""What commands that study one matrix share: their options, which model is meant, and a bar of its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from survey.cli.options import (
    MATRIX_CONNECTIONS,
    catalog_option,
    connections_option,
    device_option,
    endpoint_option,
    matrix_option,
    options_of,
    plot_option,
    result_option,
)
from survey.cli.output import console
from survey.errors import UsageError, printable

if TYPE_CHECKING:
    from survey.opening import Matrix
    from survey.records.target import ModelRef

matrix_options = options_of(
    plot_option,
    matrix_option(),
    endpoint_option,
    connections_option(MATRIX_CONNECTIONS),
    device_option,
    catalog_option,
    result_option,
)


def one_model(model: str) -> ModelRef:
    """The one model that a command's argument names. Raises UsageError."""
    from jobs.planning.model_list import read_models

    models = read_models((model,), Path.cwd()).models
    if len(models) > 1:
        raise UsageError(f"{model} names {len(models)} models; this command takes one")
    (reference,) = models
    if reference.problem is not None:
        raise UsageError(f"{reference.origin}: {reference.problem}")
    if reference.revision is not None and "*" in reference.revision:
        raise UsageError(f"{model} may be many revisions; this command takes one")
    return reference


@contextmanager
def byte_bar(name: str) -> Iterator[Callable[[Matrix], Callable[[int], None]]]:
    """A bar of bytes on stderr if that is a terminal. Yields opened(matrix), which returns its counter."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    errors = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=errors, disable=not errors.is_terminal) as bars:

        def opened(matrix: Matrix) -> Callable[[int], None]:
            task = bars.add_task(printable(name), total=len(matrix.target.spec.bytes))
            return lambda count: bars.advance(task, count)

        yield opened
