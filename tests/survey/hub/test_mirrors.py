"""The Hub's client and mirrors, which answer otherwise: a file is read if its commit and its bytes are proved."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
from support.checkpoints import SINGLE
from support.hub_model import OUTPUT, located, planned, read, settings

from jobs.demo.hub.local_hub import Fault, IgnoreRange, LocalHub, Status, WithHeaders
from survey.errors import REASONS, NotTheHubs, SurveyError, Unreachable
from survey.hub.file_sizes import Sizes
from survey.hub.repositories import resolve
from survey.opening import Matrix, open_target, reopen


def measured(hub: LocalHub) -> bytes:
    """The matrix of a model, planned and read by range."""
    target = located(checkpoint := resolve("org/model", None, settings(hub)), 1)
    assert target.files == ((SINGLE, checkpoint.files[SINGLE]),)
    return read(Matrix(target, checkpoint))


HABITS: dict[str, list[Fault]] = {
    "HEAD is not allowed": [Fault(Status(405), method="HEAD", times=None)],
    "HEAD finds nothing": [Fault(Status(404), method="HEAD", times=None)],
    "HEAD is not implemented": [Fault(Status(501), method="HEAD", times=None)],
    "no X-Linked-Size": [Fault(WithHeaders({"X-Linked-Size": None}), times=None)],
    "no X-Linked-Size and no HEAD": [
        Fault(Status(405), method="HEAD", times=None),
        Fault(WithHeaders({"X-Linked-Size": None}), path_contains="/resolve/", times=None),
    ],
}


@pytest.mark.parametrize("faults", HABITS.values(), ids=HABITS)
@pytest.mark.parametrize("sizes", [True, False], ids=["sizes", "no-sizes"])
def test_what_a_mirror_does_otherwise_changes_no_byte(
    hub: LocalHub, faults: list[Fault], sizes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sizes:
        without_sizes(monkeypatch)
    hub.faults = faults
    assert measured(hub) == OUTPUT.data


def without_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As mirrors list files that do not pass `blobs` on."""
    monkeypatch.setattr("survey.hub.documents._size", lambda value: None)


@pytest.mark.parametrize("head", [True, False], ids=["HEAD", "no HEAD"])
def test_a_mirror_that_names_no_commit_is_refused_as_the_hubs_own_library_refuses_it(
    hub: LocalHub, head: bool
) -> None:
    """That the API names the commit is no proof of the files: nothing says that they are of it."""
    hub.faults = [Fault(WithHeaders({"X-Repo-Commit": None}), server="hub", times=None)]
    hub.faults += [] if head else [Fault(Status(405), method="HEAD", path_contains=SINGLE, times=None)]
    with pytest.raises(LocalEntryNotFoundError, match="X-Repo-Commit" if head else "."):
        hf_hub_download("org/model", SINGLE, endpoint=hub.endpoint)
    hub.clear_log()
    with pytest.raises(NotTheHubs, match=r"without X-Repo-Commit, .* or name another endpoint") as refused:
        measured(hub)
    assert refused.value.reason == "network"
    assert sum(entry.method == "HEAD" and SINGLE in entry.path for entry in hub.log) == 1  # and not again
    assert "connection failed" not in REASONS["network"]


