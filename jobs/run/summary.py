"""The tables that a run or a plan prints at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.planning.plan import Plan
from jobs.run.changes import Change, changes
from jobs.run.console_text import plain_table, print_indented, table_width
from jobs.run.explanation import print_explanation
from jobs.run.ledger import RunLedger
from jobs.tasks.outcome import Delivered
from survey.errors import printable, problem_and_remedy
from survey.records.target import Identity, Target
from survey.records.units import bytes_text

_MAX_NAMES = 3  # in one line of changes
PLANNED = ("model", "sha", "tensor", "file", "dtype", "V × D", "read", "of", "memory")


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan: the bytes to read of each model, refusals, and explanations if it has any."""
    if plan.targets:
        _print_targets(plan, console)
        unknown = [target for target in plan.targets if target.key not in plan.sources]
        total = sum(len(target.spec.bytes) for target in unknown)
        repositories = {_repository(target): target.repo_bytes for target in plan.targets}
        whole = sum(repositories.values())
        console.print(
            f"{len(plan.targets)} to measure: {bytes_text(total)} to read "
            f"of {bytes_text(whole)} in their repositories"
        )
    for target in plan.targets:
        if (source := plan.sources.get(target.key)) is not None:
            known = f"{_named(target.identity)}: the same bytes as {'@'.join(source[:2])}; its row is copied"
            console.print(escape(printable(known)))
    if reads := [item.for_spectrum for item in plan.unchanged if item.for_spectrum is not None]:
        spectra = f"{len(reads)} {'spectrum' if len(reads) == 1 else 'spectra'}"
        total = sum(len(target.spec.bytes) for target in reads)
        console.print(f"{spectra} to add: {bytes_text(total)} to read")
    if plan.unchanged:
        console.print(f"{len({item.key for item in plan.unchanged})} already measured at their commit")
    _print_refused(
        ((str(item.model), item.matrix, item.reason, item.message) for item in plan.refusals),
        console,
    )
    for explained in plan.explained:
        print_explanation(str(explained.model), explained.explanation, console)


def _repository(target: Target) -> tuple[str, str]:
    """The repository at a commit, or the folder, that a target lies in, whichever part of it was named."""
    if target.folder is not None:
        return str(target.folder), ""
    repo, sha, _ = target.key
    return repo.removesuffix(f":{target.part}"), sha


def _print_targets(plan: Plan, console: Console) -> None:
    """A row for each target; a few lines each if the terminal is too narrow: a plan leaves nothing out."""
    rows = [_planned(target, is_known=target.key in plan.sources) for target in plan.targets]
    if table_width(PLANNED, rows) <= console.width:
        table = plain_table(*PLANNED)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    for model, sha, tensor, file, dtype, shape, read, whole, memory in rows:
        console.print(f"[bold]{escape(model)}[/]  {sha}")
        print_indented(f"{tensor} in {file}", console)
        print_indented(f"{shape} {dtype}, reads {read} of {whole}, needs {memory} of memory", console)


def _planned(target: Target, *, is_known: bool) -> tuple[str, ...]:
    """is_known: whether its row is copied, so that nothing of the matrix is read."""
    spec = target.spec
    rows, dims = spec.shape
    return (
        _named(target.identity),
        target.identity.sha[:10],
        printable(spec.name),
        printable(spec.file),
        target.identity.stored_as or spec.dtype,
        f"{rows:,} × {dims:,}",
        bytes_text(0 if is_known else len(spec.bytes)),
        bytes_text(target.repo_bytes),
        bytes_text(target.memory_bytes),
    )


def print_result(ledger: RunLedger, console: Console) -> None:
    """Print the measured models, the refused ones and why, and the differences from earlier runs."""
    if ledger.measured:
        console.print(_measured_table(ledger.measured, console.width))
    _print_refused(
        [
            *((str(item.model), item.matrix, item.reason, item.message) for item in ledger.refused),
            *(
                (item.target.identity.repo, item.target.identity.matrix, item.reason, item.message)
                for item in ledger.failed
            ),
        ],
        console,
    )
    _print_changes(ledger, console)
    if ledger.copied:
        console.print(f"{len(ledger.copied)} of the measured were copied: their bytes were measured before")
    if ledger.filled:
        console.print(f"{ledger.filled} unchanged brought up to date from the stored tokens")
    if ledger.named:
        console.print(f"{ledger.named} named from their tokenizers, without reading their matrices again")
    if ledger.spectra or ledger.no_spectra:
        console.print(_spectra_line(ledger))
    if ledger.older:
        console.print(
            f"{ledger.older} unchanged lack columns of newer measures, for which their matrices must be "
            "read again: --resurvey does so"
        )
    failed, repeated = len(ledger.refused) + len(ledger.failed), len(ledger.repeated)
    if repeated:
        names = _in_short([str(item.model) for item in ledger.repeated])
        console.print(f"counted once, as their commit is named already: {escape(printable(names))}")
    console.print(
        f"{len(ledger.measured)} measured, {len(ledger.unchanged) - repeated} unchanged, {failed} failed"
        + (" — interrupted; run again for the rest" if ledger.interrupted else "")
    )


