"""The local Hub as the unmodified huggingface_hub client sees it, and each fault on the wire."""

import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import close_session, disable_progress_bars, parse_ratelimit_headers

from jobs.demo.hub import (
    CorruptBytes,
    Fault,
    Garbage,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    Shape,
    ShortBody,
    Stall,
    Status,
    WrongCommit,
    WrongContentRange,
)
from jobs.demo.hub_replies import Reply, Span, cut_to_range

HEADER = b'{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(range(8))
DIGITS = b"0123456789"
MODEL = {
    "config.json": b'{"model_type": "toy", "architectures": ["ToyLM"], "hidden_size": 8}',
    "tokenizer_config.json": b'{"eos_token": "</s>", "padding_side": "left"}',
    "onnx/read me.txt": b"a folder",
    "model.safetensors": WEIGHTS,
    "digits.bin": DIGITS,
}
MEMBER = {"member": frozenset({"org/gated", "org/private"}), "stranger": frozenset[str]()}


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    disable_progress_bars()
    with LocalHub(users=MEMBER) as hub:
        hub.add_repo("org/model", MODEL)
        yield hub
        close_session()


def api(hub: LocalHub, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def signed_url(hub: LocalHub, file: str = "digits.bin") -> str:
    reply = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/{file}")
    assert reply.status_code == 302
    return reply.headers["Location"]


def ranged(hub: LocalHub, value: str) -> httpx2.Response:
    return httpx2.get(signed_url(hub), headers={"Range": value})


# ---- what the client reads


def test_model_info_names_the_commit_the_files_and_the_config(hub: LocalHub) -> None:
    sha = hub.add_repo(
        "org/model",
        MODEL,
        gated="auto",
        library_name="transformers",
        pipeline_tag="text-generation",
        model_tags=("en",),
        card_data={"license": "mit"},
        downloads=7,
        likes=2,
    )
    info = api(hub).model_info("org/model", timeout=5)
    assert (info.id, info.author, info.sha) == ("org/model", "org", sha)
    assert (info.gated, info.private, info.disabled) == ("auto", False, False)
    assert (info.library_name, info.pipeline_tag, info.tags) == (
        "transformers",
        "text-generation",
        ["en"],
    )
    assert (info.downloads, info.likes, info.last_modified.year) == (7, 2, 2025)
    assert info.card_data.license == "mit"
    assert info.config == {
        "model_type": "toy",
        "architectures": ["ToyLM"],
        "tokenizer_config": {"eos_token": "</s>"},
    }
    assert [(some.rfilename, some.size) for some in info.siblings] == [(name, None) for name in sorted(MODEL)]


def test_model_info_gives_sizes_and_lfs_facts_when_asked(hub: LocalHub) -> None:
    info = api(hub).model_info("org/model", files_metadata=True, timeout=5)
    files = {some.rfilename: some for some in info.siblings}
    assert {name: some.size for name, some in files.items()} == {k: len(v) for k, v in MODEL.items()}
    assert files["config.json"].lfs is None
    # sha256sum of the ten digits
    assert (
        files["digits.bin"].lfs.sha256 == "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    )


def test_model_info_expands_only_the_chosen_keys(hub: LocalHub) -> None:
    info = api(hub).model_info("org/model", expand=["downloads"])
    assert (info.downloads, info.likes, info.siblings) == (0, None, None)


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "step/100", "SHA"])
def test_every_kind_of_revision_is_resolved(hub: LocalHub, revision: str) -> None:
    first = hub.repos["org/model"].branches["main"]
    hub.tag("org/model", "v1.0", first)
    pull = hub.commit("org/model", {"a.txt": b"pull"}, branch="refs/pr/1")
    step = hub.commit("org/model", {"a.txt": b"step"}, branch="step/100")
    expected = {"refs/pr/1": pull, "step/100": step}.get(revision, first)
    asked = first if revision == "SHA" else revision
    assert api(hub).model_info("org/model", revision=asked).sha == expected


