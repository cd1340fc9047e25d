"""`survey nightly`: text from outside stays text in every format, wherever it comes from, or is refused by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.commands import Ran

from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job, make_job
from jobs.nightly.machine import JobMachine
from jobs.nightly.schedulers import systemd
from survey.errors import UsageError

Survey = Callable[..., Ran]
HOSTILE = [
    ("a line feed", "x\n* * * * * touch here\n[Service]\nExecStart=touch here\n"),
    ("a carriage return", "x\r* * * * * touch here"),
    ("a vertical tab", "x\x0b"),
    ("an escape of terminals", "x\x1b[2K"),
    ("a next line of ISO 6429", "x\x85y"),
    ("a line separator", "x\u2028y"),
    ("a direction that shows it in another order", "x\u202etxt"),
    ("half of a character", "x\udce9"),
]
ENVIRONMENT = ["HOME", "TMPDIR", "HF_ENDPOINT", "HF_HOME", "HTTPS_PROXY", "no_proxy", "AWS_REGION", "XDG_CACHE_HOME"]  # fmt: skip


def sources(machine: JobMachine, job: Job, text: str) -> dict[str, tuple[JobMachine, Callable[[], Job]]]:
    """Everything from which text comes into a unit, each with the hostile text in its place."""
    folder = machine.folder / text.replace("/", "-")
    as_it_is = lambda: job  # noqa: E731
    return {
        "folder of the list": (machine, lambda: replace(job, models=folder / "models.txt")),
        "catalog": (machine, lambda: replace(job, catalog=str(folder))),
        "catalog in a store": (machine, lambda: replace(job, catalog=f"s3://bucket/{text}")),
        "option": (machine, lambda: replace(job, options=("--summary", text))),
        "log": (machine, lambda: replace(job, log=folder)),
        "XDG_STATE_HOME": (replace(machine, state=folder), as_it_is),
        "XDG_CONFIG_HOME": (replace(machine, config=folder), as_it_is),
        "program": (replace(machine, program=folder / "survey"), as_it_is),
        "systemd's folder": (replace(machine, units=folder), as_it_is),
        **{name: (replace(machine, environment={name: text}), as_it_is) for name in ENVIRONMENT},
    }


# What does not come into the unit of a scheduler, and so cannot harm it.
ABSENT = {
    "cron": {"systemd's folder"},
    "systemd": set[str](),
    "kubernetes": {"log", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "program", "systemd's folder"},
    "github": {"log", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "program", "systemd's folder"},
}


@pytest.mark.parametrize("scheduler", list(nightly.SCHEDULERS))
@pytest.mark.parametrize("text", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_what_would_leave_its_line_is_refused_wherever_it_comes_from(
    machine: JobMachine, job: Callable[..., Job], scheduler: str, text: str
) -> None:
    made = job(scheduler)
    for source, (changed, hostile) in sources(machine, made, text).items():
        try:
            unit = nightly.unit(scheduler, hostile(), changed)
        except (UsageError, OSError):  # OSError: the list does not lie there
            continue
        assert source in ABSENT[scheduler], source
        assert "touch here" not in unit


@pytest.mark.parametrize("scheduler", ["cron", "systemd"])
@pytest.mark.parametrize("text", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_the_folder_where_people_stand_is_such_a_source(
    survey: Survey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheduler: str, text: str
) -> None:
    folder = tmp_path / text.replace("/", "-")
    folder.mkdir()
    (folder / "models.txt").write_text("org/model\n")
    monkeypatch.chdir(folder)
    for action in ([], ["--install"]):
        ran = survey("nightly", "models.txt", "--at", "2:00", "--on", scheduler, *action)
        assert (ran.code, ran.out) == (2, "")
        assert "MODELS: control characters" in ran.err
        assert text not in ran.err


@pytest.mark.parametrize("name", ["XDG_STATE_HOME", "XDG_CONFIG_HOME"])
def test_a_line_break_in_a_folder_of_the_users_is_refused(
    survey: Survey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    Path("models.txt").write_text("org/model\n")
    monkeypatch.setenv(name, f"{tmp_path}/x\n* * * * * touch here")
    ran = survey("nightly", "models.txt", "--at", "2:00", "--on", "cron")
    assert (ran.code, ran.out) == (2, "")


AWKWARD = [
    "100%", r"a\%b", r"a\\%b", "%h%%", "$HOME", "${X}", "$(X)", "$$(X)", "`id`", "a'b", 'a"b', "a;b&c|d", "a=b",
    "-n", "#x", "~", "*?[a]", "!x", "{a,b}", "é ü", "日本", "👩‍🔬", "a\u00a0b", "<>", "key: value", "- x", "@x", "%%",
]  # fmt: skip


def as_cron_hands_on(field: str) -> str:
    """The sixth field of a crontab's line as cron's do_command() reads it."""
    command, escaped = "", False
    for char in field:
        if escaped:
            command = command[:-1] + char if char == "%" else command + char
            escaped = False
            continue
        assert char != "%", f"ends here: {command}"
        escaped = char == "\\"
        command += char
    return command


@pytest.mark.parametrize("text", AWKWARD)
def test_a_shell_gets_from_cron_what_was_meant(
    machine: JobMachine, short_path: Path, telling_program: Callable[[Path], None], text: str
) -> None:
    folder = short_path / text
    telling_program(folder / "survey")
    (folder / "models.txt").write_text("org/model\n")
    there = replace(
        machine, program=folder / "survey", config=folder, state=folder, environment={"HF_HOME": text}
    )
    made = make_job(folder / "models.txt", f"s3://bucket/{text}", "2:05", None, ["--summary", text])
    (line,) = [line for line in nightly.unit("cron", made, there).splitlines() if not line.startswith("#")]
    command = as_cron_hands_on(line.split(None, 5)[5])
    ran = subprocess.run(["/bin/sh", "-c", command], env={"HOME": "/"}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    arguments, environment = json.loads((folder / f"{made.name}.log").read_text())
    assert arguments == [
        "run",
        str(folder / "models.txt"),
        "--catalog",
        f"s3://bucket/{text}",
        "--summary",
        text,
    ]
    assert environment["HF_HOME"] == text


def as_systemd_reads(text: str) -> list[str]:
    """The quoted words of a setting, after systemd.syntax(7) and systemd.unit(5)."""
    words, rest = [], text
    while rest := rest.lstrip():
        assert rest[0] == '"'
        word, at = "", 1
        while rest[at] != '"':
            at += rest[at] == "\\"
            word, at = word + rest[at], at + 1
        words.append(word)
        rest = rest[at + 1 :]
    assert all("%" not in word.replace("%%", "") for word in words)
    return [word.replace("%%", "%") for word in words]


@pytest.mark.parametrize("text", AWKWARD)
def test_systemd_gets_what_was_meant(machine: JobMachine, job: Callable[..., Job], text: str) -> None:
    made = replace(job(), options=("--summary", text))
    service = systemd.files(made, replace(machine, environment={"HF_HOME": text}))[f"{made.name}.service"]
    settings = dict(
        line.split("=", 1) for line in service.splitlines() if "=" in line and not line.startswith("#")
    )
    *_, option = as_systemd_reads(settings["ExecStart"])
    assert option.replace("$$", "\0").count("$") == 0
    assert option.replace("$$", "$") == text
    assert f"HF_HOME={text}" in [as_systemd_reads(line.partition("=")[2])[0] for line in service.splitlines() if line.startswith("Environment=")]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_kubernetes_gets_what_was_meant(machine: JobMachine, job: Callable[..., Job], text: str) -> None:
    made = replace(job("kubernetes"), options=("--summary", text))
    documents = list(yaml.safe_load_all(nightly.unit("kubernetes", made, replace(machine, environment={"HF_HUB_X": text}))))  # fmt: skip
    (container,) = documents[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    # Kubernetes makes one $ of two, and expands $(NAME) after a single one.
    values = [
        container["command"][-1],
        *(pair["value"] for pair in container["env"] if pair["name"] == "HF_HUB_X"),
    ]
    assert all(value.replace("$$", "").count("$") == 0 for value in values)
    assert {value.replace("$$", "$") for value in values} == {text} or text == "~"


@pytest.mark.parametrize("text", AWKWARD)
def test_a_runner_of_github_gets_what_was_meant(
    machine: JobMachine, job: Callable[..., Job], text: str
) -> None:
    made = replace(job("github"), options=("--summary", text))
    workflow = yaml.safe_load(nightly.unit("github", made, replace(machine, environment={"HF_HUB_X": text})))
    (step,) = [step for step in workflow["jobs"]["survey"]["steps"] if "survey run" in step.get("run", "")]
    ran = subprocess.run(["/bin/bash", "-c", f"survey() {{ printf '%s\\n' \"$@\"; }}; {step['run']}"], capture_output=True, text=True, env={"GITHUB_WORKSPACE": "/w"}, check=True)  # fmt: skip
    assert ran.stdout.splitlines()[-1] == text
    assert step["env"].get("HF_HUB_X") == (None if text == "~" else text)


REFUSED = [
    ("a pattern of systemd's", "systemd", lambda machine: replace(machine, config=machine.folder / "a[b]"), "take this path for a pattern"),
    ("a blank that systemd strips", "systemd", lambda machine: replace(machine, state=machine.folder, config=machine.folder / "x "), None),
    ("a program that systemd cannot name", "systemd", lambda machine: replace(machine, program=machine.folder / "s"), "no program with quotes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scheduler", "change", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_a_format_cannot_say_is_refused(
    machine: JobMachine,
    job: Callable[..., Job],
    scheduler: str,
    change: Callable[[JobMachine], JobMachine],
    message: str | None,
) -> None:
    made = job(scheduler)
    if message is None:  # the blank stands within the path: nothing is stripped
        assert "x /nightly.env" in nightly.unit(scheduler, made, change(machine))
        made, message = replace(made, log=machine.folder / "log "), "no blank at the beginning or end"
    with pytest.raises(UsageError, match=message):
        nightly.unit(scheduler, made, change(machine))
