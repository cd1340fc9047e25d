"""`survey shell`: one prompt over one catalog, at a terminal and from a pipe."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.document import Document
from support.commands import Ran
from support.little_models import LITTLE, little

from jobs.demo.checkpoints import write
from queries.shell.prompt import SqlCompleter

Survey = Callable[..., Ran]
PROGRAM = [sys.executable, "-c", "from survey.cli import entry; entry()"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from survey.cli import main

    folder = tmp_path_factory.mktemp("shell")
    write(little("org/model", cloud=LITTLE), folder / "model")
    assert main(["run", str(folder / "model"), "--catalog", str(folder / "c"), "--executor", "serial"]) == 0
    return folder / "c"


@pytest.fixture
def typed(survey: Survey, catalog: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    def run(text: str, *options: str) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return survey("shell", "--catalog", catalog, *options)

    return run


IN_TURN = [
    ("two in a line", "select 1 as a; select 2 as b;", "a 1 b 2"),
    ("a comment behind the semicolon", "select 1 as a; -- and\nselect 2 as b;", "a 1 b 2"),
    ("a semicolon in a comment", "/* one; */ select 1 as a /* ;\n */;", "a 1"),
    ("a semicolon in a text, at a line's end", "select len('a;\nb') as a;", "a 4"),
    ("nothing between semicolons", ";;\nselect 1 as a;;\n;", "a 1"),
    ("no semicolon at the end", "select 1 as a;\nselect 2 as b", "a 1 b 2"),
    (
        "a command between statements",
        "select 1 as a;\n.format csv\nselect 2 as b; select 3 as c;",
        "a 1 b 2 c 3",
    ),
]


@pytest.mark.parametrize(
    ("text", "printed"), [case[1:] for case in IN_TURN], ids=[case[0] for case in IN_TURN]
)
def test_statements_are_told_apart_wherever_lines_end(
    typed: Callable[..., Ran], text: str, printed: str
) -> None:
    ran = typed(text)
    assert (ran.code, ran.out.split()) == (0, printed.split())


def test_an_oversized_statement_ends_no_shell(typed: Callable[..., Ran]) -> None:
    ran = typed(f"select {'(' * 100_000}1{')' * 100_000};")
    assert ran.code == 2
    assert "expected 200,000 or fewer" in ran.err


NOT_APART = ["select 1 as a; drop view models;", "select 1 as a; select nope;", "select 1 as a; select 'x"]


@pytest.mark.parametrize("text", NOT_APART)
def test_of_several_in_a_line_each_must_be_one_that_reads(typed: Callable[..., Ran], text: str) -> None:
    ran = typed(f"{text}\nselect 42;")
    assert (ran.code, "42" in ran.out) == (2, False)


def test_statements_from_a_pipe_are_run_one_by_one(typed: Callable[..., Ran]) -> None:
    ran = typed("-- a comment\nselect 40\n  + 2 as answer;\nselect count(*) as n from models")
    assert ran.code == 0
    assert ran.out.split() == ["answer", "42", "n", "1"]


def test_the_first_failure_ends_a_pipe(typed: Callable[..., Ran]) -> None:
    ran = typed("select nothing;\nselect 42;\n")
    assert ran.code == 2
    assert 'Referenced column "nothing" was not found' in ran.err
    assert "42" not in ran.out


COMMANDS = [
    (".help", ".columns VIEW"),
    (".views", "black_holes"),
    (".columns tokens", "row of the matrix, from 0"),
    (".queries", "median_centroid_ratio"),
    (".query families matrix=output", "share_with_black_holes"),
    (".format csv\nselect 1 as a, 2 as b;", "a,b\n1,2\n"),
    (".format json\nselect 1 as a;", '"a": 1'),
    (".quit\nselect broken", ""),
]


@pytest.mark.parametrize(("text", "printed"), COMMANDS)
def test_commands_begin_with_a_dot(typed: Callable[..., Ran], text: str, printed: str) -> None:
    ran = typed(text)
    assert (ran.code, ran.err) == (0, "")
    assert printed in ran.out


WRONG = [
    (".colums", "no command .colums; .help lists them"),
    (".columns", "write .columns VIEW"),
    (".columns nothing", "no view 'nothing'; there are models"),
    (".format xml", "write .format table|csv|json|md"),
    (".query nothing", "no query 'nothing'"),
    (".query families output", "output: write name=value. families takes --param matrix=output"),
    (".query 'families", "No closing quotation"),
    ("create table x (y int);", "CREATE is not allowed"),
    ("copy models to 'x.csv';", "COPY is not allowed"),
    ("select * from '/etc/passwd';", "passwd"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_cannot_be_run_is_named(typed: Callable[..., Ran], text: str, message: str) -> None:
    ran = typed(text)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_a_users_own_queries_are_there(typed: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "twice.sql").write_text("-- Twice.\n-- params: n=21\nselect 2 * $n as twice\n")
    assert "42" in typed(".query twice", "--queries", str(tmp_path)).out


COMPLETED = [
    ("SELECT * FROM mo", {"models", "models_history"}),
    ("SELECT centroid_l", {"centroid_l1", "centroid_l2", "centroid_linf"}),
    ("SELECT models.centroid_rat", {"centroid_ratio"}),
    ("SELECT median(dead_live_an", {"dead_live_angle_deg"}),
    ("SELECT medi", {"median("}),
    ("selec", {"SELECT"}),
    (".for", {".format"}),
    (".format j", {"json"}),
    (".columns atte", {"attempts"}),
    (".query mi", {"mine"}),
    ("", set()),
]


@pytest.mark.parametrize(("text", "expected"), COMPLETED)
def test_tab_completes_views_columns_and_words(text: str, expected: set[str]) -> None:
    completions = SqlCompleter(["mine"]).get_completions(Document(text), None)  # type: ignore[arg-type]
    assert expected <= {item.text.upper() if text.islower() and not text.startswith(".") else item.text for item in completions}  # fmt: skip


# ------------------------------------------------------------------- at a real terminal


class Terminal:
    """The command on a pseudo-terminal: what a person types and sees."""

    def __init__(self, catalog: Path, state: Path) -> None:
        import pty

        self._master, slave = pty.openpty()
        environment = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm"}
        self._process = subprocess.Popen([*PROGRAM, "shell", "--catalog", str(catalog)], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, keys: str) -> None:
        self.seen = ""
        os.write(self._master, keys.encode())

    def until(self, text: str, then: str = "\x1b[?2004h") -> None:
        """Wait until that was printed and the next prompt stands: it asks for pastes in brackets."""
        deadline = time.monotonic() + 30
        while text not in self.seen or then not in self.seen.rpartition(text)[2]:
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, self.seen
            self.seen += os.read(self._master, 4096).decode(errors="replace")
            if "\x1b[6n" in self.seen:  # prompt_toolkit asks where the cursor is
                self.seen = self.seen.replace("\x1b[6n", "")
                os.write(self._master, b"\x1b[1;1R")

    def leave(self) -> int:
        self.type("\x04")
        try:
            while os.read(self._master, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        return self._process.wait(20)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(catalog: Path, tmp_path: Path) -> Iterator[Callable[[], Terminal]]:
    opened: list[Terminal] = []

    def open_one() -> Terminal:
        opened.append(Terminal(catalog, tmp_path / "state"))
        opened[-1].until("Ctrl-D leaves")
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_a_prompt_answers_goes_on_after_mistakes_and_remembers(terminal: Callable[[], Terminal], tmp_path: Path) -> None:  # fmt: skip
    first = terminal()
    first.type("select nothing;\r")
    first.until("was not found")
    first.type("select 40 +\r2 as answer;\r")  # over two lines
    first.until("42")
    first.type("selec\x03")  # Ctrl-C throws a half-written line away
    first.until("interrupted")
    first.type("select dead_cou\t")
    first.until("nt", then="")
    first.type(" from models;\r")
    first.until("dead_count")
    assert first.leave() == 0

    second = terminal()
    second.type("\x1b[A\r")  # the arrow up
    second.until("dead_count")
    assert second.leave() == 0
    history = tmp_path / "state/centroid-survey/shell_history"
    assert "select dead_count from models;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
