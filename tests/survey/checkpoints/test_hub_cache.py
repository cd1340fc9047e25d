"""The Hub's own cache as a checkpoint's folder, and clones that hold pointers in place of files."""

from pathlib import Path

import pytest
from support.checkpoints import INDEX, SINGLE, single, write
from support.llama_files import LLAMA, STORED_EMBEDDING, STORED_HEAD, UNTIED_CONFIG, read

import survey
from survey.errors import NotThere, SurveyError


def cache(tmp_path: Path, main: str | None, commits: tuple[str, ...] = ("0123abcd",)) -> Path:
    root = tmp_path / "models--org--name"
    for commit in commits:
        write(root / "snapshots" / commit, single(LLAMA, UNTIED_CONFIG))
    (root / "snapshots").mkdir(parents=True, exist_ok=True)
    (root / "refs").mkdir()
    if main is not None:
        (root / "refs" / "main").write_text(main)
    return root


def test_the_root_of_the_hubs_cache_works_as_the_commit_that_main_stands_for(tmp_path: Path) -> None:
    root = cache(tmp_path, "0123abcd", ("0123abcd", "ffff"))
    write(root / "snapshots" / "ffff", single({"lm_head.weight": STORED_EMBEDDING}, UNTIED_CONFIG))
    matrix = survey.open_matrix(root)
    assert (read(matrix), matrix.target.identity.repo) == (STORED_HEAD.data, str(root))
    (root / "refs" / "main").write_text("ffff")
    moved = survey.open_matrix(root)
    assert read(moved) == STORED_EMBEDDING.data
    assert moved.target.identity.sha != matrix.target.identity.sha


def test_a_cache_with_one_commit_needs_no_main(tmp_path: Path) -> None:
    assert read(survey.open_matrix(cache(tmp_path, None))) == STORED_HEAD.data


@pytest.mark.parametrize(
    ("main", "commits", "problem"),
    [
        pytest.param(None, ("aa", "bb"), "has no main → name one of its folders .*: aa, bb", id="no-main"),
        pytest.param("cc", ("aa", "bb"), r"main \(cc\) is not in it", id="a-main-that-was-not-fetched"),
        pytest.param("../../..", ("aa",), "is not in it", id="a-main-that-leads-elsewhere"),
        pytest.param(None, (), "has no main", id="no-commit"),
    ],
)
def test_a_cache_that_leaves_the_commit_open_is_refused(
    main: str | None, commits: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    root = cache(tmp_path, main, commits)
    with pytest.raises(NotThere, match=problem) as caught:
        survey.open_matrix(root)
    assert caught.value.reason == "no-config"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4976698672\n"


@pytest.mark.parametrize(
    ("file", "others", "reason"),
    [
        pytest.param(SINGLE, {"config.json": b"{}"}, "bad-header", id="weights"),
        pytest.param("pytorch_model.bin", {"config.json": b"{}"}, "bad-pickle", id="a-pickle"),
        pytest.param("config.json", single(LLAMA), "no-config", id="the-config"),
        pytest.param(INDEX, {"config.json": b"{}"}, "index-mismatch", id="the-index"),
    ],
)
def test_a_git_lfs_pointer_is_called_one(
    file: str, others: dict[str, bytes], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SurveyError, match="Git LFS pointer, not the file of 4,976,698,672 bytes itself"
    ) as caught:
        survey.open_matrix(write(tmp_path, others | {file: POINTER}))
    assert (caught.value.reason, caught.value.where) == (reason, f"{tmp_path}/{file}")
