"""Eigenvalues of symmetric matrices [D, D], in float64, on any device that has it."""

from __future__ import annotations

import numpy as np

from survey.numerics.row_decoder import DecodedRows


def eigenvalues(matrix: DecodedRows, device: str) -> DecodedRows:
    """All eigenvalues, the largest first, [D]."""
    import torch  # here, so that `survey --help` never loads it

    values: DecodedRows = torch.linalg.eigvalsh(torch.from_numpy(matrix).to(device)).flip(0).cpu().numpy()
    return values


def leading(matrix: DecodedRows, count: int, device: str) -> tuple[DecodedRows, DecodedRows]:
    """The `count` largest eigenvalues, or all D, the largest first, and their vectors as columns, [D, count].

    matrix: is overwritten.
    """
    if device != "cpu":
        import torch

        parts = torch.linalg.eigh(torch.from_numpy(matrix).to(device))
        values, vectors = (part.flip(-1)[..., :count].cpu().numpy() for part in parts)
        return values, vectors
    # Of 2,560 × 2,560 the leading four take 2.2 s, all of them by torch 6.7 s. Lanczos takes 0.4 to 1.9 s,
    # but sees only one of two equal eigenvalues, which must be seen.
    from scipy.linalg import eigh

    first = max(0, len(matrix) - count)
    ascending = eigh(matrix, subset_by_index=(first, len(matrix) - 1), driver="evr", overwrite_a=True)
    return ascending[0][::-1], np.ascontiguousarray(ascending[1][:, ::-1])
