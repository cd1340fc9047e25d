"""Checkpoint folders: what names a state of one, and reading it through mmap."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints import CONFIG, INDEX, SINGLE, safetensors, sharded, single, stored, write
from support.gguf_models import cloud, coded, gguf_file

from survey.checkpoints.checkpoint import CONFIG_CAP_BYTES
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile, NotThere
from survey.records.tensors import ByteRange, FileRange

TABLE = {"model.embed_tokens.weight": stored(6, 4), "lm_head.weight": stored(6, 4, seed=1)}
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One checkpoint in shards, with all that lies around."""
    first, second = ({name: tensor} for name, tensor in TABLE.items())
    return write(
        tmp_path / "model", {**sharded([first, second]), "README.md": b"hello", "tokenizer.json": b"{}"}
    )


def sha(folder: Path) -> str:
    return FolderCheckpoint(folder).sha


def set_back(path: Path, change: Callable[[Path], object]) -> None:
    """Change a file and set its clock back to where it was."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ---- the name of a state


def test_the_same_folder_has_the_same_sha(folder: Path) -> None:
    assert sha(folder) == sha(folder)
    assert sha(folder).startswith("local-")
    assert len(sha(folder)) == len("local-") + 32


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda at: (at / "config.json").write_text(json.dumps(CONFIG | {"a": 1})), id="config-longer"
        ),
        pytest.param(
            lambda at: (at / "config.json").write_text(
                (at / "config.json").read_text().replace("llama", "qwen2")
            ),
            id="config-of-the-same-length",
        ),
        pytest.param(lambda at: (at / "config.json").unlink(), id="config-gone"),
        pytest.param(lambda at: (at / INDEX).write_text("{}"), id="index"),
        pytest.param(lambda at: (at / INDEX).unlink(), id="index-gone"),
        pytest.param(lambda at: os.utime(at / SHARD, ns=(0, 1)), id="time-of-a-shard"),
        pytest.param(
            lambda at: set_back(at / SHARD, lambda file: os.truncate(file, file.stat().st_size + 1)),
            id="size-of-a-shard",
        ),
        pytest.param(
            lambda at: set_back(
                at / SHARD, lambda file: file.write_bytes(file.read_bytes().replace(b"[6, 4]", b"[4, 6]"))
            ),
            id="header-of-a-shard",
        ),
        pytest.param(lambda at: (at / SHARD).unlink(), id="a-shard-gone"),
        pytest.param(lambda at: (at / "tokenizer.json").unlink(), id="tokenizer-gone"),
        pytest.param(lambda at: os.utime(at / "tokenizer.json", ns=(0, 1)), id="time-of-the-tokenizer"),
        pytest.param(lambda at: (at / "more.safetensors").write_bytes(b""), id="one-shard-more"),
        pytest.param(lambda at: (at / SHARD).rename(at / "other.safetensors"), id="a-shard-by-another-name"),
    ],
)
def test_the_sha_changes_with_what_decides_a_measurement(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = sha(folder)
    change(folder)
    assert sha(folder) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda at: (at / "README.md").write_text("bye"), id="readme"),
        pytest.param(lambda at: (at / "new.txt").write_text("new"), id="a-new-file"),
        pytest.param(lambda at: (at / "runs").mkdir(), id="a-folder-inside"),
        pytest.param(lambda at: os.utime(at / "config.json", ns=(0, 1)), id="time-of-the-config"),
        pytest.param(lambda at: os.utime(at / INDEX, ns=(0, 1)), id="time-of-the-index"),
        pytest.param(lambda at: os.utime(at, ns=(0, 1)), id="time-of-the-folder"),
        pytest.param(lambda at: (at / "gone").symlink_to(at / "nowhere"), id="a-broken-link"),
    ],
)
def test_the_sha_stays_whatever_else_changes(folder: Path, change: Callable[[Path], object]) -> None:
    before = sha(folder)
    change(folder)
    assert sha(folder) == before


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of files of llama.cpp."""
    tables = {"a-Q4_0.gguf": cloud(seed=1), "a-Q8_0.gguf": cloud(seed=1), "b-Q8_0.gguf": cloud(seed=2)}
    files = {name: gguf_file({"token_embd.weight": coded(rows, name[2:6])}) for name, rows in tables.items()}
    return write(tmp_path / "models", files)


