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

TAG = os.getpid() % 250  # two test runs on one machine do not meet
BRIDGE, NETWORK = f"sv{TAG}", f"10.213.{TAG}"
OURSELVES = f"{NETWORK}.1"
PYTHON = sys.executable


def missing() -> str | None:
    """Why there can be no hosts here, if so."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    tools = [tool for tool in ("ip", "unshare", "nsenter", "mount", "pgrep") if shutil.which(tool) is None]
    if tools:
        return f"not installed: {', '.join(tools)}"
    tried = ["ip", "netns", "add", f"{BRIDGE}-trial"], ["unshare", "-m", "-u", "-p", "-f", "true"]
    for command in tried:
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            return f"{' '.join(command)}: {ran.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", f"{BRIDGE}-trial"], capture_output=True)
    return None


def require() -> None:
    """Skip if hosts cannot be made; in CI that is a failure."""
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@dataclass
class Host:
    """One host; `address` is its only one. init: the first process in it.

    scratch: a folder of its own, with a path that is short enough for sockets.
    """

    name: str
    address: str
    scratch: Path
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

    def stop(self) -> None:
        """End what was started there; the host stays."""
        for process in self.started:
            process.terminate()
            process.wait(timeout=30)
        self.started.clear()

    def cut(self) -> None:
        """Pull the network cable."""
        _ip("link", "set", f"{BRIDGE}-{self.name}", "down")

    def mend(self) -> None:
        _ip("link", "set", f"{BRIDGE}-{self.name}", "up")

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
            host.scratch.rmdir()
        _remove(names)


def _host(name: str, address: str, hidden: Sequence[Path]) -> Host:
    inside = f"{BRIDGE}-{name}"  # its namespace, and our end of its cable
    _ip("netns", "add", inside)
    _ip("link", "add", inside, "type", "veth", "peer", "name", "eth0", "netns", inside)
    _ip("link", "set", inside, "master", BRIDGE, "up")
    _ip("-n", inside, "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _ip("-n", inside, "link", "set", device, "up")
    scratch = Path("/tmp", inside)
    scratch.mkdir(exist_ok=True)
    mounts = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in ("/dev/shm", scratch, *hidden))
    script = f"set -e; hostname {name}; {mounts}; echo ready; exec sleep infinity"
    unshared = ["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", script]
    init = subprocess.Popen(["ip", "netns", "exec", inside, *unshared], stdout=subprocess.PIPE)
    assert init.stdout is not None
    assert init.stdout.readline() == b"ready\n"
    return Host(name, address, scratch, init)


def _remove(names: Sequence[str]) -> None:
    for name in names:
        # The namespace goes when its last process has; its end of the cable would stay until then.
        subprocess.run(["ip", "link", "del", f"{BRIDGE}-{name}"], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "del", f"{BRIDGE}-{name}"], stderr=subprocess.DEVNULL)
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