def _spectra_line(ledger: RunLedger) -> str:
    without = len(ledger.no_spectra)
    beside = ledger.spectra - ledger.spectra_added - ledger.spectra_copied
    parts = (
        (beside, "beside measured rows"),
        (ledger.spectra_added, "added to rows that were there"),
        (ledger.spectra_copied, "copied"),
        (without, f"{'row' if without == 1 else 'rows'} without, as said above"),
    )
    return "spectra: " + ", ".join(f"{count} {what}" for count, what in parts if count)


def _measured_table(items: Sequence[Delivered], width: int) -> Table:
    """The figures of measured models; those that matter least are left out on a narrow terminal."""
    columns: dict[str, list[str]] = {
        "model": [_named(item.target.identity) for item in items],
        "matrix": [item.target.identity.matrix for item in items],
        "V × D": ["{:,} × {:,}".format(*item.target.spec.shape) for item in items],
        "dtype": [item.headline.dtype for item in items],
        "holes": [f"{item.headline.black_hole_count:,}" for item in items],
        "dead": [f"{item.headline.dead_count:,}" for item in items],
        "ratio": [_figure(item.headline.centroid_ratio, 4) for item in items],
        "angle °": [_figure(item.headline.dead_live_angle_deg, 1) for item in items],
        "fetched": [bytes_text(item.fetched_bytes) if item.fetched_bytes else "local" for item in items],
        "of": [bytes_text(item.target.repo_bytes) for item in items],
        "s": [f"{item.elapsed_s:.1f}" for item in items],
    }
    for name in ("s", "of", "dtype", "matrix", "fetched", "V × D"):
        if table_width(list(columns), list(zip(*columns.values(), strict=True))) > width:
            del columns[name]
    table = plain_table(*columns)
    for line in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, line))
    return table


def _named(identity: Identity) -> str:
    """The repository, and the revision if it is not the default."""
    plain = identity.revision == "main"
    return printable(identity.repo if plain else f"{identity.repo}@{identity.revision}")


def _figure(value: float | None, digits: int) -> str:
    return "·" if value is None else f"{value:.{digits}f}"


def _print_refused(refused: Iterable[tuple[str, str, str, str]], console: Console) -> None:
    """Print an entry for each: the model and the reason, the problem, and what to do about it."""
    for model, matrix, reason, message in refused:
        name = model if matrix == "output" else f"{model} ({matrix})"
        problem, remedy = problem_and_remedy(reason, message)
        problem = problem.removeprefix(f"{model}: ").removeprefix(f"{model.partition('@')[0]}: ")
        console.print(f"{escape(printable(name))}  [red]{reason}[/]")
        # A traceback keeps its lines; everything else is one.
        for line in problem.splitlines() or [""]:
            print_indented(printable(line), console)
        print_indented(f"→ {remedy}", console, style="dim")


def _print_changes(ledger: RunLedger, console: Console) -> None:
    """Print a line for each kind of change."""
    differences = changes(ledger.attempts, ledger.before)
    for kind in ("new", "changed", "unchanged", "gone", "failing"):
        items: list[Change] = getattr(differences, kind)
        if items:
            console.print(f"{kind}: {escape(printable(_in_short([_changed(item) for item in items])))}")


def _in_short(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + rest


def _changed(item: Change) -> str:
    name = item.repo if item.revision == "main" else f"{item.repo}@{item.revision}"
    if item.reason is not None and item.since is not None:
        return f"{name} ({item.reason} since {item.since:%Y-%m-%d %H:%M})"
    if item.sha_before is not None and item.sha is not None and item.sha != item.sha_before:
        return f"{name} ({item.sha_before[:10]} → {item.sha[:10]})"
    return name
