"""Access to the Hub: who may read what, and that no token or signature is ever revealed."""

import json
import re
import traceback

import pytest
from support.checkpoints import EMBED, HEAD, sharded
from support.hub_model import MODEL, OUTPUT, STRANGER, TABLE, TOKEN, planned, read, request_log, settings

import survey
from jobs.demo.hub.local_hub import (
    Fault,
    FaultAction,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    ShortBody,
    Status,
    WrongContentRange,
)
from survey.errors import NotOffered, SurveyError
from survey.hub.repositories import refs
from survey.opening import open_target


def test_the_token_goes_to_the_hub_and_never_to_the_cdn(hub: LocalHub) -> None:
    hub.add_repo("org/gated", sharded([{EMBED: TABLE}, {HEAD: OUTPUT}]), gated="manual")
    hub.faults = [Fault(Status(403), server="cdn", skip=1), Fault(ResetAfter(9), server="cdn", skip=2)]
    opened = survey.open_matrix("org/gated", endpoint=hub.endpoint, token=TOKEN, connections=3)
    assert read(opened) == OUTPUT.data
    assert {entry.authorization for entry in hub.requests("hub")} == {True}
    assert {entry.authorization for entry in hub.requests("cdn")} == {False}
    assert all(TOKEN not in json.dumps(entry.headers) for entry in hub.requests("cdn"))


SPOILERS: dict[str, FaultAction] = {
    **{str(code): Status(code) for code in (403, 404, 416, 429, 500)},
    "reset": ResetAfter(0),
    "ignored-range": IgnoreRange(),
    "no-body": ShortBody(1 << 20),
    "wrong-range": WrongContentRange(1),
}


@pytest.mark.parametrize("action", SPOILERS.values(), ids=SPOILERS)
def test_no_error_tells_a_secret(hub: LocalHub, action: FaultAction) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    target = planned(hub, "org/gated", token=TOKEN)
    hub.faults = [Fault(action, server="cdn", times=None)]
    opened = open_target(target, settings(hub, token=TOKEN))
    with pytest.raises(SurveyError) as caught:
        read(opened)
    said = f"{caught.value} {caught.value!r} {caught.value.args} {opened.target} {settings(hub, token=TOKEN)}"
    assert not re.search(f"{TOKEN}|Signature|Expires|[?]", said)
    assert "org/gated" in said


@pytest.mark.parametrize("action", SPOILERS.values(), ids=SPOILERS)
def test_no_traceback_tells_a_secret(hub: LocalHub, action: FaultAction) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    target = planned(hub, "org/gated", token=TOKEN)
    hub.faults = [Fault(action, server="cdn", times=None)]
    with pytest.raises(SurveyError) as caught:
        read(open_target(target, settings(hub, token=TOKEN)))
    shown = "".join(traceback.format_exception(caught.value))  # as a notebook prints it, with its causes
    assert not re.search(f"{TOKEN}|Signature=|Expires=", shown)


# ---- what is not offered


@pytest.mark.parametrize(
    ("repo", "revision", "token", "reason"),
    [
        pytest.param("org/gated", None, None, "gated", id="gated-without-a-token"),
        pytest.param("org/gated", None, STRANGER, "gated", id="gated-before-its-terms-are-accepted"),
        pytest.param("org/private", None, None, "not-found", id="private-without-a-token"),
        pytest.param("org/private", None, STRANGER, "not-found", id="private-to-a-stranger"),
        pytest.param("org/absent", None, None, "not-found", id="unknown"),
        pytest.param("org/absent", None, TOKEN, "not-found", id="unknown-with-a-token"),
        pytest.param("org/disabled", None, None, "disabled", id="disabled"),
        pytest.param("org/model", "nowhere", None, "revision-not-found", id="unknown-branch"),
        pytest.param("org/model", "f" * 40, None, "revision-not-found", id="unknown-commit"),
        pytest.param("org/model", None, "hf_wrong", "unauthorised", id="bad-token"),
        pytest.param("a/b/c", None, None, "not-found", id="no-id-at-all"),
        pytest.param("org/..", None, None, "not-found", id="dots"),
    ],
)
def test_what_is_not_offered_is_refused_at_once_with_its_reason(
    hub: LocalHub, repo: str, revision: str | None, token: str | None, reason: str
) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    hub.add_repo("org/private", MODEL, private=True)
    hub.add_repo("org/disabled", MODEL, disabled=True)
    with pytest.raises(NotOffered) as caught:
        survey.open_matrix(repo, revision=revision, endpoint=hub.endpoint, token=token)
    assert caught.value.reason == reason
    assert caught.value.where.startswith(repo)
    assert TOKEN not in str(caught.value)
    assert len(hub.log) <= 2  # a gated repository shows its files, and refuses the first


@pytest.mark.parametrize("repo", ["org/gated", "org/private"])
def test_a_token_that_may_read_it_opens_a_closed_model(hub: LocalHub, repo: str) -> None:
    hub.add_repo("org/gated", MODEL, gated="manual")
    hub.add_repo("org/private", MODEL, private=True)
    assert read(survey.open_matrix(repo, endpoint=hub.endpoint, token=TOKEN)) == OUTPUT.data


def test_a_model_gated_after_planning_is_refused(hub: LocalHub) -> None:
    target = planned(hub)
    hub.repos["org/model"].gated = "manual"
    with pytest.raises(NotOffered) as caught:
        read(open_target(target, settings(hub)))
    assert caught.value.reason == "gated"
    assert request_log(hub) == ["HEAD"]


def test_all_branches_and_tags_are_listed(hub: LocalHub) -> None:
    sha = hub.add_repo("org/model", MODEL, branch="step100")
    hub.tag("org/model", "v1", sha)
    assert refs("org/model", settings(hub)) == {"main": sha, "step100": sha, "v1": sha}
    with pytest.raises(NotOffered) as caught:
        refs("org/absent", settings(hub))
    assert caught.value.reason == "not-found"
