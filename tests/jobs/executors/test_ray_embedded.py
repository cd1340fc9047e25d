"""The embedded Ray: nobody else reaches it, and if it does not start, one line says why."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from jobs.executors.ray_init import OWN_FOLDER, _from_own_folder
from jobs.executors.ray_session import RayOptions, joined_cluster
from jobs.executors.ray_start import FOLDER_PREFIX, end_leftovers
from survey.errors import UsageError

pytestmark = [pytest.mark.timeout(240), pytest.mark.flaky(reruns=2, reruns_delay=5)]

STRANGER = "import ray; ray.init(address={!r}, log_to_driver=False); print('joined')"
LISTEN = "0A"  # the state, in /proc/net/tcp


def listening(session: int) -> list[str]:
    """The addresses, in hexadecimal, at which a session's processes listen."""
    listed = subprocess.run(["ps", "-eo", "pid=,sess="], capture_output=True, text=True, check=True).stdout
    pids = [pid for pid, sid in map(str.split, listed.splitlines()) if int(sid) == session]
    links = [os.readlink(fd) for pid in pids for fd in Path(f"/proc/{pid}/fd").glob("*") if fd.is_symlink()]
    inodes = {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return [row[1].partition(":")[0] for row in rows if row[3] == LISTEN and row[9] in inodes]


def joining(address: str, settings: dict[str, str]) -> subprocess.Popen[str]:
    """Somebody who tries to join."""
    return subprocess.Popen(
        [sys.executable, "-c", STRANGER.format(address)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=settings | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
    )  # fmt: skip


def printed_by_strangers(address: str, clean: dict[str, str], token: str) -> list[str]:
    """What those print who try to join without a token, and with one of their own, for three times as long as it takes
    one who has the right token and joins beside them.
    """
    by_token = clean | {"RAY_AUTH_MODE": "token"}
    began = time.monotonic()
    friend = joining(address, by_token | {"RAY_AUTH_TOKEN": token})
    strangers = [
        joining(address, clean | {"RAY_AUTH_MODE": "disabled"}),
        joining(address, by_token | {"RAY_AUTH_TOKEN": "b" * 64}),
    ]
    try:
        assert friend.communicate(timeout=60)[0] == "joined\n"
        time.sleep(2 * (time.monotonic() - began))
    finally:
        for process in (friend, *strangers):
            process.send_signal(signal.SIGKILL)
    return [stranger.communicate()[0] for stranger in strangers]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sockets are listed as Linux does")
def test_it_listens_on_loopback_only_asks_for_its_token_and_keeps_others_out_of_its_folder() -> None:
    program = (
        "import os, ray\nfrom jobs.executors.ray_session import RayOptions, joined_cluster\nwith joined_cluster(RayOptions()):\n"
        "    folder = ray._private.worker.global_worker.node.get_session_dir_path()\n"
        "    print(ray.get_runtime_context().gcs_address, os.environ['RAY_AUTH_TOKEN'], folder, flush=True)\n    input()\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=clean | {"RAY_AUTH_MODE": "disabled"}, start_new_session=True,
    ) as owner:  # fmt: skip
        assert owner.stdout is not None
        address, token, session = owner.stdout.readline().split()
        assert Path(session).parents[1].name.startswith(FOLDER_PREFIX)
        assert Path(session).parents[1].stat().st_mode & 0o777 == 0o700  # Ray's own, inside, is everybody's
        at = listening(owner.pid)
        loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
        assert len(at) > 4
        assert set(at) <= loopback
        assert printed_by_strangers(address, clean, token) == ["", ""]
        owner.communicate("\n", timeout=30)
    assert owner.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("mode", "away"), [(0o755, True), (0o711, True), (0o700, False)], ids=oct)
def test_a_working_folder_that_may_not_be_read_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, mode: int, away: bool
) -> None:
    """`sudo -u` leaves people in a folder of root's. One that cannot be entered holds no module for us."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        monkeypatch.chdir(folder)
        os.seteuid(65534)
        try:
            with _from_own_folder():
                assert os.path.samefile(os.getcwd(), OWN_FOLDER) is away
            here = os.readlink("/proc/self/cwd")
        finally:
            os.seteuid(0)
        assert here == folder


def test_a_working_folder_that_was_deleted_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with _from_own_folder():
        assert Path.cwd() == OWN_FOLDER
    with pytest.raises(FileNotFoundError):
        os.getcwd()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are listed as Linux does")
def test_what_is_left_is_ended_whatever_links_lead_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    logs = {name: tmp_path / name / "worker.out" for name in ("real", "real-of-another")}
    left = {}
    for name, log in logs.items():
        log.parent.mkdir()
        with log.open("wb") as stdout:
            left[name] = subprocess.Popen(["sleep", "60"], stdout=stdout)
    try:
        end_leftovers(tmp_path / "link")
        assert left["real"].wait(10) == -signal.SIGKILL
        assert left["real-of-another"].poll() is None
    finally:
        for process in left.values():
            process.kill()
            process.wait()


def test_too_few_open_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))
    with (
        pytest.raises(UsageError, match=r"may open more than 20 files.*ulimit -n.*--executor serial"),
        joined_cluster(RayOptions()),
    ):
        pass


def test_no_folder_for_its_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with (
        pytest.raises(UsageError, match=r"/tmp: Permission denied.*RAY_TMPDIR"),
        joined_cluster(RayOptions()),
    ):
        pass
