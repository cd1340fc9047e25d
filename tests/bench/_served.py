"""The local Hub in a process of its own: it shares no interpreter with the measured code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from jobs.demo.hub.local_hub import LocalHub, ReplyShape


class Served:
    """A Hub that runs elsewhere."""

    def __init__(self, endpoint: str, commands: IO[str], answers: IO[str]) -> None:
        self.endpoint = endpoint
        self._commands, self._answers = commands, answers

    def shape(self, shape: ReplyShape) -> None:
        """Set the link's latency and rates from now on, and clear the log of requests."""
        self._commands.write(json.dumps(asdict(shape)) + "\n")
        self._commands.flush()
        self._answers.readline()


@contextmanager
def served(folders: Path) -> Iterator[Served]:
    """Serve every `org/name` below a folder."""
    command = [sys.executable, "-m", "tests.bench._served", str(folders)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdin is not None
        assert hub.stdout is not None
        try:
            yield Served(hub.stdout.readline().strip(), hub.stdin, hub.stdout)
        finally:
            hub.stdin.close()


def main() -> None:
    with LocalHub() as hub:
        for folder in sorted(Path(sys.argv[1]).glob("*/*")):
            hub.add_repo(f"{folder.parent.name}/{folder.name}", folder)
        print(hub.endpoint, flush=True)
        for line in sys.stdin:
            hub.shape = ReplyShape(**json.loads(line))
            hub.clear_log()
            print(flush=True)


if __name__ == "__main__":
    main()
