"""A page as a session: its commands, SQL and Python are run in order, in one folder.

In a ```console block a line `$ command` is run. Lines that follow it are its output: `make docs` writes
them, a test compares them; a line `…` stands for any number of lines. ```sql is asked of the demo's catalog,
```python is run. `# exit code 1` behind a command is what it must exit with. A comment right above a block changes how
it is read:

<!-- only parsed: why -->   its commands are read by their own parser and not run
<!-- any numbers: why -->   of what they print, numbers are not compared
<!-- one command: why -->   only its first line is one
<!-- file: name -->         it is the content of this file
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import duckdb

from survey.cli import cli, main

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>only parsed|any numbers|one command|file): (?P<what>[^\n]+) -->\n)?"
    r"^```(?P<language>\w+)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
LANGUAGES = {"console", "sql", "python", "text", "toml", "yaml"}
DEMO = "survey-demo/catalog"
# Other people's programs: pages may name them, tests do not run them.
FOREIGN = ("make", "pip", "pipx", "uv", "python3", ".", "ray", "duckdb", "git", "curl")


class Session:
    """Runs the blocks of one page in one folder. endpoint: the Hub that stands for huggingface.co."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.names: dict[str, Any] = {}  # Any: what a page's Python defines

    def play(self, text: str) -> str:
        """The page with what its commands print now. Raises AssertionError if one fails."""
        with contextlib.chdir(self.folder), _environment(HF_ENDPOINT=self.endpoint):
            return BLOCK.sub(self._block, text)

    def _block(self, match: re.Match[str]) -> str:
        body, mark = match["body"], match["mark"]
        assert match["language"] in LANGUAGES, f"a block of {match['language']}"
        if mark == "file":
            Path(match["what"]).parent.mkdir(parents=True, exist_ok=True)
            Path(match["what"]).write_text(body)
        elif match["language"] == "console":
            alike = masked if mark == "any numbers" else steady
            play = parse if mark == "only parsed" else partial(self._played, alike=alike)
            first, printed = body.split("\n", 1)
            parts = [(first + "\n", printed, "")] if mark == "one command" else steps(body)
            return match[0].replace(body, "".join(play(*step) + gap for *step, gap in parts))
        elif match["language"] == "sql":
            for statement in duckdb.extract_statements(body):
                answer = self._survey(["sql", statement.query, "--catalog", DEMO, "--format", "csv"])
                assert answer.count(b"\n") > 1, f"no rows: {statement.query}"
        elif match["language"] == "python":
            exec(body, self.names)  # noqa: S102 - a page of ours
        return match[0]

    def _played(self, command: str, shown: str, alike: Callable[[str], str]) -> str:
        printed = self._run(command)
        if not shown or matches(shown, printed, alike):
            return command + shown
        return command + printed

    def _run(self, command: str) -> str:
        words = split(command)
        target = None
        if ">" in words:
            at = words.index(">")
            target, words = words[at + 1], words[:at]
        sent = ""
        if "|" in words:
            at = words.index("|")
            assert words[0] == "echo", f"only echo is piped: {command}"
            sent, words = " ".join(words[1:at]) + "\n", words[at + 1 :]
        program, *arguments = words
        if program == "cat":
            printed = b"".join(Path(name).read_bytes() for name in arguments)
        elif program == "export":
            os.environ |= dict(
                word.split("=", 1) for word in arguments if not word.startswith("HF_ENDPOINT=")
            )
            printed = b""
        else:
            assert program == "survey", f"mark it as only parsed: {command}"
            expected = re.search(r"# exit code (\d+)", command)
            printed = self._survey(serially(arguments), sent, int(expected[1]) if expected else 0)
        if target is None:
            text = re.sub(r" +$", "", printed.decode(), flags=re.MULTILINE).strip("\n")
            return f"{text}\n" if text else ""
        Path(target).write_bytes(printed)
        return ""

    def _survey(self, arguments: list[str], sent: str = "", expected: int = 0) -> bytes:
        if arguments[0] == "demo":
            shutil.rmtree("survey-demo", ignore_errors=True)
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        complaints, stdin = io.StringIO(), sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(sent.encode()), encoding="utf-8")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
                code = main(arguments)
        finally:
            sys.stdin = stdin
        assert code == expected, f"survey {shlex.join(arguments)}: exit code {code}\n{complaints.getvalue()}"
        out.flush()
        return out.buffer.getvalue()  # type: ignore[attr-defined]


def steps(body: str) -> Iterator[tuple[str, str, str]]:
    """The commands of a console block, each with the lines that it prints and the empty lines after them."""
    parts = re.findall(r"^(\$ (?:.*\\\n)*.*\n)((?:(?!\$ ).*\n)*?)(\n*)(?=\$ |\Z)", body, re.MULTILINE)
    assert "".join(map("".join, parts)) == body, f"a console block begins with `$ command`:\n{body}"
    yield from parts


def split(command: str) -> list[str]:
    """The words of a command as bash reads them, `|` and `>` apart, comments left out."""
    lexer = shlex.shlex(
        command.strip().removeprefix("$ ").replace("\\\n", ""), posix=True, punctuation_chars="|>"
    )
    lexer.whitespace_split = True
    return list(lexer)


def parse(command: str, shown: str) -> str:
    """Read a command by its own parser. Raises click's UsageError if it does not parse."""
    words = split(command)
    if words[0] == "survey":
        arguments = words[1 : words.index(">")] if ">" in words else words[1:]
        context = click.Context(cli, info_name="survey")
        name, subcommand, rest = cli.resolve_command(context, list(arguments))
        assert subcommand is not None
        subcommand.make_context(name, rest, parent=context).close()
    elif words[0] != "export":
        assert words[0] in FOREIGN, f"what is {words[0]}?"
    return command + shown


def serially(arguments: list[str]) -> list[str]:
    """Tests measure in this very process: starting Ray for every command would take seconds."""
    takes = arguments[0] in ("run", "demo") or "--sweep" in arguments
    return [*arguments, "--executor", "serial"] if takes and "--executor" not in arguments else arguments


def matches(shown: str, printed: str, alike: Callable[[str], str]) -> bool:
    """Whether a page shows what a command prints, but for what `alike` takes out of both."""
    parts = re.split(r"^…\n", alike(shown), flags=re.MULTILINE)
    return re.fullmatch(".*".join(map(re.escape, parts)), alike(printed), re.DOTALL) is not None


def masked(text: str) -> str:
    """Output without its numbers."""
    return re.sub(r"\d[\d.,]*(e[+-]\d+)?", "N", steady(text))


def steady(text: str) -> str:
    """Output without what differs from run to run: ports, times, last digits, and how it is padded."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d{8}T\d{6}-\d{6}", "RUN", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r" +\d+\.\d$", " SECONDS", text, flags=re.MULTILINE)
    text = re.sub(r"[\d.]+ (seconds|s|steps/s|\w?B/s)\b", r"N \1", text)
    text = re.sub(r"(\d\.\d\d)\d\d°", r"\1°", text)
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    return re.sub(r" +", " ", text)


@contextlib.contextmanager
def _environment(**names: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ |= names
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
