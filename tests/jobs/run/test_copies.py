"""A matrix whose bytes were measured before is not read again: its row is copied under the new key."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from support import tokenizers
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading, open_for_writing
from catalog.write.arrow_tables import Tables, renewed
from catalog.write.commit import commit
from catalog.write.stored_matrix import read_stored
from jobs.demo.checkpoints import Cloud, write
from jobs.demo.hub.local_hub import Fault, LocalHub, Status

Survey = Callable[..., Ran]
Files = dict[str, bytes]
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
# What a copy cost, and when; and that it is one.
OF_THE_RUN = {
    *("run_id", "measured_at", "elapsed_s", "fetch_s", "warmup_s", "measure_s"),
    *("fetched_bytes", "requests", "retries", "measured_from"),
}
SERIAL = ("--executor", "serial")
SHARDS = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def checkpoint(folder: Path, **options: Any) -> Files:
    """The files of a little model with a tokenizer and a card."""
    write(little("little", **options), folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "tokenizer.json": tokenizers.byte_level(), "README.md": b"a card"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return checkpoint(tmp_path / "made" / "little", tied=False)


def table(sql: str, catalog: str) -> list[dict[str, Any]]:
    with Reader(open_for_reading(catalog)) as reader:
        answer = reader.ask(sql)
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def rows(catalog: str = "c") -> dict[str, dict[str, Any]]:
    """The rows by repo@sha."""
    return {
        f"{row['repo']}@{row['sha']}": row
        for row in table("select * from measured_rows order by measured_at", catalog)
    }


def tokens(model: str, catalog: str) -> list[dict[str, Any]]:
    repo, _, sha = model.partition("@")
    return table(f"select * from tokens where repo = '{repo}' and sha = '{sha}' order by token_id", catalog)


def same_figures(model: str, catalog: str, other: str) -> bool:
    """Whether two catalogs hold the same row of a model, but for its run, and the same per-token table."""
    one, two = rows(catalog)[model], rows(other)[model]
    assert {name for name in one if one[name] != two[name]} <= OF_THE_RUN
    return bool(tokens(model, catalog)) and tokens(model, catalog) == tokens(model, other)


def head_bytes(hub: LocalHub) -> int:
    """Bytes that the storage sent beyond a header's first read."""
    return sum(entry.sent_bytes for entry in hub.requests("cdn") if "bytes=0-" not in (entry.range or ""))


def with_card(files: Files) -> Files:
    return {**files, "README.md": b"another card"}


def renamed(files: Files) -> Files:
    return {**files, "tokenizer.json": tokenizers.bpe({"x": 0, "y": 1, "z": 2})}


def unnamed(files: Files) -> Files:
    return {name: content for name, content in files.items() if name != "tokenizer.json"}


def configured(files: Files) -> Files:
    config = json.loads(files["config.json"]) | {"model_type": "mistral", "tie_word_embeddings": None}
    return {**files, "config.json": json.dumps(config).encode()}


CHANGES: dict[str, tuple[str, Callable[[Files], Files]]] = {
    "another card": ("org/base", with_card),
    "a mirror": ("other/mirror", dict),
    "a mirror with another tokenizer": ("other/mirror", renamed),
    "another tokenizer": ("org/base", renamed),
    "no tokenizer any more": ("org/base", unnamed),
    "another config": ("org/base", configured),
}


@pytest.mark.parametrize(("repo", "change"), CHANGES.values(), ids=list(CHANGES))
def test_a_copied_row_is_the_row_that_measuring_gives(
    hub: LocalHub, survey: Survey, files: Files, repo: str, change: Callable[[Files], Files]
) -> None:
    first = hub.add_repo("org/base", files, card_data={"base_model": "org/older"})
    command = ["--endpoint", hub.endpoint, "--executor", "serial", "--catalog"]
    assert survey("run", "org/base", *command, "c").code == 0
    sha = hub.add_repo(repo, change(files), card_data={"base_model": "org/new"}, model_tags=("new",))
    hub.clear_log()
    ran = survey("run", repo, *command, "c")
    assert (ran.code, ran.err) == (0, "")
    assert "1 measured, 0 unchanged, 0 failed" in ran.out
    assert "1 of the measured were copied" in ran.out
    assert head_bytes(hub) == 0
    assert survey("run", repo, *command, "fresh").code == 0
    model = f"{repo}@{sha}"
    assert same_figures(model, "c", "fresh")
    copied, measured = rows()[model], rows("fresh")[model]
    assert (copied["measured_from"], measured["measured_from"]) == (f"org/base@{first}", None)
    assert copied["base_model"] == "org/new"
    assert copied["fetched_bytes"] < measured["fetched_bytes"] - measured["tensor_bytes"] + 1
    assert "1 unchanged" in survey("run", repo, *command, "c").out


