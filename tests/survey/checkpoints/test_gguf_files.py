"""Which files of a repository are a model of llama.cpp, and which quantisation is meant."""

from __future__ import annotations

import time

import pytest

from survey.checkpoints.gguf_files import gguf_models, gguf_names
from survey.checkpoints.weight_files import Weights, find_weights
from survey.errors import NotThere

QWEN = [
    f"Qwen3-4B-{label}.gguf"
    for label in ("IQ2_XXS", "Q2_K", "Q3_K_S", "Q4_0", "Q4_K_M", "UD-Q4_K_XL", "Q6_K")
]
BF16 = [f"BF16/Qwen3-4B-BF16-0000{number}-of-00002.gguf" for number in (1, 2)]
BESIDE = ["mmproj-F16.gguf", "mmproj-Qwen3-4B-BF16.gguf", "Qwen3-4B.imatrix.gguf", "qwen3-lora-F16.gguf",
          "Qwen3-4B-draft-Q4_0.gguf", "README.md", "imatrix_unsloth.gguf"]  # fmt: skip
FOLDERS = ["Q4_K_M/model.gguf", "Q8_0/model-00001-of-00002.gguf", "Q8_0/model-00002-of-00002.gguf"]
I1 = ["m.Q4_K_M.gguf", "m.i1-Q4_K_M.gguf", "m.i1-IQ4_XS.gguf", "m.imatrix.gguf"]

CHOSEN: dict[str, tuple[list[str], str | None, list[str]]] = {
    "the only one": (["model.gguf"], None, ["model.gguf"]),
    "the most bits": (QWEN, None, ["Qwen3-4B-Q6_K.gguf"]),
    "a float in two files": ([*QWEN, *BF16], None, BF16),
    "F32 before F16": (["m-f16.gguf", "m-f32.gguf"], None, ["m-f32.gguf"]),
    "BF16 before F16": (["m.BF16.gguf", "m.F16.gguf"], None, ["m.BF16.gguf"]),
    "the larger mix": (["m-Q4_K_S.gguf", "m-Q4_K_M.gguf"], None, ["m-Q4_K_M.gguf"]),
    "the plain one beside an importance matrix's": (["m.i1-IQ4_XS.gguf", "m.Q8_0.gguf"], None, ["m.Q8_0.gguf"]),
    "no tower, LoRA, draft or importance matrix": ([*BESIDE, "Qwen3-4B-Q2_K.gguf"], None, ["Qwen3-4B-Q2_K.gguf"]),
    "safetensors first": (["model.safetensors", "config.json", "m-F32.gguf"], None, []),
    "a quantisation": ([*QWEN, *BF16], "Q4_K_M", ["Qwen3-4B-Q4_K_M.gguf"]),
    "in small letters": (QWEN, "q4_k_m", ["Qwen3-4B-Q4_K_M.gguf"]),
    "one of Unsloth's": (QWEN, "UD-Q4_K_XL", ["Qwen3-4B-UD-Q4_K_XL.gguf"]),
    "beside safetensors": (["model.safetensors", "config.json", *QWEN], "Q2_K", ["Qwen3-4B-Q2_K.gguf"]),
    "a file": (QWEN, "Qwen3-4B-Q4_0.gguf", ["Qwen3-4B-Q4_0.gguf"]),
    "a folder": ([*QWEN, *BF16], "BF16", BF16),
    "a file of a set": (BF16, BF16[1], BF16),
    "Q4_1 before Q4_0": (["m-Q4_0.gguf", "m-Q4_1.gguf", "m-IQ4_XS.gguf", "m-IQ4_NL.gguf"], "Q4_1", ["m-Q4_1.gguf"]),
    "a folder for each quantisation": (FOLDERS, None, FOLDERS[1:]),
    "one of the folders": (FOLDERS, "Q4_K_M", FOLDERS[:1]),
    "no tower in a folder of its own": (["mmproj/F32.gguf", "m-Q2_K.gguf"], None, ["m-Q2_K.gguf"]),
    "no draft in a folder of its own": (["draft/m-F32.gguf", "m-Q2_K.gguf"], None, ["m-Q2_K.gguf"]),
    "a model that is called Eagle": (["rwkv-5-eagle-7b-Q4_0.gguf", "rwkv-5-eagle-7b-Q8_0.gguf"], None, ["rwkv-5-eagle-7b-Q8_0.gguf"]),
    "a model with a merged LoRA": (["m-lora-merged-Q4_0.gguf"], None, ["m-lora-merged-Q4_0.gguf"]),
    "a model made with an importance matrix": (["m-Q4_0-imatrix.gguf"], None, ["m-Q4_0-imatrix.gguf"]),
    "one with an importance matrix": (I1, "i1-Q4_K_M", ["m.i1-Q4_K_M.gguf"]),
    "the plain one by the plain name": (I1, "q4_k_m", ["m.Q4_K_M.gguf"]),
    "the only one by the plain name": (I1, "IQ4_XS", ["m.i1-IQ4_XS.gguf"]),
    "Unsloth's by the plain name": (QWEN, "q4_k_xl", ["Qwen3-4B-UD-Q4_K_XL.gguf"]),
    "a name that begins as another": (["m-Q4_K.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q4_0_4_4.gguf", "m-Q4_0.gguf"], "Q4_K", ["m-Q4_K.gguf"]),
    "a folder of safetensors that is called so": (["bf16/model.safetensors", "bf16/config.json", "m-BF16.gguf"], "bf16", []),
    "a draft that is named": (BESIDE, "Qwen3-4B-draft-Q4_0.gguf", ["Qwen3-4B-draft-Q4_0.gguf"]),
}  # fmt: skip


