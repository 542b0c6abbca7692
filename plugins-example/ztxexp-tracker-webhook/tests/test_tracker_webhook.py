"""The suite that every tracker passes, and what only this one promises; against a real server."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import ztxexp_tracker_webhook
from ztxexp import ConfigError, ExperimentPipeline, sync
from ztxexp_testing import Contents, TrackerSuite
from ztxexp_tracker_webhook import WebhookTracker


class Server(ThreadingHTTPServer):
    """Takes posts, or fails as it is told.

    Attributes:
        posts: what was taken, by idempotency key.
        answers: codes for the next requests, 200 after them; 0 hangs up without an answer.
        heard: headers of every request.
        token: a secret in its address.
        may_answer: while it is not set, nothing is answered.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: dict[str, dict] = {}
        self.answers: list[int] = []
        self.heard: list[dict[str, str]] = []
        self.token = uuid.uuid4().hex
        self.may_answer = threading.Event()
        self.may_answer.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hooks/{self.token}"

    def end(self):
        self.may_answer.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append(dict(self.headers))
        self.server.may_answer.wait(30)
        code = self.server.answers.pop(0) if self.server.answers else 200
        if code == 200:
            self.server.posts[self.headers["Idempotency-Key"]] = json.loads(body)
        if code:
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args): ...


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(ztxexp_tracker_webhook, "_down", set())


@pytest.fixture(scope="class")
def shared_server():
    server = Server()
    yield server
    server.end()


@pytest.fixture
def server(shared_server):
    shared_server.posts.clear()
    shared_server.heard.clear()
    shared_server.answers.clear()
    return shared_server


@pytest.mark.slow
class TestWebhook(TrackerSuite):
    keeps_points = "it posts ends, not metrics"

    @pytest.fixture(autouse=True)
    def listen(self, suite_folders, shared_server):
        self.server = shared_server

    def make(self):
        return "webhook", {"url": self.server.url}

    def contents(self):
        latest = {}
        for post in self.server.posts.values():
            if post["attempt"] >= latest.get(post["run_id"], post)["attempt"]:
                latest[post["run_id"]] = post
        for run_id, post in latest.items():
            yield Contents(run_id, (), post["status"], post["config"], post["metrics"])


def train(ctx):
    if ctx.config["lr"] > 1:
        raise ValueError("too fast")
    return {"score": 1 - ctx.config["lr"], "odd": math.nan}


def sweep(tmp_path, server, *rates, **arguments):
    pipeline = ExperimentPipeline(tmp_path / "results").grid({"lr": list(rates)})
    pipeline.name("demo").tags({"kind": "t"})
    pipeline.track("webhook", url=server.url, **arguments)
    return pipeline.run(train, progress=False)


def failures(caplog):
    return [r.getMessage() for r in caplog.records if "'webhook' failed" in r.getMessage()]


def test_every_end_is_posted_once_with_a_key_of_its_own(tmp_path, server):
    sweep(tmp_path, server, 0.5, 0.25, 2.0, headers={"Authorization": "Bearer x"})
    posts = {post["config"]["lr"]: post for post in server.posts.values()}
    assert len(server.heard) == len(posts) == 3
    assert {head["Authorization"] for head in server.heard} == {"Bearer x"}
    assert {head["Content-Type"] for head in server.heard} == {"application/json"}
    good, failed = posts[0.25], posts[2.0]
    assert set(server.posts) == {f"{post['run_id']}-1" for post in posts.values()}
    assert (good["status"], good["metrics"]) == ("succeeded", {"score": 0.75, "odd": "NaN"})
    assert (good["experiment"], good["tags"], good["replayed"]) == ("demo", {"kind": "t"}, False)
    assert (failed["status"], failed["error_type"]) == ("failed", "ValueError")
    assert failed["error_message"] == "too fast"


@pytest.mark.slow
@pytest.mark.parametrize("answers", [[503], [429, 500], [0, 502]])
def test_it_is_tried_again_with_the_same_key_until_it_arrives(tmp_path, server, answers, caplog):
    server.answers = list(answers)
    sweep(tmp_path, server, 0.5)
    keys = [head["Idempotency-Key"] for head in server.heard]
    assert len(keys) == len(answers) + 1 and len(set(keys)) == 1
    assert list(server.posts) == keys[:1]
    assert not failures(caplog)


@pytest.mark.parametrize("code", [400, 404, 302, 307])
def test_a_refusal_is_final_and_told_and_costs_nothing(tmp_path, server, code, caplog):
    server.answers = [code] * 10
    assert sweep(tmp_path, server, 0.5).succeeded == 1
    assert len(server.heard) == 2 and not server.posts  # at the run's end, and at the launch's
    (said,) = failures(caplog)
    assert f"the server refuses it: HTTP {code}" in said


def test_a_server_that_is_down_costs_no_run_and_gets_the_ends_later(tmp_path, server, caplog):
    server.answers = [503] * 100
    assert sweep(tmp_path, server, 0.5, 0.25, 2.0, timeout=0.5).succeeded == 2
    assert not server.posts
    first, *rest = (head["Idempotency-Key"] for head in server.heard)
    assert rest.count(first) >= 1  # it was tried again
    others = [key for key in rest if key != first]
    assert len(set(others)) == 2  # while it is down, each gets one try, and one as the launch ends
    assert max(others.count(key) for key in others) <= 2
    assert "no success within 0.5 s: HTTP 503" in failures(caplog)[0]
    server.answers.clear()
    report = sync(tmp_path / "results", "webhook", url=server.url)
    assert len(report.sent) == len(server.posts) == 3 and not report.failed
    assert all(post["replayed"] for post in server.posts.values())
    assert sync(tmp_path / "results", "webhook", url=server.url).sent == []


def test_a_server_that_never_answers_holds_no_run_up_for_long(tmp_path, server, caplog):
    server.may_answer.clear()
    begun = time.monotonic()
    assert sweep(tmp_path, server, 0.5, 0.25, timeout=0.5).succeeded == 2
    assert time.monotonic() - begun < 10  # of the 30 seconds for which it does not answer
    server.may_answer.set()
    assert failures(caplog)


def test_where_nobody_listens_the_run_ends_as_it_would(tmp_path, caplog):
    gone = Server()
    gone.end()
    assert sweep(tmp_path, gone, 0.5, timeout=0.5).succeeded == 1
    assert "ConnectionRefusedError" in failures(caplog)[0] or "URLError" in failures(caplog)[0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example.org/runs", "https://", "ftp://a/b"])
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(ConfigError, match="has to begin with http:// or https://"):
        WebhookTracker(url)


@pytest.mark.parametrize("timeout", [0, -1, 10])
def test_a_timeout_out_of_range_is_refused(timeout):
    with pytest.raises(ConfigError, match="timeout must be over 0 and below 10"):
        WebhookTracker("http://example.org", timeout=timeout)


def test_secrets_in_the_url_and_headers_are_not_written_down(tmp_path, server):
    sweep(tmp_path, server, 0.5, headers={"Authorization": f"Bearer {server.token}"})
    assert len(server.posts) == 1
    for path in (tmp_path / "results").rglob("*"):
        if path.is_file():
            assert server.token.encode() not in path.read_bytes(), path
