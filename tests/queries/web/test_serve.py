"""`survey serve`: the live page, its SQL box, files and JSON; over real HTTP, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import pyarrow.parquet as pq
import pytest
import uvicorn
from playwright.sync_api import expect
from starlette.testclient import TestClient
from support.browser import chromium, watched
from support.commands import Ran
from support.little_models import LITTLE, little

from jobs.demo.checkpoints import write
from queries.library import query_list
from queries.web import application, question_queue
from queries.web.application import Served, app
from queries.web.bounded_connections import BoundedProtocol
from queries.web.question_queue import MAX_QUESTIONS
from queries.web.report import Heading
from survey.process.machine import memory_bytes

Survey = Callable[..., Ran]
PROGRAM = [sys.executable, "-c", "from survey.cli import entry; entry()"]
OPENER = build_opener(ProxyHandler({}))
ASKS = {"X-Requested-With": "test"}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from survey.cli import main

    folder = tmp_path_factory.mktemp("served")
    write(little("org/model", cloud=LITTLE), folder / "model")
    assert main(["run", str(folder / "model"), "--catalog", str(folder / "c"), "--executor", "serial"]) == 0
    return folder / "c"


@pytest.fixture(scope="module")
def url(catalog: Path) -> Iterator[str]:
    command = [*PROGRAM, "serve", "--catalog", catalog, "--port", "0", "--timeout", "8", "--memory", "300", "--allow-host", "survey.example"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert match, line + process.stderr.read()
        yield match[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def get(
    url: str, headers: Mapping[str, str] = {}, method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        with OPENER.open(Request(url, headers={**ASKS, **headers}, method=method), timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


def sql(url: str, statement: str, form: str = "json") -> tuple[int, bytes]:
    code, _, body = get(f"{url}/api/sql?q={quote(statement)}&format={form}")
    return code, body


def test_an_answer_comes_in_every_format(url: str) -> None:
    code, body = sql(url, "SELECT dead_count FROM models")
    assert (code, json.loads(body)) == (200, {"columns": ["dead_count"], "types": ["BIGINT"], "rows": [[10]], "truncated": False})  # fmt: skip
    assert list(csv.reader(io.StringIO(sql(url, "SELECT 1 AS a, 'ü' AS b", "csv")[1].decode()))) == [["a", "b"], ["1", "ü"]]  # fmt: skip
    assert b"| a |" in sql(url, "SELECT 1 AS a", "md")[1]
    assert pq.read_table(io.BytesIO(sql(url, "SELECT 1::UTINYINT AS a", "parquet")[1])).to_pylist() == [{"a": 1}]  # fmt: skip


def test_files_are_handed_over_as_files(url: str) -> None:
    _, headers, _ = get(f"{url}/api/query/families?format=csv")
    assert headers["Content-Disposition"] == 'attachment; filename="families.csv"'


def test_named_queries_and_models_and_views_have_addresses(url: str, catalog: Path) -> None:
    answer = json.loads(get(f"{url}/api/query/black_holes?min_dead=5")[2])
    assert len(answer["rows"]) == 1
    names = [item["query"] for item in json.loads(get(f"{url}/api/queries")[2])]
    assert "families" in names
    repo = str(catalog.parent / "model")
    assert json.loads(get(f"{url}/api/models/{quote(repo)}")[2])["rows"][0][0] == repo
    assert json.loads(get(f"{url}/api/views")[2])["models"][0]["name"] == "repo"
    assert json.loads(get(f"{url}/api/status")[2])["rows"][0][0] == 1


WRONG = [
    ("api/sql", 400, "q is missing"),
    ("api/sql?q=selec", 400, "syntax error"),
    ("api/sql?q=DROP%20VIEW%20models", 400, "DROP is not allowed"),
    ("api/sql?q=COPY%20models%20TO%20'x.csv'", 400, "COPY is not allowed"),
    ("api/sql?q=SELECT%201%3B%20SELECT%202", 400, "expected one SQL statement"),
    ("api/sql?q=FROM%20read_text('/etc/passwd')", 400, "is not allowed"),
    ("api/sql?q=FROM%20read_csv('http://127.0.0.1:1/x')", 400, "is not allowed"),
    ("api/sql?q=SELECT%201&format=xml", 400, "expected one of json, csv, md, parquet"),
    ("api/query/nothing", 400, "no query 'nothing'"),
    ("api/query/families?side=output", 400, "unknown: side"),
    ("nowhere", 404, "Not Found"),
]


@pytest.mark.parametrize(("path", "code", "message"), WRONG)
def test_what_cannot_be_answered_is_named(url: str, path: str, code: int, message: str) -> None:
    status, _, body = get(f"{url}/{path}")
    assert status == code
    assert message in body.decode()


COSTLY = [
    ("SELECT count(*) FROM range(1000000000000)", "stopped after 8 s"),
    ("SELECT list(range) FROM range(1000000000)", "memory|Memory"),
    ("SELECT length(repeat('x', 1500000000)) FROM range(20)", "stopped|Memory"),
]


@pytest.mark.parametrize(("statement", "message"), COSTLY)
def test_a_costly_query_is_stopped_and_the_next_is_answered(url: str, statement: str, message: str) -> None:  # fmt: skip
    began = time.monotonic()
    code, body = sql(url, statement)
    assert code == 400
    assert re.search(message, body.decode())
    assert time.monotonic() - began < 30
    assert sql(url, "SELECT 1")[0] == 200


def test_a_long_answer_is_cut_and_says_so(url: str) -> None:
    answer = json.loads(sql(url, "SELECT range FROM range(20000)")[1])
    assert (len(answer["rows"]), answer["truncated"]) == (10_000, True)


def test_a_file_is_whole_or_refused(url: str) -> None:
    code, body = sql(url, "SELECT range FROM range(20000)", "md")
    assert code == 400
    problem = (
        "the answer has more than 10,000 rows, the most in a md file: ask for less (LIMIT), or for format=csv"
    )
    assert json.loads(body)["error"] == problem
    assert sql(url, "SELECT range FROM range(20000)", "csv")[1].count(b"\n") == 20_001


def test_queries_at_the_same_time_are_all_answered(url: str) -> None:
    codes: list[int] = []
    asking = [threading.Thread(target=lambda: codes.append(sql(url, "SELECT 1")[0])) for _ in range(5)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert codes == [200] * 5


def test_too_many_queries_are_refused_for_now_and_the_page_is_served(catalog: Path) -> None:
    served = Served(str(catalog), Heading("busy", "0"), limit=1, seconds=0.8, memory_mb=300)
    client = TestClient(app(served, ["localhost"]), base_url="http://localhost", headers=ASKS)
    slow = {"q": "SELECT count(*) FROM range(1000000000000)"}
    codes: list[int] = []
    asking = [
        threading.Thread(target=lambda: codes.append(client.get("/api/sql", params=slow).status_code))
        for _ in range(MAX_QUESTIONS + 3)
    ]
    for thread in asking:
        thread.start()
    assert client.get("/").status_code == 200
    for thread in asking:
        thread.join()
    assert sorted(codes) == [400] * MAX_QUESTIONS + [503] * 3
    assert client.get("/api/queries").status_code == 200


@pytest.mark.parametrize("name", ["*", "a*", "a.example:80", "http://a.example", ""])
def test_a_name_that_no_browser_calls_is_refused(survey: Survey, catalog: Path, name: str) -> None:
    ran = survey("serve", "--catalog", catalog, "--allow-host", name)
    assert ran.code == 2
    assert f"--allow-host {name}: write one name" in ran.err


def test_listening_to_everybody_is_warned_of(survey: Survey, url: str, catalog: Path) -> None:
    taken = url.rpartition(":")[2]  # so that it ends
    ran = survey("serve", "--catalog", catalog, "--host", "0.0.0.0", "--port", taken)
    assert "whoever reaches this machine may ask" in ran.err
    assert "--allow-host" in ran.err


def test_only_its_own_names_are_answered(url: str) -> None:
    """A foreign page whose name comes to mean this machine (DNS rebinding) calls it by that name."""
    port = url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example"):
        assert get(f"{url}/api/status", {"Host": host})[0] == 400
    for host in (f"localhost:{port}", "survey.example", f"127.0.0.1:{port}"):
        assert get(f"{url}/api/status", {"Host": host})[0] == 200


# By the name of a query's file: the header of the download. What it holds otherwise was a fault of the server,
# which also kept its entry in the queue.
DOWNLOADS = {
    "families_2": 'filename="families_2.csv"',
    'a.exe"; b="': 'filename="a.exe__ b__.csv"',
    "a\r\nX-Other: b": 'filename="a__X-Other_ b.csv"',
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj": 'filename="_gpj.csv"',
    "\N{CJK UNIFIED IDEOGRAPH-65E5}": "filename*=UTF-8''%E6%97%A5.csv",
}


def test_a_download_has_a_harmless_name_and_leaves_the_queue(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_queue, "ask_apart", lambda question, seconds: b"a\n1\n")
    for name in DOWNLOADS:
        (tmp_path / f"{name}.sql").write_text("-- one\nSELECT 1 AS a")
    served = Served(str(catalog), Heading("names", "0"), 1, 20, 300, [tmp_path], questions=1)
    with TestClient(app(served, ["localhost"]), base_url="http://localhost", headers=ASKS) as client:
        for name, header in DOWNLOADS.items():
            answer = client.get(f"/api/query/{quote(name)}?format=csv")
            assert (answer.status_code, answer.text) == (200, "a\n1\n")
            assert answer.headers["Content-Disposition"] == f"attachment; {header}"
            assert "X-Other" not in answer.headers


def test_pages_of_other_origins_may_not_ask(url: str) -> None:
    assert get(f"{url}/api/sql?q=SELECT%201", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert get(f"{url}/api/sql?q=SELECT%201", {"Sec-Fetch-Site": "same-origin"})[0] == 200
    _, headers, _ = get(f"{url}/api/status", {"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


TWICE = ["Host: {host}", "Origin: http://{host}", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"]


@pytest.mark.parametrize("path", ["/", "/api/status"])
@pytest.mark.parametrize("header", TWICE)
def test_a_header_that_must_be_single_is_refused_twice(url: str, header: str, path: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    name = header.partition(":")[0]
    others = {"Host": f"Host: {host}:{port}", "X-Requested-With": "X-Requested-With: test"}
    first = others.pop(name, header.format(host=f"{host}:{port}"))
    second = f"{name}: evil.example" if name == "Host" else header.format(host="evil.example")
    lines = [f"GET {path} HTTP/1.1", *others.values(), first, second, "Connection: close", "", ""]
    with socket.create_connection((host, int(port)), timeout=60) as opened:
        opened.sendall("\r\n".join(lines).encode())
        assert opened.makefile("rb").read().startswith(b"HTTP/1.1 400")


FOREIGN: list[tuple[str, Mapping[str, str]]] = [
    ("a browser that says nothing of itself", {}),
    ("a form or an image", {"Sec-Fetch-Site": "cross-site"}),
    ("a page of another port", {"Sec-Fetch-Site": "same-site", "X-Requested-With": "x"}),
    ("a script of another origin", {"Origin": "http://evil.example", "X-Requested-With": "x"}),
    ("a page without an origin", {"Origin": "null", "X-Requested-With": "x"}),
]


def refused(url: str, headers: Mapping[str, str]) -> None:
    with pytest.raises(HTTPError) as refused:
        OPENER.open(Request(url, headers=dict(headers)), timeout=60)
    assert refused.value.code == 403
    assert "X-Requested-With" in json.loads(refused.value.read())["error"]
    assert refused.value.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("headers", [case[1] for case in FOREIGN], ids=[case[0] for case in FOREIGN])
@pytest.mark.parametrize("path", ["sql?q=SELECT%201", "sql?q=SELECT%201&_token=x", "query/families", "views", "status", "queries/", "nowhere"])  # fmt: skip
def test_a_request_without_our_header_is_refused_everywhere(
    url: str, path: str, headers: Mapping[str, str]
) -> None:
    refused(f"{url}/api/{path}", headers)


@pytest.mark.parametrize("headers", [case[1] for case in FOREIGN[1:]], ids=[case[0] for case in FOREIGN[1:]])
def test_the_list_of_queries_is_refused_to_other_origins(url: str, headers: Mapping[str, str]) -> None:
    refused(f"{url}/api/queries", headers)


@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}])
def test_the_list_of_queries_is_public(url: str, site: Mapping[str, str]) -> None:
    with OPENER.open(Request(f"{url}/api/queries", headers=dict(site)), timeout=60) as answer:
        assert "families" in [item["query"] for item in json.loads(answer.read())]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_list_of_queries_is_made_once(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(
        application, "query_list", lambda library: made.append(library) or query_list(library)
    )
    served = Served(str(catalog), Heading("once", "0"), limit=1, seconds=9, memory_mb=300)
    client = TestClient(app(served, ["localhost"]), base_url="http://localhost")
    answers = {client.get("/api/queries").content for _ in range(3)}
    assert (len(made), len(answers)) == (1, 1)


def raw(port: int, path: str) -> socket.socket:
    """A request whose answer is not read."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", port))
    opened.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Requested-With: x\r\n\r\n".encode())
    return opened


