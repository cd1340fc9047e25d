"""A model that is named by a path is asked for under the name that a run gave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran
from support.gguf_models import cloud, coded, gguf_file

from survey.cli.output import known_as


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file of llama.cpp in a folder."""
    (tmp_path / "models").mkdir()
    table = {"token_embd.weight": coded(cloud(), "Q8_0")}
    (tmp_path / "models" / "m-Q8_0.gguf").write_bytes(gguf_file(table))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models", "{}/models"),
        ("models:Q8_0", "{}/models:Q8_0"),
        ("models/m-Q8_0.gguf", "{}/models:m-Q8_0.gguf"),
        ("models/../models/m-Q8_0.gguf", "{}/models:m-Q8_0.gguf"),
        ("models/n-Q8_0.gguf", "models/n-Q8_0.gguf"),
        ("org/name:Q8_0", "org/name:Q8_0"),
    ],
)
def test_a_path_is_known_by_the_name_of_its_row(models: Path, path: str, name: str) -> None:
    assert known_as(path) == name.format(models)


def test_a_file_is_asked_for_by_its_path(models: Path, survey: Callable[..., Ran]) -> None:
    path = "./models/m-Q8_0.gguf"
    assert survey("run", path, "--executor", "serial", "--catalog", "c").code == 0
    assert survey("show", path, "--catalog", "c").code == 0
    pair = survey("query", "same_grouping", f"--param=a={path}", f"--param=b={path}", "--catalog", "c")
    assert (pair.code, "True" in pair.out) == (0, True)
