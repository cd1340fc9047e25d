"""The state of a catalog: what it holds, what the last run did, what is failing."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Reader
from queries.text.render import short
from survey.errors import REASONS
from survey.records.units import bytes_text

COUNTS = """
SELECT
    count(DISTINCT repo) AS models, count(*) AS matrices, count(DISTINCT family) AS families,
    count(*) FILTER (black_hole_count > 0) AS with_black_holes,
    sum(tensor_bytes)::BIGINT AS tensor_bytes, sum(fetched_bytes)::BIGINT AS fetched_bytes,
    -- Both matrices of a model lie in one repository.
    (SELECT sum(bytes)::BIGINT FROM (SELECT max(repo_bytes) AS bytes FROM models_history GROUP BY repo, sha))
        AS repo_bytes,
    (SELECT count(*) FROM clusters) AS clusters, (SELECT count(*) FROM kinematics) AS kinematics,
    (SELECT count(*) FROM training_runs) AS training_runs
FROM models_history
"""

FAILING = """
SELECT reason, count(*) AS failing, max_by(repo, finished_at) AS repo, max(finished_at) AS latest
FROM last_attempts() WHERE status = 'failed' GROUP BY reason ORDER BY failing DESC, reason
"""


def print_status(reader: Reader, where: str, console: Console) -> None:
    """Print the state of a catalog."""
    (counts,) = reader.ask(COUNTS).rows
    models, rows, families, holes, measured, fetched, repositories, clusters, motions, trainings = counts
    console.print(f"[bold]{escape(short(where))}[/]")
    console.print(f"{models} models, {rows} matrices, {families} families; {holes} with black holes")
    if rows:
        console.print(
            f"{bytes_text(measured)} of matrices measured; {bytes_text(fetched)} fetched of "
            f"{bytes_text(repositories)} of repositories"
        )
    if clusters or motions or trainings:
        console.print(f"{clusters} clusters, {motions} histories followed, {trainings} training runs")
    _print_runs(reader, console)
    _print_failing(reader, console)


def _print_runs(reader: Reader, console: Console) -> None:
    runs = reader.ask(
        "SELECT run_id, max(finished_at) AS ended, count(*) FILTER (status = 'measured'), "
        "count(*) FILTER (status = 'unchanged'), count(*) FILTER (status = 'failed') "
        "FROM attempts GROUP BY run_id ORDER BY run_id DESC LIMIT 5"
    )
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
    """What to do about a reason, which may be one that this version does not know."""
    return REASONS.get(reason or "", "of a later version of this program")
