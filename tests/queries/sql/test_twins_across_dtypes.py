"""Twins that are stored in several dtypes are identical to the queries; what differs in one value is not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.checkpoints import Stored, single
from support.gguf_models import GgmlTensor, gguf_file
from support.kinships import trained
from support.matrices import CODES, raw
from support.quantisations import QUANTISATIONS

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.hub.local_hub import LocalHub
from queries.library import find
from queries.text.lineage import lineage_text

V, D = 600, 128
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
FLOATS = {torch.float8_e4m3fn: "F8_E4M3", **CODES}
Ask = Callable[..., list[dict[str, Any]]]


def wide(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(trained(np.random.default_rng(seed), V, D)).to(torch.float32)


def base() -> torch.Tensor:
    """Values of bfloat16, among them subnormal ones, both zeros and a NaN, and a black hole."""
    values = wide().to(torch.bfloat16)
    values[[7, 9, 300]] = values[7].clone()
    values[20, :8] = torch.tensor([0.0, -0.0, 1e-39, -1e-39, 1e-6, -1e-6, 3.0, 2**-120])
    values[21, 5] = torch.nan
    return values.to(torch.float32)


def changed(bits: int, row: int = 20, dim: int = 0) -> torch.Tensor:
    """The base with another word of float32 in one place."""
    values = base()
    values.view(torch.int32)[row, dim] = bits
    return values


def some_rows_changed() -> torch.Tensor:
    values = base()
    values[::10] *= 1.25
    return values


def of_8_bits() -> torch.Tensor:
    return (wide(3) * 20).to(torch.float8_e4m3fn)


HALVES = wide(1).to(torch.float16)
# BF16 that float16 holds, too: no value is tiny.
SHORT = (wide(2).sign() * (wide(2).abs() + 0.01)).to(torch.bfloat16)
MODELS: dict[str, torch.Tensor] = {
    "base": (base().view(torch.int32) >> 16).to(torch.int16).view(torch.bfloat16),  # torch changes a NaN
    "base-f32": base(),
    "base-f64": base().double(),
    "cut-f32": base()[:500],
    "tenth-f32": some_rows_changed(),
    "moved-f32": base().roll(1, 0),
    "inexact-f32": changed(0x40400001, dim=6),
    "minus-f32": changed(-(1 << 31)),
    "plus-f32": changed(0, dim=1),
    "denormal-f32": changed(0x00000001),
    "payload-f32": changed(0x7FC10000, row=21, dim=5),
    "lost-payload-f32": changed(0x7FC00001, row=21, dim=5),
    "halves": HALVES,
    "halves-f32": HALVES.float(),
    "short": SHORT,
    "short-f16": SHORT.to(torch.float16),
    "bits-as-f16": SHORT.view(torch.float16),
    "eight": of_8_bits(),
    "eight-bf16": of_8_bits().to(torch.bfloat16),
    "eight-f16": of_8_bits().to(torch.float16),
    "wide": wide(4),
    "wide-bf16": wide(4).to(torch.bfloat16),
    "stranger-f32": wide(99),
}
CODES_OF_8 = of_8_bits()
BLOCKS = torch.tensor([[0.013], [0.021], [0.017], [0.011], [0.019]])  # of 128 rows


def scaled(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The values of codes with a scale, exact in float64."""
    factors = scale.double().repeat_interleave(128, 0)[:V] if scale.dim() > 1 else scale.double()
    return codes.double() * factors


SCALES: dict[str, tuple[str, torch.Tensor]] = {
    "tensor": ("weight_scale", torch.tensor([0.0137])),
    "double": ("weight_scale", torch.tensor([0.0274])),
    "minus": ("weight_scale", torch.tensor([-0.0137])),
    "power": ("weight_scale", torch.tensor([2.0**-6])),
    "one": ("weight_scale", torch.tensor([1.0])),
    "short": ("weight_scale", torch.tensor([0.0137]).bfloat16()),
    "rows": ("weight_scale", torch.full((V, 1), 0.0137)),
    "blocks": ("weight_scale_inv", BLOCKS),
    "turned": ("weight_scale_inv", BLOCKS.roll(1, 0)),
}
WITH_SCALES = {f"eight-{name}": scale for name, scale in SCALES.items()}
MODELS |= {
    "eight-power-bf16": scaled(CODES_OF_8, SCALES["power"][1]).bfloat16(),
    "eight-short-f32": scaled(CODES_OF_8, SCALES["short"][1]).float(),
    "eight-tensor-f32": scaled(CODES_OF_8, SCALES["tensor"][1]).float(),
    "eight-blocks-bf16": scaled(CODES_OF_8, SCALES["blocks"][1]).bfloat16(),
}
OF_GGML = {
    "base-gguf-f32": base(),
    "halves-gguf-f16": HALVES,
    "short-gguf-bf16": SHORT,
    "cut-gguf-f32": base()[:500],
}
QUANTISED = {f"{kind.lower().replace(' ', '-')}-of-wide": kind for kind in ("Q8_0", "Q4_0")}


