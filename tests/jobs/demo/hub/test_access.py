"""Who may read what of the local Hub, and what it refuses to everybody."""

import socket
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from support.hub_client import MODEL, api

from jobs.demo.hub.local_hub import LocalHub


@pytest.mark.parametrize(
    ("token", "status"),
    [pytest.param(False, 401, id="anonymous"), pytest.param("stranger", 403, id="stranger")],
)
def test_a_gate_refuses_files_and_shows_the_card(
    hub: LocalHub, tmp_path: Path, token: str | bool, status: int
) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    assert api(hub, token).model_info("org/gated").gated == "manual"
    with pytest.raises(GatedRepoError) as refusal:
        hf_hub_download("org/gated", "config.json", endpoint=hub.endpoint, cache_dir=tmp_path, token=token)
    assert refusal.value.response.status_code == status
    with pytest.raises(GatedRepoError):
        api(hub, token).auth_check("org/gated")


def test_a_gate_opens_for_who_was_granted(hub: LocalHub, tmp_path: Path) -> None:
    hub.add_repo("org/gated", MODEL, gated="auto")
    for name in ("config.json", "digits.bin"):
        path = hf_hub_download("org/gated", name, endpoint=hub.endpoint, cache_dir=tmp_path, token="member")
        assert Path(path).read_bytes() == MODEL[name]
    api(hub, "member").auth_check("org/gated")


@pytest.mark.parametrize(
    ("token", "status"),
    [pytest.param(False, 401, id="anonymous"), pytest.param("stranger", 404, id="stranger")],
)
@pytest.mark.parametrize("repo_id", ["org/private", "org/absent"])
def test_private_repositories_look_absent(
    hub: LocalHub, tmp_path: Path, repo_id: str, token: str | bool, status: int
) -> None:
    hub.add_repo("org/private", MODEL, private=True)
    with pytest.raises(RepositoryNotFoundError) as refusal:
        api(hub, token).model_info(repo_id)
    assert not isinstance(refusal.value, GatedRepoError)
    assert refusal.value.response.status_code == status
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download(repo_id, "config.json", endpoint=hub.endpoint, cache_dir=tmp_path, token=token)


def test_private_repositories_open_for_their_members(hub: LocalHub) -> None:
    sha = hub.add_repo("org/private", MODEL, private=True)
    assert api(hub, "member").model_info("org/private").sha == sha
    assert "org/private" in {model.id for model in api(hub, "member").list_models()}


def test_disabled_repositories_say_so(hub: LocalHub) -> None:
    hub.add_repo("org/model", MODEL, disabled=True)
    with pytest.raises(DisabledRepoError) as refusal:
        api(hub).model_info("org/model")
    assert refusal.value.response.status_code == 403


def test_absent_revisions_and_entries_say_so(hub: LocalHub, tmp_path: Path) -> None:
    sha = hub.repos["org/model"].branches["main"]
    with pytest.raises(RevisionNotFoundError):
        api(hub).model_info("org/model", revision="absent")
    with pytest.raises(RevisionNotFoundError):
        list(api(hub).list_repo_tree("org/model", revision="f" * 40))
    with pytest.raises(RemoteEntryNotFoundError) as refusal:
        hf_hub_download("org/model", "absent", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert refusal.value.response.headers["X-Repo-Commit"] == sha
    with pytest.raises(RemoteEntryNotFoundError):
        list(api(hub).list_repo_tree("org/model", "absent"))


def test_bad_tokens_are_refused_plainly(hub: LocalHub) -> None:
    with pytest.raises(HfHubHTTPError) as refusal:
        api(hub, "wrong").model_info("org/model")
    assert type(refusal.value) is HfHubHTTPError
    assert refusal.value.response.status_code == 401
    assert "X-Error-Code" not in refusal.value.response.headers
    with pytest.raises(HfHubHTTPError):
        api(hub, "wrong").whoami()
    assert api(hub, "member").whoami()["name"] == "local-user"


def test_quotas_are_shown_as_the_client_reads_them(hub: LocalHub) -> None:
    info = parse_ratelimit_headers(httpx2.get(f"{hub.endpoint}/api/models/org/model").headers)
    assert (info.resource_type, info.remaining, info.limit, info.window_seconds) == (
        "api",
        499,
        500,
        300,
    )
    info = parse_ratelimit_headers(httpx2.head(f"{hub.endpoint}/org/model/resolve/main/x").headers)
    assert (info.resource_type, info.limit) == ("resolvers", 3000)


@pytest.mark.parametrize(
    "target",
    [
        "/org/model/resolve/main/../../../etc/passwd",
        "/org/model/resolve/main/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/org/model/resolve/main//etc/passwd",
        "/org/model/resolve/main/",
        "/org/model/resolve",
        "/api/resolve-cache/models/org/model",
        "/api/resolve-cache/models/org/model/main/%00",
        "/api/models/org/model/tree/main/%2e%2e",
        "/api/models/org/model/absent",
        "/api/models?limit=-1",
        "/api/models?cursor=" + "9" * 5000,
        "/api/models/%ff",
        "/api/models?" + "a=b&" * 200,
        "//[",
        "/",
    ],
)
def test_hostile_paths_are_refused(hub: LocalHub, target: str) -> None:
    with socket.create_connection(("127.0.0.1", int(hub.endpoint.rpartition(":")[2]))) as raw:
        raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = raw.makefile("rb").readline().split()[1]
    assert status in (b"400", b"401", b"404")


@pytest.mark.parametrize("name", ["a b.txt", "50%.txt", "a?b#c.bin", "é.bin", "a%2Fb.bin"])
def test_strange_file_names_keep_their_bytes(hub: LocalHub, tmp_path: Path, name: str) -> None:
    hub.add_repo("org/model", {name: name.encode()})
    path = hf_hub_download("org/model", name, endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == name.encode()


@pytest.mark.parametrize("id", ["", "a/b/c", "org/", "../x/y", "org/a b"])
def test_ids_that_are_no_ids_are_refused(hub: LocalHub, id: str) -> None:
    with pytest.raises(ValueError, match="not a repository id"):
        hub.add_repo(id, {})


def test_a_field_that_repositories_lack_is_refused(hub: LocalHub) -> None:
    with pytest.raises(TypeError, match="stars"):
        hub.add_repo("org/model", {}, stars=5)


def test_absurd_limits_are_refused(hub: LocalHub) -> None:
    with pytest.raises(BadRequestError):
        list(api(hub).list_models(limit=10**12))