def test_a_file_of_llama_cpp_has_a_sha_of_its_own(models: Path) -> None:
    names = ("a-Q4_0.gguf", "a-Q8_0.gguf", "b-Q8_0.gguf")
    before = [FolderCheckpoint(models, name).sha for name in names]
    (models / "a-Q4_0.gguf").write_bytes((models / "a-Q4_0.gguf").read_bytes() + b"x")
    (models / "c-Q8_0.gguf").write_bytes(b"GGUF")
    (models / "config.json").write_bytes(b"{}")
    after = [FolderCheckpoint(models, name).sha for name in names]
    assert after[1:] == before[1:]
    assert len({*before, *after}) == 4


def test_the_sha_does_not_depend_on_the_folder(folder: Path, tmp_path: Path) -> None:
    before = sha(folder)
    moved = folder.rename(tmp_path / "moved")
    assert sha(moved) == before


def test_a_broken_checkpoint_has_a_sha_too(tmp_path: Path) -> None:
    empty = sha(write(tmp_path / "empty", {SINGLE: b""}))
    assert sha(write(tmp_path / "cut", {SINGLE: b"\xff" * 20})) != empty
    assert sha(write(tmp_path / "nothing", {})).startswith("local-")


# ---- what a folder is


def test_a_folder_is_known_by_its_resolved_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    for path in (folder, Path("model"), Path("link"), Path("model/../link")):
        checkpoint = FolderCheckpoint(path)
        assert (checkpoint.repo, checkpoint.folder, checkpoint.revision) == (str(folder), folder, "main")
    assert checkpoint.files == {file.name: file.stat().st_size for file in folder.iterdir()}


