"""Codes are recognised by the tensors around them, whatever the scheme, and refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, single, stored
from support.layouts import FULL, LAYERS, LLAMA, LLAMA_TIED, LLAMA_UNTIED, D, Layout, V, chosen, refused

QUANTISED = {
    "exl3": ["lm_head.trellis", "lm_head.suh", "lm_head.svh", "lm_head.mul1"],
    "torchao": ["lm_head._weight_qdata", "lm_head._weight_scale", "lm_head._weight_zero_point"],
    "torchao's later names": ["lm_head.weight:qdata", "lm_head.weight:scale"],
    "eetq": ["lm_head.q_weight", "lm_head.weight_scales"],
    "compressed-tensors": ["lm_head.weight_packed", "lm_head.weight_scale", "lm_head.weight_shape"],
    "gptq": ["lm_head.qweight", "lm_head.qzeros", "lm_head.scales", "lm_head.g_idx"],
    "the next one": ["lm_head.codes_v2.codes", "lm_head.codes_v2.lut"],
    "codes without a module": ["lm_head_qweight"],
    "integers of an unknown name": ["lm_head.w_int8", "lm_head.b_int8"],
    "indices and centroids": ["lm_head.vq_indices", "lm_head.vq_codes"],
    "a scale alone": ["lm_head.weight_scale"],
    "an output layer": ["output.qweight", "output.scales"],
    "by a name that no list has": ["final_output.trellis", "final_output.svh"],
}


IN_ONE_MODULE = [
    names for names in QUANTISED.values() if all(re.fullmatch(r"lm_head\.[^.]+", name) for name in names)
]


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize("names", QUANTISED.values(), ids=QUANTISED)
def test_codes_are_recognised_by_the_tensors_beside_them(names: list[str], config: dict[str, Any]) -> None:
    codes = dict.fromkeys(names, (V // 2, 2 * D))
    files = Layout({EMBED: FULL, **codes, **LAYERS}, config, "", integers=tuple(names)).files()
    error = refused(files)
    assert error.reason == "quantised-head"
    assert any(name in error.problem for name in names)
    assert not chosen(files, "input").identity.tied


@pytest.mark.parametrize(
    "beside", [{}, {"encoder.embed_tokens.weight": FULL}, {HEAD: FULL}], ids=["alone", "another", "head"]
)
@pytest.mark.parametrize("names", IN_ONE_MODULE, ids=str)
def test_an_embedding_in_codes_makes_nothing_else_the_matrix(
    names: list[str], beside: dict[str, tuple[int, ...]]
) -> None:
    codes = {name.replace("lm_head", "model.embed_tokens"): (V // 2, 2 * D) for name in names}
    files = Layout({**codes, **beside, **LAYERS}, LLAMA_TIED, "", integers=tuple(codes)).files()
    assert refused(files, "input").reason == "quantised-head"
    if HEAD in beside:
        assert not chosen(files).identity.tied
    else:
        assert refused(files).reason == "quantised-head"


@pytest.mark.parametrize("module", ["final_proj", "fc", "tok_out", "tail", "w_out"])
@pytest.mark.parametrize(
    "endings", [("qweight", "scales"), ("weight_packed", "scales"), ("weight", "scales", "biases")], ids=str
)
def test_codes_under_an_unknown_name_are_refused(module: str, endings: tuple[str, ...]) -> None:
    codes = {f"{module}.{endings[0]}": stored(V, D // 4, dtype="I32")}
    codes |= {f"{module}.{ending}": stored(V, 1) for ending in endings[1:]}
    assert refused(single({EMBED: stored(*FULL), **codes}, LLAMA_TIED)).reason == "quantised-head"
