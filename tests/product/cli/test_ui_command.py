"""``ztxexp ui``: how it begins, what it says, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from handmade import write_run
from live_pages import served

from ztxexp.cli.main import main


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path / "results", "20260301_101500_0001", metrics={"loss": 0.5})
    return tmp_path / "results"


def test_it_says_where_it_is_and_how_to_end_it(root):
    with served(root) as page:
        assert page.url == f"http://127.0.0.1:{page.port}/?token={page.token}"
        assert page.end() == 130
        said = page.process.stderr.read()
        rest = page.process.stdout.read()
    assert rest == ""
    assert said.count("\n") == 1 and page.token not in said
    assert f"127.0.0.1:{page.port} only" in said and "Ctrl-C ends it" in said


@pytest.mark.slow
def test_over_ssh_the_tunnel_is_printed(root):
    with served(root, SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22") as page:
        page.end()
        assert f"ssh -L {page.port}:localhost:{page.port} " in page.process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_it_ends_at_once_though_pages_listen(root, signum, code):
    with served(root) as page:
        page.open()
        state = page.data()["state"]
        with (
            page.events(state),
            page.events(state),
            socket.create_connection(("127.0.0.1", page.port)),
        ):
            time.sleep(0.3)
            began = time.monotonic()
            assert page.end(signum) == code
            assert time.monotonic() - began < 3
        assert "Traceback" not in page.process.stderr.read()


@pytest.mark.slow
def test_two_servers_side_by_side_have_their_own_cookies(root, tmp_path):
    write_run(tmp_path / "other", "b", config={"lr": 7})
    with served(root) as one, served(tmp_path / "other") as other:
        cookies = f"{one.open().cookie}; {other.open().cookie}"
        assert one.ask("GET", "/api/data", cookie=cookies).json()["title"] == "results"
        assert other.ask("GET", "/api/data", cookie=cookies).json()["title"] == "other"
        assert one.ask("GET", "/api/data", cookie=other.cookie).status == 403
        assert other.ask("GET", f"/?token={one.token}", cookie="").status == 403


@pytest.mark.slow
def test_it_ends_when_nobody_comes_and_not_while_a_page_is_open(root):
    with served(root, "--idle", "1s") as page:
        page.open()
        with page.events():
            time.sleep(2.5)
            assert page.process.poll() is None
        assert page.process.wait(10) == 0
        assert "nobody came for 1s" in page.process.stderr.read()


def test_a_port_in_use_is_named(root, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["ui", "-C", str(root), "--port", str(port), "--no-browser"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert f"port {port} on 127.0.0.1 is in use" in err and "--port 0" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--host", "192.0.2.7"], "no address of this machine"),
        (["--host", "no.such.host.invalid"], "no address of this machine"),
        (["--idle", "soon"], "--idle takes an age such as"),
        (["--port", "70000"], "70000"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(root, capsys, words, problem):
    with pytest.raises(SystemExit) as ended:
        main(["ui", "-C", str(root), "--no-browser", *words])
    out, err = capsys.readouterr()
    assert ended.value.code in (1, 2) and out == "" and problem in err


@pytest.mark.slow
def test_another_host_is_warned_of_and_answers_to_its_own_names_only(root):
    with served(root, "--host", "0.0.0.0") as page:
        token = page.token
        assert page.ask("GET", f"/?token={token}", host="evil.example").status == 403
        assert page.ask("GET", f"/?token={token}", host=f"127.0.0.1:{page.port}").status == 303
        assert page.ask("GET", f"/?token={token}", host=socket.gethostname()).status == 303
        page.end()
        said = page.process.stderr.read()
    assert "warning: --host 0.0.0.0 lets every machine" in said and "nothing is encrypted" in said
    assert f"ssh -L {page.port}:localhost:{page.port}" in said


@pytest.mark.slow
def test_the_next_port_is_taken_where_the_usual_one_is_in_use(root):
    ports = set()
    with served(root, "--port", "0") as _:  # the helper gives a port only where none is given
        command = [sys.executable, "-m", "ztxexp", "ui", "-C", str(root), "--no-browser"]
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(2)
        ]
        for process in started:
            ports.add(process.stdout.readline().partition("/?")[0].rpartition(":")[2])
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()
    assert len(ports) == 2 and all(8417 <= int(port) < 8417 + 20 for port in ports)


def test_without_its_packages_the_report_is_written(root, tmp_path, monkeypatch, capsys):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "uvicorn" else find(name, *a)
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--no-browser"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (0, "")
    assert 'pip install "ztxexp[ui]"' in err and "wrote report.html: 1 run" in err
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_help_imports_no_server():
    unwanted = {"starlette", "uvicorn", "pandas", "asyncio"}
    code = f"import sys, ztxexp.cli.ui; print(sorted({unwanted} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert shown.stdout.strip() == "[]", shown.stderr


def test_it_starts_before_there_is_a_results_root(tmp_path):
    with served(tmp_path / "results", make=False) as page:
        page.open()
        assert page.data()["runs"]["id"] == []
        assert not (tmp_path / "results").exists()
        write_run(tmp_path / "results", "20260301_101500_0001", metrics={"loss": 0.5})
        until = time.monotonic() + 20
        while not page.data()["runs"]["id"]:
            assert time.monotonic() < until
            time.sleep(0.3)
        page.end()
        assert "the page waits for the first run" in page.process.stderr.read()
