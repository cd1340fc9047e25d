"""The files that the Hub lists: names that a hostile listing may hold are left out."""

import pytest

from survey.hub.documents import listed_files

ELSEWHERE = [
    "../x.safetensors",
    "a/../x.bin",
    "..",
    "a/..",
    "/etc/passwd",
    "a//b",
    "a/",
    "",
    "./x",
    "a\\..\\b",
]
ELSEWHERE += ["a\n.bin", "a\x00.bin"]


def listed(*siblings: object) -> dict[str, int | None]:
    return listed_files(list(siblings))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_that_leads_elsewhere_is_left_out(name: str) -> None:
    assert listed({"rfilename": name, "size": 3}, {"rfilename": "b", "size": 4}) == {"b": 4}


@pytest.mark.parametrize("name", ["..a.bin", "a..bin", "a/b.bin", ".gitattributes", "ü.bin", "a/..b/c"])
def test_a_name_in_the_repository_stays(name: str) -> None:
    assert listed({"rfilename": name, "size": 3}) == {name: 3}


@pytest.mark.parametrize("size", [None, -1, "3", True, 1.5, [3], float("nan"), 10**400])
def test_a_size_that_is_none_is_not_known(size: object) -> None:
    assert listed({"rfilename": "b", "size": size}, {"rfilename": 5, "size": 5}, None) == {"b": None}
