"""Links, pipes and devices in a stranger's folder: no read waits for them or leaves the folder."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints import CONFIG, INDEX, SINGLE, sharded, single, stored, write
from support.commands import Ran

from survey.checkpoints.file_header import file_header
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile, SurveyError
from survey.process.bounded_file import open_regular
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

TABLE = {"model.embed_tokens.weight": stored(6, 4), "lm_head.weight": stored(6, 4, seed=1)}
CAP = 1 << 20
SECRET = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"
KERNELS = [path for path in ("/proc/kmsg", "/proc/self/environ", "/proc/self/mem") if os.path.isfile(path)]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "id_rsa"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


def linked(tmp_path: Path, name: str, target: str | Path) -> Path:
    folder = write(tmp_path / "model", single(TABLE) | {"tokenizer.json": b"{}"})
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    return folder


TEXTS = ["config.json", INDEX, "tokenizer.json", "vocab.txt", "merges.txt", "tokenizer_config.json"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_not_read_through_a_link_to_something_else(tmp_path: Path, secret: Path, name: str) -> None:
    checkpoint = FolderCheckpoint(linked(tmp_path, name, secret))
    with pytest.raises(
        BrokenFile, match=r"is a link to .*id_rsa, which is no file of a checkpoint"
    ) as refused:
        checkpoint.read_file(name, CAP)
    assert "PRIVATE" not in str(refused.value)


ELSEWHERE = {
    "another folder's file of this name": "../base/config.json",
    "the Hub's cache": "../blobs/" + "0123456789" * 4,
    "its larger files": "../blobs/" + "0123456789abcdef" * 4,
    "a name in the folder": "config-of-v1.json",
    "a link to one of them": "../link/config.json",
}


@pytest.mark.parametrize("target", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_text_is_read_through_a_link_that_a_checkpoint_has(tmp_path: Path, target: str) -> None:
    folder = linked(tmp_path, "config.json", target)
    real = folder / target
    (tmp_path / "link").symlink_to("base")
    for parent in (tmp_path / "base", tmp_path / "blobs"):
        parent.mkdir(exist_ok=True)
    real.write_text(json.dumps(CONFIG))
    assert json.loads(FolderCheckpoint(folder).read_file("config.json", CAP)) == CONFIG


@pytest.mark.parametrize("name", [SINGLE, "pytorch_model.bin"])
@pytest.mark.parametrize("content", [SECRET, "12345678", "hunter2-", "PK\x03\x04hunter2-"])
def test_no_byte_of_a_secret_is_quoted_that_is_linked_as_weights(
    tmp_path: Path, secret: Path, name: str, content: str
) -> None:
    secret.write_text(content)
    folder = write(tmp_path / "model", {"config.json": json.dumps(CONFIG).encode()})
    (folder / name).symlink_to(secret)
    with pytest.raises(BrokenFile) as refused:
        file_header(FolderCheckpoint(folder), name)
    assert refused.value.problem == f"is a link to {secret}, which is no file of weights"


def test_a_file_of_the_folder_is_quoted(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {"pytorch_model.bin": b"<!DOCTYPE html>"})
    with pytest.raises(BrokenFile, match="begins with b'<!DOCTYP'"):
        file_header(FolderCheckpoint(folder), "pytorch_model.bin")


def test_weights_may_be_linked_from_anywhere(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", single(TABLE))
    (folder / SINGLE).rename(tmp_path / "weights.of-last-week")
    (folder / SINGLE).symlink_to("../weights.of-last-week")
    assert FolderCheckpoint(folder).files[SINGLE] == (tmp_path / "weights.of-last-week").stat().st_size


def in_folders(tmp_path: Path, inner: str) -> tuple[Path, Path]:
    """A checkpoint whose index names shards in an inner folder, and that folder, which is not made."""
    files = sharded([{name: tensor} for name, tensor in TABLE.items()])
    index = json.loads(files.pop(INDEX))
    index["weight_map"] = {name: f"{inner}/{file}" for name, file in index["weight_map"].items()}
    above = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    folder = write(tmp_path / "model", above | {INDEX: json.dumps(index).encode(), "lora.safetensors": b"?"})
    write(tmp_path / "elsewhere", {name: content for name, content in files.items() if name not in above})
    return folder, folder / inner


@pytest.mark.parametrize("inner", ["shards", "weights/bf16"])
def test_an_index_may_name_shards_in_an_inner_folder(tmp_path: Path, inner: str) -> None:
    folder, shards = in_folders(tmp_path, inner)
    shards.parent.mkdir(exist_ok=True)
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("not of the checkpoint")
    (tmp_path / "elsewhere").rename(shards)
    checkpoint = FolderCheckpoint(folder)
    assert locate(lay_out(checkpoint), "output").spec.file.startswith(f"{inner}/model-0000")
    assert "other/notes.txt" not in checkpoint.files


@pytest.mark.parametrize("inner", ["shards", "weights/bf16"])
@pytest.mark.parametrize("alone", [False, True], ids=["beside-weights", "alone"])
def test_an_inner_folder_that_is_a_link_is_not_read(tmp_path: Path, inner: str, alone: bool) -> None:
    folder, shards = in_folders(tmp_path, inner)
    if alone:
        (folder / "lora.safetensors").unlink()
    shards.parent.mkdir(exist_ok=True)
    shards.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BrokenFile, match="the index names this file") as refused:
        locate(lay_out(FolderCheckpoint(folder)), "output")
    assert refused.value.reason == "index-mismatch"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("target", KERNELS)
@pytest.mark.parametrize("name", [*TEXTS, SINGLE, "pytorch_model.bin"])
def test_a_file_of_the_kernel_lets_nobody_wait(tmp_path: Path, name: str, target: str) -> None:
    with pytest.raises(SurveyError) as refused:
        FolderCheckpoint(linked(tmp_path, name, target)).read_file(name, CAP)
    assert refused.value.reason in ("bad-header", "no-config", "not-found")


def bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


THINGS: dict[str, Callable[[str], object]] = {
    "a pipe": os.mkfifo,
    "a socket": bind,
    "a folder": os.mkdir,
    "a device": lambda path: os.symlink("/dev/zero", path),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", THINGS.values(), ids=THINGS)
def test_what_takes_a_files_name_after_the_folder_was_listed_is_refused(
    tmp_path: Path, make: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path / "m", sharded([TABLE])))  # the path of a socket is short
    checkpoint = FolderCheckpoint(Path())
    for name in checkpoint.files:
        os.unlink(name)
        make(name)
        with pytest.raises(BrokenFile, match=r"cannot be read|is no file of a checkpoint"):
            checkpoint.read_file(name, CAP)
        with pytest.raises(OSError, match=r"regular|directory|device"):
            open_regular(Path(name))


def test_a_cache_that_says_no_commit_tells_nothing_of_it(tmp_path: Path, secret: Path) -> None:
    cache = tmp_path / "models--a--b"
    (cache / "snapshots" / "0").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").symlink_to(secret)
    with pytest.raises(SurveyError, match=r"main .which is no commit. is not in it") as refused:
        FolderCheckpoint(cache)
    assert "PRIVATE" not in str(refused.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "config.json"])
def test_no_text_of_a_secret_gets_into_the_catalog(
    survey: Callable[..., Ran], checkpoint: Callable[..., Path], secret: Path, name: str
) -> None:
    folder = checkpoint()
    for tokenizer in folder.glob("tokenizer*"):
        tokenizer.unlink()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    before = time.monotonic()
    survey("run", folder, "--executor", "serial", "--catalog", "c")
    assert time.monotonic() - before < 60
    for table in ("tokens", "models", "attempts"):
        ran = survey("sql", f"SELECT * FROM {table}", "--catalog", "c", "--format", "json")
        assert ran.code == 0
        assert "PRIVATE" not in ran.out
        assert "c2VjcmV0" not in ran.out
