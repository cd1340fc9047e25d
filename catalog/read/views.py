"""The SQL of the views over a catalog's files; each view is made when a statement names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.files import ATTEMPTS, ROWS, TOKENS, File, is_part
from catalog.read.table_files import (
    KEY_COLUMNS,
    KEY_IS_KNOWN,
    TableFiles,
    listed,
    readable_columns,
    typed_nulls,
    union,
)
from catalog.read.view_columns import SKETCHES, VECTORS, view_columns
from catalog.schema_of_records import (
    RESULT_KEY,
    attempt_columns,
    hole_columns,
    result_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)
from survey.records.results import RESULTS

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
    *,
    outside: bool = False,
) -> dict[str, str]:
    """The SQL of these views, in the order in which they build on each other.

    alike: by folder, whether all files have the first one's columns, as far as is known.
    outside: for any DuckDB client, which opens the files by their paths.
    """

    def of(folder: str) -> TableFiles:
        return TableFiles(files.get(folder, ()), alike.get(folder, False), outside)

    bodies = {
        "measured_rows": _newest_rows(of(ROWS)),
        "attempts": _attempts(of(ATTEMPTS)),
        "models": _models(),
        "models_history": _models_history(),
        "black_holes": _black_holes(),
        "exponents": _exponents(),
        "vectors": f"select {KEY_COLUMNS}, {', '.join(VECTORS)} from measured_rows",
        "sketches": f"select {KEY_COLUMNS}, {', '.join(SKETCHES)} from measured_rows",
        "tokens": union(of(TOKENS), token_columns()),
        **{kind: _results(of(kind), kind) for kind in RESULTS},
    }
    return {name: bodies[name] for name in bodies if name in names}


def _models() -> str:
    """The commit that each repository is at now: the one to which `main` resolved last.

    If nobody asked for `main`, the last plain revision counts. A row without an attempt is shown.
    """
    return f"""
        select {_model_columns()} from measured_rows
        left join (
            select {KEY_COLUMNS}, last_plain is not null and row_number() over (
                partition by repo, matrix
                order by last_default desc nulls last, last_plain desc nulls last, sha) = 1 as current
            from (
                select {KEY_COLUMNS}, max(finished_at) filter (pattern is null) as last_plain,
                    max(finished_at) filter (pattern is null and revision = 'main') as last_default
                from attempts where status in ('measured', 'unchanged') group by {KEY_COLUMNS})
        ) using ({KEY_COLUMNS})
        where coalesce(current, true)"""


def _models_history() -> str:
    """Every measured commit, with all names that led to it."""
    revisions = "list_sort(list_distinct(list_append(names, measured_rows.revision)))"
    return f"""
        select {_model_columns()}, {revisions} as revisions
        from measured_rows
        left join (
            select {KEY_COLUMNS}, list(distinct revision) as names from attempts group by {KEY_COLUMNS}
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
        where all_count > 0"""


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

    The file decides which is the last, not the clock of the worker that measured: one that is a day ahead
    would win over later measurements. See `catalog.write.contents.Kind`.
    """
    if not any(map(is_part, files.files)):
        order, rows = "measured_at desc", union(files, row_columns())
    else:
        order = f"{_PART_NAME} desc nulls first, measured_at desc, filename desc"
        rows = (
            f"select {typed_nulls(row_columns())}, '' as filename where false "
            f"union all by name select * from {listed(files, ', filename = true')}"
        )
    return f"""
        select {readable_columns(row_columns())} from ({rows})
        where {KEY_IS_KNOWN}
        qualify row_number() over (partition by {KEY_COLUMNS} order by {order}) = 1"""


def _attempts(files: TableFiles) -> str:
    """The attempts of each run from one file: a merged run stands in its own file and a part for a while."""
    if not any(map(is_part, files.files)):
        return union(files, attempt_columns())
    empty = f"select {typed_nulls(attempt_columns())}, '' as filename where false"
    rows = f"select * from {listed(files, ', filename = true')}"
    return f"""
        select {readable_columns(attempt_columns())} from ({empty} union all by name {rows})
        qualify rank() over (
            partition by run_id order by {_PART_NAME} desc nulls first, filename desc) = 1"""


def _results(files: TableFiles, kind: str) -> str:
    """The newest of each key: a result that was made again, or merged, stands twice."""
    names = ", ".join(f'"{column.name}"' for column in result_columns(kind))
    return f"""
        select {names} from ({union(files, stored_result_columns(kind))})
        qualify row_number() over (partition by {RESULT_KEY} order by made_at desc) = 1"""


def _without_files(condition: str) -> dict[str, str]:
    return {
        name: f"select {typed_nulls(columns)} where {condition}" for name, columns in view_columns().items()
    }
