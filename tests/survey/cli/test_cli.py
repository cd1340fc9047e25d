"""The command line: help with examples, exit codes, and clear messages about bad input."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest
from support.commands import Ran

from survey.cli import cli

Survey = Callable[..., Ran]


@pytest.fixture
def measured(survey: Survey, checkpoint: Callable[..., Path]) -> Path:
    """A catalog `c` with one little model; returns the model's folder."""
    folder = checkpoint("mine")
    assert survey("run", folder, "--catalog", "c", "--executor", "serial").code == 0
    return folder


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_help_with_an_example(survey: Survey, name: str) -> None:
    ran = survey(name, "--help")
    assert ran.code == 0
    assert f"survey {name}" in ran.out.split("Options:")[0].partition("\n")[2]


def test_help_lists_the_commands(survey: Survey) -> None:
    ran = survey("--help")
    assert ran.code == 0
    for name in ("run", "plan", "query", "sql", "show", "status", "demo"):
        assert f"  {name}" in ran.out


MISUSE = [
    ("no models", ["run"], "Missing argument 'MODELS...'"),
    ("no such file", ["run", "models.txt"], "no such file or folder: models.txt"),
    ("unknown command", ["survey"], "No such command 'survey'"),
    ("unknown option", ["run", "a/b", "--fast"], "No such option '--fast'"),
    ("unknown matrix", ["run", "a/b", "--matrix", "middle"], "'middle' is not one of"),
    ("a timeout of nothing", ["run", "a/b", "--timeout", "0"], "0.0 is not in the range"),
    ("no catalog to read", ["query", "families"], "no catalog at"),
    ("no catalog to show", ["show", "a/b"], "`survey run MODELS --catalog"),
    ("unknown query", ["query", "nope", "--catalog", "c"], "no query 'nope'; there are angles, "),
    ("mistyped query", ["query", "familes", "--catalog", "c"], "no query 'familes'; did you mean families? There are"),
    ("unknown parameter", ["query", "families", "--param", "x=1", "--catalog", "c"], "unknown: x. It takes --param matrix=output"),
    ("missing parameter", ["query", "compare", "--catalog", "c"], "missing: a, b"),
    ("malformed parameter", ["query", "compare", "--param", "a", "--catalog", "c"], "--param a: write name=value"),
    ("a word for a number", ["query", "black_holes", "--param", "min_dead=x", "--catalog", "c"], "min_dead is 'x', expected a number"),
    ("not SQL", ["sql", "SELEC 1", "--catalog", "c"], "syntax error"),
    ("SQL that writes", ["sql", "DROP VIEW models", "--catalog", "c"], "DROP is not allowed"),
    ("an unmeasured model", ["show", "a/b", "--catalog", "c"], "a/b is not in the catalog"),
    ("a model to compare that is not there", ["query", "compare", "--param", "a=x", "--param", "b=y", "--catalog", "c"], " is not in the catalog "),
    ("no such folder of queries", ["query", "--queries", "nowhere", "--catalog", "c"], "no such folder of queries: nowhere"),
    ("a name for nothing", ["run", ""], "an empty name stands for no model"),
    ("a URL of a file", ["run", "https://huggingface.co/Qwen/Qwen3-4B/blob/main/x.bin"], "names x.bin in a model; write Qwen/Qwen3-4B:x.bin"),
    ("a URL of a dataset", ["run", "https://huggingface.co/datasets/Qwen/text"], "is a dataset, not a model"),
    ("a home that nobody has", ["run", "~nosuchuser/x"], "is not a path"),
    ("a name too long for a path", ["run", "a" * 5000], "is not a path"),
    ("no folder for the summary", ["run", "a/b", "--summary", "nowhere/x.json"], "there is no folder nowhere"),
    ("a summary over something else", ["run", "a/b", "--summary", "notes.txt"], "notes.txt: exists and is no summary of a run"),
    ("a page over something else", ["report", "-o", "notes.txt", "--catalog", "c"], "notes.txt: exists and is no HTML page"),
    ("an endpoint that is no URL", ["run", "a/b", "--endpoint", "nonsense"], "expected a URL such as"),
    ("a demo where nothing can be made", ["demo", "--folder", "/proc/x"], "cannot be made"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "message"), [case[1:] for case in MISUSE], ids=[case[0] for case in MISUSE]
)
def test_misuse_is_named_on_stderr_with_code_2(
    survey: Survey, measured: Path, command: list[str], message: str
) -> None:
    Path("notes.txt").write_text("dear diary")
    ran = survey(*command)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert Path("notes.txt").read_text() == "dear diary"


