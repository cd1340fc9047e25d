"""Forms of rows, hashes of their values and `exact_in` a second time, by numpy's casts; it imports nothing of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

Words = NDArray[Any]  # Any: words of a format
Exact = NDArray[Any]  # of booleans

WORDS = {"F64": "<u8", "F32": "<u4", "F16": "<u2", "BF16": "<u2", "F8_E4M3": "<u1", "F8_E5M2": "<u1"}
_EIGHT_BITS = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
_NAN_OF_8_BITS = {"F8_E4M3": [0x7FC0], "F8_E5M2": [0x7FA0, 0x7FC0, 0x7FE0, 0xFFA0, 0xFFC0, 0xFFE0]}


def forms_of(words: Words, code: str) -> list[tuple[str, bytes]]:
    """The form of each row [V, D] and its bytes in it; without one, `code` and its own."""
    singles, is_single = _singles(words, code)
    narrow, is_narrow = (singles >> 16).astype("<u2"), is_single & ((singles & 0xFFFF) == 0)
    halves, is_half = _halves(singles)
    in_forms = (
        ("BF16", narrow, is_narrow),
        ("F16", halves, is_single & is_half),
        ("F32", singles, is_single),
    )
    exact = [(form, stored, np.all(held, axis=1).tolist()) for form, stored, held in in_forms]
    return [
        next(
            ((form, stored[row].tobytes()) for form, stored, held in exact if held[row]),
            (code, words[row].tobytes()),
        )
        for row in range(len(words))
    ]


def value_hashes(
    words: Words, code: str, stored_code: str | None = None, stored: Words | None = None
) -> list[int]:
    """Of each row. stored_code, stored: what the rows are decoded from, if they are."""
    hashes = []
    for row, (form, content) in enumerate(forms_of(words, code)):
        is_own = form == code
        if is_own and stored is not None:
            form, content = str(stored_code), stored[row].tobytes()
        mark = 0 if form == "BF16" else xxhash.xxh3_64_intdigest(form.encode())
        hashes.append(xxhash.xxh3_128_intdigest(content) % 2**64 ^ mark)
    return hashes


def exact_in(words: Words, code: str) -> str | None:
    """The narrowest dtype that holds all values of a matrix; None if it is the stored one."""
    if code in _EIGHT_BITS:
        return None
    singles, is_single = _singles(words, code)
    narrow, is_narrow = (singles >> 16).astype("<u2"), is_single & ((singles & 0xFFFF) == 0)
    held = {name: is_narrow & np.isin(narrow, _words_of_8_bits(name)) for name in _EIGHT_BITS}
    held |= {"BF16": is_narrow, "F16": is_single & _halves(singles)[1], "F32": is_single}
    first = next((name for name, exact in held.items() if exact.all()), code)
    order = [*held, "F64"]
    return first if order.index(first) < order.index(code) else None


def _singles(words: Words, code: str) -> tuple[Words, Exact]:
    """Words as float32, and which are exact; a NaN keeps the upper bits of its payload."""
    if code == "BF16":
        return words.astype(np.uint32) << 16, np.ones(words.shape, bool)
    if code in _EIGHT_BITS:
        return _wide_bytes(code)[words], np.ones(words.shape, bool)
    values = words.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[code])
    with np.errstate(all="ignore"):
        singles = values.astype("<f4")
        exact = (singles.astype(values.dtype) == values) | np.isnan(values)
        bits = singles.view("<u4").copy()
    if code == "F64":
        bits[np.isnan(values)] = _nan(words[np.isnan(values)] >> 63, words[np.isnan(values)] >> 29)
        exact &= ~np.isnan(values) | ((words & 0x1FFFFFFF) == 0)
    if code == "F16":
        payload = words[np.isnan(values)].astype(np.uint32)
        bits[np.isnan(values)] = _nan(payload >> 15, payload << 13)
    return (words.copy(), np.ones(words.shape, bool)) if code == "F32" else (bits, exact)


def _nan(sign: Words, payload: Words) -> Words:
    return (
        (sign.astype(np.uint32) << 31) | 0x7F800000 | (payload.astype(np.uint64) & 0x7FFFFF).astype(np.uint32)
    )


def _halves(singles: NDArray[np.uint32]) -> tuple[NDArray[np.uint16], Exact]:
    values = singles.view("<f4")
    with np.errstate(all="ignore"):
        halves = values.astype("<f2")
        exact = (halves.astype("<f4") == values) | (np.isnan(values) & ((singles & 0x1FFF) == 0))
    bits = halves.view("<u2").copy()
    no_number = np.isnan(values)
    kept = singles[no_number]
    bits[no_number] = ((kept >> 16) & 0x8000) | 0x7C00 | ((kept >> 13) & 0x3FF)
    return bits, exact


def _wide_bytes(code: str) -> NDArray[np.uint32]:
    """All 256 values of a format of 8 bits as float32; NaN of F8_E5M2 are the upper half of float16's, quiet."""
    codes = torch.arange(256, dtype=torch.uint8)
    wide = codes.view(_EIGHT_BITS[code]).to(torch.float32).numpy().view(np.uint32).copy()
    if code == "F8_E4M3":
        wide[[127, 255]] = 0x7FC00000
    else:
        numbers = np.arange(256, dtype=np.uint32)
        is_nan = (numbers & 0x7C == 0x7C) & (numbers & 3 > 0)
        wide[is_nan] = _nan(numbers[is_nan] >> 7, (numbers[is_nan] | 2) << 21)
    return wide


def _words_of_8_bits(code: str) -> NDArray[np.uint16]:
    """All words of bfloat16 that a format of 8 bits holds."""
    wide = torch.arange(256, dtype=torch.uint8).view(_EIGHT_BITS[code]).to(torch.float32).numpy()
    numbers = wide[~np.isnan(wide)].view(np.uint32) >> 16
    return np.array([*numbers, *_NAN_OF_8_BITS[code]], np.uint16)
