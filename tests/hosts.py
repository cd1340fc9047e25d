"""Hosts on one machine: network namespaces on a bridge, each with a filesystem and processes of its own.

Needs root and iproute2. What a host's processes write below the hidden folders nobody else sees.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BRIDGE, NETWORK, OURSELVES = "survey0", "10.213.57", "10.213.57.1"
PYTHON = sys.executable


def missing() -> str | None:
    """Why there can be no hosts here, if so."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    tools = [tool for tool in ("ip", "unshare", "nsenter", "mount") if shutil.which(tool) is None]
    return f"not installed: {', '.join(tools)}" if tools else None


def require() -> None:
    """Skip where hosts cannot be made; in CI that is a failure."""
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@dataclass
class Host:
    """One host; `address` is its only one. init: the first process in it."""

    name: str
    address: str
    init: subprocess.Popen[bytes]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *arguments: str | Path) -> list[str]:
        """The command that runs these arguments on this host."""
        pid = subprocess.run(["pgrep", "-P", str(self.init.pid)], capture_output=True, text=True, check=True)
        inside = ["nsenter", "-t", pid.stdout.split()[0], "-n", "-m", "-u", "-p"]
        return [*inside, *map(str, arguments)]

    def start(self, *arguments: str | Path, log: Path) -> None:
        """Start a process there that outlives this call; it dies with its host."""
        with log.open("ab") as out:
            self.started.append(subprocess.Popen(self.command(*arguments), stdout=out, stderr=out))

    def cut(self) -> None:
        """Pull the network cable."""
        _ip("link", "set", f"sv-{self.name}", "down")

    def mend(self) -> None:
        _ip("link", "set", f"sv-{self.name}", "up")

    def kill(self) -> None:
        """Pull the plug: the first process of a process namespace takes all others with it."""
        pids = subprocess.run(["pgrep", "-P", str(self.init.pid)], capture_output=True, text=True).stdout
        for pid in (*pids.split(), str(self.init.pid)):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in (*self.started, self.init):
            process.wait()
        if self.init.stdout is not None:
            self.init.stdout.close()


@contextmanager
def network(names: Sequence[str], hidden: Sequence[Path]) -> Iterator[dict[str, Host]]:
    """Hosts by name. hidden: folders of ours that are empty and private on each host."""
    _remove(names)
    hosts: dict[str, Host] = {}
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{OURSELVES}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names, 2):
            hosts[name] = _host(name, f"{NETWORK}.{number}", hidden)
        yield hosts
    finally:
        for host in hosts.values():
            host.kill()
        _remove(names)


def _host(name: str, address: str, hidden: Sequence[Path]) -> Host:
    _ip("netns", "add", f"survey-{name}")
    _ip("link", "add", f"sv-{name}", "type", "veth", "peer", "name", "eth0", "netns", f"survey-{name}")
    _ip("link", "set", f"sv-{name}", "master", BRIDGE, "up")
    _ip("-n", f"survey-{name}", "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _ip("-n", f"survey-{name}", "link", "set", device, "up")
    mounts = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
    script = (
        f"set -e; hostname {name}; mount -t tmpfs none /dev/shm; {mounts}; echo ready; exec sleep infinity"
    )
    unshared = ["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", script]
    init = subprocess.Popen(["ip", "netns", "exec", f"survey-{name}", *unshared], stdout=subprocess.PIPE)
    assert init.stdout is not None
    assert init.stdout.readline() == b"ready\n"
    return Host(name, address, init)


def _remove(names: Sequence[str]) -> None:
    for name in names:
        # The namespace goes when its last process has; its end of the cable would stay until then.
        subprocess.run(["ip", "link", "del", f"sv-{name}"], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "del", f"survey-{name}"], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def listening(address: str, port: int, limit_s: float = 60) -> None:
    """Wait until somebody listens there."""
    import socket

    end = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens at {address}:{port}"
            time.sleep(0.2)
        else:
            return
