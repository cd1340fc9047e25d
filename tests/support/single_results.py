"""Rows of single results, made up, for tests of the catalog."""

from __future__ import annotations

import typing
from dataclasses import fields
from datetime import datetime
from typing import Any

from survey.records.results import KinematicsRow

_VALUES: dict[Any, Any] = {str: "x", int: 3, float: 0.5, datetime: datetime(2026, 1, 2, 3, 4)}


def kinematics_row(**given: Any) -> KinematicsRow:
    """A row with these fields, and any values in the others."""
    hints = typing.get_type_hints(KinematicsRow)
    made: dict[str, Any] = {}
    for field in fields(KinematicsRow):
        hint = hints[field.name]
        tuple_of = typing.get_origin(hint) is tuple
        made[field.name] = () if tuple_of else _VALUES.get(hint)
    return KinematicsRow(**made | {"frame": "absolute"} | given)
