"""How many rows of each class of dead rows are in each other class, from a per-token table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from survey.records.catalog_rows import TOKEN_CLASSES


def class_overlaps(tokens: pa.Table) -> list[list[int | None]]:
    """The value of the column `class_overlaps`: [class][class]."""
    flags = [tokens[name].fill_null(False).to_numpy() for name in TOKEN_CLASSES]
    known = [tokens[column].null_count < len(tokens) for column in TOKEN_CLASSES.values()]
    return [
        [
            int(np.count_nonzero(mine & theirs)) if i_know and they_know else None
            for theirs, they_know in zip(flags, known, strict=True)
        ]
        for mine, i_know in zip(flags, known, strict=True)
    ]
