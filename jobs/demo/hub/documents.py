"""Build the JSON documents of the Hub's API from repositories, without HTTP."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from jobs.demo.hub.replies import Span
from jobs.demo.hub.repos import Commit, Repo, StoredFile

# Any: these are JSON objects, whose shape the Hub's client defines.
HubReplyDocument = dict[str, Any]
RepoFiles = Mapping[str, StoredFile]
QueryFields = Mapping[str, Sequence[str]]

_ALWAYS_LISTED = {
    *("_id", "id", "modelId", "likes", "downloads", "private", "tags", "createdAt"),
    *("pipeline_tag", "library_name"),
}
_LISTED_IN_FULL = {"author", "gated", "disabled", "lastModified", "sha", "siblings"}
_CONFIG_KEYS = ("architectures", "model_type", "auto_map", "quantization_config")
_TOKENIZER_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template")


def flag(query: QueryFields, name: str) -> bool:
    return query.get(name, [""])[-1].lower() in ("true", "1")


def model_document(repo: Repo, commit: Commit, files: RepoFiles, query: QueryFields) -> HubReplyDocument:
    """`GET /api/models/{id}`: sizes only with `blobs`, a choice of keys with `expand`."""
    optional = {
        "author": repo.id.partition("/")[0] if "/" in repo.id else None,
        "pipeline_tag": repo.pipeline_tag,
        "library_name": repo.library_name,
        "cardData": repo.card_data or None,
        "config": _config(files),
        "safetensors": _safetensors(files),
    }
    document = {
        "_id": hashlib.sha1(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "modelId": repo.id,
        "sha": commit.sha,
        "lastModified": repo.last_modified,
        "createdAt": repo.last_modified,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": repo.downloads,
        "likes": repo.likes,
        "tags": list(repo.model_tags),
        **{key: value for key, value in optional.items() if value is not None},
        "siblings": [_sibling(files[path], flag(query, "blobs")) for path in sorted(files)],
    }
    expanded = query.get("expand")
    return document if expanded is None else _chosen(document, {"_id", "id", *expanded})


def listed_document(repo: Repo, files: RepoFiles, query: QueryFields) -> HubReplyDocument:
    """An entry of `GET /api/models`: few keys, more with `full`, `cardData`, `config`, `expand`."""
    document = model_document(repo, repo.default_commit(), files, {})
    if "expand" in query:
        return _chosen(document, {"_id", "id", *query["expand"]})
    extra = {key for key in ("cardData", "config") if flag(query, key)}
    return _chosen(document, _ALWAYS_LISTED | extra | (_LISTED_IN_FULL if flag(query, "full") else set()))


def selected_models(repos: Iterable[Repo], query: QueryFields) -> list[Repo]:
    """The repositories that a listing's query asks for, in its order (by id if that ties)."""
    chosen = [repo for repo in repos if _matches(repo, query)]
    orders = {
        "downloads": lambda repo: -repo.downloads,
        "likes": lambda repo: -repo.likes,
    }
    sort = query.get("sort", [""])[-1]
    if sort in ("lastModified", "createdAt"):
        chosen.sort(key=lambda repo: repo.id)
        return sorted(chosen, key=lambda repo: repo.last_modified, reverse=True)
    if sort in orders:
        return sorted(chosen, key=lambda repo: (orders[sort](repo), repo.id))
    return chosen


def tree_documents(
    repo: Repo, commit: Commit, files: RepoFiles, folder: str, query: QueryFields
) -> list[HubReplyDocument]:
    """`GET /tree/`: files and folders right below `folder` ("" is the root), or at any depth."""
    prefix = f"{folder}/" if folder else ""
    below = [path for path in sorted(files) if path.startswith(prefix)]
    folders = {prefix + "/".join(parts) for path in below for parts in _parents(path[len(prefix) :])}
    shown = sorted([*below, *folders])
    if not flag(query, "recursive"):
        shown = [path for path in shown if "/" not in path[len(prefix) :]]
    return [path_document(repo, commit, files, path, flag(query, "expand")) for path in shown]


