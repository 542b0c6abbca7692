"""Who is answered by the live page: each promise over a real socket."""

from __future__ import annotations

import contextlib
import os
import re
import socket

import pytest
from handmade import write_run
from hypothesis import given
from hypothesis import strategies as st
from live_pages import Served, served

from ztxexp.server.guard import Hosts, Keys, host_of

NAME = "20260301_101500_0001"
SECRET = "only for whoever started it"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ui") / "results"
    folder = write_run(root, NAME, metrics={"loss": 0.5}, config={"lr": 0.125})
    (folder / "artifacts" / "model.bin").write_bytes(bytes(range(256)))
    (folder / "artifacts" / "a page.html").write_text("<script>alert(1)</script>")
    (folder / "artifacts" / 'odd" X: y;.txt').write_text("x")
    (root.parent / "outside.txt").write_text("outside")
    (folder / "artifacts" / "link.txt").symlink_to(root.parent / "outside.txt")
    (folder / "artifacts" / "folder").symlink_to(root.parent)
    os.mkfifo(folder / "artifacts" / "pipe")
    (root / "20260301_101500_0002").symlink_to(folder)
    return root


@pytest.fixture(scope="module")
def page(root):
    with served(root, "--access-log") as server:
        yield server.open()


def has_no_data(answer) -> bool:
    return "0.125" not in answer.text and NAME not in answer.text


READS = ["/", "/api/data", "/api/events", f"/api/run/{NAME}", f"/files/{NAME}/run.json", "/nothing"]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "cookie", ["", "ztxexp=x", "wrong", "{name}=", "{name}=AAAA", "{name}={token}"]
)
def test_reads_need_the_cookie(page, path, cookie):
    name = page.cookie.partition("=")[0]
    cookie = cookie.format(name=name, token=page.token)
    answer = page.ask("GET", path, cookie=cookie)
    assert answer.status == 403 and has_no_data(answer)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil.example:{port}",
        ),
        *(
            "[::2]",
            "[::2]:{port}",
            "[::1",
            "::1:{port}",
            "[::1]evil.example",
            "[evil.example]:{port}",
        ),
        *(
            "127.0.0.1@evil.example",
            "127.0.0.1:80:80",
            "127.0.0.1:x",
            "192.168.0.1",
            "0.0.0.0:{port}",
            "",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/data", "/?token={token}"])
def test_another_host_name_is_refused(page, host, path):
    path = path.format(token=page.token)
    answer = page.ask("GET", path, host=host.format(port=page.port))
    assert answer.status in (400, 403) and has_no_data(answer)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "[::1]:{port}", "127.0.0.1:1"]
)
def test_names_of_this_machine_for_itself_are_answered(page, host):
    assert page.ask("GET", "/api/data", host=host.format(port=page.port)).status == 200


def test_two_host_headers_are_refused(page):
    with socket.create_connection(("127.0.0.1", page.port)) as sock:
        sock.sendall(
            f"GET /api/data HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n"
            f"Cookie: {page.cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = sock.recv(4096)
    assert b" 200 " not in answer.splitlines()[0]


def test_the_token_is_long_and_leaves_the_address_at_once(page):
    assert re.fullmatch(r"[\w-]{32}", page.token)  # 192 bits
    answer = page.ask("GET", f"/?token={page.token}", cookie="")
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"ztxexp-{page.port}=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert page.token not in cookie


@pytest.mark.parametrize(
    "query",
    [
        "token=",
        "token=x",
        "token={token}x",
        "token={token}&token=x",
        "Token={token}",
        "token=%C3%A4",
    ],
)
def test_a_wrong_token_opens_nothing(page, query):
    answer = page.ask("GET", f"/?{query.format(token=page.token)}", cookie="")
    assert answer.status == 403 and "set-cookie" not in answer.headers


def test_a_browser_is_started_with_a_token_that_opens_once():
    """Other users of the machine can read its command line."""
    keys = Keys(8417)
    once, other = keys.once(), keys.once()
    assert len({once, other, keys.token}) == 3
    assert [keys.opens(once), keys.opens(once), keys.opens(other)] == [True, False, True]
    assert keys.opens(keys.token) and keys.opens(keys.token)


def test_the_token_opens_only_the_page_itself(page):
    assert page.ask("GET", f"/api/data?token={page.token}", cookie="").status == 403
    assert page.post(f"/api/stop?token={page.token}", {}, cookie="").status == 403


def test_whoever_follows_the_address_from_another_page_is_led_on_once(page):
    far = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    answer = page.ask("GET", "/", cookie="", **far)
    assert answer.status == 403 and "url=/" in answer.text and has_no_data(answer)
    near = {"sec_fetch_site": "same-origin", "sec_fetch_mode": "navigate"}
    assert "url=/" not in page.ask("GET", "/", cookie="", **near).text


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_others_get_nothing_even_with_the_cookie(page, path, site):
    answer = page.ask("GET", path, sec_fetch_site=site, sec_fetch_mode="no-cors")
    assert answer.status == 403 and has_no_data(answer)


@pytest.mark.parametrize("path", ["/api/stop", "/api/tag"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": None},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "https://127.0.0.1:{port}"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost:{port}"},
        {"x_ztxexp": None},
        {"x_ztxexp": "0"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"sec_fetch_site": "same-site"},
        {"cookie": ""},
    ],
)
def test_writes_need_origin_header_and_cookie(page, root, path, headers):
    headers = {n: v and v.format(port=page.port) for n, v in headers.items()}
    answer = page.post(path, {"run": NAME, "tags": {"x": "y"}}, **headers)
    assert answer.status in (403, 415)
    assert not (root / NAME / "tags.jsonl").exists()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_writes_are_posts(page, root, method):
    answer = page.ask(method, "/api/tag", {"run": NAME, "tags": {"x": "y"}}, x_ztxexp="1")
    assert answer.status == 405
    assert not (root / NAME / "tags.jsonl").exists()


def test_a_page_may_be_posted_nothing(page):
    assert page.post("/api/data", {}).status == 405
    assert page.post("/", {}).status == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/", 200), ("/api/data", 200), (f"/api/run/{NAME}", 200), ("/nothing", 404)),
        *((f"/files/{NAME}/run.json", 200), (f"/files/{NAME}/none", 404), ("/?token=x", 403)),
        ("/api/tag", 405),
    ],
)
def test_every_response_has_its_protection(page, path, status):
    answer = page.ask("GET", path)
    headers = answer.headers
    assert answer.status == status
    policy = headers["content-security-policy"].split("; ")
    assert {
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    } <= set(policy)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers and "access-control-allow-origin" not in headers