def chosen(files: list[str], part: str | None) -> Weights:
    return find_weights(files, "org/model", part)


@pytest.mark.parametrize(("files", "part", "read"), CHOSEN.values(), ids=CHOSEN)
def test_one_quantisation_is_chosen(files: list[str], part: str | None, read: list[str]) -> None:
    assert [chosen(order, part).gguf for order in (files, files[::-1])] == [tuple(read)] * 2


def test_what_was_chosen_says_what_else_could_be_named() -> None:
    rule = "Qwen3-4B-Q6_K.gguf, the most precise of 7 quantisations (others: IQ2_XXS, Q2_K, Q3_K_S, Q4_0, Q4_K_M, UD-Q4_K_XL)"
    assert chosen(QWEN, None).rule == rule
    many = [f"m-Q{bits}_K_{mix}.gguf" for bits in range(2, 7) for mix in ("XS", "S", "M", "L")]
    assert chosen(many, None).rule.endswith(
        "Q2_K_S, Q2_K_XS, Q3_K_L, Q3_K_M, Q3_K_S, Q3_K_XS, Q4_K_L, Q4_K_M, Q4_K_S, Q4_K_XS and 7 more)"
    )
    assert chosen(QWEN, "Q4_0").rule == chosen(["Qwen3-4B-Q4_0.gguf"], None).rule == "Qwen3-4B-Q4_0.gguf"


