"""`relatives` across 2,000 models of 150,000 rows, against comparing all rows of all models in bare DuckDB.

The peer reads fewer models, and its time is scaled up: all of them would take 2.4 GB of hashes.

python -m tests.bench.lineage
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.schema_of_records import arrow_schema, row_columns
from catalog.store.open import open_for_writing
from catalog.write.contents import ROW_GROUP_ROWS
from survey.measures.row_sketch import row_sketch
from survey.records.measured_columns import Tokens
from tests.bench.catalog import rows, survey

MODELS, ROWS, FAMILY, PEERS = 2_000, 150_000, 40, 100
ROUNDS = 5


def hashes(model: int) -> np.ndarray:
    """Row hashes of a model: each family of 40 shares 10 to 90 % of its first model's rows."""
    family, position = divmod(model, FAMILY)
    row_hashes = np.random.default_rng(family).integers(0, 2**64, ROWS, dtype=np.uint64)
    chance = np.random.default_rng(1_000_000 + model)
    new = chance.random(ROWS) < (0.1 + 0.8 * position / FAMILY if position else 0.0)
    row_hashes[new] = chance.integers(0, 2**64, int(new.sum()), dtype=np.uint64)
    return row_hashes


def write(folder: Path) -> Path:
    """A catalog of all models in one part, and the peer's file with the rows of the first ones."""
    open_for_writing(str(folder))
    peer = folder.with_suffix(".parquet")
    schema = arrow_schema(row_columns())
    flat = pa.schema([("model", pa.int32()), ("row_hash", pa.uint64())])
    with (
        pq.ParquetWriter(folder / "rows" / "part-0.parquet", schema, compression="zstd") as out,
        pq.ParquetWriter(peer, flat, compression="zstd") as rows_out,
    ):
        for first in range(0, MODELS, ROW_GROUP_ROWS):
            table = rows(first, min(ROW_GROUP_ROWS, MODELS - first), 64)
            sketches = []
            for model in range(first, first + len(table)):
                row_hashes = hashes(model)
                sketches.append(row_sketch(Tokens(norm=np.ones(ROWS), row_hash=row_hashes, black_hole=np.zeros(ROWS, np.int32))))  # fmt: skip
                if model < PEERS:
                    rows_out.write_table(pa.table([np.full(ROWS, model, np.int32), row_hashes], schema=flat))
            for name in ("informative_rows", "rows_hash", "row_sketch"):
                values = pa.array([getattr(sketch, name) for sketch in sketches], schema.field(name).type)
                table = table.set_column(schema.get_field_index(name), schema.field(name), values)
            bases = [model - model % FAMILY for model in range(first, first + len(table))]
            stated = pa.array([f"org{base % 997}/model-{base}" for base in bases])
            index = schema.get_field_index("base_model")
            out.write_table(table.set_column(index, schema.field("base_model"), stated))
    return peer


def seconds(*command: str) -> float:
    """The fastest of a few runs, the process's start included."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    exact = (
        "import duckdb; duckdb.sql(\"with mine as (select row_hash from '{0}' where model = 0) "
        "select model, count(*) as both from '{0}' where row_hash in (from mine) group by model\").fetchall()"
    )
    print(f"{MODELS:,} models of {ROWS:,} rows, {os.cpu_count()} cores, best of {ROUNDS}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "catalog")
        peer = write(folder)
        naive = seconds("-c", exact.format(peer)) * MODELS / PEERS
        for name, arguments in (
            ("relatives", ("--param", "model=org0/model-0", "--param", "limit=50")),
            ("lineage_conflicts", ("--param", "all=1")),
            ("twins", ()),
        ):
            ours = seconds(*survey("query", name, *arguments, "--catalog", str(folder)))
            print(f"{name:<20}{ours:>8.2f} s   all rows, scaled from {PEERS}: {naive:.1f} s   ratio {naive / ours:.0f}")  # fmt: skip
        peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"peak memory of any of them: {peak_kb / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