def stored_as_it_is(weight: torch.Tensor) -> Stored:
    return Stored(FLOATS[weight.dtype], tuple(weight.shape), bytes(raw(weight)))


def files(weight: torch.Tensor, **beside: torch.Tensor) -> dict[str, bytes]:
    """beside: tensors of the head's module."""
    tensors = {"weight": weight, **beside}
    return single({f"lm_head.{name}": stored_as_it_is(tensor) for name, tensor in tensors.items()}, CONFIG)


def files_of_ggml(weight: torch.Tensor) -> dict[str, bytes]:
    kind = gguf.GGMLQuantizationType[FLOATS[weight.dtype]]
    tensor = GgmlTensor(int(kind), tuple(weight.shape), bytes(raw(weight)))
    return {f"model-{kind.name}.gguf": gguf_file({"output.weight": tensor})}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from survey.cli import main

    folder = tmp_path_factory.mktemp("twins")
    rows = wide(4).double().numpy()
    models = {f"org/{name}": files(weight) for name, weight in MODELS.items()}
    models |= {
        f"org/{name}": files(CODES_OF_8, **{kind: scale}) for name, (kind, scale) in WITH_SCALES.items()
    }
    models |= {f"org/{name}": files_of_ggml(weight) for name, weight in OF_GGML.items()}
    models |= {f"org/{name}": QUANTISATIONS[kind](rows) for name, kind in QUANTISED.items()}
    models["org/q4_0-rounded-anew"] = QUANTISATIONS["Q4_0"](rows * 1.004)
    with pytest.MonkeyPatch.context() as patch, LocalHub() as hub:
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "token"))
        for repo, content in models.items():
            stated = {"base_model": "org/base"} if repo.endswith(("-f32", "-f64")) else {}
            hub.add_repo(repo, content, card_data=stated)
        options = ["--catalog", str(folder / "c"), "--endpoint", hub.endpoint, "--executor", "serial"]
        assert main(["run", *models, *options]) == 0
    return folder / "c"


@pytest.fixture(scope="module")
def ask(catalog: Path) -> Iterator[Ask]:
    with Reader(open_for_reading(str(catalog))) as reader:

        @functools.cache
        def rows(query: str, **params: Any) -> list[dict[str, Any]]:
            return answer_of(reader, query, params)

        yield rows


