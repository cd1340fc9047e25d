"""How long the catalog answers, by size and shape, against bare DuckDB over the same rows in one file.

python -m tests.bench.catalog
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import file_key
from catalog.schema_of_records import arrow_schema, population_columns, row_columns
from catalog.store.open import open_for_writing
from catalog.write.contents import PART_ROWS, ROW_GROUP_ROWS

PLAIN = {
    "VARCHAR": "x",
    "BIGINT": 1,
    "UBIGINT": 7,
    "DOUBLE": 0.5,
    "BOOLEAN": True,
    "TIMESTAMP": datetime(2026, 1, 1),
}
FAMILIES = ("Qwen", "Llama", "Gemma", "Mistral", "Phi", "OLMo", None)
DIMS, HOLE_ROWS, ROUNDS = 2560, 500, 7


def rows(first: int, count: int, dims: int) -> pa.Table:
    """Synthetic rows: every column filled, vectors of random floats."""
    chance = np.random.default_rng(first)
    hole = {"rank": 1, "population": HOLE_ROWS, "token_ids": list(range(HOLE_ROWS)), "norm": 0.4, "angle_to_live_deg": 30.0, "row_hash": 7}  # fmt: skip
    population = {column.name: PLAIN[column.sql_type] for column in population_columns()}
    vectors = chance.standard_normal((count, dims), dtype=np.float32)
    columns = {}
    for column, field in zip(row_columns(), arrow_schema(row_columns()), strict=True):
        if column.sql_type == "FLOAT[]":
            offsets = pa.array(np.arange(count + 1, dtype=np.int32) * dims)
            columns[field.name] = pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())).cast(
                field.type
            )
        elif column.sql_type in PLAIN:
            columns[field.name] = pa.array([PLAIN[column.sql_type]] * count, field.type)
        else:
            short = {
                "BIGINT[]": [0] * 256,
                "VARCHAR[]": ["tag"] * 8,
                "UBIGINT[]": [7] * 512,
                "VARCHAR[][]": [["token"] * 5] * 3,
                "BIGINT[][]": [[0] * 8] * 8,
            }.get(column.sql_type)
            structs = {"black_holes": [hole] * 3, "undertrained_populations": [population] * 2}
            value = short or structs.get(field.name, [("centroid", 1), ("tokens", 1)])
            columns[field.name] = pa.array([value] * count, field.type)
    columns["repo"] = pa.array(
        [f"org{number % 997}/model-{number}" for number in range(first, first + count)]
    )
    columns["family"] = pa.array([FAMILIES[number % 7] for number in range(first, first + count)])
    columns["matrix"] = pa.array(["output"] * count)
    columns["dead_fraction"] = pa.array(chance.random(count))
    return pa.table(columns, schema=arrow_schema(row_columns()))


def write_loose(folder: Path, count: int, dims: int) -> None:
    open_for_writing(str(folder))
    for first in range(0, count, 500):
        table = rows(first, min(500, count - first), dims)
        for number in range(len(table)):
            row = table.slice(number, 1)
            name = file_key(row["repo"][0].as_py(), row["sha"][0].as_py(), "output")
            pq.write_table(row, folder / "rows" / f"{name}.parquet", compression="zstd")


def write_parts(folder: Path, count: int, dims: int) -> None:
    open_for_writing(str(folder))
    for first in range(0, count, PART_ROWS):
        with pq.ParquetWriter(folder / "rows" / f"part-{first:06d}.parquet", arrow_schema(row_columns()), compression="zstd") as out:  # fmt: skip
            for group in range(first, min(first + PART_ROWS, count), ROW_GROUP_ROWS):
                out.write_table(
                    rows(group, min(ROW_GROUP_ROWS, first + PART_ROWS - group, count - group), dims)
                )


def write_one(folder: Path, count: int) -> Path:
    """The peer's file: the columns that the question needs, in one file."""
    path = folder.with_suffix(".parquet")
    columns = [
        "family",
        "matrix",
        "black_hole_count",
        "dead_fraction",
        "dead_live_angle_deg",
        "centroid_ratio",
    ]
    pq.write_table(rows(0, count, 1).select(columns), path)
    return path


def seconds(*command: str, rounds: int = ROUNDS) -> float:
    """The median wall time of a command of this Python's, its start included."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def survey(*arguments: str) -> tuple[str, ...]:
    return ("-c", "from survey.cli import entry; entry()", *arguments)


def compaction(folder: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB beyond an idle process with the same imports)."""
    program = (
        "import sys\nfrom catalog.write.compact import compact\nfrom catalog.store.lock import Lock\n"
        "from catalog.store.open import open_for_writing\nplace = open_for_writing(sys.argv[1])\n"
        "if sys.argv[2] == 'go': compact(place, Lock())\n"
        # Not ru_maxrss: that begins with what the parent had when it forked.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = {}
    began = time.perf_counter()
    for mode in ("idle", "go"):
        began = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-c", program, str(folder), mode], check=True, capture_output=True
        )
        peaks[mode] = int(ran.stdout) / 1024
    return time.perf_counter() - began, peaks["go"] - peaks["idle"]


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'catalog':<34}{'survey s':>10}{'bare DuckDB s':>15}{'ratio':>8}")
    sql = "select family, count(*), median(dead_fraction), median(dead_live_angle_deg), median(centroid_ratio) from '{}' where matrix = 'output' group by all"  # fmt: skip
    with tempfile.TemporaryDirectory() as made:
        for name, count, loose, dims in (
            ("100 loose files", 100, True, 2560),
            ("1,000 loose files", 1000, True, 2560),
            ("100,000 rows in parts", 100_000, False, 64),
        ):
            folder = Path(made, name.replace(" ", "-"))
            (write_loose if loose else write_parts)(folder, count, dims)
            peer = write_one(folder, count)
            ours = seconds(*survey("query", "families", "--catalog", str(folder)))
            bare = seconds("-c", f"import duckdb; duckdb.sql({sql.format(peer)!r}).fetchall()")
            print(f"{name:<34}{ours:>10.2f}{bare:>15.2f}{ours / bare:>8.1f}")
        folder = Path(made, "merge")
        write_loose(folder, 10_000, DIMS)
        took, peak = compaction(folder)
        copied = time.perf_counter()
        for path in (folder / "rows").glob("*@*"):
            path.read_bytes()
        copied = time.perf_counter() - copied
        print(f"merging 10,000 loose rows: {took:.1f} s, {peak:.0f} MB beyond imports; reading the files alone {copied:.1f} s, ratio {took / copied:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
