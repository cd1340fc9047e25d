"""The server of tokenizers and its forks: how they end, what they share, and what is read once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import tokenizers as made
from support.tokenizer_requests import LITTLE, LONG, ROWS, of, whole

from survey.process.interpreter import import_path
from survey.vocabulary.entries import TokenizerFiles
from survey.vocabulary.parse import parse_vocabulary
from survey.vocabulary.process import isolation as apart
from survey.vocabulary.process.client import ServerProcess
from survey.vocabulary.process.isolation import TokenizerFailed, TokenizerLimits, read_token_table
from survey.vocabulary.process.server import STDERR_CAP_BYTES
from survey.vocabulary.reachability import token_table
from survey.vocabulary.table import ANSWER_CAP_BYTES


def status(pid: int) -> tuple[str, int]:
    """State and parent of a process; Z if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])


def runs(pid: int) -> bool:
    return status(pid)[0] != "Z"


def children(parent: int) -> list[int]:
    """Processes that run and whose parent this is."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [pid for pid in pids if status(pid)[1] == parent and runs(pid)]


def servers() -> list[int]:
    mine = children(os.getpid())
    return [
        pid
        for pid in mine
        if b"survey.vocabulary.process.server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="lists processes as Linux does")


def send(number: int, *, server: bool) -> None:
    """A signal to the fork that reads a tokenizer, or to its server, as soon as there is one."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for pid in servers():
            for fork in children(pid):
                os.kill(pid if server else fork, number)
                return
        time.sleep(0.01)


DEATHS = {
    "a library that violates memory": (signal.SIGSEGV, False, r"crashed \(SIGSEGV\)", True),
    "a library that aborts": (signal.SIGABRT, False, r"crashed \(SIGABRT\)", True),
    "the system's killer of processes": (signal.SIGKILL, False, r"killed from outside \(SIGKILL\)", False),
    "a server that is killed": (signal.SIGKILL, True, r"could not be kept running \(SIGKILL\)", False),
}


@linux
@pytest.mark.parametrize(("number", "server", "problem", "lasting"), DEATHS.values(), ids=DEATHS)
def test_a_process_that_dies_says_of_what(number: int, server: bool, problem: str, lasting: bool) -> None:
    killer = threading.Thread(target=send, args=(number,), kwargs={"server": server})
    killer.start()
    endless = whole(vocab=LONG, pre_tokenizer=made.split("(a|aa)+c"))
    with pytest.raises(TokenizerFailed, match=problem) as refused:
        read_token_table(endless, ROWS, TokenizerLimits(300 << 20, cpu_s=30, wall_s=60))
    killer.join()
    assert refused.value.lasting is lasting
    assert servers() == []
    assert read_token_table(of(tokenizer__json=made.byte_level()), 13, LITTLE).size == 13


