"""Numbers with their units, as a person reads them."""

import pytest

from survey.records.units import bytes_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (230_400, "230.4 kB"),
        (1_000_000, "1.0 MB"),
        (777_912_320, "777.9 MB"),
        (1_000_000_000, "1.0 GB"),
        (8_192_500_000_000, "8192.5 GB"),
    ],
)
def test_bytes_are_shown_in_powers_of_ten(count: int, text: str) -> None:
    assert bytes_text(count) == text