def test_an_answer_that_nobody_reads_stays_in_the_queue(catalog: Path) -> None:
    served = Served(str(catalog), Heading("slow", "0"), limit=1, seconds=60, memory_mb=300, questions=1)
    server = uvicorn.Server(uvicorn.Config(app(served, ["localhost", "127.0.0.1"]), log_level="error", http=BoundedProtocol, ws="none"))  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        port = listening.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with raw(
            port, "/api/sql?format=csv&q=" + quote("SELECT repeat('x', 1000000) FROM range(30)")
        ) as opened:
            assert opened.recv(15).startswith(b"HTTP/1.1 200")  # so the question is answered
            assert sql(url, "SELECT 1")[0] == 503
        deadline = time.monotonic() + 20
        while (code := sql(url, "SELECT 1")[0]) == 503 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [code, *(sql(url, wrong)[0] for wrong in ("SELECT", "SELECT 1"))] == [200, 400, 200]
        server.should_exit = True
        thread.join(20)


def test_a_link_of_the_page_asks_by_its_token(url: str) -> None:
    html = OPENER.open(url, timeout=60).read().decode()
    [token] = re.findall(r'<meta name="token" content="([^"]+)">', html)
    with OPENER.open(f"{url}/api/query/families?format=csv&_token={token}", timeout=60) as answer:
        assert answer.read().startswith(b"family,")


