"""The local Hub as the unmodified huggingface_hub client reads it."""

import struct
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfFileSystem, hf_hub_download, snapshot_download
from support.hub_client import MODEL, api, signed_url

from jobs.demo.hub.local_hub import LocalHub


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
    written = first if revision == "SHA" else revision
    assert api(hub).model_info("org/model", revision=written).sha == expected


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
    models = api(hub).list_models(author="lab", sort="downloads")
    assert [model.id for model in models] == ["lab/m3", "lab/m2", "lab/m1", "lab/m0"]
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
    infos = api(hub).get_paths_info("org/model", ["config.json", "onnx", "absent"])
    assert [entry.path for entry in infos] == ["config.json", "onnx"]


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
    metadata = api(hub).get_safetensors_metadata("org/model")
    assert metadata.files_metadata["model.safetensors"].tensors["w"].shape == [8]
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


def test_a_gguf_header_of_absurd_lengths_has_no_facts_and_its_repository_is_listed(hub: LocalHub) -> None:
    header = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63)
    sha = hub.add_repo("org/absurd", {"m.gguf": header})
    info = api(hub).model_info("org/absurd", expand=["gguf"], timeout=5)
    assert info.gguf is None
    assert api(hub).model_info("org/absurd", timeout=5).sha == sha
