"""A column of the catalog: a field of a record, with its type, unit and meaning.

Each is stated once, in its record; the Parquet schema, the SQL views and the data dictionary are derived
from these fields.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import TYPE_CHECKING, Any, NewType

if TYPE_CHECKING:  # a query needs no numpy, which takes a tenth of a second to load
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
else:

    class Vector:
        """[D], float32."""


UInt64 = NewType("UInt64", int)
Float32 = NewType("Float32", float)
TokenId = NewType("TokenId", int)  # stored in 32 bits: no vocabulary reaches 2^31 rows


def column(meaning: str, unit: str = "") -> Any:  # Any: dataclasses.field() is typed this way too
    """A field that is a column. unit: empty if there is none."""
    return field(metadata={"meaning": meaning, "unit": unit})


def values_of(*records: Any) -> dict[str, Any]:  # Any: records of the catalog
    """The fields of records by name: the columns of one row."""
    return {
        item.name: getattr(record, item.name) for record in records for item in dataclasses.fields(record)
    }


def columns_of(*records: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields that are columns, base classes' first, in the order of definition."""
    return [item for record in records for item in dataclasses.fields(record) if "meaning" in item.metadata]