def test_scripts_run_by_a_nonce_that_is_new_each_time(url: str) -> None:
    nonces = []
    for _ in range(2):
        _, headers, body = get(url)
        policy = headers["Content-Security-Policy"]
        [nonce] = re.findall(r"script-src 'nonce-([^']+)';", policy)
        assert re.findall(rb"<script(?! type=.application/json)[^>]*>", body) == [
            f'<script nonce="{nonce}">'.encode(),
            f'<script type="module" nonce="{nonce}">'.encode(),
        ]
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy
        nonces.append(nonce)
    assert len(set(nonces)) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_no_route_changes_anything(url: str, method: str) -> None:
    for path in ("", "api/sql?q=SELECT%201", "api/query/families", "api/status"):
        assert get(f"{url}/{path}", method=method)[0] == 405


def test_a_taken_port_is_named(survey: Survey, url: str, catalog: Path) -> None:
    ran = survey("serve", "--catalog", catalog, "--port", url.rpartition(":")[2])
    assert ran.code == 2
    assert "Address already in use; name another --port" in ran.err


def test_the_page_shows_the_catalog_as_it_is_now_and_takes_queries(
    url: str, catalog: Path, survey: Survey, tmp_path: Path
) -> None:
    with chromium() as browser, watched(browser, url) as page:
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]")
        page.locator("#question").fill("SELECT repo, dead_count FROM models")
        page.locator("#ask").click()
        expect(page.locator("#answer tbody tr")).to_have_count(1)
        expect(page.locator("#query-status")).to_contain_text("1 rows in")
        with page.expect_download() as download:
            page.locator("#as-csv").click()
        assert Path(download.value.path()).read_text().startswith("repo,dead_count\n")

        write(little("org/other", cloud=LITTLE), tmp_path / "other")
        assert survey("run", "./other", "--catalog", catalog, "--executor", "serial").code == 0
        page.reload()
        page.wait_for_selector("html[data-ready=yes]")
        assert page.locator("#pick option").count() == 2
        page.locator("summary").click()
        expect(page.locator("#views h3", has_text="attempts")).to_be_visible()


