"""Latitude, longitude, and a telescope's field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.numerics.row_decoder import DecodedRows

NEIGHBOURHOOD_DEG = 0.0005  # radius of the field around a reference; the notebook's box was as wide


@dataclass(frozen=True, slots=True)
class Field:
    """Part of the sky around a centre: a box of latitude and longitude, or a circle on the sphere.

    diameter_deg: side of the box, as in the notebook: latitude and longitude are each within half of it,
    edges included. The box does not reach over a pole or over ±180°, and narrows towards the poles.
    radius_deg: of the circle, a great-circle distance, which has no such seams.
    """

    lat_deg: float
    lon_deg: float
    diameter_deg: float | None = None
    radius_deg: float | None = None

    def check(self) -> None:
        """Raises UsageError if there is no such field."""
        if not -90 <= self.lat_deg <= 90:
            raise UsageError(f"latitude {self.lat_deg:g} is not between -90 and 90")
        if not -180 <= self.lon_deg <= 180:
            raise UsageError(f"longitude {self.lon_deg:g} is not between -180 and 180")
        if (self.diameter_deg is None) == (self.radius_deg is None):
            raise UsageError("a field has a diameter (a box) or a radius (a circle): give one of them")
        size = self.diameter_deg if self.diameter_deg is not None else self.radius_deg
        if size is None or not 0 <= size <= 360:
            raise UsageError(f"the size of a field is {size} degrees, expected 0 … 360")

    def __str__(self) -> str:
        shape = (
            f"box of {self.diameter_deg:g}°" if self.radius_deg is None else f"radius {self.radius_deg:g}°"
        )
        return f"{shape} around latitude {self.lat_deg:.4f}°, longitude {self.lon_deg:.4f}°"


@dataclass(frozen=True, slots=True)
class Sky:
    """Spherical coordinates of every row, [V] each; NaN if a row has none (not finite, or at the origin)."""

    lat_deg: DecodedRows
    lon_deg: DecodedRows
    radius: DecodedRows


def to_sphere(projected: DecodedRows) -> Sky:
    """Coordinates of rows projected on the axes x, y, z (meridian, equinox, north), [V, 3]; not centred."""
    x, y, z = projected.T
    level = np.hypot(x, y)
    radius = np.hypot(level, z)
    # The notebook's asin(z / r) in float32 loses latitude near the poles; the angle is the same.
    lat, lon = np.degrees(np.arctan2(z, level)), np.degrees(np.arctan2(y, x))
    nowhere = ~(radius > 0)
    return Sky(np.where(nowhere, np.nan, lat), np.where(nowhere, np.nan, lon), radius)


def in_field(sky: Sky, field: Field) -> NDArray[np.bool_]:
    """Which rows the telescope sees, [V]; the field's edges are included."""
    with np.errstate(invalid="ignore"):  # NaN is in no field
        if field.radius_deg is not None:
            in_circle: NDArray[np.bool_] = distance_deg(sky, field.lat_deg, field.lon_deg) <= field.radius_deg
            return in_circle
        assert field.diameter_deg is not None, "Field.check"
        half = field.diameter_deg / 2
        lat, lon = sky.lat_deg, sky.lon_deg
        in_lat = (lat >= field.lat_deg - half) & (lat <= field.lat_deg + half)
        return in_lat & (lon >= field.lon_deg - half) & (lon <= field.lon_deg + half)


def distance_deg(sky: Sky, lat_deg: float, lon_deg: float) -> DecodedRows:
    """Great-circle distance of every row from a point, [V], by the haversine: exact for small angles, too."""
    lat, lon = np.radians(sky.lat_deg), np.radians(sky.lon_deg)
    point_lat, point_lon = np.radians(lat_deg), np.radians(lon_deg)
    sin_lat, sin_lon = np.sin((lat - point_lat) / 2), np.sin((lon - point_lon) / 2)
    haversine = sin_lat**2 + np.cos(lat) * np.cos(point_lat) * sin_lon**2
    distance: DecodedRows = np.degrees(2 * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))
    return distance
