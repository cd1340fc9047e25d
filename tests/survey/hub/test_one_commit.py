"""The Hub's client: a model is one commit, even if its branch moves meanwhile."""

import threading

import pytest
from support.checkpoints import EMBED, HEAD, single
from support.hub_model import OTHER, OUTPUT, TABLE, located, planned, read, settings

import survey
from jobs.demo.hub.local_hub import Fault, LocalHub, ResetAfter, WithHeaders, WrongCommit
from survey.errors import Unreachable
from survey.hub.repositories import resolve
from survey.onepass.geometry import row_blocks
from survey.opening import Matrix, open_target
from survey.sharding.pieces import stream_rows


@pytest.mark.parametrize("revision", [None, "main", "v1", "sha"])
def test_a_branch_that_moves_after_planning_changes_nothing(hub: LocalHub, revision: str | None) -> None:
    sha = hub.repos["org/model"].branches["main"]
    hub.tag("org/model", "v1", sha)
    asking = settings(hub)
    checkpoint = resolve("org/model", sha if revision == "sha" else revision, asking)
    assert (checkpoint.sha, checkpoint.revision) == (sha, sha if revision == "sha" else revision or "main")
    later = hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}, {"model_type": "qwen3"}))
    target = located(checkpoint, 1)
    assert (target.identity.sha, target.identity.model_type) == (sha, "llama")
    assert read(Matrix(target, checkpoint)) == OUTPUT.data
    assert read(open_target(target, asking)) == OUTPUT.data
    now = survey.open_matrix("org/model", endpoint=hub.endpoint)
    assert (now.target.identity.sha, read(now)) == (later, OTHER.data)


def test_a_branch_that_moves_during_a_stream_changes_nothing(hub: LocalHub) -> None:
    target = planned(hub)
    checkpoint = open_target(target, settings(hub, connections=2)).checkpoint
    stream = stream_rows(checkpoint, target.spec, row_blocks(target.spec, 1000), lambda count: None)
    blocks = [bytes(next(stream))]
    hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}))
    hub.expire_signatures()
    blocks.extend(bytes(block) for block in stream)
    assert b"".join(blocks) == OUTPUT.data


def test_a_config_of_another_commit_is_never_used(hub: LocalHub) -> None:
    hub.faults = [Fault(WrongCommit("f" * 40), path_contains="config.json", times=None)]
    with pytest.raises(Unreachable, match=r"config\.json: came from commit ffff") as caught:
        located(resolve("org/model", None, settings(hub)), 1)
    assert caught.value.reason == "network"


def test_another_commit_is_read_by_its_own_name(hub: LocalHub) -> None:
    hub.commit("org/model", single({HEAD: OTHER, EMBED: TABLE}), branch="step2")
    assert read(survey.open_matrix("org/model", endpoint=hub.endpoint)) == OUTPUT.data
    assert read(survey.open_matrix("org/model", revision="step2", endpoint=hub.endpoint)) == OTHER.data


def test_two_models_are_read_at_once_without_disturbing_each_other(hub: LocalHub) -> None:
    hub.add_repo("org/other", single({HEAD: OTHER}))
    hub.faults = [Fault(ResetAfter(100), server="cdn", skip=number * 3) for number in range(8)]
    matrices: dict[str, bytes] = {}

    def fetch(repo: str) -> None:
        target = located(checkpoint := resolve(repo, None, settings(hub, connections=4)), 4)
        ranges = row_blocks(target.spec, 1000)
        matrices[repo] = b"".join(
            map(bytes, stream_rows(checkpoint, target.spec, ranges, lambda count: None))
        )

    readers = [threading.Thread(target=fetch, args=(repo,)) for repo in ("org/model", "org/other")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert matrices == {"org/model": OUTPUT.data, "org/other": OTHER.data}


# ---- behind a mirror a file may change under its commit: a row must not be made of two files

REPLACED: dict[str, Fault] = {
    "in the storage": Fault(WithHeaders({"ETag": '"another"'}), server="cdn", times=None),
    "in the storage, while it is read": Fault(
        WithHeaders({"ETag": '"another"'}), server="cdn", skip=3, times=None
    ),
    "by what the Hub says of its content": Fault(
        WithHeaders({"X-Linked-Etag": '"another"'}), method="HEAD", times=None
    ),
}
THE_SAME: dict[str, Fault] = {
    "as a proxy that compresses spells it": Fault(WithHeaders({"ETag": "W/{}"}), server="cdn", times=None),
    "by nothing": Fault(WithHeaders({"ETag": None, "X-Linked-Etag": None}), times=None),
}


def blocks_of(hub: LocalHub, fault: Fault) -> bytes:
    """The matrix, read in ten ranges after it was planned; `{}` in a header of the fault is its tag."""
    target, asking = planned(hub), settings(hub)
    (tag,) = {version.etag for version in target.versions}
    assert isinstance(fault.action, WithHeaders)
    stated = {name: value and value.format(tag) for name, value in fault.action.headers.items()}
    hub.faults = [Fault(WithHeaders(stated), fault.server, method=fault.method, skip=fault.skip, times=None)]
    ranges = row_blocks(target.spec, 3200)
    stream = stream_rows(open_target(target, asking).checkpoint, target.spec, ranges, lambda count: None)
    return b"".join(map(bytes, stream))


@pytest.mark.parametrize("fault", REPLACED.values(), ids=REPLACED)
def test_a_file_that_is_replaced_after_its_header_was_read_gives_no_row(hub: LocalHub, fault: Fault) -> None:
    with pytest.raises(Unreachable, match="was replaced while it was read: its ETag was") as caught:
        blocks_of(hub, fault)
    assert caught.value.reason == "network"
    assert hub.faults[0].hits == 1  # asking again would not help


@pytest.mark.parametrize("fault", THE_SAME.values(), ids=THE_SAME)
def test_a_file_that_stays_the_same_is_read(hub: LocalHub, fault: Fault) -> None:
    assert blocks_of(hub, fault) == OUTPUT.data
    assert hub.faults[0].hits >= 10


def test_a_plan_and_a_notebook_compare_with_the_header_that_they_read(hub: LocalHub) -> None:
    matrix = survey.open_matrix("org/model", endpoint=hub.endpoint)
    hub.faults = [Fault(WithHeaders({"ETag": '"another"'}), server="cdn", times=None)]
    with pytest.raises(Unreachable, match="was replaced while it was read"):
        survey.measure(matrix)
