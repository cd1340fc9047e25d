"""The state of a catalog: its counts, its last runs, its failures."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Reader
from queries.text.render import short
from survey.errors import REASONS
from survey.records.units import bytes_text

COUNTS = """
select
    count(distinct repo) as models, count(*) as matrices, count(distinct family) as families,
    count(*) filter (black_hole_count > 0) as with_black_holes,
    try_cast(sum(tensor_bytes) as bigint) as tensor_bytes,
    try_cast(sum(fetched_bytes) as bigint) as fetched_bytes,
    -- Both matrices of a model, and its parts on the Hub, lie in one repository.
    (select try_cast(sum(bytes) as bigint)
        from (
            select max(repo_bytes) as bytes
            from measured_rows
            group by if(repo[1] = '/', repo, split_part(repo, ':', 1)), sha
        )) as repo_bytes,
    (select count(*) from clusters) as clusters, (select count(*) from kinematics) as kinematics,
    (select count(*) from training_runs) as training_runs, (select count(*) from spectra) as spectra
from measured_rows
"""
FAILING = """
select reason, count(*) as failing, max_by(repo, finished_at) as repo, max(finished_at) as latest
from last_attempts()
where status = 'failed'
group by reason
order by failing desc, reason
"""
_RUNS = """
select
    run_id, max(finished_at) as ended,
    count(*) filter (status = 'measured') as measured,
    count(*) filter (status = 'unchanged') as unchanged,
    count(*) filter (status = 'failed') as failed
from attempts
group by run_id
order by run_id desc
limit 5
"""


def print_status(reader: Reader, title: str, console: Console) -> None:
    """Print the state of a catalog. title: its location."""
    (counts,) = reader.ask(COUNTS).rows
    models, rows, families, holes, measured, fetched, repositories, *results = counts
    clusters, motions, trainings, spectra = results
    console.print(f"[bold]{escape(short(title))}[/]")
    console.print(f"{models} models, {rows} matrices, {families} families; {holes} with black holes")
    if rows:
        console.print(
            f"{bytes_text(measured or 0)} of matrices measured; {bytes_text(fetched or 0)} fetched of "
            f"{bytes_text(repositories or 0)} of repositories"
        )
    if clusters or spectra or motions or trainings:
        console.print(
            f"{clusters} clusters, {spectra} spectra, {motions} histories followed, {trainings} training runs"
        )
    _print_runs(reader, console)
    _print_failing(reader, console)


def _print_runs(reader: Reader, console: Console) -> None:
    runs = reader.ask(_RUNS)
    if not runs.rows:
        console.print("no run yet: `survey run MODELS` makes the first", style="dim")
        return
    table = Table(box=None, pad_edge=False, title="last runs", title_justify="left")
    for name in ("run", "ended (UTC)", "measured", "unchanged", "failed"):
        table.add_column(name, justify="left" if name.startswith(("run", "ended")) else "right")
    for row in runs.rows:
        table.add_row(*(escape(short(value)) for value in row))
    console.print(table)


def _print_failing(reader: Reader, console: Console) -> None:
    failing = reader.ask(FAILING)
    if not failing.rows:
        return
    table = Table(box=None, pad_edge=False, title="failing", title_justify="left")
    table.add_column("reason")
    table.add_column("models", justify="right")
    table.add_column("last (UTC)")
    table.add_column("the last of them", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for reason, models, repo, latest in failing.rows:
        table.add_row(escape(short(reason)), str(models), short(latest), escape(short(repo)), advice(reason))
    console.print(table)
    console.print("`survey query failures` names each", style="dim")


def advice(reason: str | None) -> str:
    """What to do about a reason; a later version may have written one that this version does not know."""
    return REASONS.get(reason or "", "of a later version of this program")
