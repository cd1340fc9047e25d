"""The variables that a run reads, and which of them a unit may show.

Schedulers start a run with almost no environment. Variables that name a proxy, certificates, folders, a
region or a setting are written into the unit. Secrets are not, nor is a URL with a password: each scheduler
keeps secrets elsewhere (`nightly.env`, a Secret, the repository's secrets), and its unit lists their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from jobs.nightly.quoting import one_line
from survey.errors import UsageError

PROXIES = tuple(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (upper, upper.lower())
)
# Each library reads one of them: httpx2 and Python, requests, curl, botocore.
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
FOLDER_VARIABLES = (
    *("HOME", "TMPDIR", "SSL_CERT_DIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
)
RAY = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR")
GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CONFIG")
_NAMES = frozenset((*PROXIES, *CERTIFICATES, *FOLDER_VARIABLES, *RAY, *GOOGLE, "HUGGINGFACE_HUB_CACHE"))
_PREFIXES = ("HF_", "AWS_")  # settings of the Hub's and of Amazon's clients, of which there are many
_SECTIONS_OF_FILES = frozenset({"AWS_PROFILE", "AWS_DEFAULT_PROFILE"})  # of files of this machine

# By the name: a key of Amazon's may begin like a path.
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSW")
# HF_TOKEN_PATH and AWS_WEB_IDENTITY_TOKEN_FILE name files, HF_HUB_DISABLE_IMPLICIT_TOKEN is a yes or no.
_NOT_ITSELF = re.compile(r".*_(?:PATH|FILE)|HF_HUB_DISABLE_\w+")
_PASSWORD = re.compile(r"//[^/?#\s]*@|^[^/\s]+:[^/\s]+@")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


def is_secret(name: str, value: str) -> bool:
    """Whether others must not see the value: by its name, or because it holds a password or a token."""
    if name.lower().endswith("_proxy") and "@" in value:
        return True
    by_name = _SECRET_NAME.search(name) and not _NOT_ITSELF.fullmatch(name)
    return bool(by_name) or holds_secret(value)


def holds_secret(text: str) -> bool:
    """Whether a text holds a URL with a password, or a token of the Hub."""
    return bool(_PASSWORD.search(text) or _TOKEN.search(text))


def is_path(value: str) -> bool:
    return value.startswith(("/", "~"))


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a unit on this machine shows. Raises UsageError if a value cannot be written."""
    shown = {name: value for name, value in _read(environment).items() if not is_secret(name, value)}
    return {name: one_line(value, name) for name, value in shown.items()}


def carried_away(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that mean the same on another machine: none that names a path of this one."""
    local = left_behind(environment)
    return {name: value for name, value in carried(environment).items() if name not in local}


def left_behind(environment: Mapping[str, str]) -> list[str]:
    """Variables that name files or folders of this machine, or sections of such files."""
    return [
        name for name, value in carried(environment).items() if is_path(value) or name in _SECTIONS_OF_FILES
    ]


def secret_names(environment: Mapping[str, str]) -> list[str]:
    """The names of the secrets that a run here would have: HF_TOKEN in any case, and others if set."""
    secrets = [name for name, value in _read(environment).items() if is_secret(name, value)]
    return ["HF_TOKEN", *(name for name in secrets if name != "HF_TOKEN")]


def refuse_secret(text: str, what: str) -> None:
    """Raise UsageError if a text that a unit would show holds a secret."""
    if holds_secret(text):
        raise UsageError(
            f"{what} holds a password or a token, and others can read a unit: set the variable for it "
            "(HF_ENDPOINT, HF_TOKEN, AWS_SECRET_ACCESS_KEY, …) among the scheduler's secrets"
        )


def _read(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set and that a run reads."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if value and (name in _NAMES or name.startswith(_PREFIXES) or name == "HUGGING_FACE_HUB_TOKEN")
    }
