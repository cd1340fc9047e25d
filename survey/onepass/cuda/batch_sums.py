"""The sums and digests of a batch of rows on a GPU: the launches, and what is made of their results."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.onepass.cuda import kernels
from survey.onepass.cuda.digests import hash_constants, hash_rows
from survey.onepass.cuda.results import Results
from survey.onepass.geometry import CHUNK_ROWS, GROUP_ROWS, LANE_DIMS
from survey.onepass.projection import signs
from survey.onepass.row_identity import Digests, is_hashed_in_words
from survey.onepass.row_values import RowValues
from survey.onepass.sums import ChunkSums, RowSums, rows_by_band

# Of a program, as fast as any on an H200: rows that it folds or hashes, dimensions of a group of rows.
FOLD_ROWS, HASH_ROWS, GROUP_DIMS = 8, 1, 128
FEW_WARPS, WARPS = {"num_warps": 2}, {"num_warps": 4}
COUNT_BLOCK, COUNT_BLOCKS = 2048, 8  # elements of a program that counts exponents
LEAST_BINS = 32  # a warp's threads

_SUMS = {"columns": "values", "squares": "squares", "units": "units"}  # results, and what is added
_WORDS = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


class BatchSums:
    """Launches on batches of at most `chunks` chunks of rows [R, D], whose bytes lie on `device`."""

    def __init__(self, float_format: FloatFormat, dims: int, chunks: int, device: torch.device) -> None:
        self._format, self._dims = float_format, dims
        self._row_bytes = dims * float_format.item_bytes
        self._chunks, self._device = chunks, device
        # One thread launches batches, another what their results require: in one queue, one at a time.
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._launching = threading.Lock()
        self._bins = max(LEAST_BINS, float_format.exponent_values)
        padded = np.zeros(-(-dims // LANE_DIMS) * LANE_DIMS)
        padded[:dims] = signs(dims)
        self._signs = torch.from_numpy(padded).to(device)
        self._table = self._signs  # not read, but for words of 8 bits
        if float_format.bits == 8:
            with np.errstate(invalid="ignore"):  # NaN that signal, as in `widen`
                table = widen(bytes(range(256)), float_format, 1).reshape(-1).astype(np.float32)
            self._table = torch.from_numpy(table).to(device)
        self.hashes = is_hashed_in_words(self._row_bytes)
        if self.hashes:
            self._constants = torch.from_numpy(hash_constants(self._row_bytes)).to(device)
        groups = chunks * (CHUNK_ROWS // GROUP_ROWS)
        self._groups = torch.empty((groups, dims), dtype=torch.float64, device=device)

    def new_results(self) -> Results:
        return Results(self._chunks, self._dims, self._bins, self._device)

    def launch(self, stored: torch.Tensor, rows: int, results: Results) -> None:
        """Begin to compute the results of R = `rows` rows; stored: their bytes, [R · row bytes]."""
        with self._launching, torch.cuda.stream(self._stream):
            self._launch(stored, rows, results)

    def _launch(self, stored: torch.Tensor, rows: int, results: Results) -> None:
        words, to = stored.view(_WORDS[self._format.bits]), results.on_device
        elements = rows * self._dims
        kernels.fold_rows[(-(-rows // FOLD_ROWS),)](
            words, self._table, self._signs, rows, self._dims,
            to["squared"], to["scales"], to["projected"], to["fine"],
            FORMAT=self._format.code, ROWS=FOLD_ROWS, LANES=LANE_DIMS, **FEW_WARPS, **kernels.LAUNCH,
        )  # fmt: skip
        for of in _SUMS:
            self._add_columns(words, rows, None, to, of, to[of])
        to["counts"].zero_()
        kernels.count_exponents[(-(-elements // (COUNT_BLOCK * COUNT_BLOCKS)),)](
            words, elements, to["counts"],
            SHIFT=self._format.bits - 1 - self._format.exponent_bits, VALUES=self._format.exponent_values,
            BINS=self._bins, BLOCK=COUNT_BLOCK, BLOCKS=COUNT_BLOCKS, **WARPS, **kernels.LAUNCH,
        )  # fmt: skip
        if self.hashes:
            hash_rows[(-(-rows // HASH_ROWS),)](
                stored.view(torch.int64), rows, self._row_bytes // 8, self._constants, to["digests"],
                ROWS=HASH_ROWS, **FEW_WARPS, **kernels.LAUNCH,
            )  # fmt: skip
        results.copy_to_host()

    def _add_columns(
        self,
        words: torch.Tensor,
        rows: int,
        kept: torch.Tensor | None,
        results: Mapping[str, torch.Tensor],
        of: str,
        columns: torch.Tensor,
    ) -> None:
        """Set columns to the sum of each chunk of rows, [chunks, D]; kept: of those with 1 alone, [R].

        results: of these rows, whose lengths are there. of: a key of _SUMS.
        """
        groups, blocks = -(-rows // GROUP_ROWS), -(-self._dims // GROUP_DIMS)
        options = {"DIMS": GROUP_DIMS, **WARPS, **kernels.LAUNCH}
        unmasked = words if kept is None else kept
        kernels.add_groups[(groups, blocks)](
            words, self._table, unmasked, results["squared"], results["scales"],
            rows, self._dims, self._groups,
            FORMAT=self._format.code, MASKED=kept is not None, OF=_SUMS[of], **options,
        )  # fmt: skip
        # The 32 groups of a chunk are added as the 32 rows of a group are.
        kernels.add_groups[(-(-groups // GROUP_ROWS), blocks)](
            self._groups.view(torch.int64), self._table, self._groups, self._groups, self._groups, groups,
            self._dims, columns, FORMAT="F64", MASKED=False, OF="values", **options,
        )  # fmt: skip

    def read(
        self, stored: torch.Tensor, values: RowValues, held_by: int, results: Results
    ) -> tuple[Digests | None, ChunkSums]:
        """The digests and sums of rows whose results have come; views, valid until the next launch.

        values, held_by: of these rows; they are named on the CPU.
        """
        rows = len(values.forms)
        on_host = results.on_host
        squared = on_host["squared"][:rows]
        with np.errstate(over="ignore"):
            norms = np.sqrt(squared)
            if self._format.bits == 64:
                norms *= on_host["scales"][:rows]
        finite = np.isfinite(squared)
        counts = on_host["counts"].copy()
        counts[0] -= -(rows * self._dims) % (COUNT_BLOCK * COUNT_BLOCKS)  # counted as zeros
        sums = ChunkSums(
            rows=RowSums(norms, finite, on_host["projected"][:rows], on_host["fine"][:rows], values),
            columns=self._columns(stored, rows, norms, results),
            squares=self._of_finite(stored, rows, finite, results, "squares"),
            units=self._of_finite(stored, rows, finite, results, "units"),
            exponents=counts[: self._format.exponent_values],
            held_by=held_by,
        )
        return (on_host["digests"][:rows].view(np.uint64) if self.hashes else None), sums

    def _columns(
        self, stored: torch.Tensor, rows: int, norms: NDArray[np.float64], results: Results
    ) -> Mapping[int, NDArray[np.float64]]:
        """The sums of each chunk by band of norms, [chunks, D]."""
        bands, finite = rows_by_band(norms), np.isfinite(results.on_host["squared"][:rows])
        if len(bands) == 1 and finite.all():  # the rule; rows of zeros add nothing
            return dict.fromkeys(bands, results.on_host["columns"][: -(-rows // CHUNK_ROWS)])
        return {
            band: self._of_chosen(stored, rows, in_band, results, "columns")
            for band, in_band in bands.items()
        }

    def _of_finite(
        self, stored: torch.Tensor, rows: int, finite: NDArray[np.bool_], results: Results, of: str
    ) -> NDArray[np.float64]:
        """The sums of each chunk's finite rows, [chunks, D]."""
        if finite.all():
            return results.on_host[of][: -(-rows // CHUNK_ROWS)]
        return self._of_chosen(stored, rows, finite, results, of)

    def _of_chosen(
        self, stored: torch.Tensor, rows: int, chosen: NDArray[np.bool_], results: Results, of: str
    ) -> NDArray[np.float64]:
        """The sums of each chunk's rows among these, [chunks, D]."""
        words = stored.view(_WORDS[self._format.bits])
        with torch.cuda.stream(self._stream):
            kept = torch.from_numpy(chosen.view(np.int8)).to(self._device)
            summed = torch.empty(
                (-(-rows // CHUNK_ROWS), self._dims), dtype=torch.float64, device=self._device
            )
            with self._launching:
                self._add_columns(words, rows, kept, results.on_device, of, summed)
            return summed.cpu().numpy()