def test_a_branch_moves_and_the_old_commit_stays(hub: LocalHub, tmp_path: Path) -> None:
    first = hub.repos["org/model"].branches["main"]
    second = hub.commit("org/model", {"config.json": b"{}"})
    assert second != first
    assert api(hub).model_info("org/model").sha == second
    old = hf_hub_download(
        "org/model",
        "config.json",
        revision=first,
        endpoint=hub.endpoint,
        cache_dir=tmp_path,
        token=False,
    )
    assert Path(old).read_bytes() == MODEL["config.json"]


def test_equal_histories_have_equal_shas(hub: LocalHub, tmp_path: Path) -> None:
    for name, content in MODEL.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with LocalHub() as other:
        assert other.add_repo("org/model", tmp_path) == hub.repos["org/model"].branches["main"]
        assert other.add_repo("org/twin", tmp_path) != hub.repos["org/model"].branches["main"]


def test_legacy_ids_have_no_slash(hub: LocalHub, tmp_path: Path) -> None:
    sha = hub.add_repo("gpt2", MODEL)
    assert api(hub).model_info("gpt2", revision="main").sha == sha
    assert api(hub).list_repo_refs("gpt2").branches[0].target_commit == sha
    for name in ("config.json", "digits.bin"):
        path = hf_hub_download("gpt2", name, endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
        assert Path(path).read_bytes() == MODEL[name]


def test_refs_list_branches_tags_and_pull_requests(hub: LocalHub) -> None:
    sha = hub.repos["org/model"].branches["main"]
    hub.tag("org/model", "v1.0", sha)
    pull = hub.commit("org/model", {}, branch="refs/pr/1")
    refs = api(hub).list_repo_refs("org/model", include_pull_requests=True)
    assert [(some.name, some.target_commit) for some in refs.branches] == [("main", sha)]
    assert [(some.ref, some.target_commit) for some in refs.tags] == [("refs/tags/v1.0", sha)]
    assert [(some.ref, some.target_commit) for some in refs.pull_requests] == [("refs/pr/1", pull)]
    assert api(hub).list_repo_refs("org/model").pull_requests is None


def test_listings_are_paged(hub: LocalHub) -> None:
    hub.page_size = 2
    for number in range(4):
        hub.add_repo(f"lab/m{number}", {}, downloads=number)
    found = api(hub).list_models(author="lab", sort="downloads")
    assert [model.id for model in found] == ["lab/m3", "lab/m2", "lab/m1", "lab/m0"]
    assert len(hub.requests(path_contains="/api/models")) == 2
    assert [model.id for model in api(hub).list_models(author="lab", limit=1)] == ["lab/m0"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param({"author": "lab"}, ["lab/Qwen", "lab/gemma"], id="author"),
        pytest.param({"search": "QWEN"}, ["lab/Qwen"], id="search"),
        pytest.param({"filter": ["safetensors", "en"]}, ["lab/Qwen"], id="all-filters"),
        pytest.param({"filter": "transformers"}, ["lab/gemma"], id="library"),
        pytest.param({"pipeline_tag": "text-generation"}, ["lab/gemma"], id="pipeline"),
        pytest.param({"gated": True}, ["lab/gemma"], id="gated"),
        pytest.param({"sort": "last_modified", "author": "lab"}, ["lab/gemma", "lab/Qwen"], id="newest"),
        pytest.param({"author": "nobody"}, [], id="none"),
    ],
)
def test_listings_select_and_sort(hub: LocalHub, query: dict[str, object], ids: list[str]) -> None:
    hub.add_repo("lab/Qwen", {}, model_tags=("en", "safetensors"), last_modified="2024-01-01T00:00:00.000Z")
    hub.add_repo("lab/gemma", {}, gated="manual", library_name="transformers", pipeline_tag="text-generation")
    hub.add_repo("lab/secret", {}, private=True)
    assert [model.id for model in api(hub).list_models(**query)] == ids


def test_full_listings_carry_the_sha(hub: LocalHub) -> None:
    (full,) = api(hub).list_models(full=True, fetch_config=True)
    assert full.sha == hub.repos["org/model"].branches["main"]
    assert full.config["model_type"] == "toy"
    (short,) = api(hub).list_models()
    assert (short.sha, short.config) == (None, None)


