"""`survey tokens`: the tokens of a class, for people and for other programs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from support import tokenizers as made
from support.commands import Ran

Survey = Callable[..., Ran]
DIMS, ROWS = 16, 40
BIDI = "\u202eevil\x1b[31m"


def saved_model(where: Path, count: int) -> Path:
    """Rows of which 14 are tokens, one with a text that would turn a terminal's line around."""
    made_of = torch.Generator().manual_seed(1)
    rows = torch.randn(count, DIMS, generator=made_of)
    rows[[2, 15, 19]] = rows[7].clone()  # a black hole of two tokens and two phantoms
    rows[3] = 0.0
    rows[16] = float("nan")
    where.mkdir()
    save_file({"model.embed_tokens.weight": rows, "lm_head.weight": rows + 1}, where / "model.safetensors")
    (where / "config.json").write_text('{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    added = [
        made.special(11, "<|end|>"),
        made.special(12, "<name>", is_special=False),
        made.special(13, BIDI),
    ]
    (where / "tokenizer.json").write_bytes(made.byte_level(added_tokens=added))
    return where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "model", ROWS)


@pytest.fixture
def measured(survey: Survey, folder: Path) -> Path:
    ran = survey("run", folder, "--matrix", "input", "--catalog", "c", "--executor", "serial")
    assert ran.code == 0, ran.err
    return folder


def listed(survey: Survey, model: Path, *options: str) -> Ran:
    return survey("tokens", model, "--matrix", "input", "--catalog", "c", *options)


IDS: dict[str, list[int]] = {
    "identical": [2, 7, 15, 19],
    "zero": [3],
    "near_zero": [3],
    "nonfinite": [16],
    "frozen": [],
    "undertrained": [],
    "phantom": list(range(14, ROWS)),
    "unreachable": [10],
    "any": [2, 3, 7, 10, *range(14, ROWS)],
    "all": list(range(ROWS)),
}


def test_each_class_lists_its_rows(survey: Survey, measured: Path) -> None:
    for token_class, ids in IDS.items():
        ran = listed(survey, measured, "--class", token_class, "--ids-only")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == "".join(f"{row}\n" for row in ids), token_class
        rows = json.loads(listed(survey, measured, "--class", token_class, "--format", "json").out)
        assert [row["token_id"] for row in rows] == ids, token_class


def test_which_of_a_few_rows_are_untrained_is_not_known_and_the_reason_is_given(
    survey: Survey, tmp_path: Path
) -> None:
    few = saved_model(tmp_path / "few", 20)
    assert survey("run", few, "--matrix", "input", "--catalog", "c", "--executor", "serial").code == 0
    ran = listed(survey, few, "--class", "undertrained")
    assert ran.code == 2
    assert "undertrained is not known: fewer than 32 different rows" in ran.err
    assert "--resurvey" not in ran.err  # measuring it again would not help


def test_a_row_may_be_in_several_classes(survey: Survey, measured: Path) -> None:
    by_token = {row["token_id"]: row for row in json.loads(listed(survey, measured, "--format", "json").out)}
    assert by_token[15]["classes"] == ["identical", "phantom"]
    assert by_token[3]["classes"] == ["zero", "near_zero"]
    assert (by_token[2]["text"], by_token[2]["black_hole"], by_token[2]["reach"]) == ("e", 1, "reachable")
    assert by_token[16]["norm"] is None
    assert by_token[15]["text"] is None


def test_a_text_cannot_fake_what_is_printed(survey: Survey, measured: Path) -> None:
    for form in ("table", "csv", "md"):
        ran = listed(survey, measured, "--class", "all", "--format", form)
        # In Markdown a backslash stands behind another.
        assert "\\u202eevil\\u001b[31m" in ran.out.replace("\\\\", "\\").replace("\\[", "["), form
        assert "\u202e" not in ran.out, form
        assert "\x1b" not in ran.out, form
        assert '" the"' in ran.out.replace('"""', '"'), form  # its space shows