def path_document(repo: Repo, commit: Commit, files: RepoFiles, path: str, expand: bool) -> HubReplyDocument:
    """One file or folder of a commit; `expand` adds the last commit."""
    change = {"id": commit.sha, "title": "Upload files", "date": repo.last_modified}
    last_commit = {"lastCommit": change} if expand else {}
    file = files.get(path)
    if file is None:
        tree_id = hashlib.sha1(f"{commit.sha}:{path}".encode()).hexdigest()
        return {"type": "directory", "oid": tree_id, "size": 0, "path": path, **last_commit}
    lfs = {}
    if file.pointer_bytes is not None:
        lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_bytes}}
    return {
        "type": "file",
        "oid": file.blob_id,
        "size": file.size,
        "path": path,
        **lfs,
        **last_commit,
    }


def refs_document(repo: Repo, query: QueryFields) -> HubReplyDocument:
    """`GET /refs`: branches, tags, and pull requests (branches `refs/pr/N`) if the query asks for them."""
    pulls = {name: sha for name, sha in repo.branches.items() if name.startswith("refs/")}
    heads = {name: sha for name, sha in repo.branches.items() if name not in pulls}
    document: HubReplyDocument = {
        "branches": [_ref(name, f"refs/heads/{name}", sha) for name, sha in heads.items()],
        "converts": [],
        "tags": [_ref(name, f"refs/tags/{name}", sha) for name, sha in repo.tags.items()],
    }
    if flag(query, "include_prs"):
        document["pullRequests"] = [_ref(name, name, sha) for name, sha in pulls.items()]
    return document


def _ref(name: str, ref: str, sha: str) -> HubReplyDocument:
    return {"name": name, "ref": ref, "targetCommit": sha}


def _chosen(document: HubReplyDocument, keys: set[str]) -> HubReplyDocument:
    return {key: value for key, value in document.items() if key in keys}


def _parents(path: str) -> list[list[str]]:
    parts = path.split("/")
    return [parts[:depth] for depth in range(1, len(parts))]


def _sibling(file: StoredFile, blobs: bool) -> HubReplyDocument:
    if not blobs:
        return {"rfilename": file.path}
    sibling = {"rfilename": file.path, "size": file.size, "blobId": file.blob_id}
    if file.pointer_bytes is None:
        return sibling
    return {
        **sibling,
        "lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_bytes},
    }


def _config(files: RepoFiles) -> HubReplyDocument | None:
    """The part of the configuration that the Hub shows; None if there is none."""
    config = _json_object(files.get("config.json"))
    tokenizer = _json_object(files.get("tokenizer_config.json"))
    shown: HubReplyDocument = {key: config[key] for key in _CONFIG_KEYS if key in config}
    if tokens := {key: tokenizer[key] for key in _TOKENIZER_KEYS if key in tokenizer}:
        shown["tokenizer_config"] = tokens
    return shown or None


def _safetensors(files: RepoFiles) -> HubReplyDocument | None:
    """How many parameters of each dtype the safetensors files hold, as their headers say."""
    counts: dict[str, int] = {}
    for path in sorted(files):
        if path.endswith(".safetensors"):
            for dtype, shape in _tensors(files[path]):
                counts[dtype] = counts.get(dtype, 0) + prod(shape)
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _tensors(file: StoredFile) -> list[tuple[str, list[int]]]:
    """Dtype and shape of each tensor in a safetensors file; none if its header is invalid."""
    stop = 8 + int.from_bytes(Span(file.source, 0, 8).read(), "little")
    try:
        header = json.loads(Span(file.source, 8, stop).read()) if stop <= file.size else {}
        header.pop("__metadata__", None)
        return [(str(item["dtype"]), [int(size) for size in item["shape"]]) for item in header.values()]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return []


def _json_object(file: StoredFile | None) -> HubReplyDocument:
    if file is None:
        return {}
    try:
        value = json.loads(Span(file.source, 0, file.size).read())
    except (ValueError, RecursionError):  # a broken config.json must still be listed and served
        return {}
    return value if isinstance(value, dict) else {}


def _matches(repo: Repo, query: QueryFields) -> bool:
    author, _, _ = repo.id.rpartition("/")
    labels = {*repo.model_tags, repo.library_name, repo.pipeline_tag}
    needles = [needle.lower() for needle in query.get("search", [])]
    return (
        all(name == author for name in query.get("author", []))
        and all(needle in repo.id.lower() for needle in needles)
        and all(label in labels for label in query.get("filter", []))
        and all(tag == repo.pipeline_tag for tag in query.get("pipeline_tag", []))
        and ("gated" not in query or flag(query, "gated") == bool(repo.gated))
    )