def answer_of(reader: Reader, query: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    if query == "lineage":
        answer = lineage_text(reader, f"org/{params['a']}", f"org/{params['b']}", "output")
    else:
        answer = reader.ask(find(query).sql, params)
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def relation(ask: Ask, model: str, other: str) -> str | None:
    rows = ask("relatives", model=f"org/{model}", matrix="output", limit=100, stored_as="*")
    return next((row["relation"] for row in rows if row["repo"] == f"org/{other}"), None)


IDENTICAL = "identical across dtypes"
TWINS = [
    ("base", "base-f32"),
    ("base", "base-f64"),
    ("base-f32", "base-f64"),
    ("halves", "halves-f32"),
    ("short", "short-f16"),
    ("eight", "eight-bf16"),
    ("eight", "eight-f16"),
    ("eight-f16", "eight-bf16"),
    ("eight-short", "eight-short-f32"),
]
FURTHER_TWINS = [
    pytest.param("base", "base-gguf-f32", IDENTICAL, id="float32 for llama.cpp, of bfloat16"),
    pytest.param("base-f32", "base-gguf-f32", "identical", id="float32 for llama.cpp"),
    pytest.param("halves", "halves-gguf-f16", "identical", id="float16 for llama.cpp"),
    pytest.param("short", "short-gguf-bf16", "identical", id="bfloat16 for llama.cpp"),
    pytest.param("eight", "eight-one", "identical", id="a factor of one"),
    pytest.param("eight-tensor", "eight-rows", "identical", id="one factor, and the same one for each row"),
    pytest.param("eight-power", "eight-power-bf16", IDENTICAL, id="a factor that is a power of two"),
]


@pytest.mark.parametrize(("a", "b", "verdict"), FURTHER_TWINS)
def test_a_twin_for_another_program_is_identical(ask: Ask, a: str, b: str, verdict: str) -> None:
    (row,) = ask("lineage", a=a, b=b)
    assert (row["verdict"], row["same_id"], relation(ask, a, b)) == (verdict, V, verdict)


@pytest.mark.parametrize(
    ("a", "b", "verdict", "kinship"),
    [
        ("eight", "eight-tensor", "same centroid", "scaled copy"),
        ("eight", "eight-power", "same centroid", "scaled copy"),
        ("eight-tensor", "eight-double", "same centroid", "scaled copy"),
        ("eight-tensor", "eight-minus", "no informative row in common", None),
        ("eight-tensor", "eight-short", "same centroid", "same centroid"),
        ("eight-blocks", "eight-turned", "same centroid", "same centroid"),
    ],
)
def test_equal_bytes_with_other_scales_are_other_values(
    ask: Ask, a: str, b: str, verdict: str, kinship: str | None
) -> None:
    (row,) = ask("lineage", a=a, b=b)
    assert (row["verdict"], row["same_id"], row["anywhere"]) == (verdict, 0, 0)
    assert relation(ask, a, b) == kinship


@pytest.mark.parametrize("kind", ["tensor-f32", "blocks-bf16"])
def test_products_that_were_rounded_are_no_twins(ask: Ask, kind: str) -> None:
    a, b = f"eight-{kind.partition('-')[0]}", f"eight-{kind}"
    (row,) = ask("lineage", a=a, b=b)
    assert row["verdict"] == "a is quantised from b, within what F8_E4M3 rounds"
    assert relation(ask, a, b) == "quantised from"


def test_twins_groups_equal_values_and_says_which_have_equal_bytes(ask: Ask) -> None:
    groups: dict[int, dict[str, int]] = {}
    for row in ask("twins", matrix="output", stored_as="*"):
        groups.setdefault(row["group"], {})[row["repo"].removeprefix("org/")] = row["same_bytes"]
    assert sorted(groups.values(), key=str) == sorted(
        [
            {"base": 1, "base-f32": 2, "base-f64": 1, "base-gguf-f32": 2},
            {"cut-f32": 2, "cut-gguf-f32": 2},
            {"eight": 2, "eight-bf16": 1, "eight-f16": 1, "eight-one": 2},
            {"eight-power": 1, "eight-power-bf16": 1},
            {"eight-rows": 2, "eight-tensor": 2},
            {"eight-short": 1, "eight-short-f32": 1},
            {"halves": 2, "halves-f32": 1, "halves-gguf-f16": 2},
            {"short": 2, "short-f16": 1, "short-gguf-bf16": 2},
        ],
        key=str,
    )


def test_families_counts_a_matrix_once_whatever_its_dtype(ask: Ask) -> None:
    (row,) = ask("families", matrix="output", stored_as="*")
    values = {(weight.shape, bytes(raw(weight.double()))) for weight in MODELS.values()}
    assert row["models"] + row["copies"] == len(MODELS) + len(WITH_SCALES) + len(OF_GGML) + len(QUANTISED) + 1
    assert row["models"] < len(values) + len(WITH_SCALES)


@pytest.mark.parametrize(("a", "b"), TWINS)
def test_a_twin_is_identical_both_ways(ask: Ask, a: str, b: str) -> None:
    for one, other in ((a, b), (b, a)):
        assert relation(ask, one, other) == IDENTICAL
        (row,) = ask("lineage", a=one, b=other)
        assert (row["verdict"], row["same_id"], row["lengths_agree"]) == (IDENTICAL, V, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "verdict", "kinship"),
    [
        ("base", "cut-f32", "identical over the common ids across dtypes", "rows in common"),
        ("base", "tenth-f32", "rows in common across dtypes", "rows in common"),
        ("base-f64", "tenth-f32", "rows in common across dtypes", "rows in common"),
        ("wide", "wide-bf16", "same values but for rounding", "same values"),
        ("wide-bf16", "q8_0-of-wide", "b is quantised from a, within what Q8_0 rounds", "quantised to"),
        ("q8_0-of-wide", "wide-bf16", "a is quantised from b, within what Q8_0 rounds", "quantised from"),
        (
            "q8_0-of-wide", "q4_0-of-wide",
            "quantised from the same values, within what Q8_0 and Q4_0 round", "other quantisation",
        ),
    ],
)  # fmt: skip
def test_what_was_changed_is_told(ask: Ask, a: str, b: str, verdict: str, kinship: str) -> None:
    assert ask("lineage", a=a, b=b)[0]["verdict"] == verdict
    assert relation(ask, a, b) == kinship


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param("base", "inexact-f32", id="one value that is not exact"),
        pytest.param("base", "minus-f32", id="a zero with another sign"),
        pytest.param("base", "plus-f32", id="a zero that has lost its sign"),
        pytest.param("base", "denormal-f32", id="a value that only float32 holds, for a zero"),
        pytest.param("base", "payload-f32", id="a NaN with another payload"),
        pytest.param("base", "lost-payload-f32", id="a NaN whose payload does not fit"),
        pytest.param("base", "moved-f32", id="the same rows at other ids"),
    ],
)
def test_nearly_a_twin_is_none(ask: Ask, a: str, b: str) -> None:
    (row,) = ask("lineage", a=a, b=b)
    assert row["verdict"] == "rows in common across dtypes"
    assert row["same_id"] == (V - 1 if b != "moved-f32" else row["same_id"])
    assert relation(ask, a, b) == "rows in common"


