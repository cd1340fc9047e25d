"""A catalog on S3 answers as one in a folder does, and survives faults of the store."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench.catalog import rows
from support.commands import Ran
from support.deliveries import delivered
from support.s3 import S3, Fault

from catalog.files import ROWS, TOKENIZER_TABLES, TOKENS, File
from catalog.read.attach import attach
from catalog.read.reader import Reader
from catalog.store.duckdb_filesystem import PositionedFile
from catalog.store.object_store import ObjectStore
from catalog.store.object_store_errors import Unreadable
from catalog.store.object_store_retries import with_retries
from catalog.store.open import CatalogStore, open_for_reading, open_for_writing, open_if_there
from catalog.write.commit import commit
from jobs.tasks.tokenizer_tables import RunTables
from survey.errors import CommitError, UsageError
from survey.records.settings import TokenizerTablesPlace
from survey.vocabulary.table import packed_problem

Make = Callable[..., Path]
Survey = Callable[..., Ran]


def put(store: CatalogStore, file: File, content: bytes) -> None:
    store.publish(file.folder, file.name, lambda opened: opened.write(content) and None)


@pytest.fixture
def filled(uri: str, checkpoint: Make) -> CatalogStore:
    store = open_for_writing(uri)
    for name in ("one", "two"):
        commit(store, delivered(checkpoint(name)).tables)  # type: ignore[arg-type]
    return store


def test_views_attached_for_other_clients_name_the_urls(filled: CatalogStore, tmp_path: Path) -> None:
    path = tmp_path / "v.duckdb"
    attach(filled, path)
    with duckdb.connect(str(path), read_only=True) as connection:
        if isinstance(filled, ObjectStore):
            connection.register_filesystem(filled.fs)  # other clients have httpfs
        assert connection.execute("SELECT dead_count FROM models").fetchall() == [(10,)] * 2
        assert connection.execute("SELECT count(DISTINCT repo) FROM tokens").fetchall() == [(2,)]
        assert str(filled) in str(connection.execute("SELECT sql FROM duckdb_views()").fetchall())


def test_views_answer_the_same_wherever_the_catalog_lies(filled: CatalogStore) -> None:
    with Reader(pickle.loads(pickle.dumps(filled))) as reader:  # noqa: S301 - as Ray does
        assert reader.ask("SELECT dead_count FROM models").rows == [(10,)] * 2
        assert reader.ask("SELECT count(*), count(DISTINCT repo) FROM tokens").rows == [(600, 2)]
        assert reader.ask("SELECT sum(population) FROM black_holes").rows == [(20,)]
        assert reader.ask("SHOW TABLES").rows
        assert reader.damaged == []


@pytest.mark.parametrize("folder", [ROWS, TOKENS])
def test_a_truncated_object_is_named_and_left_out(filled: CatalogStore, folder: str) -> None:
    file = filled.files(folder)[0]
    list(filled.ends([file]))
    with filled.open(file) as opened:
        content = opened.read()
    put(filled, file, content[:-100])
    with Reader(filled) as reader:
        left = 1 if folder == ROWS else 2
        assert reader.ask("SELECT count(*) FROM models").rows == [(left,)]
        assert reader.ask("SELECT count(DISTINCT repo) FROM tokens").rows == [(1,)]
        assert [damaged.shown for damaged in reader.damaged] == [file.shown]


def test_an_object_deleted_between_listing_and_reading_is_no_error(filled: CatalogStore) -> None:
    with Reader(filled) as reader:
        filled.remove(filled.files(ROWS)[:1])
        assert (
            reader.ask("SELECT dead_count, centroid FROM models JOIN vectors USING (repo)").rows[0][0] == 10
        )
        reader.ask("SELECT count(*) FROM tokens")
        filled.remove(filled.files(TOKENS))
        reader.ask("SELECT count(*) FROM tokens")
        assert reader.damaged == []


def test_an_object_deleted_while_it_is_listed_is_no_error(
    filled: CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, listings = filled.files(ROWS), []

    def stale(self: CatalogStore, folder: str) -> list[File]:
        listings.append(folder)
        return files if folder == ROWS and len(listings) == 1 else original(self, folder)

    original = type(filled).files
    filled.remove(files[:1])
    monkeypatch.setattr(type(filled), "files", stale)
    with Reader(filled) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(1,)]
        assert reader.damaged == []


FAULTS = [
    ("server errors", [Fault("InternalError", contains="/rows/", times=2)], 2),
    ("a busy server", [Fault("SlowDown", contains="/rows/", times=3)], 3),
    ("a connection reset", [Fault("reset", contains="/tokens/")], 1),
    ("an answer that got lost", [Fault("lost", contains="/rows/")], 1),
]


@pytest.mark.parametrize(("faults", "again"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_put_is_tried_again(s3: S3, bucket: str, checkpoint: Make, faults: list[Fault], again: int) -> None:
    store = open_for_writing(bucket)
    s3.faults[:] = [Fault(fault.code, fault.method, fault.contains, fault.times) for fault in faults]
    commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    assert s3.puts() == 2 + again
    with Reader(store) as reader:
        assert reader.ask("SELECT dead_count FROM models").rows == [(10,)]


GROUPS = (
    "SELECT count(*), count(DISTINCT repo), max(dead_fraction), sum(len(tags)) FROM models",
    "SELECT count(*), sum(list_sum(row_sketch) % 1000), sum(len(row_sketch)) FROM sketches",
    "SELECT sum(list_sum(centroid)), min(repo), max(repo) FROM vectors",
)


@pytest.fixture(scope="module")
def part() -> bytes:
    """What compaction would make of 2,000 rows, in 32 row groups; most of it lies far from the end."""
    table = rows(0, 2000, 16)
    field, chance = table.schema.field("row_sketch"), np.random.default_rng(0)
    sketches = [np.sort(chance.integers(0, 2**63, 128, dtype=np.uint64)) for _ in range(len(table))]
    store = table.schema.get_field_index("row_sketch")
    out = io.BytesIO()
    pq.write_table(table.set_column(store, field, pa.array(sketches, field.type)), out, row_group_size=64)
    return out.getvalue()


def answers(store: CatalogStore, times: int) -> list[list[tuple[object, ...]]]:
    given = []
    for _ in range(times):
        with Reader(store) as reader:
            given.append([row for sql in GROUPS for row in reader.ask(sql).rows])
            assert reader.damaged == []
    return given


def merged(uri: str, part: bytes) -> CatalogStore:
    store = open_for_writing(uri)
    store.publish(ROWS, "part-000.parquet", lambda opened: opened.write(part) and None)
    return store


SICK = {
    "a store that is well": [],
    "a slow store": [Fault("slow", "GET", "/rows/", times=None)],
    "server errors": [Fault("InternalError", "GET", "/rows/", times=3)],
    "a busy store": [Fault("SlowDown", "GET", "/rows/", times=2), Fault("reset", "GET", "/rows/", times=1)],
}


@pytest.mark.parametrize("faults", SICK.values(), ids=SICK.keys())
def test_a_merged_catalog_in_a_store_answers_as_a_folder_does(
    s3: S3, bucket: str, tmp_path: Path, part: bytes, faults: list[Fault]
) -> None:
    right = answers(merged(str(tmp_path / "folder"), part), 2)
    store = merged(bucket, part)
    s3.faults[:] = [Fault(fault.code, fault.method, fault.contains, fault.times) for fault in faults]
    given = answers(store, 1 if any(fault.code != "slow" for fault in faults) else 4)
    assert [round_all(answer) for answer in given] == [round_all(right[0])] * len(given)
    assert round_all(right[1]) == round_all(right[0])


def round_all(answer: list[tuple[object, ...]]) -> list[object]:
    """Sums of floats depend on the order in which threads come."""
    return [round(value, 3) if isinstance(value, float) else value for row in answer for value in row]


def test_a_read_that_fails_for_good_is_reported_and_no_file_is_called_damaged(
    s3: S3, bucket: str, part: bytes
) -> None:
    store = merged(bucket, part)
    with Reader(store) as reader:
        s3.faults.append(Fault("InternalError", "GET", "/rows/", times=None))
        with pytest.raises(UsageError, match=r"cannot be read now, try again: .*part-000\.parquet"):
            reader.ask(GROUPS[1])
        assert reader.damaged == []
        s3.faults.clear()
        assert reader.ask(GROUPS[0]).rows[0][0] == 2000
    assert [file.name for file in store.files(ROWS)] == ["part-000.parquet"]


def test_threads_that_read_one_file_have_a_position_each() -> None:
    content = bytes(range(256)) * 64

    def slow(start: int, stop: int) -> bytes:
        time.sleep(0.001)
        return content[start:stop]

    file = PositionedFile(len(content), slow, ahead=100)

    def read(number: int) -> bool:
        file.seek(number * 50)
        return file.read(37) + file.read(20) == content[number * 50 : number * 50 + 57]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(read, range(300)))


FINAL = [("InternalError", 4, "InternalError was ordered"), ("AccessDenied", 1, "permission denied")]


@pytest.mark.parametrize(("code", "tries", "message"), FINAL, ids=[case[0] for case in FINAL])
def test_a_put_that_never_succeeds_is_a_commit_error(
    s3: S3, bucket: str, checkpoint: Make, code: str, tries: int, message: str
) -> None:
    store = open_for_writing(bucket)
    s3.faults.append(Fault(code, contains="/rows/", times=None))
    with pytest.raises(CommitError, match=message) as failed:
        commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    assert failed.value.reason == "commit-failed"
    assert s3.puts("/rows/") == tries
    s3.faults.clear()
    with Reader(store) as reader:  # the tokens alone prove nothing
        assert reader.ask("SELECT count(*) FROM tokens").rows == [(0,)]


def test_reading_is_tried_again_too(s3: S3, filled: CatalogStore) -> None:
    s3.faults.append(Fault("SlowDown", "GET", times=2))
    with Reader(filled) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(2,)]


def test_a_missing_bucket_is_named(s3: S3) -> None:
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(UsageError, match="make the bucket first"):
            opened("s3://no-such-bucket/x")


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_refused_credentials_are_named_without_a_retry(s3: S3, bucket: str, code: str) -> None:
    s3.faults.append(Fault(code, "GET", times=None))
    with pytest.raises(UsageError, match=r"permission denied .* check the credentials") as refused:
        open_for_reading(bucket)
    assert len(s3.requests) <= 2
    assert "secret" not in str(refused.value)


def test_missing_credentials_are_named(s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(UsageError, match="set AWS_ACCESS_KEY_ID"):
        open_for_reading(f"{bucket}/x")


def test_nothing_there_is_no_catalog_to_read(bucket: str) -> None:
    assert open_if_there(f"{bucket}/x") is None
    with pytest.raises(UsageError, match=f"no catalog at {bucket}/x"):
        open_for_reading(f"{bucket}/x")


def test_a_prefix_with_foreign_files_is_no_catalog(bucket: str) -> None:
    other = open_for_writing(f"{bucket}/a")
    other.publish("b", "thesis.tex", lambda opened: opened.write(b"mine") and None)
    with pytest.raises(UsageError, match="not a catalog: it holds a, expected rows/"):
        open_for_writing(bucket)


URLS = [
    ("s3", "s3://bucket/x", r"pip install 'centroid-survey\[s3\]'"),
    ("gs", "gs://bucket/x", "pip install gcsfs"),
    ("another", "abfs://bucket/x", "adlfs"),
    ("unknown", "nope://bucket/x", "Protocol not known: nope"),
    ("with a password", "s3://key:word@bucket/x", "write the plain URL"),
]


@pytest.mark.parametrize(("url", "message"), [case[1:] for case in URLS], ids=[case[0] for case in URLS])
def test_a_url_that_cannot_be_opened_says_what_to_do(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message) as refused:
        open_for_reading(url)
    assert "word@" not in str(refused.value)


class AsGcsfs(Exception):
    """What gcsfs raises for an answer with a status of 400 or more."""

    def __init__(self, code: int) -> None:
        super().__init__(f"answered, {code}")
        self.code = code


@pytest.mark.parametrize("error", [AsGcsfs(401), OSError("Forbidden: b/bucket/o\ndenied")])
def test_a_google_store_that_refuses_access_is_requested_once_with_advice(
    error: Exception,
) -> None:
    requests = []

    def refuse() -> None:
        requests.append(error)
        raise error

    with pytest.raises(Unreadable, match="GOOGLE_APPLICATION_CREDENTIALS"):
        with_retries(refuse)
    assert len(requests) == 1


REFUSED = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('s3://other/rows/x.parquet')",
    "SELECT * FROM read_parquet('{uri}/rows/*.parquet')",
    "SELECT * FROM read_parquet('memory://x.parquet')",
    "SELECT * FROM read_text('catalog://../secret')",
    "SELECT * FROM read_blob('catalog://../other/rows/x.parquet')",
    "SELECT * FROM read_parquet('catalog://rows/../../../other/rows/x.parquet')",
    "COPY (SELECT 1) TO 'catalog://rows/x.parquet'",
    "ATTACH 'catalog://rows/x.db'",
    "SET enable_external_access = true",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_sql_reads_this_catalog_and_nothing_else(bucket: str, checkpoint: Make, sql: str) -> None:
    store = open_for_writing(f"{bucket}/mine")
    commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    names = [file.name for file in store.files(ROWS)]
    with Reader(store) as reader:
        with contextlib.suppress(UsageError):
            assert reader.ask(sql.format(uri=bucket)).rows == []
        # Past our own check of the statement, DuckDB and the file system refuse, too.
        if not sql.startswith("SELECT"):
            with pytest.raises(Exception, match=r"read|locked|Permission|disabled"):
                reader._catalog.connection.execute(sql)
    assert [file.name for file in store.files(ROWS)] == names


def test_commands_end_to_end(s3: S3, bucket: str, survey: Survey, checkpoint: Make) -> None:
    catalog = f"{bucket}/deep/catalog"
    folder = checkpoint("mine")
    assert survey("plan", folder, "--catalog", catalog).code == 0
    ran = survey("run", folder, "--catalog", catalog, "--executor", "serial")
    assert (ran.code, ran.err) == (0, "")
    assert "1 measured" in ran.out
    assert s3.puts("/rows/") == s3.puts("/tokens/") == s3.puts("/attempts/") == 1
    assert "1 unchanged" in survey("run", folder, "--catalog", catalog, "--executor", "serial").out
    assert "already measured" in survey("plan", folder, "--catalog", catalog).out
    answer = survey("sql", "SELECT dead_count FROM models", "--catalog", catalog, "--format", "json")
    assert json.loads(answer.out) == [{"dead_count": 10}]
    assert survey("query", "families", "--catalog", catalog).code == 0
    assert "dead_live_angle_deg" in survey("show", folder, "--catalog", catalog).out
    assert "1 models, 1 matrices" in survey("status", "--catalog", catalog).out
    # Two runs' attempts are merged; a lone row file, too.
    assert "3 loose files merged" in survey("compact", "--catalog", catalog).out
    assert "3 files removed" in survey("compact", "--catalog", catalog).out
    assert "1 models, 1 matrices" in survey("status", "--catalog", catalog).out
    # Another config beside the same weights: the row is copied, out of the part.
    (folder / "config.json").write_text('{"model_type": "llama", "tie_word_embeddings": true}')
    ran = survey("run", folder, "--catalog", catalog, "--executor", "serial")
    assert (ran.code, ran.err) == (0, "")
    assert "1 of the measured were copied" in ran.out


def test_a_task_whose_commit_fails_is_a_failure_of_that_model(
    s3: S3, bucket: str, survey: Survey, checkpoint: Make
) -> None:
    s3.faults.append(Fault("InternalError", contains="one", times=None))
    ran = survey("run", checkpoint("one"), checkpoint("two"), "--catalog", bucket, "--executor", "serial")
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 1 failed" in ran.out
    assert "commit-failed" in ran.out


def test_a_store_that_refuses_is_misuse(s3: S3, bucket: str, survey: Survey, checkpoint: Make) -> None:
    s3.faults.append(Fault("AccessDenied", times=None))
    ran = survey("run", checkpoint(), "--catalog", bucket, "--executor", "serial")
    assert ran.code == 2
    assert "cannot be written: permission denied" in ran.err


def test_any_file_system_will_do(checkpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.store.compare_and_swap.SETTLING_S", 0)
    from catalog.store.lock import catalog_lock

    store = open_for_writing("memory://here/catalog")
    with catalog_lock(store):
        commit(store, delivered(checkpoint()).tables)  # type: ignore[arg-type]
    with Reader(open_for_reading("memory://here/catalog")) as reader:
        assert reader.ask("SELECT dead_count FROM models").rows == [(10,)]


def test_a_local_catalog_loads_no_object_stores_library(survey: Survey, checkpoint: Make) -> None:
    import subprocess

    survey("run", checkpoint(), "--catalog", "c", "--executor", "serial")
    program = (
        "import sys; from survey.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'s3fs', 'botocore', 'pyarrow'} & set(sys.modules); sys.exit(str(heavy) if heavy else code)"
    )
    command = [sys.executable, "-c", program, "sql", "SELECT 1 FROM models", "--catalog", "c"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.stderr == ""


def test_a_file_that_is_no_table_is_read_whole_or_not_at_all(uri: str) -> None:
    store = open_for_writing(uri)
    store.publish(TOKENIZER_TABLES, "key", lambda opened: opened.write(b"0123456789") and None)
    contents = [
        store.small_file(TOKENIZER_TABLES, name, cap)
        for name, cap in (("key", 10), ("key", 9), ("other", 10))
    ]
    assert contents == [b"0123456789", None, None]
    assert store.files(TOKENIZER_TABLES) == []


def test_machines_that_share_a_store_share_the_tables_of_tokenizers(
    s3: S3, bucket: str, tmp_path: Path
) -> None:
    open_for_writing(bucket).publish(ROWS, "a.parquet", lambda opened: opened.write(b"") and None)
    here, elsewhere = tmp_path, tmp_path / "on another machine"
    named: list[float] = []

    def name(left_s: float) -> bytes:
        named.append(left_s)
        return packed_problem("holds no tokens")

    for locks in (elsewhere, here, elsewhere):
        tables = RunTables(TokenizerTablesPlace(bucket, locks))
        assert tables.answer("key", 300, name, 30.0) == packed_problem("holds no tokens")
    assert (len(named), s3.puts("/tokenizer_tables/")) == (1, 1)
