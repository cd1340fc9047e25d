"""Latitude and longitude, and the telescope's field at the poles and at the seam."""

from __future__ import annotations

import numpy as np
import pytest

from survey.errors import UsageError
from survey.sky.sphere import Field, Sky, distance_deg, in_field, to_sphere


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        pytest.param((2, 0, 0), (0, 0, 2), id="the meridian's component is the centre"),
        pytest.param((0, 3, 0), (0, 90, 3), id="the equinox's is east"),
        pytest.param((0, 0, 1), (90, 0, 1), id="north pole"),
        pytest.param((0, 0, -1), (-90, 0, 1), id="south pole"),
        pytest.param((-1, 0, 0), (0, 180, 1), id="behind"),
        pytest.param((1, -1, 0), (0, -45, 2**0.5), id="west"),
        pytest.param((1, 0, 1), (45, 0, 2**0.5), id="between"),
        pytest.param((1e-170, 0, 1e-170), (45, 0, 2**0.5 * 1e-170), id="squares would vanish"),
        pytest.param(
            (1e-9, 0, 1), (90 - np.degrees(1e-9), 0, 1), id="next to the pole, where asin has no digits"
        ),
    ],
)
def test_points_and_their_places(point: tuple[float, ...], expected: tuple[float, ...]) -> None:
    sky = to_sphere(np.array([point], dtype=float))
    assert (sky.lat_deg[0], sky.lon_deg[0]) == pytest.approx(expected[:2], rel=1e-15, abs=1e-13)
    assert sky.radius[0] == pytest.approx(expected[2], rel=1e-14)


def test_the_origin_and_rows_that_are_not_finite_stand_nowhere() -> None:
    sky = to_sphere(np.array([[0.0, 0, 0], [np.nan, 1, 1]]))
    assert np.isnan(sky.lat_deg).all()
    assert np.isnan(sky.lon_deg).all()
    assert not in_field(sky, Field(0, 0, radius_deg=180)).any()
    assert not in_field(sky, Field(0, 0, diameter_deg=360)).any()


def sky_of(*positions: tuple[float, float]) -> Sky:
    lat, lon = np.array(positions, dtype=float).T
    return Sky(lat, lon, np.ones(len(positions)))


FIELDS = [
    ("a box and its edges", Field(10, 20, diameter_deg=2), [(10, 20), (11, 21), (9, 19), (11.01, 20), (10, 21.01)], [0, 1, 2]),
    ("a box ends at the seam, as the notebook's", Field(0, 179.5, diameter_deg=2), [(0, 179.9), (0, -179.9)], [0]),
    ("a circle crosses the seam", Field(0, 179.5, radius_deg=1), [(0, 179.9), (0, -179.9), (0, -179.4)], [0, 1]),
    ("a circle has no corners", Field(0, 0, radius_deg=1), [(0.9, 0), (0, -0.9), (0.9, 0.9)], [0, 1]),
    ("a circle covers the pole", Field(89, 0, radius_deg=2), [(89.5, 180), (89.01, 180), (88.9, 180), (90, 77)], [0, 1, 3]),
    ("longitudes narrow to the north", Field(60, 0, radius_deg=1), [(60, 1.9), (60, 2.1)], [0]),
    ("a point", Field(5, 6, radius_deg=0), [(5, 6), (5, 6.0001)], [0]),
    ("everything", Field(-90, 0, radius_deg=180), [(90, 0), (0, 180), (-3, -4)], [0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "positions", "inside"), [case[1:] for case in FIELDS], ids=[case[0] for case in FIELDS]
)
def test_what_a_field_holds(field: Field, positions: list[tuple[float, float]], inside: list[int]) -> None:
    field.check()
    assert np.flatnonzero(in_field(sky_of(*positions), field)).tolist() == inside


def test_distances_are_those_of_great_circles() -> None:
    """Against the angle between the vectors, small angles included."""
    chance = np.random.default_rng(0)
    points = chance.standard_normal((500, 3))
    points[0] = points[1] + 1e-9
    sky = to_sphere(points)
    unit = points / np.linalg.norm(points, axis=1)[:, None]
    expected = np.degrees(
        2 * np.arctan2(np.linalg.norm(unit - unit[1], axis=1), np.linalg.norm(unit + unit[1], axis=1))
    )
    np.testing.assert_allclose(
        distance_deg(sky, sky.lat_deg[1], sky.lon_deg[1]), expected, rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (Field(91, 0, radius_deg=1), "latitude 91 is not between"),
        (Field(0, 181, radius_deg=1), "longitude 181 is not between"),
        (Field(np.nan, 0, radius_deg=1), "latitude nan"),
        (Field(0, 0), "give one of them"),
        (Field(0, 0, 1, 1), "give one of them"),
        (Field(0, 0, radius_deg=-1), "the size of a field is -1 degrees"),
        (Field(0, 0, diameter_deg=np.nan), "the size of a field is nan degrees"),
    ],
)
def test_a_field_that_cannot_be_is_refused(field: Field, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        field.check()