def test_equal_bytes_of_two_dtypes_are_no_twin(ask: Ask) -> None:
    (row,) = ask("lineage", a="short", b="bits-as-f16")
    assert "identical" not in row["verdict"]
    assert (row["same_id"], row["anywhere"]) == (0, 0)
    assert relation(ask, "short", "bits-as-f16") not in (IDENTICAL, "rows in common")


def test_another_quantisation_of_the_same_type_is_not_called_unrelated_for_its_bits(ask: Ask) -> None:
    (row,) = ask("lineage", a="q4_0-of-wide", b="q4_0-rounded-anew")
    assert (row["verdict"], row["same_id"]) == ("same centroid", 0)
    assert relation(ask, "q4_0-of-wide", "q4_0-rounded-anew") == "same centroid"


def test_strangers_in_two_dtypes_have_nothing_in_common(ask: Ask) -> None:
    (row,) = ask("lineage", a="base", b="stranger-f32")
    assert (row["verdict"], row["same_id"]) == ("no informative row in common", 0)
    assert relation(ask, "base", "stranger-f32") is None


def test_a_quantisation_of_a_stranger_is_not_called_unrelated_for_its_bits(ask: Ask) -> None:
    (row,) = ask("lineage", a="base", b="q8_0-of-wide")
    assert row["verdict"] == "not comparable bit for bit: BF16 against Q8_0; other centroids or lengths"
    assert row["same_id"] is row["anywhere"] is None


def test_claims_are_confirmed_across_dtypes(ask: Ask) -> None:
    findings = {row["repo"]: row["finding"] for row in ask("lineage_conflicts", matrix="output", all=1)}
    assert findings["org/base-f32"] == findings["org/cut-f32"] == findings["org/tenth-f32"] == "confirmed"
    assert findings["org/stranger-f32"] == "no row in common"
    (halves,) = [
        row for row in ask("lineage_conflicts", matrix="output", all=1) if row["repo"] == "org/halves-f32"
    ]
    assert (halves["finding"], halves["nearest"]) == ("rows of another model", "org/halves")


def test_rows_of_older_versions_are_compared_by_what_they_have(catalog: Path, tmp_path: Path) -> None:
    """Their value hashes are unknown: another dtype is compared by figures, the same one by bits."""
    for source in catalog.rglob("*.parquet"):
        kept = tmp_path / source.relative_to(catalog)
        kept.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(source)
        new = {"exact_in", "values_hash", "value_sketch", "value_hash"} & set(table.column_names)
        pq.write_table(table.drop_columns([*new]), kept)
    with Reader(open_for_reading(str(tmp_path))) as reader:
        (row,) = answer_of(reader, "lineage", {"a": "base", "b": "base-f32"})
        assert (row["verdict"], row["same_id"]) == ("same values but for rounding", None)
        (row,) = answer_of(reader, "lineage", {"a": "base-f32", "b": "tenth-f32"})
        assert row["verdict"] == "rows in common"
        params = {"model": "org/base", "matrix": "output", "limit": 100, "stored_as": "*"}
        relations = {row["repo"]: row["relation"] for row in answer_of(reader, "relatives", params)}
        assert relations["org/base-f32"] == "same values"
        twins = answer_of(reader, "twins", {"matrix": "output", "stored_as": "*"})
        pairs = {
            frozenset(row["repo"].removeprefix("org/") for row in twins if row["group"] == group)
            for group in range(1, len(twins))
        }
        assert {"base-f32", "base-gguf-f32"} in pairs
        assert any({"eight-tensor", "eight-rows"} <= pair for pair in pairs)
        assert not any({"eight-tensor", "eight-double"} <= pair for pair in pairs)
