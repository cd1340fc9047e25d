"""The Hub's client: listings end, their pages are the Hub's own, and no answer exceeds its cap."""

from __future__ import annotations

import gzip
import json
from itertools import islice

import pytest
from support.checkpoints import HEAD, single
from support.hub_model import MODEL, OUTPUT, TOKEN, request_log, settings

from jobs.demo.hub.local_hub import Fault, LocalHub, Status, WithHeaders
from survey.errors import BrokenFile, SurveyError
from survey.hub.listings import listed_models
from survey.hub.repositories import commits_of, resolve
from survey.hub.throttle import LocalThrottle

EMPTY = b"[]"


@pytest.fixture
def paged(hub: LocalHub) -> LocalHub:
    """Seven models, three to a page."""
    for number in range(6):
        hub.add_repo(
            f"org/model-{number}",
            single({HEAD: OUTPUT}),
            pipeline_tag="text-generation",
            model_tags=("safetensors",),
            downloads=number,
        )
    hub.page_size = 3
    return hub


def names(hub: LocalHub, token: str | None = None) -> list[str]:
    return [entry.repo for entry in listed_models("org", settings(hub, token=token), LocalThrottle())]


def test_a_listing_is_read_page_by_page(paged: LocalHub) -> None:
    listed = names(paged)
    assert len(listed) == len(set(listed)) >= 6
    assert len(paged.log) == -(-len(listed) // 3)


def test_no_page_is_asked_for_that_nobody_needs(paged: LocalHub) -> None:
    assert len(list(islice(listed_models("org", settings(paged), LocalThrottle()), 3))) == 3
    assert len(paged.log) == 1


def test_the_next_page_of_another_host_is_refused_and_gets_no_token(paged: LocalHub) -> None:
    with LocalHub(users=paged.users) as other:
        link = f'<{other.endpoint}/api/models?cursor=3>; rel="next"'
        paged.faults = [Fault(WithHeaders({"Link": link}))]
        with pytest.raises(SurveyError, match=r"its next page is .*, expected one of the same host"):
            names(paged, token=TOKEN)
        assert other.log == []


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("https://127.0.0.1:{port}/api/models", id="another-scheme"),
        pytest.param("//127.0.0.2:{port}/api/models", id="another-address"),
        pytest.param("http://127.0.0.1:{port}@127.0.0.2/api/models", id="a-user-that-looks-like-the-host"),
        pytest.param("http://127.0.0.1:99999/", id="no-port"),
        pytest.param("http://[::1", id="no-url"),
        pytest.param("file:///etc/passwd", id="a-file"),
    ],
)
def test_a_next_page_is_of_the_same_scheme_host_and_port(paged: LocalHub, link: str) -> None:
    port = paged.endpoint.rpartition(":")[2]
    paged.faults = [Fault(WithHeaders({"Link": f'<{link.format(port=port)}>; rel="next"'}))]
    with pytest.raises(SurveyError):
        names(paged)
    assert len(paged.log) == 1


def test_a_relative_next_page_is_the_hubs_own(paged: LocalHub) -> None:
    paged.faults = [Fault(WithHeaders({"Link": '</api/models?author=org&cursor=3>; rel="next"'}))]
    assert len(names(paged)) >= 6


@pytest.mark.parametrize(
    ("body", "link"),
    [(EMPTY, "?cursor=1"), (EMPTY, ""), (json.dumps([{"id": "org/a"}]).encode(), "/api/models")],
    ids=["empty", "empty-and-itself", "the-same-again"],
)
def test_a_listing_without_an_end_is_refused(paged: LocalHub, body: bytes, link: str) -> None:
    url = f"{paged.endpoint}{link}" if link.startswith("/") else f"{paged.endpoint}/api/models{link}"
    paged.faults = [Fault(Status(200, {"Link": f'<{url}>; rel="next"'}, body), times=None)]
    with pytest.raises(SurveyError, match=r"it has no end|goes on after"):
        names(paged)


def test_a_listing_has_a_limit_of_pages(paged: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("survey.hub.api_client.MAX_PAGES", 2)
    paged.page_size = 1
    with pytest.raises(SurveyError, match="goes on after 2 pages"):
        names(paged)
    assert len(paged.log) == 2


def test_commits_are_read_off_about_as_many_pages_as_are_worth_it(paged: LocalHub) -> None:
    repos = frozenset(f"org/model-{number}" for number in range(6))
    commits = commits_of("org", repos, 1, settings(paged), LocalThrottle())
    assert len(paged.log) == 1
    assert all(paged.repos[repo].branches["main"] == sha for repo, sha in commits.items())
    assert 0 < len(commits) < 6


# ---- caps


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity"])
def test_an_answer_has_a_cap(hub: LocalHub, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("survey.hub.api_client.API_CAP_BYTES", 10_000)
    body = b" " * 1_000_000
    sent = body if encoding == "identity" else gzip.compress(body)
    hub.faults = [Fault(Status(200, {"Content-Encoding": encoding}, sent))]
    with pytest.raises(BrokenFile, match="is larger than 10,000 bytes, our cap"):
        resolve("org/model", None, settings(hub))
    assert len(hub.log) == 1


def test_a_small_file_has_a_cap_after_decompression(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    bomb = Status(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(100_000_000)))
    hub.faults = [Fault(bomb, path_contains="config.json")]
    with pytest.raises(BrokenFile, match="is larger than 10,000 bytes, our cap"):
        checkpoint.read_file("config.json", 10_000)


def test_gzip_is_read(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    hub.clear_log()
    packed = Status(200, {"Content-Encoding": "gzip"}, gzip.compress(MODEL["config.json"]))
    hub.faults = [Fault(packed, path_contains="config.json")]
    assert checkpoint.read_file("config.json", 10_000) == MODEL["config.json"]
    assert request_log(hub) == ["GET"]


def test_a_small_file_of_another_size_than_listed_is_refused(hub: LocalHub) -> None:
    checkpoint = resolve("org/model", None, settings(hub))
    hub.faults = [Fault(Status(200, {}, b"{}"), path_contains="config.json", times=None)]
    with pytest.raises(SurveyError, match="came with 2 bytes, expected"):
        checkpoint.read_file("config.json", 10_000)
