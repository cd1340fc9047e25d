"""The Hub's client: which hosts get a token, and that no message shows a secret."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.hub_model import MODEL, TOKEN, settings

import survey
from jobs.demo.hub.local_hub import Fault, LocalHub, Status
from survey.errors import NotOffered, SurveyError, UsageError
from survey.hub.access import clean_token, stated_endpoint, token_for
from survey.hub.repositories import resolve
from survey.hub.transport.origins import is_readable_in_transit
from survey.process.redaction import redacted
from survey.records.settings import Settings

STORED, STATED = "hf_storedbyalogin0000", "hf_statedbyaperson000"


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As after `hf auth login`, and nothing in the environment."""
    (tmp_path / "token").write_text(STORED)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    ("endpoint", "stored", "stated"),
    [
        ("https://huggingface.co", STORED, STATED),
        ("https://huggingface.co:443", STORED, STATED),
        ("https://HuggingFace.co/", STORED, STATED),
        ("https://hub.test/hf", None, STATED),
        ("https://huggingface.co.hub.test", None, STATED),
        ("https://huggingface.co@hub.test", None, STATED),
        ("https://huggingface.co:8443", None, STATED),
        ("http://127.0.0.1:8000", None, STATED),
        ("http://[::1]:8000", None, STATED),
        ("http://localhost:8000", None, STATED),
        ("http://huggingface.co", None, None),
        ("http://hub.test", None, None),
        ("http://10.0.0.1", None, None),
        ("http://127.0.0.1.hub.test", None, None),
        ("http://localhost.hub.test", None, None),
    ],
)
def test_a_token_goes_to_the_endpoint_that_it_was_made_for(
    endpoint: str, stored: str | None, stated: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_for(Settings(endpoint=endpoint)) == stored
    assert token_for(Settings(endpoint=endpoint, token=STATED)) == stated
    monkeypatch.setenv("HF_TOKEN", STATED)
    assert token_for(Settings(endpoint=endpoint)) == stated


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("around", [b"%s\r\n", b" %s ", b"\xef\xbb\xbf%s\n"])
def test_a_stored_token_is_cleaned(around: bytes) -> None:
    Path(constants.HF_TOKEN_PATH).write_bytes(around % STORED.encode())
    assert token_for(Settings(endpoint="https://huggingface.co")) == STORED


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    "content", ["hf_é".encode(), b"hf_a\tb", b"hf_a b", "“hf_abc”".encode(), b"\xff\xfe", None],
    ids=["accent", "tab", "blank", "quotes", "no UTF-8", "a folder"],
)  # fmt: skip
def test_a_stored_token_that_no_header_can_hold_is_refused_with_its_file(content: bytes | None) -> None:
    stored = Path(constants.HF_TOKEN_PATH)
    stored.unlink()
    stored.mkdir() if content is None else stored.write_bytes(content)
    with pytest.raises(NotOffered, match=r"the login stored in .*hf auth login") as caught:
        token_for(Settings(endpoint="https://huggingface.co"))
    assert (caught.value.reason, "hf_a" in caught.value.problem) == ("unauthorised", False)


@pytest.mark.usefixtures("logged_in")
def test_a_mirror_never_sees_the_stored_token(hub: LocalHub) -> None:
    hub.add_repo("org/private", MODEL, private=True)
    with pytest.raises(NotOffered, match=r"the stored login is for huggingface\.co alone") as caught:
        resolve("org/private", None, settings(hub))
    assert caught.value.reason == "not-found"
    assert {entry.authorization for entry in hub.log} == {False}


def test_plain_http_to_another_machine_is_open_to_all() -> None:
    assert is_readable_in_transit("http://hub.test")
    assert not is_readable_in_transit("https://hub.test")
    assert not is_readable_in_transit("http://127.8.9.1:5")


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r\n", "\t{} ", "\ufeff{}", "{}\x00"])
def test_blanks_around_a_token_are_not_part_of_it(hub: LocalHub, around: str) -> None:
    hub.add_repo("org/private", MODEL, private=True)
    hub.users = {TOKEN: frozenset({"org/private"})}
    assert resolve("org/private", None, settings(hub, token=around.format(TOKEN))).repo == "org/private"


@pytest.mark.parametrize("blank", ["", " ", "\n", None])
def test_a_blank_token_is_none(blank: str | None) -> None:
    assert clean_token(blank) is None