def test_only_the_script_of_the_page_runs(page):
    nonces = set()
    for _ in range(2):
        answer = page.ask("GET", "/")
        policy = answer.headers["content-security-policy"]
        (nonce,) = set(re.findall(r"'nonce-([\w-]{20,})'", policy))
        script = next(one for one in policy.split("; ") if one.startswith("script-src"))
        assert script == f"script-src 'nonce-{nonce}'"
        tags = re.findall(r"<(?:script|style)\b[^>]*>", answer.text)
        assert tags and all(f'nonce="{nonce}"' in tag for tag in tags)
        nonces.add(nonce)
    assert len(nonces) == 2


# ---- files of runs -------------------------------------------------------------------------------


def test_files_are_attachments_whatever_is_in_them(page):
    answer = page.ask("GET", f"/files/{NAME}/artifacts/model.bin")
    assert answer.body == bytes(range(256))
    answer = page.ask("GET", f"/files/{NAME}/artifacts/a%20page.html")
    assert answer.headers["content-type"] == "application/octet-stream"
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename=\"a_page.html\"; filename*=UTF-8''a%20page.html"
    odd = page.ask("GET", f"/files/{NAME}/artifacts/odd%22%20X:%20y;.txt")
    assert odd.status == 200 and "x" not in odd.headers
    assert odd.headers["content-disposition"].startswith('attachment; filename="odd_X_y_.txt";')


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../outside.txt",
            "artifacts/../../../outside.txt",
            "..%2Foutside.txt",
            "%2e%2e/outside.txt",
        ),
        *("artifacts/..%2f..%2f..%2foutside.txt", "/etc/passwd", "%2Fetc%2Fpasswd", "//etc/passwd"),
        *(
            "artifacts/link.txt",
            "artifacts/folder/outside.txt",
            "artifacts/folder",
            "artifacts/pipe",
        ),
        *(
            "artifacts",
            "artifacts/",
            "",
            ".",
            "./run.json",
            "artifacts//model.bin",
            "run.json%00",
            "run.json/",
        ),
        *("..%5Coutside.txt", "%C0%AE%C0%AE/outside.txt"),
    ],
)
def test_nothing_outside_a_runs_folder_is_given_out(page, path):
    answer = page.ask("GET", f"/files/{NAME}/{path}")
    assert answer.status == 404 and "outside" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2f", ".ztxexp", "nobody", "20260301_101500_0002", "%00"]
)
def test_only_runs_have_files(page, name):
    assert page.ask("GET", f"/files/{name}/run.json").status == 404
    assert page.ask("GET", f"/api/run/{name}").status == 404


def test_what_is_listed_can_be_had(page):
    files = page.ask("GET", f"/api/run/{NAME}").json()["files"]
    paths = [one["path"] for one in files]
    assert {"run.json", "config.json", "artifacts/model.bin"} < set(paths)
    assert not {"artifacts/link.txt", "artifacts/pipe", "artifacts/folder"} & set(paths)
    assert not any("outside" in path for path in paths)


