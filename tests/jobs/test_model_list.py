"""What the user wrote, as models."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.model_list import read_models
from survey.errors import UsageError


def test_a_list_names_models_revisions_folders_and_comments(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "models.txt").write_text(
        "# models of interest\n"
        "Qwen/Qwen3-4B\n"
        "\n"
        "  google/gemma-3-4b-it@v1.0   # the tag\n"
        "org/name@refs/pr/1\n"
        "gpt2\n"
        "mine\n"
        "./mine\n"
    )
    listed = read_models(["models.txt"], tmp_path)
    assert [(model.repo, model.revision, model.folder) for model in listed.models] == [
        ("Qwen/Qwen3-4B", None, None),
        ("google/gemma-3-4b-it", "v1.0", None),
        ("org/name", "refs/pr/1", None),
        ("gpt2", None, None),
        (str(tmp_path / "mine"), None, tmp_path / "mine"),
    ]
    assert listed.duplicates == [
        f"{tmp_path}/models.txt:8: {tmp_path}/mine is already named in {tmp_path}/models.txt:7"
    ]


def test_paths_in_a_list_start_at_the_list(tmp_path: Path) -> None:
    (tmp_path / "lists" / "mine").mkdir(parents=True)
    (tmp_path / "lists" / "models.txt").write_text("./mine\n")
    (model,) = read_models(["lists/models.txt"], tmp_path).models
    assert model.folder == tmp_path / "lists" / "mine"


def test_an_existing_path_wins_over_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    (model,) = read_models(["org/name"], tmp_path).models
    assert model.folder == tmp_path / "org" / "name"


def test_a_model_named_twice_with_two_revisions_is_two(tmp_path: Path) -> None:
    listed = read_models(["a/b", "a/b@v1", "a/b"], tmp_path)
    assert [str(model) for model in listed.models] == ["a/b", "a/b@v1"]
    assert len(listed.duplicates) == 1


def test_a_part_of_a_model_follows_a_colon(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "od:d").mkdir()
    words = [
        "a/b:fp16",
        "a/b@v1:runs/last/",
        "a/b@step*:x.safetensors",
        "mine:fp16",
        "./mine:x.bin",
        "od:d",
        "od:d:x",
    ]
    models = read_models([*words, "a/b"], tmp_path).models
    assert [(str(model), model.part) for model in models] == [
        ("a/b:fp16", "fp16"),
        ("a/b@v1:runs/last", "runs/last"),
        ("a/b@step*:x.safetensors", "x.safetensors"),
        (f"{tmp_path}/mine:fp16", "fp16"),
        (f"{tmp_path}/mine:x.bin", "x.bin"),
        (f"{tmp_path}/od:d", None),
        (f"{tmp_path}/od:d:x", "x"),
        ("a/b", None),
    ]
    assert [model.name for model in models][:2] == ["a/b:fp16", "a/b:runs/last"]


WRONG = [
    (
        "an empty part",
        ["models.txt"],
        b"a/b:\n",
        "models.txt:1: 'a/b:': what follows the : is to be a folder",
    ),
    ("a part that leads out", ["models.txt"], b"a/b:../c\n", "what follows the : is to be a folder or file"),
    ("a part from the root", ["models.txt"], b"a/b:/c\n", "what follows the : is to be a folder or file"),
    ("a part of nothing", ["models.txt"], b":c\n", "models.txt:1: ':c': what follows the :"),
    ("no such file", ["models.txt"], None, "command line: no such file or folder: models.txt"),
    ("no such folder", ["./nowhere"], None, "command line: no such file or folder: ./nowhere"),
    ("empty list", ["models.txt"], b"# nothing\n\n", "no model in models.txt"),
    ("malformed line", ["models.txt"], b"a/b\nnot a model\n", "models.txt:2: 'not a model' is not a model"),
    ("three parts", ["models.txt"], b"a/b/c\n", "models.txt:1: 'a/b/c' is not a model"),
    ("empty revision", ["models.txt"], b"a/b@\n", "models.txt:1: 'a/b@' is not a model"),
    ("a URL", ["models.txt"], b"https://huggingface.co/a/b\n", "models.txt:1:"),
    ("not text", ["models.txt"], b"\xff\xfe\x00", "cannot be read as a list of models"),
    ("a list in a list", ["models.txt"], b"models.txt\n", "is a file; a line names a Hub id or a folder"),
]


@pytest.mark.parametrize(
    ("arguments", "content", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, arguments: list[str], content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "models.txt").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_models(arguments, tmp_path)
    assert message in str(refused.value)
