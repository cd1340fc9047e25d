"""The SQL of the views over a catalog's files; each view is made when a statement names it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from catalog.files import ATTEMPTS, ROWS, TOKENS, File, is_part
from catalog.read.table_files import (
    KEY_COLUMNS,
    KEY_IS_KNOWN,
    TableFiles,
    listed,
    readable_columns,
    time_of,
    typed_nulls,
    union,
)
from catalog.read.view_columns import SKETCHES, VECTORS, view_columns
from catalog.schema_of_records import (
    RESULT_KEY,
    Column,
    attempt_columns,
    hole_columns,
    result_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)
from survey.records.results import RESULTS

# Tables of positions that no view shows.
SUPERSEDED_ROWS, SUPERSEDED_RUNS = "superseded_rows", "superseded_runs"
_ORDERING = ("repo", "sha", "matrix", "measured_at")
# The name of a part, NULL for other files. The row file of an org called "part-time" has an @ in its name.
_PART_NAME = "case when regexp_matches(filename, '/part-[^/@]*$') then parse_filename(filename) end"


# Rows of versions before 0.6 do not state it.
_BITS_OF_FLOATS = "map {'F64': 64.0, 'F32': 32.0, 'F16': 16.0, 'BF16': 16.0, 'F8_E4M3': 8.0, 'F8_E5M2': 8.0}"


def stubs() -> dict[str, str]:
    """The views before a statement names them: their columns, and an error if one is read.

    To make a view of files, DuckDB opens each of them, which takes most of the time of a query.
    """
    return _without_files("error('this view was not opened')::BOOLEAN")


def empty_bodies() -> dict[str, str]:
    """The views of an empty catalog: binding a statement to them gives the columns of its answer."""
    return _without_files("false")


def view_bodies(
    names: Sequence[str],
    files: Mapping[str, Sequence[File]],
    alike: Mapping[str, bool],
    superseded: Collection[str] = (),
    *,
    outside: bool = False,
) -> dict[str, str]:
    """The SQL of these views, in the order in which they build on each other.

    alike: by folder, whether all files have the first one's columns, as far as is known. superseded: the
    tables of `superseded_bodies` that have rows.
    outside: for any DuckDB client, which opens the files by their paths.
    """

    def of(folder: str) -> TableFiles:
        return TableFiles(files.get(folder, ()), alike.get(folder, False), outside, superseded)

    bodies = {
        "measured_rows": _newest_rows(of(ROWS)),
        "attempts": _attempts(of(ATTEMPTS)),
        "models": models_body(),
        "models_history": history_body(),
        "black_holes": _black_holes(),
        "exponents": _exponents(),
        "vectors": f"select {KEY_COLUMNS}, {', '.join(VECTORS)} from measured_rows",
        "sketches": f"select {KEY_COLUMNS}, {', '.join(SKETCHES)} from measured_rows",
        "tokens": union(of(TOKENS), token_columns()),
        **{kind: _results(of(kind), kind) for kind in RESULTS},
    }
    return {name: bodies[name] for name in bodies if name in names}


def models_body(of: str = "true") -> str:
    """The commit that each repository is at now: the one to which `main` resolved last.

    If nobody asked for `main`, the last plain revision counts. A row without an attempt is shown.
    of: a condition on `repo`, which is set where the files are read.
    """
    return f"""
        select {_model_columns()} from (from measured_rows where {of}) as measured_rows
        left join (
            select {KEY_COLUMNS}, last_plain is not null and row_number() over (
                partition by repo, matrix
                order by last_default desc nulls last, last_plain desc nulls last, sha) = 1 as current
            from (
                select {KEY_COLUMNS}, max(finished_at) filter (pattern is null) as last_plain,
                    max(finished_at) filter (pattern is null and revision = 'main') as last_default
                from attempts where status in ('measured', 'unchanged') and {of} group by {KEY_COLUMNS})
        ) using ({KEY_COLUMNS})
        where coalesce(current, true)"""


def history_body(of: str = "true") -> str:
    """Every measured commit, with all names that led to it. of: as for `models_body`."""
    revisions = "list_sort(list_distinct(list_append(names, measured_rows.revision)))"
    return f"""
        select {_model_columns()}, {revisions} as revisions
        from (from measured_rows where {of}) as measured_rows
        left join (
            select {KEY_COLUMNS}, list(distinct revision) as names from attempts where {of}
            group by {KEY_COLUMNS}
        ) using ({KEY_COLUMNS})"""


def _black_holes() -> str:
    hole = ", ".join(f"hole.{column.name}" for column in hole_columns())
    return f"""
        select {KEY_COLUMNS}, {hole}, black_hole_texts[hole.rank] as texts
        from (select {KEY_COLUMNS}, unnest(black_holes) as hole, black_hole_texts from measured_rows)"""


def _exponents() -> str:
    return f"""
        select {KEY_COLUMNS}, exponent, all_count, dead_count, all_count - dead_count as live_count
        from (
            select {KEY_COLUMNS}, unnest(range(len(exponents_all))) as exponent,
                unnest(exponents_all) as all_count, unnest(exponents_dead) as dead_count
            from measured_rows)
        where all_count > 0 and dead_count between 0 and all_count"""  # not so of a forged row


def _model_columns() -> str:
    """The columns of a matrix; rows of versions that stored floats alone say so."""
    older = {
        "stored_as": "coalesce(measured_rows.stored_as, measured_rows.dtype)",
        "bits_per_weight": f"coalesce(measured_rows.bits_per_weight, {_BITS_OF_FLOATS}[measured_rows.dtype])",
        "quantised": "coalesce(measured_rows.quantised, measured_rows.scale is not null)",
    }
    names = [column.name for column in view_columns()["models"]]
    return ", ".join(
        f"{older[name]} as {name}" if name in older else f"measured_rows.{name}" for name in names
    )


def _newest_rows(files: TableFiles) -> str:
    """One row of each key: while loose files are merged a key stands twice, and the last commit wins.

    A window over these columns would hold all of them of all models in memory. A join passes on what a
    statement looks for, so that the row of one model is found by the statistics of the files.
    """
    newest = _newest(_ranked_rows(files), SUPERSEDED_ROWS, ("filename", "file_row_number"), files)
    return f"select {readable_columns(row_columns())} from {_positioned(files, row_columns())}{newest}"


def _attempts(files: TableFiles) -> str:
    """The attempts of each run from one file: a merged run stands in its own file and a part for a while."""
    if not any(map(is_part, files.files)):
        return union(files, attempt_columns())
    newest = _newest(_ranked_runs(files), SUPERSEDED_RUNS, ("run_id", "filename"), files)
    return (
        f"select {readable_columns(attempt_columns())} from {_positioned(files, attempt_columns())}{newest}"
    )


def _newest(ranked: str, superseded: str, key: tuple[str, str], files: TableFiles) -> str:
    """The condition that a row is the newest of several. ranked, superseded: see `superseded_bodies`.

    None if nothing is superseded, which is usual: for a condition DuckDB expects a fifth of the rows, or
    fewer, and joins in the wrong order.
    """
    aliases = [f"{name} as ranked_{name}" for name in key]
    same = " and ".join(f"ranked_{name} = {name}" for name in key)
    if files.outside:  # any client has only the files
        return (
            f" where exists (from (select {', '.join(aliases)} from ({ranked}) where age = 1) where {same})"
        )
    if superseded not in files.superseded:
        return ""
    return f" where not exists (from (select {', '.join(aliases)} from {superseded}) where {same})"


def superseded_bodies(
    views: Sequence[str], files: Mapping[str, Sequence[File]], alike: Mapping[str, bool]
) -> dict[str, str]:
    """The tables that these views need: positions of rows, and files of runs, that are not the newest.

    They are few or none, and made of the keys alone, once for all statements of a connection.
    """
    rows, runs = (TableFiles(files.get(name, ()), alike.get(name, False)) for name in (ROWS, ATTEMPTS))
    bodies = {}
    if "measured_rows" in views:
        bodies[SUPERSEDED_ROWS] = _ranked_rows(rows)
    if "attempts" in views and any(map(is_part, runs.files)):
        bodies[SUPERSEDED_RUNS] = _ranked_runs(runs)
    return {name: f"from ({body}) where age is distinct from 1" for name, body in bodies.items()}


def _ranked_rows(files: TableFiles) -> str:
    """The position of each row, and its age among those of its key: 1 is the newest, NULL has no key.

    The file decides which is the last, not the clock of the worker that measured: one that is a day ahead
    would win over later measurements. See `catalog.write.contents.Kind`.
    """
    keys = tuple(column for column in row_columns() if column.name in _ORDERING)
    has_parts = any(map(is_part, files.files))
    by_file = f"{_PART_NAME} desc nulls first, " if has_parts else ""
    return f"""
        with keys as materialized (from {_positioned(files, keys)}),
        repeated as (select {KEY_COLUMNS} from keys where {KEY_IS_KNOWN} group by all having count(*) > 1)
        select filename, file_row_number, if({KEY_IS_KNOWN}, 1, null) as age
        from keys anti join repeated using ({KEY_COLUMNS})
        union all
        select filename, file_row_number, row_number() over (
            partition by {KEY_COLUMNS}
            order by {by_file}{time_of("measured_at")} desc, filename desc, file_row_number desc)
        from keys semi join repeated using ({KEY_COLUMNS})"""


def _ranked_runs(files: TableFiles) -> str:
    """Each run with its files, and their age: 1 is the newest."""
    run = tuple(column for column in attempt_columns() if column.name == "run_id")
    return f"""
        select run_id, filename, row_number() over (
            partition by run_id order by {_PART_NAME} desc nulls first, filename desc) as age
        from (select distinct run_id, filename from {_positioned(files, run)})"""


def _positioned(files: TableFiles, columns: tuple[Column, ...]) -> str:
    """The files as one relation that has these columns, and the position of each row."""
    rows = listed(files, ", filename = true, file_row_number = true") if files.files else ""
    if files.alike and rows:
        return rows
    names = ", ".join(f'"{column.name}"' for column in columns)
    empty = f"select {typed_nulls(columns)}, '' as filename, 0::bigint as file_row_number where false"
    more = f" union all by name select * from {rows}" if rows else ""
    return f"(select {names}, filename, file_row_number from ({empty}{more}))"


def _results(files: TableFiles, kind: str) -> str:
    """The newest of each key: a result that was made again, or merged, stands twice."""
    names = ", ".join(f'"{column.name}"' for column in result_columns(kind))
    return f"""
        select {names} from ({union(files, stored_result_columns(kind))})
        qualify row_number() over (partition by {RESULT_KEY} order by made_at desc) = 1"""


def _without_files(condition: str) -> dict[str, str]:
    views = {"measured_rows": row_columns(), **view_columns()}
    return {name: f"select {typed_nulls(columns)} where {condition}" for name, columns in views.items()}