def test_a_query_that_fails_is_answered_in_words(url: str) -> None:
    with chromium() as browser, browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        page.locator("#question").fill("SELECT <img src=x onerror=alert(1)>")
        page.locator("#question").press("Control+Enter")
        expect(page.locator("#answer [role=alert]")).to_contain_text("syntax error")
        assert page.locator("#answer img").count() == 0


def test_a_page_that_takes_all_memory_is_one_line(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_report(*_: object, **__: object) -> str:
        raise MemoryError

    monkeypatch.setattr("queries.web.application.build_report", build_report)
    served = Served(str(catalog), Heading("Survey", "1"), limit=10, seconds=5, memory_mb=64)
    page = TestClient(app(served, ["localhost"]), base_url="http://localhost").get("/")
    assert (page.status_code, page.json()) == (
        400,
        {"error": "the page takes more memory than there is: name a smaller --limit"},
    )


def test_the_process_of_the_page_has_a_limit_of_memory(
    survey: Survey, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    before = resource.getrlimit(resource.RLIMIT_DATA)

    def listen(*_: object) -> None:
        limits.append(resource.getrlimit(resource.RLIMIT_DATA)[0])

    monkeypatch.setattr("queries.web.serve.listen", listen)
    assert survey("serve", "--catalog", catalog).code == 0
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert limits[0] < memory_bytes()
