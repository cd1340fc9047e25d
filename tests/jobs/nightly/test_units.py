"""`survey nightly`: what every unit says, whichever scheduler reads it, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from support.commands import Ran

from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine, this_machine
from survey.cli.nightly import command
from survey.errors import UsageError

Survey = Callable[..., Ran]
SCHEDULERS = list(nightly.SCHEDULERS)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("catalog", [None, "s3://bucket/survey"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_unit_names_what_the_run_needs_and_no_secret(
    machine: JobMachine, job: Callable[..., Job], scheduler: str, catalog: str | None, zone: str | None
) -> None:
    made = job(scheduler, zone=zone, **({"catalog": catalog} if catalog else {}))
    unit = nightly.unit(scheduler, made, machine)
    assert "hf_secret" not in unit + repr(machine)
    assert "me:word" not in unit
    assert "HF_TOKEN" in unit
    assert "https://hub.example/100" in unit
    assert "--matrix" in unit
    assert catalog is None or catalog in unit
    assert (zone or "") in unit


REFUSED = [
    ("no hour", ["models.txt", "--on", "cron"], "say when: --at HH:MM"),
    ("no list", ["--at", "2:00", "--on", "cron"], "name the list of models"),
    ("no such list", ["nothing.txt", "--at", "2:00", "--on", "cron"], "no such list of models: nothing.txt"),
    ("a list that is none", ["empty.txt", "--at", "2:00", "--on", "cron"], "no model in"),
    ("25 o'clock", ["models.txt", "--at", "25:00", "--on", "cron"], "--at 25:00: write a time of day such as 02:00"),
    ("a word for an hour", ["models.txt", "--at", "noon", "--on", "cron"], "--at noon: write a time"),
    ("no such zone", ["models.txt", "--at", "2:00", "--timezone", "Europe/Berln", "--on", "cron"], "did you mean Europe/Berlin"),
    ("a path for a zone", ["models.txt", "--at", "2:00", "--timezone", "../x", "--on", "cron"], "no such time zone"),
    ("no scheduler", ["models.txt", "--at", "2:00"], "Missing option '--on'"),
    ("another scheduler", ["models.txt", "--at", "2:00", "--on", "at"], "'at' is not one of"),
    ("two lists", ["models.txt", "more.txt", "--at", "2:00", "--on", "cron"], "a unit runs one list"),
    ("an option that run lacks", ["models.txt", "--at", "2:00", "--on", "cron", "--", "--fast"], "No such option '--fast'"),
    ("a second catalog", ["models.txt", "--at", "2:00", "--on", "cron", "--", "--catalog", "d"], "give --catalog before the --"),
    ("a log in a pod", ["models.txt", "--at", "2:00", "--on", "kubernetes", "--image", "i", "--log", "l"], "--log is for cron and systemd"),
    ("no image", ["models.txt", "--at", "2:00", "--on", "kubernetes"], "needs --image"),
    ("an image for cron", ["models.txt", "--at", "2:00", "--on", "cron", "--image", "i"], "--image is for kubernetes"),
    ("no repository", ["models.txt", "--at", "2:00", "--on", "github"], "lies in no git repository"),
    ("a folder in a pod", ["folders.txt", "--at", "2:00", "--on", "kubernetes", "--image", "i"], "a pod does not see it"),
    ("a line break", ["models.txt", "--at", "2:00", "--on", "cron", "--log", "a\nb"], "control characters"),
    ("a catalog that GitHub would compute", ["models.txt", "--at", "2:00", "--on", "cron", "--log", "a\\"], "a last backslash"),
    ("a direction", ["models.txt", "--at", "2:00", "--on", "cron", "--log", "a\u202eb"], "--log: control characters"),
    ("standard input", ["-", "--at", "2:00", "--on", "cron"], "no such list of models: -; a unit reads it anew every night"),
    ("a password in an option", ["models.txt", "--at", "2:00", "--on", "cron", "--", "--endpoint", "https://me:word@hub"], "holds a password or a token"),
    ("a token in a package", ["models.txt", "--at", "2:00", "--on", "github", "--package", "git+https://word@github.com/a/b@c"], "holds a password or a token"),
    ("a line for cron that is too long", ["models.txt", "--at", "2:00", "--on", "cron", "--catalog", "c" * 900], "and cron takes 998"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_run_is_refused_now_and_not_at_night(
    survey: Survey, arguments: list[str], message: str
) -> None:
    Path("models.txt").write_text("org/model\n")
    Path("empty.txt").write_text("# nothing\n")
    Path("here").mkdir()
    Path("folders.txt").write_text("./here\n")
    ran = survey("nightly", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_lines_that_name_no_model_are_reported_and_stop_no_unit(survey: Survey) -> None:
    Path("models.txt").write_text("org/model\nnot a model\n")
    ran = survey("nightly", "models.txt", "--at", "2:00", "--on", "cron")
    assert ran.code == 0
    assert "models.txt:2: 'not a model' is not a model" in ran.err
    assert "refused every night" in ran.err


def test_the_command_prints_absolute_paths(survey: Survey, tmp_path: Path) -> None:
    Path("models.txt").write_text("org/model\n")
    ran = survey("nightly", "models.txt", "--at", "2:00", "--on", "cron")
    assert ran.code == 0
    assert f"{tmp_path}/models.txt --catalog {tmp_path}/survey-catalog" in ran.out
    assert f"{this_machine(os.environ).program} run" in ran.out
    assert this_machine(os.environ).program.is_absolute()


@pytest.mark.parametrize("scheduler", ["kubernetes", "cron"])
def test_a_missing_command_says_what_to_do(
    machine: JobMachine, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        UsageError, match=r"there is no kubectl here: print|there is no crontab command here: install"
    ):
        nightly.install(scheduler, job(scheduler), machine)


def test_the_command_offers_every_scheduler() -> None:
    on = next(option for option in command.params if option.name == "scheduler")
    assert isinstance(on.type, click.Choice)
    assert list(on.type.choices) == list(nightly.SCHEDULERS)