def test_trees_are_listed_by_folder_and_by_page(hub: LocalHub) -> None:
    hub.page_size = 2
    everything = list(api(hub).list_repo_tree("org/model", recursive=True, expand=True))
    assert [entry.path for entry in everything] == sorted([*MODEL, "onnx"])
    assert everything[0].last_commit.oid == hub.repos["org/model"].branches["main"]
    top = {entry.path for entry in api(hub).list_repo_tree("org/model")}
    assert "onnx" in top
    assert "onnx/read me.txt" not in top
    (inner,) = api(hub).list_repo_tree("org/model", "onnx")
    assert (inner.path, inner.size) == ("onnx/read me.txt", 8)
    assert api(hub).list_repo_files("org/model") == sorted(MODEL)


def test_paths_info_knows_files_and_folders(hub: LocalHub) -> None:
    found = api(hub).get_paths_info("org/model", ["config.json", "onnx", "absent"])
    assert [entry.path for entry in found] == ["config.json", "onnx"]


@pytest.mark.parametrize("name", list(MODEL))
def test_files_are_downloaded_whole(hub: LocalHub, tmp_path: Path, name: str) -> None:
    path = hf_hub_download("org/model", name, endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == MODEL[name]
    is_large = name.endswith((".safetensors", ".bin"))
    assert bool(hub.requests("cdn")) == is_large
    assert bool(hub.requests("hub", "/api/resolve-cache/")) != is_large


def test_a_snapshot_holds_every_file(hub: LocalHub, tmp_path: Path) -> None:
    folder = Path(
        snapshot_download("org/model", endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False)
    )
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")} == MODEL


def test_safetensors_metadata_is_read_from_the_cdn(hub: LocalHub) -> None:
    found = api(hub).get_safetensors_metadata("org/model")
    assert found.files_metadata["model.safetensors"].tensors["w"].shape == [8]
    assert hub.requests("cdn")[-1].range == "bytes=0-100000"


def test_file_system_reads_a_range(hub: LocalHub) -> None:
    files = HfFileSystem(endpoint=hub.endpoint, token=False, skip_instance_cache=True)
    assert files.size("org/model/digits.bin") == 10
    with files.open("org/model/digits.bin", block_size=4, cache_type="none") as file:
        file.seek(3)
        assert file.read(4) == b"3456"
    assert hub.requests("cdn")[-1].range == "bytes=3-6"


def test_sparse_gigabytes_on_disk_are_served_by_range(hub: LocalHub, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.seek(9_000_000_000)
        file.write(b"end")
    hub.add_repo("org/model", {"model.safetensors": big})
    info = api(hub).model_info("org/model", files_metadata=True)
    assert info.siblings[0].size == 9_000_000_003
    reply = httpx2.get(signed_url(hub, "model.safetensors"), headers={"Range": "bytes=8999999999-"})
    assert (reply.content, reply.headers["Content-Range"]) == (
        b"\0end",
        "bytes 8999999999-9000000002/9000000003",
    )


def test_config_that_is_not_json_is_still_served(hub: LocalHub) -> None:
    hub.add_repo("org/model", {"config.json": b"{not json"})
    assert api(hub).model_info("org/model").config is None


# ---- who may read what


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


# ---- the CDN


def test_redirects_name_the_commit_and_the_file(hub: LocalHub) -> None:
    large = httpx2.get(f"{hub.endpoint}/org/model/resolve/main/digits.bin")
    assert large.status_code == 302
    assert large.headers["Location"].startswith(f"{hub.cdn_origin}/")
    assert large.headers["X-Repo-Commit"] == hub.repos["org/model"].branches["main"]
    assert large.headers["X-Linked-Size"] == "10"
    assert large.headers["X-Linked-Etag"] == large.headers["ETag"]
    small = httpx2.get(f"{hub.endpoint}/org/model/resolve/main/config.json")
    assert small.status_code == 307
    assert small.headers["Location"].startswith("/api/resolve-cache/models/org/model/")


def test_large_files_are_large_by_size_or_by_suffix() -> None:
    with LocalHub(large_file_bytes=100) as hub:
        hub.add_repo("org/model", {"a.json": bytes(99), "b.json": bytes(100), "c.safetensors": b""})
        codes = [
            httpx2.head(f"{hub.endpoint}/org/model/resolve/main/{name}").status_code
            for name in ("a.json", "b.json", "c.safetensors")
        ]
    assert codes == [307, 302, 302]


def test_the_token_stays_on_the_hub(hub: LocalHub) -> None:
    httpx2.get(
        f"{hub.endpoint}/org/model/resolve/main/digits.bin",
        headers={"Authorization": "Bearer member"},
        follow_redirects=True,
    )
    assert [(entry.server, entry.authorization) for entry in hub.log] == [
        ("hub", True),
        ("cdn", False),
    ]
    reply = httpx2.get(signed_url(hub), headers={"Authorization": "Bearer wrong"})
    assert (reply.status_code, hub.log[-1].authorization) == (200, True)
    assert all("authorization" not in entry.headers for entry in hub.log)


def test_signatures_are_checked_and_expire(hub: LocalHub) -> None:
    url = signed_url(hub)
    assert httpx2.get(url).content == DIGITS
    assert httpx2.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    assert httpx2.get(url.partition("?")[0]).status_code == 403
    assert httpx2.get(url.replace("Expires=1", "Expires=2")).status_code == 403
    assert httpx2.get(url.replace("digits.bin", "model.safetensors")).status_code == 403
    assert httpx2.get(url.replace("%2F", "/")).status_code == 403
    hub.expire_signatures()
    assert httpx2.get(url).status_code == 403
    assert httpx2.get(signed_url(hub)).content == DIGITS
    hub.signature_lifetime_s = -1
    assert httpx2.get(signed_url(hub)).status_code == 403


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        pytest.param("bytes=2-4", 206, b"234", "bytes 2-4/10", id="first-last"),
        pytest.param("bytes=7-", 206, b"789", "bytes 7-9/10", id="open-end"),
        pytest.param("bytes=-3", 206, b"789", "bytes 7-9/10", id="suffix"),
        pytest.param("bytes=-99", 206, DIGITS, "bytes 0-9/10", id="suffix-over-all"),
        pytest.param("bytes=8-99", 206, b"89", "bytes 8-9/10", id="past-the-end"),
        pytest.param("bytes=10-", 416, b"", "bytes */10", id="at-the-end"),
        pytest.param("bytes=-0", 416, b"", "bytes */10", id="empty-suffix"),
        pytest.param("bytes=4-2", 200, DIGITS, None, id="backwards"),
        pytest.param("bytes=-", 200, DIGITS, None, id="nothing"),
        pytest.param("bytes=0-1,4-5", 200, DIGITS, None, id="several"),
        pytest.param("lines=0-1", 200, DIGITS, None, id="other-unit"),
    ],
)
def test_ranges(hub: LocalHub, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    reply = ranged(hub, asked)
    assert (reply.status_code, reply.content) == (status, body)
    assert reply.headers.get("Content-Range") == content_range
    assert (hub.log[-1].range, hub.log[-1].sent_bytes, hub.log[-1].status) == (
        asked,
        len(body),
        status,
    )


def test_only_get_requests_of_files_are_ranged(hub: LocalHub) -> None:
    head = httpx2.head(signed_url(hub), headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")
    document = Reply(200, {}, (Span(b"{}", 0, 2),))
    assert cut_to_range(document, "bytes=0-0") is document


def test_small_files_are_ranged_too(hub: LocalHub) -> None:
    reply = httpx2.get(
        f"{hub.endpoint}/org/model/resolve/main/config.json",
        headers={"Range": "bytes=2-5"},
        follow_redirects=True,
    )
    assert (reply.status_code, reply.content) == (206, MODEL["config.json"][2:6])


def test_connections_are_kept_alive(hub: LocalHub) -> None:
    url = signed_url(hub)
    with httpx2.Client() as client:
        ports = set()
        for _ in range(3):
            with client.stream("GET", url) as reply:
                ports.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
                reply.read()
    assert len(ports) == 1


# ---- faults


def test_a_status_is_answered_as_often_as_told(hub: LocalHub) -> None:
    busy = Fault(Status(429, {"Retry-After": "0"}, b"slow down"), path_contains="org/model", times=2)
    hub.faults.append(busy)
    codes = [httpx2.get(f"{hub.endpoint}/api/models/org/model").status_code for _ in range(3)]
    assert (codes, busy.hits) == ([429, 429, 200], 2)
    assert [entry.status for entry in hub.log] == codes


def test_faults_wait_for_their_turn_and_their_request(hub: LocalHub) -> None:
    later = Fault(Status(503), skip=1)
    cdn_only = Fault(Status(500), server="cdn", times=None)
    head_only = Fault(Status(502), method="HEAD", path_contains="config.json")
    hub.faults = [later, cdn_only, head_only]
    url = f"{hub.endpoint}/org/model/resolve/main/config.json"
    assert [httpx2.head(url).status_code for _ in range(3)] == [502, 503, 307]
    location = signed_url(hub)
    assert [httpx2.get(location).status_code for _ in range(2)] == [500, 500]
    assert (later.hits, cdn_only.hits, head_only.hits) == (1, 2, 1)


def test_the_client_retries_a_busy_server(hub: LocalHub, tmp_path: Path) -> None:
    busy = Fault(Status(429, {"Retry-After": "0"}), server="cdn")
    hub.faults.append(busy)
    path = hf_hub_download("org/model", "digits.bin", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert (Path(path).read_bytes(), busy.hits) == (DIGITS, 1)
    assert [entry.status for entry in hub.requests("cdn")] == [429, 200]


def test_reset_cuts_the_body_after_what_was_sent(hub: LocalHub) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(ResetAfter(4)))
    with httpx2.stream("GET", url) as reply:
        pieces = reply.iter_raw()
        assert (next(pieces), reply.headers["Content-Length"]) == (b"0123", "10")
        with pytest.raises(httpx2.ReadError):
            next(pieces)
    assert hub.log[-1].sent_bytes == 4
    assert httpx2.get(url).content == DIGITS


def test_short_body_frames_less_than_the_range(hub: LocalHub) -> None:
    hub.faults.append(Fault(ShortBody(2), server="cdn"))
    reply = ranged(hub, "bytes=2-6")
    assert (reply.status_code, reply.content) == (206, b"234")
    assert (reply.headers["Content-Length"], reply.headers["Content-Range"]) == (
        "3",
        "bytes 2-6/10",
    )


def test_ignored_range_brings_the_whole_file(hub: LocalHub) -> None:
    hub.faults.append(Fault(IgnoreRange(), server="cdn"))
    reply = ranged(hub, "bytes=2-6")
    assert (reply.status_code, reply.content) == (200, DIGITS)
    assert "Content-Range" not in reply.headers


@pytest.mark.parametrize(
    ("offset", "body", "content_range"),
    [
        pytest.param(1, b"345", "bytes 3-5/10", id="later"),
        pytest.param(-2, b"012", "bytes 0-2/10", id="earlier"),
        pytest.param(6, b"89", "bytes 8-9/10", id="cut-at-the-end"),
    ],
)
def test_wrong_range_is_framed_as_what_it_is(
    hub: LocalHub, offset: int, body: bytes, content_range: str
) -> None:
    hub.faults.append(Fault(WrongContentRange(offset), server="cdn"))
    reply = ranged(hub, "bytes=2-4")
    assert (reply.content, reply.headers["Content-Range"]) == (body, content_range)


def test_garbage_is_framed_like_the_answer(hub: LocalHub) -> None:
    hub.faults.append(Fault(Garbage(b"xy"), times=None))
    assert httpx2.get(f"{hub.endpoint}/api/models/org/model").content == b"xy"
    hub.faults.clear()
    url = signed_url(hub)
    hub.faults.append(Fault(Garbage(b"xy"), times=None))
    reply = httpx2.get(url, headers={"Range": "bytes=2-6"})
    assert (reply.status_code, reply.content, reply.headers["Content-Range"]) == (
        206,
        b"xyxyx",
        "bytes 2-6/10",
    )


def test_corrupt_bytes_are_inverted(hub: LocalHub) -> None:
    hub.faults.append(Fault(CorruptBytes(offset=1, count=2), server="cdn"))
    assert ranged(hub, "bytes=0-4").content == bytes([0x30, 0x31 ^ 0xFF, 0x32 ^ 0xFF, 0x33, 0x34])


def test_corrupt_bytes_reach_files_on_disk(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "digits.bin").write_bytes(DIGITS)
    hub.add_repo("org/model", tmp_path)
    hub.faults.append(Fault(CorruptBytes(), server="cdn"))
    assert ranged(hub, "bytes=3-5").content == bytes([0x33 ^ 0xFF, 0x34, 0x35])


def test_another_commit_is_named(hub: LocalHub) -> None:
    hub.faults.append(Fault(WrongCommit("f" * 40)))
    reply = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/digits.bin")
    assert reply.headers["X-Repo-Commit"] == "f" * 40


@pytest.mark.parametrize("after_bytes", [0, 4])
def test_stalled_answers_run_into_the_clients_timeout(hub: LocalHub, after_bytes: int) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(Stall(30, after_bytes)))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, timeout=0.2)


