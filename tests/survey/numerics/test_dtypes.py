"""Every dtype that a header may name; six of them are measured."""

import pytest
import torch
from safetensors import SafetensorError, deserialize
from support.checkpoints import with_length

from survey.errors import BrokenFile
from survey.numerics.dtypes import BITS, FLOATS
from survey.numerics.row_formats import row_format_of


@pytest.mark.parametrize(
    ("code", "bits", "exponent_values", "exponent_of_one"),
    [
        pytest.param("F64", 64, 2048, 1023, id="double"),
        pytest.param("F32", 32, 256, 127, id="single"),
        pytest.param("F16", 16, 32, 15, id="half"),
        pytest.param("BF16", 16, 256, 127, id="bfloat16"),
        pytest.param("F8_E4M3", 8, 16, 7, id="e4m3"),
        pytest.param("F8_E5M2", 8, 32, 15, id="e5m2"),
    ],
)
def test_a_measured_dtype_is_laid_out_as_ieee_says(
    code: str, bits: int, exponent_values: int, exponent_of_one: int
) -> None:
    form = FLOATS[code]
    assert (form.bits, form.item_bytes, form.exponent_values) == (bits, bits // 8, exponent_values)
    one = torch.ones(1, dtype=getattr(torch, form.torch_name))
    stored = int.from_bytes(one.view(torch.uint8).numpy().tobytes(), "little")
    assert stored >> (bits - 1 - form.exponent_bits) == exponent_of_one


@pytest.mark.parametrize("code", [*sorted(BITS.keys() - FLOATS.keys()), "F128", "bf16", ""])
def test_any_other_dtype_is_refused_by_name(code: str) -> None:
    with pytest.raises(BrokenFile, match=f"dtype is {code}, expected one of F64, F32, F16, BF16") as caught:
        row_format_of(code, "org/model")
    assert (caught.value.reason, caught.value.where) == ("unsupported-dtype", "org/model")


def test_the_table_holds_exactly_the_dtypes_of_the_format() -> None:
    with pytest.raises(SafetensorError) as caught:
        deserialize(with_length(b'{"a":{"dtype":"?","shape":[],"data_offsets":[0,0]}}'))
    known = str(caught.value).partition("expected one of")[2].partition(" at line")[0]
    assert {code.strip(" `") for code in known.split(",")} == BITS.keys()


@pytest.mark.parametrize("code", sorted(BITS))
def test_widths_are_those_of_the_reference_parser(code: str) -> None:
    stop = BITS[code]  # eight elements take as many bytes as one has bits
    text = f'{{"a":{{"dtype":"{code}","shape":[8],"data_offsets":[0,{stop}]}}}}'.encode()
    ((name, tensor),) = deserialize(with_length(text) + bytes(stop))
    assert (name, len(tensor["data"])) == ("a", stop)
