"""Certificates that this machine trusts, for a pod, which has its own file system."""

from __future__ import annotations

from pathlib import Path

from jobs.nightly.environment import CERTIFICATES
from jobs.nightly.machine import JobMachine
from survey.errors import UsageError


def certificates(machine: JobMachine) -> dict[str, str]:
    """The texts of the certificate files that variables name, by their names in the ConfigMap."""
    return {key: _read(path) for path, key in _keys(machine).items()}


def _read(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: certificates for the pod, which cannot be read: {error}") from error
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path}: holds a private key, and others can read a ConfigMap")
    return text


def _files(machine: JobMachine) -> dict[str, str]:
    return {name: machine.environment[name] for name in CERTIFICATES if machine.environment.get(name)}


def _keys(machine: JobMachine) -> dict[str, str]:
    """The name of each file in the ConfigMap; several variables often name the same file."""
    paths = dict.fromkeys(_files(machine).values())
    return {path: f"certificates-{number}.pem" for number, path in enumerate(paths, 1)}


def certificate_variables(machine: JobMachine, folder: str) -> dict[str, str]:
    """The variables that name the certificates, for files that lie in `folder`."""
    keys = _keys(machine)
    return {name: f"{folder}/{keys[path]}" for name, path in _files(machine).items()}