def test_stalled_answers_go_on_afterwards(hub: LocalHub) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(Stall(0.2, 4)))
    started = time.monotonic()
    assert httpx2.get(url).content == DIGITS
    assert time.monotonic() - started >= 0.2


# ---- the link


def test_latency_delays_every_request(hub: LocalHub) -> None:
    hub.shape = Shape(latency_s=0.1)
    started = time.monotonic()
    httpx2.get(signed_url(hub))
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("on_disk", [False, True])
def test_one_connection_keeps_to_its_rate(hub: LocalHub, tmp_path: Path, on_disk: bool) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "digits.bin").write_bytes(content)
    hub.add_repo("org/model", tmp_path if on_disk else {"digits.bin": content})
    hub.shape = Shape(connection_bytes_s=5_000_000)
    url = signed_url(hub)
    started = time.monotonic()
    assert httpx2.get(url).content == content
    assert time.monotonic() - started >= 0.95 * 0.4


def test_all_connections_share_the_total_rate(hub: LocalHub) -> None:
    hub.add_repo("org/model", {"digits.bin": bytes(1_000_000)})
    hub.shape = Shape(total_bytes_s=10_000_000)
    url = signed_url(hub)
    readers = [Thread(target=httpx2.get, args=(url,)) for _ in range(4)]
    started = time.monotonic()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert time.monotonic() - started >= 0.95 * 0.4
    assert sum(entry.sent_bytes for entry in hub.requests("cdn")) == 4_000_000


# ---- manners


def test_sent_bytes_count_what_a_leaving_client_took(hub: LocalHub, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 32)
    hub.add_repo("org/model", {"model.safetensors": tmp_path / "big"})
    with httpx2.stream("GET", signed_url(hub, "model.safetensors")) as reply:
        next(reply.iter_raw())
    assert hub.log[-1].sent_bytes < 1 << 27


def test_closing_cuts_what_is_being_sent(tmp_path: Path) -> None:
    hub = LocalHub(shape=Shape(connection_bytes_s=1000))
    hub.add_repo("org/model", {"digits.bin": bytes(1_000_000)})
    with httpx2.stream("GET", signed_url(hub)) as reply:
        hub.close()
        with pytest.raises(httpx2.TransportError):
            reply.read()
    hub.close()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(hub.endpoint)


def test_nothing_is_printed(hub: LocalHub, capfd: pytest.CaptureFixture[str]) -> None:
    for target in ("/absent", "/api/models/org/model", "/org/model/resolve/main/config.json"):
        httpx2.get(hub.endpoint + target)
    httpx2.request("PUT", hub.endpoint)
    assert capfd.readouterr() == ("", "")


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
