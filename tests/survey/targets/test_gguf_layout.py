"""From GGUF files to a measured matrix: in a folder, in one file, in parts, and on the Hub by byte range."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from support.gguf_models import GgmlTensor, cloud, coded, decoded, gguf_file, numbers, strings
from support.hub_model import request_log
from support.in_memory_checkpoint import HeldCheckpoint

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.checkpoint import Card
from survey.errors import SurveyError
from survey.opening import Matrix
from survey.records.target import MatrixName, Target
from survey.targets import gguf_layout
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

TABLE, HEAD = coded(cloud(seed=1), "Q8_0"), coded(cloud(seed=2), "Q5_1")
NORM = GgmlTensor(0, (64,), bytes(256))
TIED = {"token_embd.weight": TABLE, "output_norm.weight": NORM}
UNTIED = {**TIED, "output.weight": HEAD}
NVFP4, FACTOR = coded(cloud(seed=4), "NVFP4"), GgmlTensor(0, (1,), np.float32(3.5).tobytes())


def target(matrix: MatrixName, *files: bytes, names: tuple[str, ...] = ("model.gguf",)) -> Target:
    return locate(lay_out(HeldCheckpoint(dict(zip(names, files, strict=True)))), matrix)


@pytest.mark.parametrize(
    ("tensors", "matrix", "tensor", "tied"),
    [
        pytest.param(UNTIED, "output", "output.weight", False, id="a head"),
        pytest.param(UNTIED, "input", "token_embd.weight", False, id="its embedding"),
        pytest.param(TIED, "output", "token_embd.weight", True, id="no head"),
        pytest.param(TIED, "input", "token_embd.weight", True, id="the embedding of a model without a head"),
        pytest.param(
            {**TIED, "per_layer_token_embd.weight": coded(cloud(seed=3, dims=256), "Q8_0")},
            "output",
            "token_embd.weight",
            True,
            id="an embedding of each layer",
        ),
        pytest.param(
            {**TIED, "blk.0.ffn_up.weight": HEAD, "per_layer_token_embd.weight": HEAD},
            "output",
            "token_embd.weight",
            True,
            id="layers of the embedding's shape",
        ),
    ],
)
def test_the_format_names_its_matrices(
    tensors: dict[str, GgmlTensor], matrix: MatrixName, tensor: str, tied: bool
) -> None:
    read = target(matrix, gguf_file(tensors)).identity
    assert (read.tensor, read.tied, read.model_type, read.family) == (tensor, tied, "llama", None)


def test_what_a_row_says_of_its_storage() -> None:
    read = target("output", gguf_file(UNTIED)).identity
    assert (read.stored_as, read.bits_per_weight, read.quantised) == ("Q5_1", 6.0, True)
    float_head = {**TIED, "output.weight": GgmlTensor(30, (40, 64), bytes(40 * 128))}
    read = target("output", gguf_file(float_head)).identity
    assert (read.stored_as, read.bits_per_weight, read.quantised) == ("BF16", 16.0, False)


REFUSED: dict[str, tuple[dict[str, GgmlTensor], dict[str, object], str, str]] = {
    "neither": ({"output_norm.weight": NORM}, {}, "no-head", "neither output.weight nor token_embd.weight"),
    "an encoder by its architecture": (TIED, {"general.architecture": "nomic-bert"}, "no-head", "nomic-bert models have no head"),
    "an encoder of a decoder's architecture": (TIED, {"llama.pooling_type": 3}, "no-head", "makes embeddings of texts"),
    "an encoder by its attention": (TIED, {"llama.attention.causal": False}, "no-head", "an encoder"),
    "an adapter": (TIED, {"general.type": "adapter"}, "no-head", "general.type is 'adapter'"),
    "a tower": (TIED, {"general.type": "mmproj"}, "no-head", "general.type is 'mmproj'"),
    "nothing said of the architecture": (TIED, {"general.architecture": 7}, "no-head", "no general.architecture"),
    "a type that nobody decodes": ({**TIED, "output.weight": GgmlTensor(99, (40, 64), bytes(4096))}, {}, "unsupported-dtype", "ggml type 99"),
    "integers": ({**TIED, "output.weight": GgmlTensor(26, (40, 64), bytes(10240))}, {}, "quantised-head", "I32"),
    "fewer rows than tokens": (TIED, {"tokenizer.ggml.tokens": strings(*map(str, range(80)))}, "no-head", "has 40 rows, the config says 80"),
    "a head of another name": ({**TIED, "lm_head.weight": HEAD}, {}, "unknown-head", "there is no output.weight, and lm_head.weight of the shape"),
    "a factor of a type that needs none": ({**UNTIED, "output.scale": FACTOR}, {}, "quantised-head", "Q5_1 beside output.scale, which no rule"),
    "a factor of a tied head": ({"token_embd.weight": NVFP4, "output.scale": FACTOR}, {}, "quantised-head", "NVFP4 beside output.scale"),
    "other factors": ({**UNTIED, "output.weight_scale": FACTOR}, {}, "quantised-head", "output.weight stands beside output.weight_scale"),
    "an update that is not merged": ({**UNTIED, "output.weight.lora_a": FACTOR}, {}, "quantised-head", "beside output.weight.lora_a"),
    "zero points of a tied head": ({**TIED, "token_embd.zero_point": FACTOR}, {}, "quantised-head", "beside token_embd.zero_point"),
    "several heads": ({**TIED, "output.0.weight": FACTOR, "output.1.weight": FACTOR}, {}, "quantised-head", "beside output.0.weight"),
    "an encoder by a number": (TIED, {"llama.attention.causal": 0}, "no-head", "an encoder"),
    "a type in an array": (TIED, {"general.type": strings("model")}, "no-head", "general.type is 'array'"),
    "an adapter that states no type": (TIED, {"adapter.type": "lora"}, "no-head", "states an adapter.type"),
    "a draft": (TIED, {"general.architecture": "eagle3"}, "no-head", "'eagle3', which has no vocabulary of its own"),
    "factors of rows": ({**TIED, "output.weight": NVFP4, "output.scale": GgmlTensor(0, (40,), bytes(160))}, {}, "quantised-head", "expected one factor"),
    "a vector": ({"token_embd.weight": NORM}, {}, "no-head", "expected [V, D]"),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "values", "reason", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_unembedding_is_refused(
    tensors: dict[str, GgmlTensor], values: dict[str, object], reason: str, problem: str
) -> None:
    stated = {"general.architecture": "llama", **values}
    with pytest.raises(SurveyError) as caught:
        target("output", gguf_file(tensors, stated))  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert problem in str(caught.value)


def test_the_factor_of_a_head_in_nvfp4_multiplies_its_values(tmp_path: Path) -> None:
    path = tmp_path / "model-NVFP4.gguf"
    head = {"output.weight": NVFP4, "output.scale": FACTOR, "output.input_scale": FACTOR}
    path.write_bytes(gguf_file({**TIED, **head}))
    opened = survey.open_matrix(path)
    figures, values = survey.measure(opened), 3.5 * decoded(NVFP4)
    assert (opened.target.identity.stored_as, opened.target.identity.scale) == (
        "NVFP4",
        "output.scale per tensor",
    )
    assert figures.centroid_l2 == pytest.approx(np.linalg.norm(values.mean(0)), rel=1e-12)
    assert figures.token_norm_max == pytest.approx(np.linalg.norm(values, axis=1).max(), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "url", "base"),
    [
        pytest.param(
            "Qwen3 4B", "https://huggingface.co/Qwen/Qwen3-4B", "Qwen/Qwen3-4B", id="what was quantised"
        ),
        pytest.param("Qwen3-4B", "https://huggingface.co/Qwen/Qwen3-4B/", "Qwen/Qwen3-4B", id="its own name"),
        pytest.param("Qwen3 4B Instruct", "https://huggingface.co/Qwen/Qwen3-4B-Base", None, id="its parent"),
        pytest.param("Qwen3 4B", "https://example.org/Qwen/Qwen3-4B", None, id="elsewhere"),
        pytest.param("", "https://huggingface.co/", None, id="nothing"),
        pytest.param("1", 1, None, id="no text"),
    ],
)
def test_a_file_names_what_it_was_made_from(name: str, url: object, base: str | None) -> None:
    stated = {"general.architecture": "qwen3", "general.name": name, "general.base_model.0.repo_url": url}
    assert target("output", gguf_file(TIED, stated)).identity.base_model == base  # type: ignore[arg-type]


@pytest.mark.parametrize("tag", ["sentence-similarity", "feature-extraction"])
def test_a_card_may_say_that_a_model_without_a_head_makes_embeddings(tag: str) -> None:
    held = HeldCheckpoint({"e5-mistral-Q8_0.gguf": gguf_file(TIED)})
    held.card = Card(tags=("gguf", tag))
    with pytest.raises(SurveyError, match=f"no output.weight, and the card's tag {tag}"):
        locate(lay_out(held), "output")
    assert not locate(lay_out(held), "input").identity.tied
    own = HeldCheckpoint({"m.gguf": gguf_file(UNTIED)})
    own.card = Card(tags=(tag,))
    assert locate(lay_out(own), "output").identity.tensor == "output.weight"


def test_the_family_of_a_file_is_known_by_its_name() -> None:
    read = target("output", gguf_file(TIED), names=("SmolLM2-135M-Q8_0.gguf",)).identity
    assert (read.family, read.family_by) == ("SmolLM", "name")


def test_an_encoder_has_an_embedding() -> None:
    read = target("input", gguf_file(TIED, {"general.architecture": "bert"})).identity
    assert (read.tensor, read.tied) == ("token_embd.weight", False)


PARTS = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")


def part(number: int, tensors: dict[str, GgmlTensor], count: int = 2, whole: int | None = None) -> bytes:
    """A file of a set. whole: the number of tensors of all files, if it is stated."""
    stated = {} if whole is None else {"split.tensors.count": whole}
    first = {} if number else {"general.architecture": "llama"}  # llama.cpp writes it there alone
    return gguf_file(tensors, {**first, "split.no": number, "split.count": count, **stated})


def test_the_head_may_lie_in_any_file_of_a_set() -> None:
    read = target("output", part(0, TIED, whole=3), part(1, {"output.weight": HEAD}, whole=3), names=PARTS)
    assert (read.spec.file, read.identity.tied) == (PARTS[1], False)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param((part(0, TIED), part(1, TIED)), "holds token_embd.weight, as", id="a tensor twice"),
        pytest.param(
            (part(1, TIED), part(0, {"output.weight": HEAD})), "split.no is 1", id="in another order"
        ),
        pytest.param((part(0, TIED, 3), part(1, {}, 3)), "split.count is 3", id="of a larger set"),
        pytest.param((part(0, TIED), part(0, {})), "split.no is 0, expected 1", id="the first twice"),
        pytest.param(
            (
                part(0, TIED),
                gguf_file({}, {"general.architecture": "qwen3", "split.count": 2, "split.no": 1}),
            ),
            "general.architecture is 'qwen3', in the first file 'llama'",
            id="of another model",
        ),
        pytest.param(
            (part(0, TIED, whole=2), part(1, {}, whole=3)),
            "split.tensors.count is '3'",
            id="of another count",
        ),
        pytest.param(
            (part(0, TIED, whole=3), part(1, {"x": NORM, "y": NORM})),
            "4 tensors, the first says 3",
            id="too many",
        ),
        pytest.param(
            (part(0, TIED, whole=3), part(1, {}, whole=3)),
            "2 tensors, the first says 3",
            id="without its head",
        ),
    ],
)
def test_files_that_are_no_set_are_refused(files: tuple[bytes, bytes], problem: str) -> None:
    with pytest.raises(SurveyError, match=problem) as caught:
        target("output", *files, names=PARTS)
    assert caught.value.reason == "index-mismatch"


@pytest.mark.parametrize("name", ["renamed.gguf", "m-2.gguf"])
def test_a_file_of_a_set_that_was_renamed_is_no_whole_model(name: str) -> None:
    with pytest.raises(SurveyError, match=r"split\.count is 2, expected 1"):
        target("output", part(0, TIED), names=(name,))


def test_all_files_of_a_set_hold_no_more_tensors_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_layout, "MOST_TENSORS", 3)
    with pytest.raises(SurveyError, match="4 tensors, expected at most 3"):
        target("output", part(0, TIED), part(1, {"x": NORM, "y": NORM}), names=PARTS)


def test_hundreds_of_mutated_sets_are_read_or_refused() -> None:
    """What is read is the head that was written: no mutation makes the embedding one."""
    files, dice = (part(0, TIED, whole=3), part(1, {"output.weight": HEAD}, whole=3)), random.Random(8)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        contents = [bytearray(file) for file in files]
        content = dice.choice(contents)
        for _ in range(dice.choice((1, 1, 2))):
            content[dice.randrange(300)] = dice.choice((0, 1, 2, 0x7F, 0xFF, dice.randrange(256)))
        try:
            read = target("output", *map(bytes, contents), names=PARTS)
            assert not read.identity.tied
            outcomes["read"] += 1
        except SurveyError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50


def test_the_figures_are_those_of_the_values_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "model-Q5_1.gguf"
    path.write_bytes(gguf_file(UNTIED))
    values = decoded(HEAD)
    for named in (tmp_path, path, str(path), f"{tmp_path}:Q5_1"):
        figures = survey.measure(survey.open_matrix(named))
        assert figures.centroid_l2 == pytest.approx(np.linalg.norm(values.mean(0)), rel=1e-12)
        assert [hole.token_ids for hole in figures.black_holes] == [(3, 7, 8)]


def test_of_a_file_on_the_hub_only_the_header_and_the_matrix_are_read(hub: LocalHub) -> None:
    large = coded(cloud(4_000, 512), "Q8_0")
    layers = {f"blk.{n}.ffn_up.weight": GgmlTensor(0, (512, 512), bytes(1 << 20)) for n in range(24)}
    tokens = strings(*(f"token {number}" for number in range(4_000)))
    values = {"general.architecture": "llama", "tokenizer.ggml.tokens": tokens,
              "tokenizer.ggml.token_type": numbers(5, *([1] * 4_000))}  # fmt: skip
    whole = gguf_file({"blk.x": NORM, **layers, "token_embd.weight": large}, values)
    hub.add_repo("org/model-GGUF", {"model-Q8_0.gguf": whole, "mmproj-F16.gguf": b"GGUF"})
    opened = survey.open_matrix("org/model-GGUF:Q8_0", endpoint=hub.endpoint)
    assert survey.measure(opened).dead_count == 3
    traffic = opened.checkpoint.traffic
    assert traffic.bytes < len(large.data) + (2 << 20) < len(whole) / 3
    assert not [line for line in request_log(hub) if "mmproj" in str(line)]


def test_of_a_set_on_the_hub_the_matrix_and_the_headers_are_read(hub: LocalHub) -> None:
    head, layer = coded(cloud(4_000, 512), "Q8_0"), GgmlTensor(0, (1024, 1024), bytes(4 << 20))
    stated = {"general.architecture": "llama", "split.no": 0, "split.count": 3, "split.tensors.count": 4}
    tokens = {"tokenizer.ggml.tokens": strings(*(f"token {number:<40}" for number in range(30_000)))}
    files = [
        gguf_file({"blk.0.w": layer}, {**stated, **tokens, "llama.vocab_size": 4_000}),
        part(1, {"blk.1.w": layer}, 3),
        part(2, {"blk.2.w": layer, "output.weight": head}, 3),
    ]
    names = [f"Q8_0/m-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    hub.add_repo("org/set-GGUF", dict(zip(names, files, strict=True)))
    opened = survey.open_matrix("org/set-GGUF:Q8_0", endpoint=hub.endpoint)
    assert survey.measure(opened).dead_count == 3
    header_bytes = len(files[0]) - len(layer.data)
    beyond = opened.checkpoint.traffic.bytes - len(head.data) - header_bytes
    assert 0 < beyond < (2 << 20) + 2 * (64 << 10)  # a window of the first header, and little of the others


def test_the_whole_matrix_opens_as_any_other() -> None:
    held = HeldCheckpoint({"model.gguf": gguf_file(UNTIED)})
    opened = Matrix(locate(lay_out(held), "output"), held)
    assert b"".join(bytes(block) for block in opened.blocks()) == HEAD.data
    assert (opened.shape, opened.dtype, opened.scale()) == ((40, 64), "Q5_1", None)