def test_a_folder_that_is_no_catalog_is_left_alone(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    Path("things").mkdir()
    (Path("things") / "thesis.tex").write_text("")
    ran = survey("run", checkpoint(), "--catalog", "things", "--executor", "serial")
    assert ran.code == 2
    assert "is not a catalog: it holds thesis.tex" in ran.err
    assert os.listdir("things") == ["thesis.tex"]


def test_a_catalog_below_a_file_cannot_be_written(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    Path("file").write_text("")
    ran = survey("run", checkpoint(), "--catalog", "file/c", "--executor", "serial")
    assert ran.code == 2
    assert "cannot be written" in ran.err


BROKEN = [
    ("no config", "config.json", None, "no-config"),
    ("config is not JSON", "config.json", b"{", "no-config"),
    ("no safetensors", "model.safetensors", None, "no-safetensors"),
    ("truncated", "model.safetensors", 2_000, "bad-header"),
    ("cut in the header", "model.safetensors", 20, "bad-header"),
    ("not safetensors", "model.safetensors", b"\xff" * 5_000, "bad-header"),
]


@pytest.mark.parametrize(
    ("file", "content", "reason"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_a_broken_folder_is_a_refusal_with_code_1(
    survey: Survey, checkpoint: Callable[..., Path], file: str, content: bytes | int | None, reason: str
) -> None:
    folder = checkpoint("broken")
    path = folder / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    ran = survey("run", folder, "--catalog", "c", "--executor", "serial")
    assert ran.code == 1
    assert reason in ran.out
    assert "0 measured, 0 unchanged, 1 failed" in ran.out


def test_a_model_named_twice_is_measured_once_with_a_note(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    folder = checkpoint()
    ran = survey("run", folder, folder, "--catalog", "c", "--executor", "serial")
    assert ran.code == 0
    assert "of command line; measured once" in ran.err
    assert "1 measured" in ran.out


def test_a_locked_catalog_is_code_3(survey: Survey, measured: Path) -> None:
    from catalog.store.lock import catalog_lock
    from catalog.store.open import open_for_writing

    with catalog_lock(open_for_writing("c")):
        ran = survey("run", measured, "--catalog", "c", "--executor", "serial")
    assert ran.code == 3
    assert f"process {os.getpid()}" in ran.err
    assert survey("query", "families", "--catalog", "c").code == 0  # readers are never in the way


def test_results_come_in_every_format(survey: Survey, measured: Path) -> None:
    sql = (
        "SELECT black_hole_count AS holes, black_hole_sizes AS sizes, dead_live_angle_deg > 29 AS wide, "
        "NULL AS nothing FROM models"
    )
    versions = {}
    for form in ("table", "csv", "json", "md", "parquet"):
        program = "from survey.cli import entry; entry()"
        command = [sys.executable, "-c", program, "sql", sql, "--catalog", "c", "--format", form]
        versions[form] = subprocess.run(command, check=True, capture_output=True).stdout
    assert versions["csv"] == b'holes,sizes,wide,nothing\n3,"[5, 3, 2]",True,\n'
    assert json.loads(versions["json"]) == [{"holes": 3, "sizes": [5, 3, 2], "wide": True, "nothing": None}]
    assert versions["md"].splitlines()[2] == "| 3 | [5, 3, 2] | True | · |".encode()
    assert versions["table"].split() == "holes sizes wide nothing 3 [5, 3, 2] True ·".encode().split()
    table = pq.read_table(BytesIO(versions["parquet"]))
    assert table.to_pylist()[0]["sizes"] == [5, 3, 2]


@pytest.mark.parametrize(
    "command",
    [["query"], ["query", "families", "--catalog", "c"], ["sql", "SELECT 1", "--catalog", "c"], ["--help"]],
    ids=" ".join,
)
def test_asking_loads_neither_torch_nor_ray(measured: Path, command: list[str]) -> None:
    program = (
        "import sys; from survey.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'numba', 'ray', 'pyarrow', 'huggingface_hub', 'transformers'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_plan_loads_no_compiler(measured: Path) -> None:
    """It takes half a second to load, and only the pass needs it."""
    program = (
        "import sys; from survey.cli import main; code = main(sys.argv[1:]);"
        "sys.exit('numba' if 'numba' in sys.modules else code)"
    )
    command = [sys.executable, "-c", program, "plan", str(measured), "--catalog", "another"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_import_survey_is_light_and_measures_in_a_notebook() -> None:
    program = (
        "import sys, survey; light = not {'torch', 'numba', 'ray', 'pyarrow', 'duckdb', 'numpy'} & set(sys.modules);"
        "import torch; row = survey.measure(torch.ones(3, 4));"
        "assert light and row.black_hole_sizes == (3,), row"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_closed_pipe_is_no_error(measured: Path) -> None:
    program = f"{sys.executable} -c 'from survey.cli import entry; entry()' sql 'SELECT * FROM range(100000)' --catalog c --format csv | head -1"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True)
    assert ran.stdout == "range\n"
    assert ran.stderr == ""


def test_the_card_shows_numbers_units_and_black_holes(survey: Survey, measured: Path) -> None:
    ran = survey("show", measured, "--catalog", "c")
    assert ran.code == 0
    for expected in (
        "vocab_rows",
        "300 rows",
        "dead_live_angle_deg",
        "degrees",
        "black holes",
        "model.embed_tokens.weight",
    ):
        assert expected in ran.out


def test_the_card_of_a_failed_model_gives_the_reason(survey: Survey, checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint("broken")
    (folder / "config.json").unlink()
    survey("run", folder, "--catalog", "c", "--executor", "serial")
    ran = survey("show", folder, "--catalog", "c")
    assert ran.code == 0
    assert "has not been measured" in ran.out
    assert "no-config" in ran.out


def test_a_wrong_name_is_answered_with_the_nearest(survey: Survey, measured: Path) -> None:
    ran = survey("show", str(measured)[:-1] + "x", "--catalog", "c")
    assert ran.code == 2
    assert f"did you mean {measured}?" in ran.err


def test_status_tells_what_is_there_and_what_fails(
    survey: Survey, measured: Path, checkpoint: Callable[..., Path]
) -> None:
    broken = checkpoint("broken")
    (broken / "config.json").unlink()
    survey("run", measured, broken, "--catalog", "c", "--executor", "serial")
    ran = survey("status", "--catalog", "c")
    assert ran.code == 0
    assert "1 models, 1 matrices, 1 families; 1 with black holes" in ran.out
    assert "no-config" in ran.out


def test_damaged_files_are_named_on_stderr(survey: Survey, measured: Path) -> None:
    (row,) = Path("c/rows").iterdir()
    row.write_bytes(b"PAR1")
    ran = survey("sql", "SELECT count(*) AS models FROM models", "--catalog", "c", "--format", "json")
    assert ran.code == 0
    assert json.loads(ran.out) == [{"models": 0}]
    assert row.name in ran.err


def test_output_from_outside_cannot_steer_the_terminal(survey: Survey, measured: Path) -> None:
    ran = survey("sql", "SELECT '\u202eevil\x1b[31m[bold]' AS text", "--catalog", "c")
    assert "\\u202eevil\\u001b[31m[bold]" in ran.out


def test_the_demo_asks_nothing_of_the_persons_own_setup(tmp_path: Path) -> None:
    personal = {
        "HF_TOKEN": "hf_of_somebody", "HF_HUB_OFFLINE": "1", "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1", "RAY_ADDRESS": "127.0.0.1:1", "HF_ENDPOINT": "http://127.0.0.1:1",
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", "from survey.cli import entry; entry()", "demo", "--executor", "serial"],
        cwd=tmp_path, env={**os.environ, **personal}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "9 measured, 0 unchanged, 0 failed" in ran.stdout


# A shell that starts the tests in the background lets them, and all that they start, ignore SIGINT.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def test_the_demos_hub_serves_until_it_is_interrupted(survey: Survey, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{LISTENING}; from survey.cli import entry; entry()", "demo", "--hub"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as served:  # fmt: skip
        assert served.stdout is not None
        printed = "".join(served.stdout.readline() for _ in range(5))
        endpoint = printed.split("export HF_ENDPOINT=")[1].split()[0]
        ran = survey("plan", tmp_path / "survey-demo" / "models.txt", "--endpoint", endpoint)
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=30) == 130
    assert ran.code == 0, ran.err
    assert "9 to measure" in ran.out
    assert not (tmp_path / "survey-demo" / "catalog").exists()


@pytest.mark.parametrize(
    "command", [["show", "MODEL"], ["status"], ["sql", "SELECT * FROM models"], ["query"]], ids=" ".join
)
def test_a_closed_pipe_is_no_error_of_any_command(measured: Path, command: list[str]) -> None:
    words = " ".join(f"'{measured if word == 'MODEL' else word}'" for word in command)
    program = f"{sys.executable} -c 'from survey.cli import entry; entry()' {words} --catalog c | true"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_columns_of_one_name_are_both_in_json(survey: Survey, measured: Path) -> None:
    ran = survey(
        "sql",
        "SELECT a.matrix, b.matrix, 'nan'::DOUBLE AS x, 1.5 AS y FROM models a, models b",
        "--catalog",
        "c",
        "--format",
        "json",
    )
    assert json.loads(ran.out) == [{"matrix": "output", "matrix_1": "output", "x": None, "y": 1.5}]


def test_on_a_narrow_terminal_numbers_are_never_folded() -> None:
    from io import StringIO

    from rich.console import Console

    from catalog.read.reader import Answer
    from queries.text.render import print_table

    answer = Answer(
        ["repo", "fraction", "sizes"],
        ["VARCHAR", "DOUBLE", "BIGINT[]"],
        [("org/" + "x" * 60, 0.0166513, [81, 70])],
    )
    for width in (20, 30, 50, 100):
        out = StringIO()
        print_table(answer, Console(file=out, width=width))
        assert "0.0166513" in out.getvalue()


def test_show_and_status_answer_programs_too(survey: Survey, measured: Path) -> None:
    assert (
        json.loads(survey("show", measured, "--catalog", "c", "--format", "json").out)[0]["dead_count"] == 10
    )
    assert json.loads(survey("status", "--catalog", "c", "--format", "json").out)[0]["models"] == 1
    assert "families" in {item["query"] for item in json.loads(survey("query", "--format", "json").out)}


def test_short_help_stays_whoever_parsed_a_command_before() -> None:
    for command in cli.commands.values():
        with contextlib.suppress(click.UsageError, click.exceptions.Exit):
            command.make_context("alone", [])
        assert "-h, --help" in command.get_help(click.Context(command, info_name="x")), command.name


def test_no_defect_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from survey.cli import _show_defect

    monkeypatch.setenv("HF_TOKEN", "my-own-token-9")
    try:
        raise ValueError("Bearer my-own-token-9 at https://user:secret-word@host/x?Signature=abc")
    except ValueError as error:
        _show_defect(type(error), error, error.__traceback__)
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert not any(
        secret in printed.rpartition("ValueError")[2] for secret in ("own-token", "secret-word", "abc")
    )