def test_secrets_of_runs_are_masked_as_in_a_report(page, root):
    config = {
        "api_key": "sk-4f8a9b2c7d1e6f3a5b9c8d7e",
        "lr": 0.25,
        "in": [{"password": "hunter2!"}],
    }
    folder = write_run(root, "20260301_101500_0003", config=config)
    (folder / "run.log").write_text("fetching https://me:hunter2!@host/x\n")
    about = page.ask("GET", "/api/run/20260301_101500_0003")
    assert "sk-4f8a" not in about.text and "hunter2" not in about.text
    assert about.json()["config"]["lr"] == 0.25
    assert "sk-4f8a" not in page.ask("GET", "/api/data").text


# ---- limits --------------------------------------------------------------------------------------


def test_large_requests_are_refused(page):
    answer = page.post("/api/tag", b'{"run":"' + b"x" * 200_000 + b'"}')
    assert answer.status == 413
    assert page.ask("GET", "/?x=" + "y" * 100_000).status in (400, 414, 431)
    assert page.ask("GET", "/api/data").status == 200


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 60_000, b'{"a":1e999}']
)
def test_bodies_that_are_no_objects_are_refused_in_a_sentence(page, body):
    answer = page.post("/api/stop", body)
    assert answer.status == 400 and answer.json()["error"]
    assert "Traceback" not in answer.text and ".py" not in answer.text


def test_a_slow_visitor_holds_up_nobody(page):
    with socket.create_connection(("127.0.0.1", page.port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with socket.create_connection(("127.0.0.1", page.port)) as posts:
            posts.sendall(
                f"POST /api/tag HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
                f"Cookie: {page.cookie}\r\n"
                f"Origin: http://127.0.0.1:{page.port}\r\nX-Ztxexp: 1\r\n"
                f"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode()
            )
            assert page.ask("GET", "/api/data").status == 200


def test_one_who_does_not_read_holds_up_nobody(page, root):
    (root / NAME / "artifacts" / "large.bin").write_bytes(bytes(50 * 2**20))
    with contextlib.ExitStack() as slow:
        for path in (f"/files/{NAME}/artifacts/large.bin", "/api/events", "/api/data"):
            sock = slow.enter_context(socket.create_connection(("127.0.0.1", page.port)))
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {page.cookie}\r\n\r\n"
            sock.sendall(head.encode())
        for _ in range(20):
            assert page.ask("GET", "/api/data").status == 200
    assert len(page.ask("GET", f"/files/{NAME}/artifacts/large.bin").body) == 50 * 2**20


def test_a_page_says_which_state_it_has(page):
    assert page.ask("GET", "/api/events?since=abc").status == 400
    with page.events(since=1) as events:
        assert next(events) == ("reload", {})
    whole = page.ask("GET", "/api/data")
    tag = whole.headers["etag"]
    assert tag == f'"{whole.json()["state"]}"'
    answer = page.ask("GET", "/api/data", if_none_match=tag)
    assert (answer.status, answer.body) == (304, b"")


def test_heads_are_answered_without_a_body(page):
    for path in ("/", "/api/data", "/api/events", f"/files/{NAME}/run.json"):
        answer = page.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@given(st.text() | st.from_regex(r"\[?[a-z0-9.:@%/-]*\]?(:[0-9a-z]*)?"))
def test_any_text_may_stand_as_host(text):
    name = host_of(text)
    assert name is None or (name == name.lower() and not set(name) & set(" @/[]\r\n"))
    assert not Hosts().has(f"{text}.evil.example", "127.0.0.1")


def test_web_sockets_are_refused(page):
    answer = page.ask(
        "GET", "/api/events", cookie="", connection="Upgrade", upgrade="websocket",
        sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA==", sec_websocket_version="13",
    )  # fmt: skip
    assert answer.status in (400, 403)


@pytest.mark.slow
def test_the_log_of_requests_never_holds_the_token(root):
    with served(root, "--access-log") as server:
        server.open()
        server.ask("GET", f"/nothing?token={server.token}", referer=server.url)
        server.ask("GET", f"/?token={server.token}x")
        server.end()
        log = server.process.stderr.read()
    assert "GET / 303" in log and "GET /nothing 404" in log and "GET / 403" in log
    assert server.token not in log and server.cookie.partition("=")[2] not in log


def test_ten_wrong_cookies_cost_no_data(page: Served):
    for _ in range(10):
        assert page.ask("GET", "/api/data", cookie=f"{page.cookie}x").status == 403
    assert page.ask("GET", "/api/data").status == 200
