"""A statement that takes all memory, however it does so, ends in a line, and the machine keeps some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
}


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


def test_a_prompt_goes_on_after_it(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    ran = subprocess.run([sys.executable, "-c", PROMPT, str(tmp_path / "c")], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "a\n1\n"), ran.stderr