REFUSED: dict[str, tuple[list[str], str | None, str]] = {
    "two models": (
        ["a-Q4_0.gguf", "b-Q4_0.gguf"],
        None,
        "several models for llama.cpp → .* one of a-Q4_0.gguf, b-",
    ),
    "a set with a gap": (BF16[1:], None, "1 of the files that .*00002-of-00002.gguf counts are missing"),
    "a set that counts to 99,999": (["m-00001-of-99999.gguf"], None, "999 of the files"),
    "parts that were cut anywhere": (
        ["m.Q8_0.gguf.part2of2", "m.Q8_0.gguf.part1of2"],
        None,
        r"cut anywhere \(m.Q8_0.gguf.part1of2\).* join its parts",
    ),
    "parts by another tool": (["m.Q8_0.gguf-split-a"], None, "cut anywhere"),
    "nothing but a tower": (
        ["mmproj-F16.gguf", "config.json"],
        None,
        "holds mmproj-F16.gguf, by its name no model",
    ),
    "nothing but a tower, and no config": (
        ["mmproj-F16.gguf"],
        None,
        "holds mmproj-F16.gguf, by its name no model",
    ),
    "a suffix in capitals": (["m.GGUF"], None, "holds m.GGUF, by its name no model"),
    "a quantisation that is not there": (
        QWEN,
        "Q8_0",
        "no such folder or file → .* IQ2_XXS, Q2_K, Q3_K_S, Q4_0",
    ),
    "a file that states none, beside others": (
        ["m.gguf", "m-Q4_0.gguf"],
        None,
        "states no quantisation.* one of Q4_0, m.gguf",
    ),
    "one quantisation in two folders": (
        ["new/m-Q8_0.gguf", "old/m-Q8_0.gguf", "m-Q2_K.gguf"],
        None,
        "several files in Q8_0 → .* one of new/m-Q8_0.gguf, old/m-Q8_0.gguf",
    ),
    "two quantisations in folders that name none": (
        ["a/m.gguf", "b/m.gguf"],
        None,
        "states no quantisation.* one of a/m.gguf, b/m.gguf",
    ),
    "a revision behind the quantisation": (QWEN, "Q4_0@v1", "a revision stands before the colon"),
    "a name that begins as others": (
        ["m-Q4_K_S.gguf", "m-Q4_K_M.gguf"],
        "Q4_K",
        "no such folder or file → .* Q4_K_M, Q4_K_S",
    ),
    "more files than are read": (
        [f"m-{number:05}-of-01001.gguf" for number in range(1, 1002)],
        None,
        "1,001 files, at most 1,000 are read",
    ),
    "a quantisation of two models": (["a-Q4_0.gguf", "b-Q4_0.gguf"], "Q4_0", "several files are Q4_0"),
}


@pytest.mark.parametrize(("files", "part", "problem"), REFUSED.values(), ids=REFUSED)
def test_no_quantisation_is_guessed(files: list[str], part: str | None, problem: str) -> None:
    with pytest.raises(NotThere, match=problem) as caught:
        chosen(files, part)
    assert caught.value.reason == "no-safetensors"


@pytest.mark.parametrize(
    ("file", "label", "model"),
    [
        ("Qwen3-4B-UD-IQ1_M.gguf", "UD-IQ1_M", "qwen3-4b"),
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "Q4_K_M", "tinyllama-1.1b-chat-v1.0"),
        ("gpt-oss-20b-MXFP4_MOE.gguf", "MXFP4_MOE", "gpt-oss-20b"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "q4", "phi-3-mini-4k-instruct"),
        ("model.i1-IQ2_XXS.gguf", "i1-IQ2_XXS", "model"),
        ("bitnet-TQ1_0.gguf", "TQ1_0", "bitnet"),
        ("q8_0.gguf", "q8_0", ""),
        ("UD-Q2_K_XL/GLM-5-UD-Q2_K_XL-00001-of-00001.gguf", "UD-Q2_K_XL", "glm-5"),
        ("Llama-3-Q4_0_8_8.gguf", "Q4_0_8_8", "llama-3"),
        ("gguf/some-model-IQ3_XS/some-model.gguf", "IQ3_XS", "some-model"),
        ("some-model-v2.gguf", "", "some-model-v2"),
        ("f16-collector.gguf", "", "f16-collector"),
    ],
)
def test_a_name_ends_in_its_quantisation(file: str, label: str, model: str) -> None:
    (read,) = gguf_models([file])
    assert (read.label, read.model) == (label, model)


@pytest.mark.parametrize(
    "files", [QWEN, BF16, FOLDERS, I1, [*QWEN, *BF16, *BESIDE], ["a-Q4_0.gguf", "b-Q4_0.gguf", "Q4_0.gguf"]]
)
def test_every_name_that_a_message_shows_names_its_model(files: list[str]) -> None:
    models = gguf_models(files)
    for name, model in zip(gguf_names(models), models, strict=True):
        assert chosen(files, name).gguf == model.files


@pytest.mark.parametrize("end", ["!", "-x", "_0_", ""])
def test_a_label_of_any_length_is_looked_at_in_time(end: str) -> None:
    """Thirty times `_K` took minutes, forty days."""
    started = time.process_time()
    gguf_models(
        [f"m-Q4{'_K' * 60}{end}.gguf", f"m-IQ2{'_XXS' * 900}{end}.gguf", f"m{'-UD-Q4_K_M' * 400}{end}.gguf"]
    )
    assert time.process_time() - started < 1