def test_a_size_that_is_not_listed_is_asked_for_once(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    without_sizes(monkeypatch)
    checkpoint = resolve("org/model", None, settings(hub))
    assert SINGLE in checkpoint.files
    assert len(checkpoint.files) == 2
    assert sum(checkpoint.files.values()) == 0
    assert len(hub.log) == 1
    size = checkpoint.files[SINGLE]
    assert size == checkpoint.files[SINGLE] == sum(checkpoint.files.values())
    assert [entry.method for entry in hub.log] == ["GET", "HEAD"]
    assert len(reopen(checkpoint, settings(hub)).files) == 2
    assert len(hub.log) == 2


def test_a_size_that_no_reply_states_is_refused(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    without_sizes(monkeypatch)
    hub.faults = [
        Fault(WithHeaders({"X-Linked-Size": None}), server="hub", times=None),
        Fault(WithHeaders({"Content-Range": "bytes 0-0/*"}), server="cdn", times=None),
    ]
    with pytest.raises(Unreachable, match="neither the listing nor the storage says its size"):
        located(resolve("org/model", None, settings(hub)), 1)


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.parametrize("head", [True, False], ids=["HEAD", "no HEAD"])
def test_a_mirror_that_ignores_ranges_is_named_as_such(
    hub: LocalHub, size: int, head: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "weights.safetensors" if head else "weights.dat"  # as the storage serves it, or the Hub itself
    hub.add_repo("org/other", {file: bytes(size)})
    without_sizes(monkeypatch)
    hub.faults = [
        Fault(WithHeaders({"X-Linked-Size": None}), method="HEAD", times=None)
        if head
        else Fault(Status(405), method="HEAD", times=None),
        Fault(IgnoreRange(), times=None),
    ]
    checkpoint = resolve("org/other", None, settings(hub))
    with pytest.raises(Unreachable, match="byte ranges are not served there") as refused:
        checkpoint.files[file]
    assert refused.value.reason == "network"


def test_a_size_is_asked_for_of_the_file_as_it_is(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that compresses would tell the size of what it sends."""
    without_sizes(monkeypatch)
    checkpoint = resolve("org/model", None, settings(hub))
    assert checkpoint.files["config.json"] == len(checkpoint.read_file("config.json", 1 << 20))
    encodings = {(entry.method, entry.headers["accept-encoding"]) for entry in hub.log}
    assert encodings == {("GET", "gzip"), ("HEAD", "identity")}


def test_sizes_are_a_mapping_that_asks_for_what_is_missing() -> None:
    requested: list[str] = []

    def ask(file: str) -> int:
        requested.append(file)
        return 7

    sizes = Sizes({"a": 1, "b": None}, ask)
    assert (list(sizes), "b" in sizes, sizes.known("b"), requested) == (["a", "b"], True, None, [])
    assert (sizes["a"], sizes["b"], sizes["b"], requested) == (1, 7, 7, ["b"])
    with pytest.raises(KeyError):
        sizes["c"]


RANGES: dict[str, tuple[Any, bool]] = {
    "without the whole": ("bytes {start}-{last}/*", True),
    "of another whole": ("bytes {start}-{last}/5", False),
    "of a later range": ("bytes {later}-{last}/*", False),
    "in another unit": ("rows {start}-{last}/*", False),
    "of nothing": ("bytes */*", False),
    "beyond ASCII": ("bytes \xb2-{last}/*", False),
}


@pytest.mark.parametrize(("content_range", "readable"), RANGES.values(), ids=RANGES)
def test_a_range_must_be_the_one_that_was_asked_for(
    hub: LocalHub, content_range: str, readable: bool
) -> None:
    target = planned(hub)
    start, stop = target.spec.bytes.start, target.spec.bytes.stop
    header = content_range.format(start=start, last=stop - 1, later=start + 1)
    hub.faults = [Fault(WithHeaders({"Content-Range": header}), server="cdn", times=None)]
    if readable:
        assert read(open_target(target, settings(hub))) == OUTPUT.data
        return
    with pytest.raises(SurveyError, match="expected 206 with"):
        read(open_target(target, settings(hub)))


def test_get_may_be_redirected_even_if_head_is_not(hub: LocalHub) -> None:
    hub.large_file_bytes = 10 << 20
    target = planned(hub)
    size = str(dict(target.files)[SINGLE])
    sha = target.identity.sha
    answer = Status(200, {"X-Repo-Commit": sha, "Content-Length": size})
    hub.faults = [Fault(answer, method="HEAD", times=None)]
    assert read(open_target(target, settings(hub, connections=4))) == OUTPUT.data
    assert {entry.server for entry in hub.log} == {"hub", "cdn"}


@pytest.mark.parametrize("path", ["/weights é", "/Ü/Ω.bin?a=ß"])
def test_a_range_is_redirected_to_a_name_beyond_ascii(hub: LocalHub, path: str) -> None:
    """Such a Location comes as UTF-8."""
    target = planned(hub)
    hub.faults = [Fault(Status(302, {"Location": path.encode().decode("latin-1")}), server="cdn")]
    assert read(open_target(target, settings(hub))) == OUTPUT.data  # which is signed anew
    query = {"a": ["ß"]} if "?" in path else {}
    assert (path.partition("?")[0], query) in [(entry.path, entry.query) for entry in hub.log]


def test_ranges_that_are_redirected_for_ever_end(hub: LocalHub) -> None:
    target = planned(hub)
    location = hub.signed_url(
        hub.repos["org/model"], hub.repos["org/model"].commits[target.identity.sha], SINGLE
    )
    hub.faults = [Fault(Status(302, {"Location": location}), server="cdn", times=None)]
    with pytest.raises(Unreachable, match="redirected in circles"):
        read(open_target(target, settings(hub)))


def test_a_range_that_is_redirected_keeps_the_token_at_the_hub(hub: LocalHub) -> None:
    from support.hub_model import TOKEN

    target = planned(hub, token=TOKEN)
    answer = Status(
        200, {"X-Repo-Commit": target.identity.sha, "Content-Length": str(dict(target.files)[SINGLE])}
    )
    hub.faults = [Fault(answer, method="HEAD", times=None)]
    assert read(open_target(target, settings(hub, token=TOKEN))) == OUTPUT.data
    assert {entry.authorization for entry in hub.requests("cdn")} == {False}
    assert {entry.authorization for entry in hub.requests("hub")} == {True}