@contextlib.contextmanager
def sigchld_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("inherited", [sigchld_ignored, signals_blocked])
def test_what_a_parent_does_with_signals_changes_nothing(
    inherited: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    """As cron, nohup and some supervisors start their programs."""
    endless = whole(vocab=LONG, pre_tokenizer=made.split("(a|aa)+c"))
    with inherited():
        assert (
            read_token_table(of(tokenizer__json=made.byte_level()), 13, LITTLE).texts == made.BYTE_LEVEL_TEXTS
        )
        with pytest.raises(TokenizerFailed, match="takes more than 1 CPU-seconds"):
            read_token_table(endless, ROWS, TokenizerLimits(300 << 20, cpu_s=1, wall_s=20))
        apart.close()


# A library that runs what a file holds, as one with a hole might.
TAKEN_OVER = """
class SentencePieceProcessor:
    def LoadFromSerializedProto(self, content):
        exec(content)
        raise ValueError("taken over")
"""
# Leaves a process in a session of its own, which writes wherever it can and waits for what comes.
STRAY = b"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            for file in range(64):
                try:
                    os.write(file, b"Pforged" * 100)
                except OSError:
                    pass
            time.sleep(0.001)
time.sleep(0.2)
"""
COMPLAINING = b"import os; os.write(2, b'bad_alloc' * %d); os.abort()"


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Servers whose SentencePiece runs the files that it is given."""
    (tmp_path / "sentencepiece.py").write_text(TAKEN_OVER)
    monkeypatch.syspath_prepend(str(tmp_path))
    apart.close()
    yield
    apart.close()


@linux
@pytest.mark.usefixtures("taken_over")
def test_a_tokenizer_that_takes_its_process_over_touches_no_later_request() -> None:
    for rows in (13, 12, 11):
        with pytest.raises(TokenizerFailed, match=r"taken over|nonsense"):
            read_token_table(of(tokenizer__model=STRAY + b"# %d" % rows), rows, LITTLE)
        (server,) = servers()
        assert children(server) == []
        assert (
            read_token_table(of(tokenizer__json=made.byte_level()), rows, LITTLE).texts
            == (made.BYTE_LEVEL_TEXTS[:rows])
        )


@pytest.mark.usefixtures("taken_over")
@pytest.mark.parametrize("more", [1, STDERR_CAP_BYTES // 9], ids=["a few", "as many as there is room for"])
def test_complaints_of_one_tokenizer_do_not_count_against_the_next(more: int) -> None:
    with pytest.raises(TokenizerFailed, match="more than 300 MB of memory"):
        read_token_table(of(tokenizer__model=COMPLAINING % more), 3, LITTLE)
    with pytest.raises(TokenizerFailed, match=r"crashed \(SIGABRT\)"):
        read_token_table(of(tokenizer__model=b"import os; os.write(2, b'x' * 999); os.abort()"), 3, LITTLE)


def test_what_one_request_goes_through_is_closed_after_it() -> None:
    server = ServerProcess()
    try:
        request = apart._request(of(tokenizer__json=made.byte_level()), 3, LITTLE)
        before = None
        for _ in range(3):
            assert server.ask(request, time.monotonic() + 30, ANSWER_CAP_BYTES)
            before = before or os.listdir("/dev/fd")
            assert os.listdir("/dev/fd") == before
    finally:
        server.kill()


@linux
def test_one_server_names_many() -> None:
    read_token_table(of(tokenizer__json=made.byte_level()), 13, LITTLE)
    first = servers()
    assert len(first) == 1
    for rows in (1, 2, 3, 4):
        read_token_table(of(tokenizer__json=made.byte_level()), rows, LITTLE)
    assert servers() == first
    (server,) = first
    assert children(server) == []


@linux
def test_a_server_that_was_ended_while_it_waited_is_replaced() -> None:
    read_token_table(whole(), 2, LITTLE)
    (server,) = servers()
    os.kill(server, signal.SIGKILL)
    while runs(server):
        time.sleep(0.01)
    assert read_token_table(of(tokenizer__json=made.byte_level()), 13, LITTLE).size == 13


@linux
def test_a_server_knows_no_secret_of_ours_and_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "secret")
    read_token_table(whole(), 2, LITTLE)
    (server,) = servers()
    assert b"secret" not in Path(f"/proc/{server}/environ").read_bytes()
    limits = Path(f"/proc/{server}/limits").read_text().splitlines()
    assert next(line.split()[4:6] for line in limits if line.startswith("Max core")) == ["1", "1"]


# A worker: names a tokenizer, says which process did it, and then names one that never ends.
WORKER = """
import os, sys
from pathlib import Path
from survey.vocabulary.process.isolation import TokenizerLimits, read_token_table
from survey.vocabulary.entries import TokenizerFiles
good, endless = (TokenizerFiles("tokenizer.json", {"tokenizer.json": Path(name).read_bytes()}) for name in sys.argv[1:])
limits = TokenizerLimits(300 << 20, cpu_s=120, wall_s=300)
read_token_table(good, 2, limits)
print("named", flush=True)
read_token_table(endless, 3000, limits)
"""


@linux
def test_a_server_and_its_fork_end_with_their_parent(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(made.bpe())
    (tmp_path / "endless").write_bytes(made.bpe(LONG, pre_tokenizer=made.split("(a|aa)+c")))
    command = [sys.executable, "-c", WORKER, str(tmp_path / "good"), str(tmp_path / "endless")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(import_path())}
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"named\n"
        (server,) = children(worker.pid)
        until = time.monotonic() + 30
        while not (forks := children(server)) and time.monotonic() < until:
            time.sleep(0.01)
        worker.kill()
    assert len(forks) == 1
    while (alive := [pid for pid in (server, *forks) if runs(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive == []


# ------------------------------------------------------------------------------- the same tokenizer


@pytest.fixture
def requested_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows for which a server received a request."""
    requested: list[int] = []
    real = apart._request

    def request(tokenizer: TokenizerFiles, rows: int, limits: TokenizerLimits) -> list[bytes]:
        requested.append(rows)
        return real(tokenizer, rows, limits)

    monkeypatch.setattr(apart, "_request", request)
    return requested


def test_models_with_one_tokenizer_have_it_read_once(requested_rows: list[int]) -> None:
    sizes = [
        read_token_table(of(tokenizer__json=made.byte_level()), rows, LITTLE).size for rows in (16, 13, 300)
    ]
    assert sizes == [13, 13, 13]
    assert requested_rows == [16]


@pytest.mark.parametrize(
    "other",
    [
        of(tokenizer__json=made.byte_level(added_tokens=[])),
        of(tokenizer__json=made.byte_level(), added_tokens__json=b'{"<late>": 20}'),
        of(tokenizer__json=made.byte_level() + b" "),
    ],
    ids=["another vocabulary", "a companion", "one byte more"],
)
def test_another_tokenizer_is_read_for_itself(requested_rows: list[int], other: TokenizerFiles) -> None:
    first = read_token_table(of(tokenizer__json=made.byte_level()), 30, LITTLE)
    second = read_token_table(other, 30, LITTLE)
    assert requested_rows == [30, 30]
    assert token_table(parse_vocabulary(other), 30).texts == second.texts
    assert first.size == 13


def test_fewer_rows_than_tokens_need_another_request(requested_rows: list[int]) -> None:
    """What reaches a token may depend on which of the others have a row."""
    for rows in (16, 12, 12, 5):
        assert len(read_token_table(of(tokenizer__json=made.byte_level()), rows, LITTLE).ids) == min(rows, 13)
    assert requested_rows == [16, 12, 5]