@pytest.mark.parametrize("token", ["“hf_abc”", "hf_a\nb", "hf a", "hf_\x1b", "hf_ü"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(hub: LocalHub, token: str) -> None:
    with pytest.raises(UsageError, match=r"HF_TOKEN holds a character that no token has \(U\+") as caught:
        clean_token(token, "HF_TOKEN")
    assert "hf" not in str(caught.value)
    with pytest.raises(NotOffered) as refused:
        resolve("org/model", None, settings(hub, token=token))
    assert (refused.value.reason, hub.log) == ("unauthorised", [])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token hf_abcdefghijklmnopqrstuvwx!", "token ***!"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("https://user:pass@host/hf is not there", "https://***@host/hf is not there"),
        ("http://user:p@ss@host:80/x", "http://***@host:80/x"),
        ("Authorization: Basic dTpw", "Authorization: Basic ***"),
        ("{'proxy-authorization': 'Bearer abc'}", "{'proxy-authorization': 'Bearer ***'}"),
        ("sent bearer abcdef.ghij-k1234", "sent bearer ***"),
        ("sent Basic dXNlcjpwYXNzd29yZA== to", "sent Basic *** to"),
        ("token hf_0123456789Abcdefgh!", "token ***!"),
        ("hf_oauth_eyJhbGciOiJFZERTQSJ9.eyJz.c-_d of", "*** of"),
        (
            "https://cdn/x?X-Amz-Signature=abc&Expires=5 failed",
            "https://cdn/x?X-Amz-Signature=***&Expires=5 failed",
        ),
        (
            "//c/x?X-Goog-Credential=a&x-amz-security-token=b",
            "//c/x?X-Goog-Credential=***&x-amz-security-token=***",
        ),
        ("/x?AWSAccessKeyId=a&Signature=b&Policy=c", "/x?AWSAccessKeyId=***&Signature=***&Policy=***"),
        ("/x?sv=2020&sig=a%2Fb%3D failed", "/x?sv=2020&sig=*** failed"),
        ("'/x?api_key=a' \"/x?access_token=b\"", "'/x?api_key=***' \"/x?access_token=***\""),
        ("/x?unheard-of=0123456789abcdef0123456789abcdef&b=c", "/x?unheard-of=***&b=c"),
        ("/x?Signature=abc&b=c", "/x?Signature=***&b=c"),
        ("of my-own-token-9 and", "of *** and"),
    ],
)
def test_secrets_are_taken_out_of_text(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-own-token-9\n")
    assert redacted(text) == shown
    assert redacted(shown) == shown
    assert SurveyError("network", "org/model", text).problem == shown


@pytest.mark.parametrize(
    "text",
    [
        "org/name@main: has 5 bytes, expected 6",
        "a/hf_model.bin",
        "org/hf_modelcheckpoint0000abcd",
        "s3://bucket/x",
        "why? because",
        "a basic tokenizer is missing",
        "Basic authentication is wanted",
        "the bearer certificate",
        "a basic understanding-of-tokenizers is missing",
        "it wants authorization: ask its owner",
        "see https://hub.test/x?page=2&sort=downloads&z=1 for more",
        f"/api/models/org/name?revision={'0a' * 20}&expand=sha",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "seed",
    [
        "http://",
        "http://a?",
        "://a",
        ":/",
        "hf_",
        "hf_oauth_",
        "Bearer ",
        "authorization:",
        "?token",
        "?a=",
        "&",
        " ",
    ],
)
def test_secrets_are_looked_for_in_linear_time(seed: str) -> None:
    """With a quadratic expression, it takes a minute."""
    started = time.monotonic()
    redacted(seed * (400_000 // len(seed)))
    redacted("?" + seed * (400_000 // len(seed)))
    assert time.monotonic() - started < 15


def test_no_message_shows_the_password_of_an_endpoint() -> None:
    with pytest.raises(SurveyError) as caught:
        survey.open_matrix("org/model", endpoint="http://user:secret-word@127.0.0.1:9/")
    assert "secret-word" not in f"{caught.value} {caught.value!r}"


# ---- the server's own words


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        ("GatedRepo", "Your request to access model org/model is awaiting a review.", "gated"),
        ("GatedRepo", "Your request to access model org/model has been rejected.", "gated"),
        (None, "This token lacks the right to read gated repositories.", "unauthorised"),
    ],
)
def test_the_servers_own_reason_is_shown(hub: LocalHub, code: str | None, words: str, reason: str) -> None:
    headers = {"X-Error-Message": words} | ({"X-Error-Code": code} if code else {})
    hub.faults = [Fault(Status(403, headers), times=None)]
    with pytest.raises(NotOffered) as caught:
        resolve("org/model", None, settings(hub, token=TOKEN))
    assert (caught.value.reason, f"(it says: {words})" in caught.value.problem) == (reason, True)


def test_the_servers_words_are_cleaned_and_cut(hub: LocalHub) -> None:
    said = "\x1b[31mred\x9b" + "x" * 275 + f"{TOKEN} " + "x" * 10_000
    hub.faults = [Fault(Status(403, {"X-Error-Message": said}), times=None)]
    with pytest.raises(NotOffered) as caught:
        resolve("org/model", None, settings(hub, token=TOKEN))
    assert caught.value.problem.isprintable()
    assert len(caught.value.problem) < 600
    assert TOKEN not in caught.value.problem


# ---- endpoints


@pytest.mark.parametrize(
    "given",
    [
        "hf-mirror.com",
        "",
        "ftp://host",
        "https://",
        "http://host:99999",
        "http://host:0",
        "https://h/?q=1",
        "https://[::1",
    ],
)
def test_an_endpoint_that_is_no_url_is_refused_with_its_source(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"--endpoint .*expected a URL such as"):
        stated_endpoint(given)
    if given:
        monkeypatch.setenv("HF_ENDPOINT", given)
        with pytest.raises(UsageError, match=r"HF_ENDPOINT .*expected a URL such as"):
            stated_endpoint(None)


def test_slashes_at_the_end_of_an_endpoint_do_no_harm(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stated_endpoint(" https://hub.test/hf// ") == "https://hub.test/hf"
    assert survey.open_matrix("org/model", endpoint=f"{hub.endpoint}/").shape == (500, 16)
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
    assert survey.open_matrix("org/model").shape == (500, 16)
    assert all("//" not in entry.path for entry in hub.log)
