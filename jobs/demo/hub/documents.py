"""Build the JSON documents of the Hub's API from repositories, without HTTP."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from jobs.demo.hub.file_contents import HubReplyDocument, RepoFiles, parameter_counts, shown_config
from jobs.demo.hub.gguf_facts import gguf_facts
from jobs.demo.hub.repos import Commit, Repo, StoredFile

QueryFields = Mapping[str, Sequence[str]]

_ALWAYS_LISTED = {
    *("_id", "id", "modelId", "likes", "downloads", "private", "tags", "createdAt"),
    *("pipeline_tag", "library_name"),
}
_LISTED_IN_FULL = {"author", "gated", "disabled", "lastModified", "sha", "siblings"}


def flag(query: QueryFields, name: str) -> bool:
    return query.get(name, [""])[-1].lower() in ("true", "1")


def model_document(repo: Repo, commit: Commit, files: RepoFiles, query: QueryFields) -> HubReplyDocument:
    """`GET /api/models/{id}`: sizes only with `blobs`, a choice of keys with `expand`."""
    optional = {
        "author": repo.id.partition("/")[0] if "/" in repo.id else None,
        "pipeline_tag": repo.pipeline_tag,
        "library_name": repo.library_name,
        "cardData": repo.card_data or None,
        "config": shown_config(files),
        "safetensors": parameter_counts(files),
        "gguf": gguf_facts(files),
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
