"""A Hub of its own process that knows the commits of the models of a grown catalog, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))  # what tests share

from support.grown_catalog import name_of, sha_of


@contextmanager
def commits_of(models: int) -> Iterator[str]:
    """The endpoint of a Hub with this many models."""
    with Popen([sys.executable, "-m", "tests.bench._commits", str(models)], stdout=PIPE, text=True) as hub:
        assert hub.stdout is not None
        try:
            yield hub.stdout.readline().strip()
        finally:
            hub.terminate()


def main() -> None:
    shas = {name_of(number): sha_of(number) for number in range(int(sys.argv[1]))}
    by_author: dict[str, list[str]] = {}
    for repo in shas:
        by_author.setdefault(repo.partition("/")[0], []).append(repo)

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            repo = "/".join(parts.path.removeprefix("/api/models").strip("/").split("/")[:2])
            if not repo:
                author = parse_qs(parts.query)["author"][0]
                self._reply([{"id": name, "sha": shas[name]} for name in by_author.get(author, [])])
            elif repo in shas:
                self._reply({"id": repo, "sha": shas[repo]})
            else:
                self.send_error(404)

        def _reply(self, document: Any) -> None:  # Any: JSON
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: a line for each request would be most of what this costs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
