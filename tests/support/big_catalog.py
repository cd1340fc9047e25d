"""A catalog of many models, made of the rows of a small one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def multiplied(catalog: Path, into: Path, count: int, tokens: int = 50) -> None:
    """The rows of a small catalog over and over, under new names, with `tokens` rows of each token table."""
    for folder in ("rows", "tokens"):
        (into / folder).mkdir(parents=True)
        tables = [pq.read_table(path) for path in sorted((catalog / folder).glob("*.parquet"))]
        first = [table.slice(0, 1 if folder == "rows" else tokens) for table in tables]
        renamed = []
        for number in range(count):
            table = first[number % len(first)]
            at = table.schema.get_field_index("repo")
            name = pc.binary_join_element_wise(table["repo"], pa.scalar(str(number)), "-")
            renamed.append(
                table.set_column(at, table.schema.field(at), name.cast(table.schema.field(at).type))
            )
        pq.write_table(pa.concat_tables(renamed), into / folder / "part-000000.parquet")