def test_a_fine_tune_that_kept_the_file_of_its_head_is_a_copy(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    base = checkpoint(tmp_path / "made" / "base", tied=False, shards=2)
    head = json.loads(base["model.safetensors.index.json"])["weight_map"]["lm_head.weight"]
    (other,) = set(SHARDS) - {head}
    tuned = {**base, other: base[other][:-1] + b"\1"}
    hub.add_repo("org/base", base)
    hub.add_repo("org/tuned", tuned)
    command = ["--matrix", "both", "--endpoint", hub.endpoint, "--executor", "serial", "--catalog", "c"]
    assert "4 measured" in survey("run", "org/base", "org/tuned", *command).out
    assert [(row["repo"], row["matrix"], row["measured_from"] is not None) for row in table(
        "select repo, matrix, measured_from from measured_rows order by repo, matrix", "c"
    )] == [
        ("org/base", "input", False),
        ("org/base", "output", False),
        ("org/tuned", "input", False),
        ("org/tuned", "output", True),
    ]  # fmt: skip


def outdated(key: tuple[str, str, str]) -> None:
    """Let a stored row be one of an older version of a measure."""
    store = open_for_writing("c")
    tables = read_stored(store, key).tables
    commit(store, Tables(renewed(tables.row, {}, {"centroid": 0}), None))


def without_table(key: tuple[str, str, str]) -> None:
    """Remove the per-token table of a row."""
    (file,) = [path for path in Path("c/tokens").iterdir() if key[1][:14] in path.name]
    file.unlink()


def damaged(key: tuple[str, str, str]) -> None:
    """Damage a per-token table behind its footer."""
    (file,) = [path for path in Path("c/tokens").iterdir() if key[1][:14] in path.name]
    content = bytearray(file.read_bytes())
    content[100:200] = bytes(100)
    file.write_bytes(content)


def other_bytes(files: Files) -> Files:
    content = bytearray(files["model.safetensors"])
    content[-1] ^= 1
    return {**files, "model.safetensors": bytes(content)}


NO_COPIES: dict[str, tuple[Callable[[tuple[str, str, str]], None], Callable[[Files], Files], list[str]]] = {
    "a file of other bytes": (lambda key: None, other_bytes, []),
    "a row of an older measure": (outdated, dict, []),
    "a row without its per-token table": (without_table, dict, []),
    "a row whose per-token table is damaged": (damaged, dict, []),
    "a run that measures again": (lambda key: None, dict, ["--resurvey"]),
    "distances to other reference tokens": (lambda key: None, renamed, ["--reference-tokens", "own"]),
}


@pytest.mark.parametrize(("before", "change", "options"), NO_COPIES.values(), ids=list(NO_COPIES))
def test_what_is_no_proof_is_measured(
    hub: LocalHub,
    survey: Survey,
    files: Files,
    before: Callable[[tuple[str, str, str]], None],
    change: Callable[[Files], Files],
    options: list[str],
) -> None:
    sha = hub.add_repo("org/base", files)
    command = ["--endpoint", hub.endpoint, "--executor", "serial", "--catalog", "c"]
    survey("run", "org/base", *command)
    before(("org/base", sha, "output"))
    mirror = hub.add_repo("other/mirror", change(files))
    ran = survey("run", "other/mirror", *command, *options)
    assert ran.code == 0
    assert "1 measured, 0 unchanged, 0 failed" in ran.out
    assert rows()[f"other/mirror@{mirror}"]["measured_from"] is None


def test_the_word_of_one_hub_is_no_proof_for_another(hub: LocalHub, survey: Survey, files: Files) -> None:
    hub.add_repo("org/base", files)
    with LocalHub() as stranger:
        sha = stranger.add_repo("other/mirror", files)
        for model, served in (("org/base", hub), ("other/mirror", stranger)):
            survey("run", model, "--endpoint", served.endpoint, "--executor", "serial", "--catalog", "c")
    assert rows()[f"other/mirror@{sha}"]["measured_from"] is None


def test_models_of_equal_bytes_are_measured_once_in_a_run(
    hub: LocalHub, survey: Survey, files: Files
) -> None:
    names = [f"org/m{number}" for number in range(3)]
    shas = [hub.add_repo(name, {**files, "README.md": name.encode()}) for name in names]
    planned = survey("plan", *names, "--endpoint", hub.endpoint, "--catalog", "c").out
    assert f"org/m2: the same bytes as org/m0@{shas[0]}; its row is copied" in planned
    assert "3 to measure: 9.6 kB to read" in planned
    summary = ["--summary", "s.json"]
    ran = survey("run", *names, "--endpoint", hub.endpoint, *SERIAL, "--catalog", "c", *summary)
    assert "3 measured, 0 unchanged, 0 failed" in ran.out
    assert [row["measured_from"] for row in rows().values()].count(f"org/m0@{shas[0]}") == 2
    outcome = json.loads(Path("s.json").read_text())
    assert (outcome["measured"], outcome["copied"]) == (3, 2)
    (family,) = json.loads(survey("query", "families", "--catalog", "c", "--format", "json").out)
    assert (family["models"], family["copies"]) == (1, 2)
    assert {item["repo"]: item["tries"] for item in outcome["attempts"]} == dict(zip(names, (1, 0, 0), strict=True))  # fmt: skip


def test_a_fault_of_the_first_is_none_of_the_second(
    hub: LocalHub, survey: Survey, files: Files, executor: list[str]
) -> None:
    for name in ("org/m0", "org/m1", "org/m2"):
        hub.add_repo(name, files)
    hub.faults.append(Fault(Status(404), server="cdn", path_contains="m0", skip=1, times=None))
    ran = survey("run", "org/m0", "org/m1", "org/m2", "--endpoint", hub.endpoint, *executor, "--catalog", "c")
    assert "2 measured, 0 unchanged, 1 failed" in ran.out
    assert {(row["repo"], row["measured_from"]) for row in rows().values()} == {("org/m1", None), ("org/m2", None)}  # fmt: skip


def test_a_moved_folder_is_a_copy_if_its_times_are_a_clocks(survey: Survey, tmp_path: Path) -> None:
    cloud = Cloud(**{name: getattr(LITTLE, name) for name in LITTLE.__slots__} | {"seed": 7})
    for name, model in {"a": little("a"), "b": little("a", cloud=cloud)}.items():
        write(model, tmp_path / name)
    command = ["--executor", "serial", "--catalog", "c"]
    survey("run", tmp_path / "a", *command)
    # Another checkpoint of equal sizes: a tool gave its files the same times, in whole seconds.
    assert "were copied" not in survey("run", tmp_path / "b", *command).out
    one, two = rows().values()
    assert one["sha"] == two["sha"]
    assert one["centroid_l2"] != two["centroid_l2"]
    stamp = (tmp_path / "a/model.safetensors").stat().st_mtime_ns + 123_456_789
    os.utime(tmp_path / "a/model.safetensors", ns=(stamp, stamp))
    assert "were copied" not in survey("run", tmp_path / "a", *command).out
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    assert "1 of the measured were copied" in survey("run", tmp_path / "moved", *command).out
    (tmp_path / "a/config.json").write_text(json.dumps({"model_type": "llama", "tie_word_embeddings": True}))
    assert "1 of the measured were copied" in survey("run", tmp_path / "a", *command).out


def block_files(specials: int) -> Files:
    """A matrix with a block of 500 rows, of which only names tell whether it is of words."""
    draw = np.random.default_rng(4)
    matrix = draw.normal(size=(6000, 64)) / 8
    matrix[:500] = 1.05 * matrix[0] + 0.2 * matrix[:500]
    vocab = {chr(0x4E00 + number): number for number in range(6000)}
    added = [tokenizers.special(number, chr(0x4E00 + number)) for number in range(specials)]
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True}
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": save({"model.embed_tokens.weight": matrix.astype(np.float32)}),
        "tokenizer.json": tokenizers.bpe(vocab, added_tokens=added),
    }


