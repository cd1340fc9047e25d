"""A statement that takes all memory, however it does so, ends in a line, and the machine keeps some."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.cli import main

# A machine of one gigabyte.
START = """
import sys
from survey.process import memory_limit
from catalog.read import connection
memory_limit.memory_bytes = connection.memory_bytes = lambda: 1 << 30
sys.argv = ["survey", *sys.argv[1:]]
from survey.cli import entry
try:
    entry()
finally:  # ru_maxrss would count what the process that forked this one had
    status = open("/proc/self/status").read()
    print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""
PROMPT = """
import sys
from survey.process import memory_limit
from catalog.read import connection
memory_limit.memory_bytes = connection.memory_bytes = lambda: 1 << 30
from queries.shell.shell import Shell
from survey.cli.output import catalog_reader, console
from survey.errors import UsageError
with catalog_reader(sys.argv[1]) as reader:
    shell = Shell(reader, {}, console(), form="csv")
    try:
        shell.do("SELECT list(range) AS x FROM range(300000000)")
    except UsageError as error:
        assert "memory" in str(error).lower(), error
        shell.do("SELECT 1 AS a")
"""
STATEMENTS = {
    "a text while it is planned": "SELECT printf('%900000000d', 1) AS x",
    "a text beyond the limit at once": "SELECT length(repeat('x', 3000000000)) AS x",
    "a list while it is planned": "SELECT len(list_sort(range(90000000))) AS x",
    "a list of rows": "SELECT list(range) AS x FROM range(300000000)",
    "rows of lists": "SELECT range(range) AS x FROM range(6000000, 6000100)",
}
# One that prints 4 GB: it ends at the limit of a file, here 16 MB, as on a disk without room.
FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the peak of a process from /proc")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("sql", STATEMENTS.values(), ids=STATEMENTS)
def test_a_statement_that_takes_all_memory_is_one_line(sql: str, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    command = [sys.executable, "-c", START, "sql", sql, "--catalog", str(tmp_path / "c")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    said, peak_kb = ran.stderr.splitlines()
    assert "memory" in said.lower()
    assert int(peak_kb) < 1 << 20


def test_the_stacks_of_many_threads_leave_room_for_an_answer() -> None:
    """In a container with a little of the memory of a machine of 64 cores."""
    code = """
import os
os.cpu_count = lambda: 64
import duckdb
from survey.process import memory_limit
memory_limit.memory_bytes = lambda: 512 << 20
with memory_limit.limited_memory():
    connection = duckdb.connect(config={"threads": 64})
    print(len(connection.execute("SELECT range AS x FROM range(500000)").fetchall()))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("500000\n", "")


def test_a_prompt_goes_on_after_it(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    ran = subprocess.run([sys.executable, "-c", PROMPT, str(tmp_path / "c")], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "a\n1\n"), ran.stderr


@pytest.mark.parametrize(("form", "machine_mb", "rows"), [("csv", 440, 90_000), ("parquet", 1024, 800_000)])
def test_rows_beyond_all_memory_are_printed_in_little(
    form: str, machine_mb: int, rows: int, tmp_path: Path
) -> None:
    """The texts of a kilobyte alone take as much as the process may use besides its libraries, or more."""
    (tmp_path / "c").mkdir()
    sql = f"SELECT range, repeat('x', 1000) AS y FROM range({rows})"
    started = START.replace("1 << 30", f"{machine_mb} << 20")
    command = [sys.executable, "-c", started, "sql", sql, "--catalog", str(tmp_path / "c"), "--format", form]
    with open(tmp_path / "printed", "wb") as printed:
        ran = subprocess.run(command, stdout=printed, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stderr) < machine_mb << 10
    if form == "parquet":
        assert pq.ParquetFile(tmp_path / "printed").metadata.num_rows == rows
    else:
        assert (tmp_path / "printed").read_bytes().count(b"\n") == rows + 1


def test_rows_for_which_the_temporary_folder_has_no_room_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    sql = "SELECT range, repeat('x', 1000) AS y FROM range(4000000)"
    arguments = ["sql", sql, "--catalog", str(tmp_path / "c"), "--format", "csv"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FULL + START, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stdout) == (2, "")
    said, _ = ran.stderr.splitlines()
    assert said.startswith(f"survey: {tmp_path} has no room for the answer")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


LONG_ANSWERS = {
    "a table": ("TABLE_ROWS", "SELECT range FROM range(20000000)", "   19"),
    "a card for each row": (
        "CARDS",
        f"SELECT {', '.join(f'range AS c{c}' for c in range(15))} FROM range(900)",
        "",
    ),
}


@pytest.mark.parametrize(("limit", "sql", "last"), LONG_ANSWERS.values(), ids=LONG_ANSWERS)
def test_an_answer_of_very_many_rows_is_cut_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, sql: str, last: str
) -> None:
    (tmp_path / "c").mkdir()
    monkeypatch.setattr(f"queries.text.render.{limit}", 20)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["sql", sql, "--catalog", str(tmp_path / "c")]) == 0
    *_, before, end = output.getvalue().splitlines()
    assert (before.rstrip(), end) == (last, "(the first 20 rows; csv prints all)")
