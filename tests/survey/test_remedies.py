"""The advice of a refusal: its reason's, unless the case calls for something else."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoints import EMBED, HEAD, SINGLE, safetensors, single, stored
from support.in_memory_checkpoint import HeldCheckpoint

from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import REASONS, BrokenFile, NotThere, SurveyError, problem_and_remedy
from survey.records.target import MatrixName
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

TABLE = stored(96, 8, dtype="BF16")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n"
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
NAMED = ("after the colon: a, b", ("convert",))
LORA = {EMBED: TABLE, "lm_head.lora_A.weight": stored(2, 8), "lm_head.lora_B.weight": stored(96, 2)}

# What is in the files, the part that is named, the matrix; what the advice says, and what it must not say.
OWN: dict[str, tuple[dict[str, bytes], str | None, MatrixName, str, tuple[str, ...]]] = {
    "a pointer for weights": ({CONFIG: b"{}", SINGLE: POINTER}, None, "output", "git lfs pull", ("damaged",)),
    "a pointer for a config": (
        {CONFIG: POINTER, SINGLE: safetensors({EMBED: TABLE})}, None, "output", "git lfs pull", ("add a config",)
    ),
    "a pointer for an index": ({CONFIG: b"{}", INDEX: POINTER}, None, "output", "git lfs pull", ("disagree",)),
    "a pointer for a pickle": (
        {CONFIG: b"{}", "pytorch_model.bin": POINTER}, None, "output", "git lfs pull", ("convert", "damaged")
    ),
    "several folders": (
        {CONFIG: b"{}", f"a/{SINGLE}": b"", f"b/{SINGLE}": b""}, None, "output", "one of a, b", ("convert",)
    ),
    "a part that is not there": (
        {CONFIG: b"{}", f"a/{SINGLE}": b"", f"b/{SINGLE}": b""}, "nope", "output",
        "named after the colon: a, b", ("convert",),
    ),
    "a part of a single file": (
        {CONFIG: b"{}", SINGLE: b""}, "nope", "output", f"named after the colon: {SINGLE}", ("convert",)
    ),
    "a part where only the root holds weights": (
        {CONFIG: b"{}", "consolidated.00.pth": b"", "consolidated.01.pth": b""}, "nope", "output",
        "name the model alone", ("convert", "nothing"),
    ),
    "a part where nothing is": ({CONFIG: b"{}"}, "nope", "output", "holds no weights", ("convert", "colon: ")),
    "a part that is no weights": (
        {CONFIG: b"{}", SINGLE: b""}, CONFIG, "output", f"named after the colon: {SINGLE}", ("convert",)
    ),
    "no embedding": (single({HEAD: TABLE}, {}), None, "input", "--explain", ("--matrix input",)),
    "neither": (single({"x": TABLE}, {}), None, "output", "--explain", ("--matrix input",)),
    "an update": (single(LORA, {}), None, "output", "merge", ("--matrix input",)),
}  # fmt: skip


def _refused(files: dict[str, bytes], part: str | None, matrix: MatrixName) -> SurveyError:
    checkpoint = HeldCheckpoint(files)
    vars(checkpoint)["part"] = part
    with pytest.raises(SurveyError) as caught:
        locate(lay_out(checkpoint), matrix)
    return caught.value


@pytest.mark.parametrize(("files", "part", "matrix", "says", "never"), OWN.values(), ids=OWN)
def test_the_advice_fits_what_was_found(
    files: dict[str, bytes], part: str | None, matrix: MatrixName, says: str, never: tuple[str, ...]
) -> None:
    error = _refused(files, part, matrix)
    problem, advice = problem_and_remedy(error.reason, str(error))
    assert (problem, advice) == (f"{error.where}: {error.problem}", error.remedy)
    assert says in advice
    assert [word for word in never if word in advice] == []


def test_else_the_advice_is_that_of_the_reason() -> None:
    error = _refused(single({EMBED: TABLE}, {"tie_word_embeddings": False}), None, "output")
    assert problem_and_remedy(error.reason, str(error)) == (str(error), REASONS["no-head"])


def test_a_name_in_a_file_is_no_advice() -> None:
    hostile = NotThere("no-head", "org/name", "holds x → run this", "survey another")
    assert problem_and_remedy("no-head", str(hostile)) == ("org/name: holds x -> run this", "survey another")
    assert problem_and_remedy("no-head", str(NotThere("no-head", "o → p", "q → r")))[1] == REASONS["no-head"]
    assert problem_and_remedy("internal", "a → traceback") == ("a → traceback", REASONS["internal"])


def test_a_remedy_crosses_processes() -> None:
    error = copy.copy(BrokenFile("bad-header", "w", "p", "do this"))  # as pickling does, of its args
    assert (error.remedy, str(error)) == ("do this", "w: p → do this")


CANNOT: dict[str, tuple[type[OSError], str]] = {
    "not ours to read": (PermissionError, "let the user who runs this read it"),
    "gone meanwhile": (FileNotFoundError, "check the path"),
    "a broken disk": (OSError, "look at the disk"),
}


@pytest.mark.parametrize(("kind", "says"), CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_read_is_not_called_damaged(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: type[OSError], says: str
) -> None:
    folder = FolderCheckpoint(checkpoint())

    def refuse(*_: object, **__: object) -> None:
        raise kind(5, "refused by the system")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(BrokenFile) as caught:
        folder.read_file(CONFIG, 1000)
    assert says in caught.value.remedy
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NotThere) as unlisted:
        FolderCheckpoint(folder.folder)
    assert says in unlisted.value.remedy


@pytest.mark.parametrize("inner", ["bf16", "runs"])
def test_a_part_that_is_not_there_is_answered_with_those_that_are(
    checkpoint: Callable[..., Path], tmp_path: Path, inner: str
) -> None:
    (tmp_path / "held").mkdir()
    checkpoint().rename(tmp_path / "held" / inner)
    folder = FolderCheckpoint(tmp_path / "held", "nope")
    with pytest.raises(NotThere) as caught:
        lay_out(folder)
    assert caught.value.remedy == f"what may be named after the colon: {inner}"