def test_programs_get_the_text_itself(survey: Survey, measured: Path) -> None:
    ran = listed(survey, measured, "--class", "all", "--format", "json")
    assert json.loads(ran.out)[13]["text"] == BIDI
    assert "\u202e" not in ran.out  # escaped as JSON does


def test_parquet_keeps_the_types(survey: Survey, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(
        "sys.stdout",
        type(
            "Stdout",
            (),
            {
                "buffer": out,
                "isatty": lambda self: False,
                "write": lambda self, text: None,
                "flush": lambda self: None,
            },
        )(),
    )
    from survey.cli import main

    arguments = ["tokens", str(measured), "--matrix", "input", "--class", "all", "--format", "parquet"]
    assert main([*arguments, "--catalog", "c"]) == 0
    table = pq.read_table(io.BytesIO(out.getvalue()))
    assert table["text"][13].as_py() == BIDI
    assert table["classes"][15].as_py() == ["identical", "phantom"]


def test_a_missing_tokenizer_is_reported(survey: Survey, measured: Path) -> None:
    (measured / "tokenizer.json").unlink()
    survey("run", measured, "--matrix", "input", "--catalog", "c", "--executor", "serial")
    ran = listed(survey, measured, "--class", "phantom")
    assert ran.code == 2
    assert "the repository holds no tokenizer that we know" in ran.err
    assert listed(survey, measured, "--class", "identical", "--ids-only").out == "2\n7\n15\n19\n"


def test_misuse_is_explained(survey: Survey, measured: Path) -> None:
    model = str(measured)
    cases = {
        "is not in the catalog": ["org/nobody"],
        "was measured for --matrix input only": [model],
        "is none of any, all, identical": [model, "--matrix", "input", "--class", "dead"],
    }
    for said, arguments in cases.items():
        ran = survey("tokens", *arguments, "--catalog", "c")
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err


def test_a_model_measured_without_tokens_is_explained(survey: Survey, folder: Path) -> None:
    survey("run", folder, "--matrix", "input", "--no-tokens", "--catalog", "c", "--executor", "serial")
    ran = listed(survey, folder)
    assert ran.code == 2
    assert "without --no-tokens" in ran.err


def test_dead_classes_shows_which_overlap(survey: Survey, measured: Path) -> None:
    ran = survey("query", "dead_classes", "--param", "matrix=input", "--catalog", "c", "--format", "json")
    assert ran.code == 0, ran.err
    by_class = {row["class"]: row for row in json.loads(ran.out)}
    assert {name: row["rows"] for name, row in by_class.items()} == {
        "identical": 4, "zero": 1, "near_zero": 1, "nonfinite": 1, "frozen": 0, "undertrained": 0, "phantom": ROWS - 14, "unreachable": 1,
    }  # fmt: skip
    assert by_class["identical"]["phantom"] == by_class["phantom"]["identical"] == 2
    assert by_class["zero"]["near_zero"] == 1
    assert by_class["nonfinite"]["phantom"] == 1
    assert by_class["unreachable"]["identical"] == 0
    for name, row in by_class.items():
        assert row[name] == row["rows"]


def test_dead_classes_leaves_open_what_no_tokenizer_says(survey: Survey, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    survey("run", folder, "--matrix", "both", "--catalog", "c", "--executor", "serial")
    ran = survey("query", "dead_classes", "--catalog", "c", "--format", "json")
    rows = {row["class"]: row for row in json.loads(ran.out)}
    counts = {name: row["rows"] for name, row in rows.items()}
    assert (counts["phantom"], counts["unreachable"], counts["identical"]) == (None, None, 4)
    # Nor is an overlap with what is not known: none is not the same as nobody knows.
    assert rows["identical"]["phantom"] is rows["phantom"]["identical"] is rows["zero"]["unreachable"] is None
    assert rows["identical"]["zero"] == rows["identical"]["frozen"] == 0


def test_the_card_shows_names(survey: Survey, measured: Path) -> None:
    out = survey("show", measured, "--catalog", "c").out
    assert "tokenizer_size" in out
    assert "unreachable_rows" in out
    assert '"e" "the"' in out