@pytest.mark.parametrize("options", [[], ["--no-tokens"]], ids=["with tokens", "without tokens"])
def test_names_that_tell_words_from_reserved_rows_are_the_copys_own(
    hub: LocalHub, survey: Survey, options: list[str]
) -> None:
    models = {
        "org/reserved": block_files(400), "org/words": block_files(0), "org/unnamed": unnamed(block_files(0)),
    }  # fmt: skip
    shas = {repo: hub.add_repo(repo, files) for repo, files in models.items()}
    command = ["--endpoint", hub.endpoint, "--executor", "serial"]
    survey("run", "org/reserved", *command, "--catalog", "c")
    assert "2 of the measured were copied" in survey("run", *models, *command, *options, "--catalog", "c").out
    assert "3 measured" in survey("run", *models, "--resurvey", *command, *options, "--catalog", "fresh").out
    for repo, counted in {"org/reserved": 500, "org/words": 0, "org/unnamed": 0}.items():
        model = f"{repo}@{shas[repo]}"
        assert rows()[model]["undertrained_rows"] == counted
        if repo != "org/reserved":
            one, two = rows()[model], rows("fresh")[model]
            assert {name for name in one if one[name] != two[name]} <= OF_THE_RUN
            assert tokens(model, "c") == tokens(model, "fresh")
            assert bool(tokens(model, "c")) == (not options)
