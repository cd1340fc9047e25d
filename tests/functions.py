"""Bring catalog/read/functions.txt up to the installed DuckDB: what is new is added as refused.

python -m tests.functions
"""

from __future__ import annotations

import duckdb

from catalog.read.functions import EXPRESSIONS, LISTS, RELATIONS, TABLES, names_of

QUERIES = {
    EXPRESSIONS: "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
    "WHERE function_type IN ('scalar', 'aggregate', 'macro', 'window')",
    TABLES: "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
    "WHERE function_type NOT IN ('scalar', 'aggregate', 'macro', 'window')",
    RELATIONS: "SELECT DISTINCT lower(if(schema_name = 'main', view_name, schema_name || '.' || view_name)) "
    "FROM duckdb_views() WHERE internal",
}
HEAD = "# What a question may call, of DuckDB's own; see functions.py. New names are added by `python -m tests.functions`."


def installed(kind: str) -> set[str]:
    """The names of that kind in the installed DuckDB."""
    with duckdb.connect() as connection:
        return {name for (name,) in connection.execute(QUERIES[kind]).fetchall()}


def main() -> None:
    lines = [HEAD]
    for kind in QUERIES:
        names = names_of(kind)
        refused = names.refused | (installed(kind) - names.allowed)
        for state, listed in (("allowed", names.allowed), ("refused", refused)):
            lines += [f"[{kind} {state}]", *sorted(listed)]
    LISTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
