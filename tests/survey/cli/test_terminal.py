"""No command lets the name of a file, a folder or a model steer a terminal."""

from __future__ import annotations

import ast
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from documents.generated import ROOT
from rich.text import Text
from support.commands import Ran

from catalog.read.reader import Answer
from queries.text.render import print_table
from survey.cli.output import console
from survey.cli.streams import say

Survey = Callable[..., Ran]

# A title, a bell, a colour in one byte, a colour, another direction, a line of Unicode's, an isolate.
HOSTILE = "\x1b]0;title\x07\x9b31m\x1b[31mred\u202e\u2028\u2066"
STEERING = ("\x1b]0;title", "\x07", "\x9b", "\x1b[31mred", "\u202e", "\u2028", "\u2066")
SPELLED = r"\u001b]0;title\u0007"


def steering(ran: Ran) -> list[str]:
    return [text for text in STEERING if text in ran.out + ran.err]


@pytest.fixture
def measured(survey: Survey, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog `c…` of one model, both with hostile names; stderr and stdout are a terminal."""
    folder = checkpoint(f"mine{HOSTILE}")
    assert survey("run", folder, "--catalog", f"c{HOSTILE}", "--executor", "serial").code == 0
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    return folder


COMMANDS: dict[str, list[str]] = {
    "bars of a run": ["run", "MODEL", "--resurvey", "--executor", "serial"],
    "a list, with a model twice": ["run", "LIST"],
    "a plan": ["plan", "MODEL", "--explain"],
    "a summary that cannot be written": ["run", "MODEL", "--summary", f"none{HOSTILE}/x"],
    "status": ["status"],
    "compact": ["compact"],
    "a card": ["show", "MODEL"],
    "a picture": ["show", "MODEL", "--plot", f"p{HOSTILE}.html"],
    "a page": ["report", "-o", f"r{HOSTILE}.html"],
    "views": ["attach", f"a{HOSTILE}.duckdb"],
    "a history that is none": ["kinematics", f"h{HOSTILE}.safetensors"],
    "a word too many": ["status", HOSTILE],
    "an option that there is not": ["status", f"--{HOSTILE}"],
    "a command that there is not": [HOSTILE],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_name_steers_the_terminal(survey: Survey, measured: Path, command: list[str]) -> None:
    listed = Path(f"list{HOSTILE}.txt")
    listed.write_text(f"{json.dumps(str(measured), ensure_ascii=False)[1:-1]}\n{measured}\nno{HOSTILE}\n")
    named = {"MODEL": str(measured), "LIST": str(listed)}
    ran = survey(*(named.get(word, word) for word in command), "--catalog", f"c{HOSTILE}")
    assert ran.out + ran.err
    assert steering(ran) == []


def test_the_run_of_the_test_above_draws_a_bar(survey: Survey, measured: Path) -> None:
    """The partner of the above: without a bar it would prove nothing."""
    ran = survey("run", measured, "--resurvey", "--executor", "serial", "--catalog", f"c{HOSTILE}")
    assert "\x1b[" in ran.err
    assert "measuring" in ran.err


NOT_UTF8 = os.fsdecode(b"x\xff")
NOWHERE = ["--endpoint", "http://127.0.0.1:9"]
REFUSED: dict[str, list[str]] = {
    "a statement": ["sql", f"SELECT '{NOT_UTF8}'"],
    "statements in a pipe": ["shell"],
    "a value": ["query", "compare", "--param", f"a={NOT_UTF8}", "--param", "b=x"],
    "a file of views": ["attach", f"{NOT_UTF8}.duckdb"],
    "a catalog of views": ["attach", "v.duckdb", "--catalog", NOT_UTF8],
    "a revision": ["spectrum", f"org/name@{NOT_UTF8}", *NOWHERE],
}
TAKEN: dict[str, list[str]] = {
    "a title": ["report", "-o", f"{NOT_UTF8}.html", "--title", NOT_UTF8],
    "a catalog": ["sql", "FROM models", "--catalog", NOT_UTF8],
}


def test_no_argument_of_other_bytes_than_utf8_ends_as_a_defect(
    survey: Survey, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell hands over the names of files as they are."""
    (Path(NOT_UTF8) / "rows").mkdir(parents=True)
    codes = {}
    for name, command in (REFUSED | TAKEN).items():
        piped = io.TextIOWrapper(io.BytesIO(b"SELECT '\xff';\n"), "utf-8", errors="surrogateescape")
        monkeypatch.setattr("sys.stdin", piped)
        catalog = [] if {"--catalog", "--endpoint"} & set(command) else ["--catalog", f"c{HOSTILE}"]
        codes[name] = survey(*command, *catalog).code
    assert codes == dict.fromkeys(REFUSED, 2) | dict.fromkeys(TAKEN, 0)


def test_a_plan_names_a_revision_of_such_bytes(survey: Survey) -> None:
    ran = survey("plan", f"org/name@{NOT_UTF8}", *NOWHERE)
    assert "revision-not-found" in ran.out + ran.err


def test_a_complaint_is_one_line_and_tells_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    say(f"{HOSTILE}\nhalf \ud800 of hf_0123456789abcdef")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.startswith(f"survey: {SPELLED}")
    assert line.endswith(r"\u000ahalf \ud800 of ***")


@pytest.mark.parametrize("option", [["--format"], ["--class"], ["further"]], ids=lambda words: words[0])
def test_a_complaint_about_an_argument_tells_no_secret(
    survey: Survey, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    """A token or an URL with a password stands where another value was expected."""
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    ran = survey("tokens", "model", *option, "https://me:my-password@host/?x=hf_0123456789abcdef")
    assert (ran.code, "***" in ran.err) == (2, True)
    assert not [text for text in ("my-password", "0123456789abcdef") if text in ran.err]


@pytest.mark.parametrize("shown", [f"[bold]{HOSTILE}[/]", Text(HOSTILE)], ids=["markup", "text"])
def test_what_was_not_escaped_is_escaped_by_the_console(
    capsys: pytest.CaptureFixture[str], shown: str | Text
) -> None:
    console().print(shown)
    ran = Ran(0, *capsys.readouterr())
    assert steering(ran) == []
    assert r"\u001b]0;title" in ran.out


def test_the_name_of_a_picture_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Answer([":fire:"], ["VARCHAR"], [(":bomb:/:warning:",)]), console())
    assert capsys.readouterr().out.split() == [":fire:", ":bomb:/:warning:"]


def test_the_consoles_own_lines_and_colours_stay(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console().print("[red]one[/]\ntwo … ×")
    assert capsys.readouterr().out == "\x1b[31mone\x1b[0m\ntwo … ×\n"


def _to_stderr(file: Path) -> list[str]:
    """Calls of click.echo that print to stderr."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [
        f"{file.name}:{call.lineno}"
        for call in calls
        if ast.unparse(call.func) == "click.echo" and "err=True" in map(ast.unparse, call.keywords)
    ]


def test_errors_are_printed_in_one_place() -> None:
    """`say` prints one line; the errors that end a command are printed by the command line itself."""
    calls = [call for file in (ROOT / "survey/cli").glob("*.py") for call in _to_stderr(file)]
    assert {call.partition(":")[0] for call in calls} == {"streams.py", "__init__.py"}