def test_linked_files_are_files(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"  # the Hub client's cache is made of links
    snapshot.mkdir()
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert FolderCheckpoint(snapshot).files == FolderCheckpoint(folder).files
    assert sha(snapshot) == sha(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(NotThere) as caught:
            FolderCheckpoint(path)
        assert (caught.value.reason, caught.value.where) == ("not-found", str(path))


# ---- reading


def test_ranges_are_streamed_in_the_order_given(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(write(tmp_path, {"w.safetensors": b"0123456789"}))
    counts: list[int] = []
    spans = [ByteRange(2, 5), ByteRange(5, 6), ByteRange(6, 10)]
    blocks = list(checkpoint.stream([FileRange("w.safetensors", one) for one in spans], counts.append))
    assert (blocks, counts) == ([b"234", b"5", b"6789"], [3, 1, 4])
    assert checkpoint.read_range("w.safetensors", ByteRange(3, 7)) == b"3456"
    assert checkpoint.traffic.bytes == 0


def test_a_stream_may_be_left_in_the_middle(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(write(tmp_path, {"w.safetensors": b"0123456789"}))
    blocks = checkpoint.stream(
        [FileRange("w.safetensors", ByteRange(0, 4)), FileRange("w.safetensors", ByteRange(4, 8))],
        lambda count: None,
    )
    kept = memoryview(next(blocks))
    blocks.close()
    assert kept == b"0123"


def test_a_file_cut_after_it_was_listed_is_refused(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(write(tmp_path, {"w.safetensors": b"0123456789"}))
    os.truncate(tmp_path / "w.safetensors", 7)
    span = ByteRange(4, 9)
    for read in (
        lambda: checkpoint.read_range("w.safetensors", span),
        lambda: list(checkpoint.stream([FileRange("w.safetensors", span)], lambda count: None)),
    ):
        with pytest.raises(
            BrokenFile, match=r"ends at byte 7, expected at least 9: the file is cut"
        ) as caught:
            read()
        assert (caught.value.reason, caught.value.where) == ("bad-header", f"{tmp_path}/w.safetensors")


def test_a_file_gone_after_it_was_listed_is_refused(tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(write(tmp_path, {"w.safetensors": b"0123456789"}))
    (tmp_path / "w.safetensors").unlink()
    span = ByteRange(4, 9)
    for read in (
        lambda: checkpoint.read_range("w.safetensors", span),
        lambda: list(checkpoint.stream([FileRange("w.safetensors", span)], lambda count: None)),
    ):
        with pytest.raises(BrokenFile, match=r"w\.safetensors: cannot be read"):
            read()


def test_a_file_cut_while_it_is_read_is_refused(tmp_path: Path) -> None:
    # In a process of its own: reading past the end of a mapped file ends the process (SIGBUS).
    program = f"""
import os
from pathlib import Path
from survey.errors import BrokenFile
from survey.checkpoints.folder import FolderCheckpoint
from survey.records.tensors import ByteRange, FileRange

ranges = [ByteRange(0, 1 << 19), ByteRange(1 << 19, 1 << 20)]
blocks = FolderCheckpoint(Path({str(tmp_path)!r})).stream([FileRange("w.safetensors", one) for one in ranges], lambda count: None)
assert len(next(blocks)) == 1 << 19
os.truncate(Path({str(tmp_path)!r}) / "w.safetensors", 100)
try:
    next(blocks)
except BrokenFile as error:
    print(error.reason)
"""
    (tmp_path / "w.safetensors").write_bytes(bytes(1 << 20))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "bad-header\n", "")


def test_a_small_file_that_is_huge_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, single({"lm_head.weight": stored(2, 2)}))
    os.truncate(folder / "config.json", CONFIG_CAP_BYTES + 1)
    with pytest.raises(BrokenFile, match=r"has 8,388,609 bytes, expected at most 8,388,608"):
        FolderCheckpoint(folder).read_file("config.json", CONFIG_CAP_BYTES)


def test_the_helper_writes_what_the_library_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load

    tensors = load(safetensors({"a": stored(2, 3, seed=7), "b": stored(5, dtype="F16")}))
    assert {name: (array.dtype.str, array.shape) for name, array in tensors.items()} == {
        "a": ("<f4", (2, 3)),
        "b": ("<f2", (5,)),
    }
    assert tensors["a"].tobytes() == stored(2, 3, seed=7).data


# ---- folders as somebody might fill them


def test_a_file_whose_name_is_no_utf_8_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, single(TABLE))
    for name in (b"\xff.safetensors", b"\xff"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    assert sorted(FolderCheckpoint(tmp_path).files) == ["config.json", SINGLE]


@pytest.mark.parametrize("name", ["config.json", INDEX])
def test_a_small_file_that_claims_a_terabyte_is_not_read(name: str, tmp_path: Path) -> None:
    write(tmp_path, single(TABLE))
    os.truncate(write(tmp_path, {name: b""}) / name, 1 << 40)
    assert FolderCheckpoint(tmp_path).files[name] == 1 << 40


def test_links_are_followed_as_those_of_the_hubs_cache(tmp_path: Path) -> None:
    blobs = write(tmp_path / "blobs", single(TABLE))
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in ("config.json", SINGLE):
        (snapshot / name).symlink_to(blobs / name)
    (snapshot / "gone.safetensors").symlink_to("nowhere")
    assert sorted(FolderCheckpoint(snapshot).files) == ["config.json", SINGLE]


@pytest.mark.parametrize("cpus", [2, 16], ids=["one reader", "four readers"])
def test_ranges_come_in_their_order_however_many_threads_read(
    cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.checkpoints.folder.cpus", lambda: cpus)
    tensor = stored(5_000, 64)
    checkpoint = FolderCheckpoint(write(tmp_path / "big", single({"lm_head.weight": tensor})))
    size = checkpoint.files[SINGLE]
    ranges = [FileRange(SINGLE, ByteRange(at, min(at + 999, size))) for at in range(0, size, 999)]
    counts: list[int] = []
    read = b"".join(checkpoint.stream(ranges, counts.append))
    assert read == (tmp_path / "big" / SINGLE).read_bytes()
    assert counts == [len(one.bytes) for one in ranges]


@pytest.mark.parametrize("cpus", [2, 16], ids=["one reader", "four readers"])
def test_a_file_that_is_cut_short_is_read_up_to_its_end(
    cpus: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.checkpoints.folder.cpus", lambda: cpus)
    checkpoint = FolderCheckpoint(folder)
    size = checkpoint.files[SHARD]
    ranges = [FileRange(SHARD, ByteRange(at, at + 10)) for at in range(0, size + 20, 10)]
    arrived: list[int] = []
    with pytest.raises(BrokenFile, match=f"ends at byte {size}"):
        list(checkpoint.stream(ranges, arrived.append))
    assert arrived == [10] * (size // 10)


def test_who_stops_reading_leaves_nothing_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("survey.checkpoints.folder.cpus", lambda: 16)
    blocks = FolderCheckpoint(folder).stream([FileRange(SHARD, ByteRange(0, 10))] * 20, lambda count: None)
    assert bytes(next(blocks)) == (folder / SHARD).read_bytes()[:10]
    before = len(os.listdir("/proc/self/fd"))
    blocks.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(os.listdir("/proc/self/fd")) == before - 1
