"""What the user wrote, as models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.commands import Ran

from jobs.planning.model_list import SHOWN_DUPLICATES, read_models
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import NotThere, UsageError

Survey = Callable[..., Ran]


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
        f"{tmp_path}/models.txt:8: {tmp_path}/mine repeats {tmp_path}/mine of {tmp_path}/models.txt:7"
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


@pytest.mark.parametrize(
    "again", ["org/name@main", "https://huggingface.co/org/name/tree/main", "hf://org/name", "- org/name,"]
)
def test_a_line_that_repeats_another_in_other_words_is_named_and_counted_once(
    tmp_path: Path, again: str
) -> None:
    (tmp_path / "models.txt").write_text(f"org/name\n{again}\n")
    listed = read_models(["models.txt"], tmp_path)
    assert [str(model) for model in listed.models] == ["org/name"]
    ((repeat,), where) = listed.duplicates, f"{tmp_path}/models.txt"
    assert (repeat.startswith(f"{where}:2: "), repeat.endswith(f" repeats org/name of {where}:1")) == (
        True,
        True,
    )


@pytest.mark.parametrize("other", ["org/name@v1", "org/name:folder", "org/names", "org/name@Main"])
def test_a_line_that_resembles_another_repeats_nothing(tmp_path: Path, other: str) -> None:
    listed = read_models(["org/name", other], tmp_path)
    assert ([str(model) for model in listed.models], listed.duplicates) == (["org/name", other], [])


def test_a_part_of_a_folder_follows_a_colon_in_a_list_too(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "od:d").mkdir()
    lines = ["./mine:Q8_0", "./od:d", "./od:d:Q8_0", "./gone:Q8_0", "./gone"]
    (tmp_path / "models.txt").write_text("\n".join(lines))
    models = read_models(["models.txt"], tmp_path).models
    assert [str(model) for model in models] == [f"{tmp_path}/{line[2:]}" for line in lines]
    assert [model.part for model in models] == ["Q8_0", None, "Q8_0", "Q8_0", None]


@pytest.mark.parametrize("url", ["hf.co/org/name", "https://huggingface.co/org/name", "hf://org/name"])
def test_a_quantisation_follows_the_url_of_a_model(tmp_path: Path, url: str) -> None:
    (model,) = read_models([f"{url}:Q4_K_M"], tmp_path).models
    assert (str(model), model.part) == ("org/name:Q4_K_M", "Q4_K_M")


@pytest.mark.parametrize("url", ["hf.co:443", "https://huggingface.co:443/org/name:Q4/x"])
def test_a_port_is_no_quantisation(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        read_models([url], tmp_path)


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
        "models.txt:1: 'a/b:': after the : write a folder",
    ),
    ("a part that leads out", ["models.txt"], b"a/b:../c\n", "after the : write a folder or file"),
    ("a part from the root", ["models.txt"], b"a/b:/c\n", "after the : write a folder or file"),
    ("a part of nothing", ["models.txt"], b":c\n", "models.txt:1: ':c': after the :"),
    ("no such file", ["models.txt"], None, "command line: no such file or folder: models.txt"),
    ("no such file of llama.cpp", ["m-Q4_0.gguf"], None, "command line: no such file or folder: m-Q4_0.gguf"),
    ("no such folder", ["./nowhere"], None, "command line: no such file or folder: ./nowhere"),
    ("no such folder, as a shell completes it", ["org/name/"], None, "there is no such folder; for the model of the Hub write org/name"),
    ("empty list", ["models.txt"], b"# nothing\n\n", "no model in models.txt"),
    ("nothing but malformed lines", ["models.txt"], b"not a model\na,b\n", "models.txt:2: 'a,b' is not a model"),
    ("binary", ["models.txt"], b"\xff\xfe\x00", "cannot be read as a list of models"),
    ("weights", ["models.txt"], b"\x08\0\0\0\0\0\0\0{}", "as it is no text; name a checkpoint by its folder"),
    ("UTF-16 without its mark", ["models.txt"], "a/b\n".encode("utf-16-le"), "needs a byte order mark"),
    ("a page of the Hub", ["https://huggingface.co/docs/hub"], None, "is a page of the Hub, not a model"),
    ("a dataset", ["https://huggingface.co/datasets/org/name"], None, "is a dataset, not a model"),
    ("a space", ["https://huggingface.co/spaces/org/name/tree/main"], None, "is a space, not a model"),
    ("a dataset of the file system", ["hf://datasets/org/name"], None, "is a dataset, not a model"),
    ("a bucket of the Hub", ["hf://buckets/org/name"], None, "is a bucket, not a model"),
    ("a collection", ["https://huggingface.co/collections/org/best-1"], None, "is a page of the Hub"),
    ("a discussion", ["https://huggingface.co/org/name/discussions/3"], None, "write org/name"),
    ("another host", ["https://example.org/org/name"], None, "with --endpoint https://example.org"),
    ("a host that only begins like the Hub's", ["https://huggingface.co.example.org/a/b"], None, "not of this run's Hub"),
    ("a bucket", ["s3://bucket/model"], None, "is a URL of s3"),
    ("no address", ["https://[x/a/b"], None, "is no URL: Invalid IPv6 URL"),
    ("weights in a model", ["https://huggingface.co/a/b/blob/main/model-Q4.gguf"], None, "names model-Q4.gguf in a model; write a/b:model-Q4.gguf for that, a/b for the model"),
    ("a folder in a model, or a branch", ["https://huggingface.co/a/b/tree/v/1"], None, "write a/b@v:1 for that, a/b@v for the model, or a/b@v/1 if that is a branch"),
    ("a download of a file", ["hf download a/b model.gguf"], None, "is not a model"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "content", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_names_no_model_at_all_is_refused_by_name(
    tmp_path: Path, arguments: list[str], content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "models.txt").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_models(arguments, tmp_path)
    assert message in str(refused.value)


BAD_LINES = [
    ("two words", b"not a model", "'not a model' is not a model; write one model a line"),
    ("two models", b"a/b, c/d", "write one model a line"),
    ("three parts", b"a/b/c", "'a/b/c' is not a model"),
    ("empty revision", b"a/b@", "'a/b@' is not a model"),
    ("a home that nobody has", b"~no-such-user/x", "is not a path"),
    ("a name that the Hub never gives", b"a/b--c", "not a model"),
    ("dots in a name", b"a/b..c", "not a model"),
    ("Latin-1", b"org/caf\xe9", "the line is not UTF-8"),
    ("no such list", b"more.txt", "no such file or folder: more.txt"),
    ("a list in a list", b"models.txt", "is a file; a line names a Hub id, a folder or a .gguf file"),
    ("a dataset", b"https://huggingface.co/datasets/a/b", "is a dataset, not a model"),
    ("a line without an end", b"a" * 1_000_000, "has 1,000,000 characters, no name more than 8,192"),
    # Unwrapped one by one, these would take hours.
    ("wrapped without an end", b"<" * 1_000_000 + b"a/b" + b">" * 1_000_000, "has 2,000,003 characters"),
    ("a path without an end", b"./" + b"a/" * 500_000, "has 1,000,002 characters"),
    ("as long as a path may be", b"a" * 8192, "is not a path"),
    ("a control character", b"a/b\x1b[31m", "'a/b\\\\u001b[31m' is not a model"),
]


@pytest.mark.parametrize(
    ("line", "message"), [case[1:] for case in BAD_LINES], ids=[case[0] for case in BAD_LINES]
)
def test_a_bad_line_is_refused_alone(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "models.txt").write_bytes(b"a/good\n" + line + b"\nb/good\n")
    listed = read_models(["models.txt"], tmp_path)
    assert [str(model) for model in listed.models if not model.problem] == ["a/good", "b/good"]
    (problem,) = listed.problems
    assert problem.startswith(f"{tmp_path}/models.txt:2: ")
    assert message in problem


FLOODS = [
    ("equal lines", b"a/b\n" * 1_000_000),
    ("equal lines that name no model", b"a/b\n" + b"no model\n" * 1_000_000),
    ("a model in three ways", b"a/b\nhf://a/b\n- a/b\n" * 300_000),
]


@pytest.mark.parametrize("content", [case[1] for case in FLOODS], ids=[case[0] for case in FLOODS])
def test_a_list_that_repeats_itself_a_million_times_is_read_and_reported_in_few_words(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "models.txt").write_bytes(content)
    before = time.process_time()
    listed = read_models(["models.txt"], tmp_path)
    assert time.process_time() - before < 25  # measured: 4 s; each line by itself took 30 s and more
    assert [str(model) for model in listed.models if not model.problem] == ["a/b"]
    repeats = content.count(b"\n") - len(listed.models) - SHOWN_DUPLICATES
    assert listed.duplicates[SHOWN_DUPLICATES:] == [f"{repeats:,} further lines repeat models of the list"]


NO_LISTS = [
    ("a million other lines", b"".join(b"no model %d\n" % number for number in range(1_000_000)), "more than 10,000 lines name no model"),
    ("a model, and then they", b"a/b\n" + b"".join(b"%d, %d\n" % (number, number) for number in range(1_000_000)), "more than 10,000 lines name no model"),
    ("empty lines", b"a/b\n" + b"\n" * 60_000_000, "has 60,000,001 lines, expected at most 4,000,000"),
    ("comments of Windows", b"a/b\r\n" + b"#\r\n" * 20_000_000, "has 20,000,001 lines"),
    ("old line ends", b"a/b\r" * 5_000_000, "has 5,000,000 lines"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"), [case[1:] for case in NO_LISTS], ids=[case[0] for case in NO_LISTS]
)
def test_millions_of_lines_that_name_no_model_are_no_list(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "models.txt").write_bytes(content)
    before = time.process_time()
    with pytest.raises(UsageError, match=message) as refused:
        read_models(["models.txt"], tmp_path)
    assert time.process_time() - before < 10  # measured: 2 s; each line by itself took minutes
    assert len(str(refused.value)) < 2000


def test_a_long_list_with_many_bad_lines_keeps_its_models(tmp_path: Path) -> None:
    lines = [f"a/b{number}\nno model {number}\n" for number in range(10_000)]
    (tmp_path / "models.txt").write_text("\n" * 900_000 + "".join(lines))
    listed = read_models(["models.txt"], tmp_path)
    assert (len(listed.models), len(listed.problems), listed.duplicates) == (20_000, 10_000, [])


def test_a_password_in_a_pasted_url_goes_no_further(tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_text("a/b\ngit clone https://me:s3cret@example.org/a/b\n")
    assert "s3cret" not in repr(read_models(["models.txt"], tmp_path))


@pytest.mark.parametrize("line", ["./gone", "./circle", "./circle/inside", "./long", "./nowhere"])
def test_a_folder_that_is_gone_is_left_to_the_plan(tmp_path: Path, line: str) -> None:
    """So is a link that leads to itself, to another that leads back, or to nothing."""
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "long").symlink_to("way")
    (tmp_path / "way").symlink_to("long")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "models.txt").write_text(f"{line}\na/b\n")
    gone, there = read_models(["models.txt"], tmp_path).models
    assert (gone.folder, gone.problem, there.repo) == (Path(os.path.realpath(tmp_path / line)), None, "a/b")
    with pytest.raises(NotThere) as refused:
        FolderCheckpoint(tmp_path / line)
    assert refused.value.reason == "not-found"


PASTED = [
    ("https://huggingface.co/org/name", "org/name"),
    ("http://huggingface.co/org/name/", "org/name"),
    ("https://www.huggingface.co/org/name", "org/name"),
    ("https://HuggingFace.co/org/name", "org/name"),
    ("huggingface.co/org/name", "org/name"),
    ("hf.co/org/name", "org/name"),
    ("https://hf.co/org/name", "org/name"),
    ("https://huggingface.co/gpt2", "gpt2"),
    ("https://huggingface.co/gpt2/tree/main", "gpt2@main"),
    ("https://huggingface.co/org/name?library=transformers", "org/name"),
    ("https://huggingface.co/org/name#usage", "org/name"),
    ("https://huggingface.co/org/name/tree/main?show_file_info=model.safetensors#top", "org/name@main"),
    ("https://huggingface.co/org/name/tree/v1.0", "org/name@v1.0"),
    ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "org/name@refs/pr/1"),
    ("https://huggingface.co/org/name/tree/refs/pr/1", "org/name@refs/pr/1"),
    ("https://huggingface.co/org/name/tree/feature%2Fx", "org/name@feature/x"),
    ("https://huggingface.co/org/name/commit/" + "0123456789" * 4, "org/name@" + "0123456789" * 4),
    ("https://huggingface.co/org/name/commits/main", "org/name@main"),
    ("https://huggingface.co/org/name/blob/main/config.json", "org/name@main"),
    ("https://huggingface.co/org/name/resolve/main/config.json?download=true", "org/name@main"),
    ("https://huggingface.co/org/name/raw/refs%2Fpr%2F2/README.md", "org/name@refs/pr/2"),
    ("https://huggingface.co/org/name/blob/main/model.safetensors.index.json", "org/name@main"),
    ("https://huggingface.co/api/models/org/name", "org/name"),
    ("https://huggingface.co/api/models/org/name/revision/main", "org/name@main"),
    ("https://huggingface.co/org/name.git", "org/name"),
    ("hf://org/name", "org/name"),
    ("hf://models/org/name", "org/name"),
    ("hf://org/name@refs/pr/1", "org/name@refs/pr/1"),
    ("hf://org/name@refs%2Fpr%2F1/config.json", None),
    ("https://hub.example:8443/under/org/name/tree/main", "org/name@main"),
    ("https://hub.example:8443/over/org/name", None),
    ("huggingface-cli download org/name", "org/name"),
    ("$ hf download org/name --revision refs/pr/1", "org/name@refs/pr/1"),
    ("git clone https://huggingface.co/org/name", "org/name"),
    ("git lfs clone https://huggingface.co/org/name.git", "org/name"),
    ("git clone https://huggingface.co/datasets/org/name", None),
    ("hf download --repo-type dataset org/name", None),
    ('"org/name"', "org/name"),
    ("'org/name',", "org/name"),
    ("“org/name”", "org/name"),
    ("`org/name`", "org/name"),
    ("org/name,", "org/name"),
    ("org/name ;", "org/name"),
    ("- org/name", "org/name"),
    ("* org/name@main", "org/name@main"),
    ("2. org/name", "org/name"),
    ("[org/name](https://huggingface.co/org/name)", "org/name"),
    ("- [The best](https://huggingface.co/org/name/tree/main),", "org/name@main"),
    ("<https://huggingface.co/org/name>", "org/name"),
    ("\u00a0org/name\u00a0", "org/name"),
    ("\u200borg/name\ufeff", "org/name"),
    ("org/\u00a0name", None),
    ("org/_name", "org/_name"),
]  # fmt: skip


WITHIN = [
    ("https://huggingface.co/org/name/tree/main/onnx", "org/name:onnx"),
    ("https://huggingface.co/org/name/tree/main/a/b/", "org/name:a/b"),
    ("https://huggingface.co/org/name/tree/v1.0/a%20b", "org/name@v1.0:a b"),
    ("https://huggingface.co/org/name/blob/main/8bit/model.safetensors", "org/name:8bit/model.safetensors"),
    ("https://huggingface.co/org/name/resolve/refs%2Fpr%2F1/a/b.gguf", "org/name@refs/pr/1:a/b.gguf"),
    ("huggingface.co/gpt2/tree/main/onnx", "gpt2:onnx"),
    ("hf://org/name/onnx", "org/name:onnx"),
    ("hf://org/name@v1.0/onnx", "org/name@v1.0:onnx"),
]


@pytest.mark.parametrize(("url", "part"), WITHIN, ids=[url for url, _ in WITHIN])
def test_a_url_of_a_part_of_a_model_is_refused_with_what_to_write(
    tmp_path: Path, url: str, part: str
) -> None:
    with pytest.raises(UsageError, match="in a model; write ") as refused:
        read_models([url], tmp_path)
    advised = str(refused.value).partition("; write ")[2].partition(" for that, ")[0]
    assert advised == part
    (model,) = read_models([advised], tmp_path).models  # what is advised is understood
    assert str(model) == part


@pytest.mark.parametrize(("text", "model"), PASTED, ids=[text for text, _ in PASTED])
def test_what_people_paste_is_the_model_that_it_names_or_refused(
    tmp_path: Path, text: str, model: str | None
) -> None:
    (tmp_path / "models.txt").write_text(f"other/model\n{text}   # and why\n", encoding="utf-8")
    listed = read_models(["models.txt"], tmp_path, "https://hub.example:8443/under")
    _, read = listed.models
    assert (str(read) if not read.problem else None) == model
    if model is None:
        with pytest.raises(UsageError):
            read_models([text], tmp_path)
    elif text.isprintable():
        assert str(read_models([text], tmp_path, "https://hub.example:8443/under").models[0]) == model


ENCODED = [
    ("UTF-8", "a/b\n# für\nc/d\n".encode(), []),
    ("UTF-8 with a mark", "\ufeffa/b\nc/d\n".encode(), []),
    ("CRLF", b"a/b\r\n\r\nc/d\r\n", []),
    ("CR", b"a/b\rc/d", []),
    ("no last line end", b"a/b\nc/d", []),
    ("Latin-1 in a comment", b"a/b  # f\xfcr uns\nc/d\n", []),
    ("UTF-16 as PowerShell writes it", "\ufeffa/b\r\nc/d\r\n".encode("utf-16-le"), ["read as utf-16-le"]),
    ("UTF-16, the other way round", "\ufeffa/b\nc/d\n".encode("utf-16-be"), ["read as utf-16-be"]),
    ("UTF-32", "\ufeffa/b\nc/d\n".encode("utf-32-le"), ["read as utf-32-le"]),
]


@pytest.mark.parametrize(
    ("content", "notes"), [case[1:] for case in ENCODED], ids=[case[0] for case in ENCODED]
)
def test_a_list_is_read_as_editors_write_it(tmp_path: Path, content: bytes, notes: list[str]) -> None:
    (tmp_path / "models.txt").write_bytes(content)
    listed = read_models(["models.txt"], tmp_path)
    assert [str(model) for model in listed.models] == ["a/b", "c/d"]
    assert not listed.problems
    assert len(listed.notes) == len(notes)
    assert all(note in said for note, said in zip(notes, listed.notes, strict=True))


def read_from_a_pipe(argument: str, tmp_path: Path) -> list[str]:
    listed = read_models([argument], tmp_path)
    assert not listed.problems
    return [str(model.folder or model.repo) for model in listed.models]


def test_a_named_pipe_is_a_list(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit((tmp_path / "pipe").write_text, "a/b\nc/d\n")
        assert read_from_a_pipe("pipe", tmp_path) == ["a/b", "c/d"]
        writing.result(10)


def test_what_a_shell_substitutes_is_a_list_whose_folders_lie_here(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as pipe:
        pipe.write("a/b\n./mine\n")
        pipe.close()
        assert read_from_a_pipe(f"/dev/fd/{reading}", tmp_path) == ["a/b", str(tmp_path / "mine")]


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_list(tmp_path: Path, name: str) -> None:
    (tmp_path / "here").mkdir()
    script = (
        "import sys; from pathlib import Path; from jobs.planning.model_list import read_models; "
        "print(*(model for model in read_models(sys.argv[1:], Path.cwd()).models))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, name],
        input="\ufeffa/b\r\n./here\n", capture_output=True, encoding="utf-8", cwd=tmp_path,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == (f"a/b {tmp_path / 'here'}\n", "")


@pytest.mark.parametrize("name", ["/dev/null", "-"])
def test_nothing_from_standard_input_is_no_list(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UsageError, match="no model in"):
            read_models([name], tmp_path)


def test_what_never_ends_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger than"):
        read_models(["/dev/zero"], tmp_path)


def test_lines_that_are_no_model_are_refused_and_the_others_measured(
    survey: Survey, checkpoint: Callable[..., Path]
) -> None:
    folder = checkpoint()
    Path("circle").symlink_to("circle")
    Path("models.txt").write_text(f"{folder}\nnot a model\n./gone\n")
    refused = survey("run", "models.txt", "--executor", "serial", "--summary", "circle")
    assert (refused.code, "--summary circle: is a link to circle" in refused.err) == (2, True)
    ran = survey("run", "models.txt", "--executor", "serial")
    assert ran.code == 1
    assert "1 measured, 0 unchanged, 2 failed" in ran.out
    answer = survey(
        "sql",
        "SELECT repo, reason, message FROM attempts WHERE status = 'failed' ORDER BY reason DESC",
        "--format",
        "json",
    )
    gone, line = json.loads(answer.out)
    assert (line["repo"], line["reason"]) == ("not a model", "not-a-model")
    assert line["message"].startswith(f"{Path.cwd()}/models.txt:2: 'not a model' is not a model")
    assert (gone["repo"], gone["reason"]) == (f"{Path.cwd()}/gone", "not-found")


@pytest.mark.timeout(20)
def test_a_list_that_is_a_link_to_a_file_of_the_kernel_lets_nobody_wait(tmp_path: Path) -> None:
    (tmp_path / "models.txt").symlink_to("/proc/kmsg")
    with pytest.raises(UsageError, match=r"no model in models.txt|cannot be read as a list"):
        read_models(["models.txt"], tmp_path)
