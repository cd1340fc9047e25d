"""`survey discover`: the Hub's listing as a list of models, through the real client."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from support.checkpoints import safetensors, stored
from support.commands import Ran
from support.gguf_models import cloud, coded, gguf_file

from jobs.demo.hub.local_hub import Fault, Garbage, LocalHub, Stall, Status
from jobs.demo.hub.repos import Repo
from jobs.planning.model_list import read_models

Survey = Callable[..., Ran]
WEIGHTS = safetensors({"a": stored(2, 3, dtype="BF16"), "b": stored(5, dtype="F32")})


def add(hub: LocalHub, repo: str, downloads: int, model_type: str = "qwen3", **fields: object) -> None:
    files = {
        "config.json": json.dumps({"model_type": model_type}).encode(),
        "model.safetensors": WEIGHTS,
    }
    tags = {"pipeline_tag": "text-generation", "model_tags": ("safetensors",)}
    hub.add_repo(repo, files, downloads=downloads, **{**tags, **fields})


@pytest.fixture
def stocked(hub: LocalHub) -> LocalHub:
    """Models of three families and two authors, and some that no survey can measure."""
    add(hub, "Qwen/small", 10)
    add(hub, "Qwen/large", 3_000_000)
    add(hub, "Qwen/wired", 500, model_type="llama", card_data={"base_model": "Qwen/Qwen2.5-7B"})
    add(hub, "Qwen/gated", 40, gated="manual")
    add(hub, "google/gemma", 900, model_type="gemma3")
    add(hub, "Qwen/pictures", 9_000, pipeline_tag="text-to-image")
    add(hub, "Qwen/pickled", 8_000, model_tags=("pytorch",))
    hub.page_size = 2
    hub.clear_log()
    return hub


@pytest.fixture
def quantised(stocked: LocalHub) -> LocalHub:
    """Repositories of quantisations, some of which state no task, beside those of `stocked`."""
    model = gguf_file({"token_embd.weight": coded(cloud(), "Q8_0")}, {"general.architecture": "qwen3"})
    both = {"config.json": b"{}", "model.safetensors": WEIGHTS, "both.Q8_0.gguf": model}
    tags = {"pipeline_tag": None, "model_tags": ("gguf",)}
    stocked.add_repo("unsloth/A-GGUF", {"A.Q8_0.gguf": model}, downloads=700, **tags)
    stocked.add_repo(
        "unsloth/chat-GGUF", {"b.gguf": model}, downloads=20, **{**tags, "pipeline_tag": "text-generation"}
    )
    stocked.add_repo(
        "unsloth/flux-GGUF", {"c.gguf": model}, downloads=9_999, **{**tags, "pipeline_tag": "text-to-image"}
    )
    stocked.add_repo("unsloth/broken-GGUF", {"d.gguf": b"GGUF\xff"}, downloads=5, **tags)
    stocked.add_repo(
        "unsloth/both",
        both,
        downloads=600,
        pipeline_tag="text-generation",
        model_tags=("gguf", "safetensors"),
    )
    add(stocked, "mlx-community/Qwen3-4bit", 800, library_name="mlx", model_tags=("mlx", "safetensors"))
    stocked.page_size = 3
    stocked.clear_log()
    return stocked  # fmt: skip


def names(ran: Ran) -> list[str]:
    return [line.split()[0] for line in ran.out.splitlines()]


CASES = [
    ("by downloads", [], ["Qwen/large", "google/gemma", "Qwen/wired", "Qwen/gated", "Qwen/small"]),
    ("an author", ["--author", "google"], ["google/gemma"]),
    ("a family by its type, its base model, its organisation", ["--family", "qwen"], ["Qwen/large", "Qwen/wired", "Qwen/gated", "Qwen/small"]),
    ("another family", ["--family", "Gemma"], ["google/gemma"]),
    ("many downloads", ["--min-downloads", "500"], ["Qwen/large", "google/gemma", "Qwen/wired"]),
    ("a few", ["--limit", "2"], ["Qwen/large", "google/gemma"]),
    ("all at once", ["--author", "Qwen", "--family", "Qwen", "--min-downloads", "11", "--limit", "2"], ["Qwen/large", "Qwen/wired"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_listing_is_filtered_and_sorted(
    stocked: LocalHub, survey: Survey, options: list[str], expected: list[str]
) -> None:
    ran = survey("discover", *options, "--endpoint", stocked.endpoint)
    assert ran.code == 0
    assert names(ran) == expected
    assert f"survey: {len(expected)} of " in ran.err


GGUF = ["unsloth/A-GGUF", "unsloth/both", "unsloth/chat-GGUF", "unsloth/broken-GGUF"]
SAFE = [
    "Qwen/large",
    "google/gemma",
    "mlx-community/Qwen3-4bit",
    "unsloth/both",
    "Qwen/wired",
    "Qwen/gated",
    "Qwen/small",
]
FORMATS = [
    ("safetensors unless stated", [], SAFE, "with safetensors"),
    ("safetensors", ["--format", "safetensors"], SAFE, "with safetensors"),
    ("gguf: no other task than text generation", ["--format", "gguf"], GGUF, "with GGUF"),
    ("gguf: the family by the file's architecture", ["--format", "gguf", "--family", "qwen"], [name for name in GGUF if name != "unsloth/broken-GGUF"], "4 text-generation models with GGUF"),
    ("gguf: a few", ["--format", "gguf", "--limit", "2"], GGUF[:2], "with GGUF"),
    ("gguf: an author without any", ["--format", "gguf", "--author", "google"], [], "the Hub lists no text-generation models with GGUF by google"),
    ("mlx: its library", ["--format", "mlx"], ["mlx-community/Qwen3-4bit"], "with MLX"),
    ("any: each once, by downloads", ["--format", "any"], ["Qwen/large", "google/gemma", "mlx-community/Qwen3-4bit", "unsloth/A-GGUF", "unsloth/both", "Qwen/wired", "Qwen/gated", "unsloth/chat-GGUF", "Qwen/small", "unsloth/broken-GGUF"], "10 of the 10 text-generation models with safetensors, GGUF or MLX"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected", "message"), [case[1:] for case in FORMATS], ids=[case[0] for case in FORMATS]
)
def test_a_format_is_chosen(
    quantised: LocalHub, survey: Survey, options: list[str], expected: list[str], message: str
) -> None:
    ran = survey("discover", *options, "--endpoint", quantised.endpoint)
    assert ran.code == (0 if expected else 1)
    assert names(ran) == expected
    assert message in ran.err


def test_a_line_of_gguf_says_its_parameters(quantised: LocalHub, survey: Survey) -> None:
    lines = survey("discover", "--format", "gguf", "--endpoint", quantised.endpoint).out.splitlines()
    assert lines[0] == "unsloth/A-GGUF       # 0.0 M parameters, 700 downloads"
    assert lines[3] == "unsloth/broken-GGUF  # size unknown, 5 downloads"


def test_a_format_that_nobody_reads_is_refused(stocked: LocalHub, survey: Survey) -> None:
    ran = survey("discover", "--format", "onnx", "--endpoint", stocked.endpoint)
    assert (ran.code, stocked.log) == (2, [])
    assert "'safetensors', 'gguf', 'mlx', 'any'" in ran.err


def test_the_output_is_a_list_that_run_reads(stocked: LocalHub, survey: Survey) -> None:
    ran = survey("discover", "--endpoint", stocked.endpoint)
    Path("models.txt").write_text(ran.out)
    listed = read_models(["models.txt"], Path.cwd())
    assert [str(model) for model in listed.models] == names(ran)


def test_each_line_says_size_and_downloads(stocked: LocalHub, survey: Survey) -> None:
    add(stocked, "big/Qwen", 7, model_tags=("safetensors", "big"))
    stocked.add_repo(
        "big/Qwen", {"config.json": b"{}", "model.safetensors": b"\xff" * 9}
    )  # no header to count
    ran = survey("discover", "--endpoint", stocked.endpoint)
    lines = ran.out.splitlines()
    assert lines[0] == "Qwen/large    # 0.0 M parameters, BF16+F32, 0.0 GB, 3,000,000 downloads"
    assert lines[3].endswith("40 downloads, gated")
    assert lines[5] == "big/Qwen      # size unknown, 7 downloads"


def test_no_more_pages_are_asked_for_than_needed(stocked: LocalHub, survey: Survey) -> None:
    survey("discover", "--endpoint", stocked.endpoint)
    assert len(stocked.requests("hub")) == 3  # five models, two a page, and nothing asked of each
    stocked.clear_log()
    survey("discover", "--limit", "2", "--endpoint", stocked.endpoint)
    assert len(stocked.requests("hub")) == 1


NOTHING = [
    ("an author without models", ["--author", "nobody"], 1, "the Hub lists no text-generation models with safetensors by nobody; check the spelling"),
    ("nothing that fits", ["--author", "google", "--family", "Llama"], 1, "none of the 1 text-generation models with safetensors by google"),
    ("no such family", ["--family", "Qwem"], 2, "--family Qwem: unknown; there are Qwen"),
    ("no name", ["--author", "a/b"], 2, "--author 'a/b': not the name of a user"),
    ("no models at all", ["--limit", "0"], 2, "0 is not in the range"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "message"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING]
)
def test_if_nothing_matches_stderr_says_why(
    stocked: LocalHub, survey: Survey, options: list[str], code: int, message: str
) -> None:
    ran = survey("discover", *options, "--endpoint", stocked.endpoint)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


@pytest.mark.parametrize(
    "name",
    [
        "org/a\nother/b",
        "org/a # b",
        "org/\x1b[31mred",
        "org/notes.txt",
        "../etc/passwd",
        "org/a@main",
        "noslash",
    ],
)
def test_names_that_a_list_cannot_hold_are_left_out(stocked: LocalHub, survey: Survey, name: str) -> None:
    model = stocked.repos["Qwen/large"]
    fields = {field: getattr(model, field) for field in ("commits", "branches", "pipeline_tag", "model_tags")}
    stocked.repos[name] = Repo(name, downloads=50, **fields)
    ran = survey("discover", "--endpoint", stocked.endpoint)
    assert len(names(ran)) == 5
    assert "\x1b" not in ran.out + ran.err
    assert "1 left out: no model ids" in ran.err
    Path("models.txt").write_text(ran.out)
    assert len(read_models(["models.txt"], Path.cwd()).models) == 5


FAULTS = [
    ("a busy moment", Fault(Status(503), times=1), 0, "", 4),
    ("a bad token", Fault(Status(401)), 2, "the Hub answered 401", 1),
    ("a wait of years", Fault(Status(429, {"Retry-After": "99999999"})), 2, "asks to slow down (429)", 1),
    ("not the Hub", Fault(Garbage(b'{"a": "login page"}')), 2, "not an answer of the Hub", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "code", "message", "requests"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)
def test_faults_of_the_listing(
    stocked: LocalHub, survey: Survey, fault: Fault, code: int, message: str, requests: int
) -> None:
    stocked.faults.append(fault)
    ran = survey("discover", "--endpoint", stocked.endpoint)
    assert ran.code == code
    assert message in ran.err
    assert len(stocked.requests("hub")) == requests
    assert len(names(ran)) == (5 if code == 0 else 0)


def test_a_private_model_is_listed_to_who_holds_the_token(
    stocked: LocalHub, survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked.users = {"member": frozenset({"Qwen/secret"})}
    add(stocked, "Qwen/secret", 77, private=True)
    assert "Qwen/secret" not in names(survey("discover", "--endpoint", stocked.endpoint))
    monkeypatch.setenv("HF_TOKEN", "member")
    ran = survey("discover", "--endpoint", stocked.endpoint)
    assert "Qwen/secret" in names(ran)
    assert "member" not in ran.out + ran.err


def test_a_silent_hub_is_not_waited_for_for_ever(
    stocked: LocalHub, survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library gives its listings no timeout."""
    monkeypatch.setattr("survey.hub.request_policy.TIMEOUT", httpx2.Timeout(0.5))
    stocked.faults.append(Fault(Stall(20), times=1))
    ran = survey("discover", "--endpoint", stocked.endpoint)
    assert (ran.code, len(names(ran))) == (0, 5)
