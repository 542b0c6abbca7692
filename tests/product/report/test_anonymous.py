"""Anonymous reports and exports: what says who and where is gone, in every form."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from handmade import put, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ztxexp import ResultAnalyzer
from ztxexp.analysis.run_table import RunTable
from ztxexp.cli.main import main
from ztxexp.report import page as page_module
from ztxexp.report.anonymous import Anonymiser, anonymised, forms, paths_left
from ztxexp.report.identifying import HOST, USER, Secrets
from ztxexp.report.page import page
from ztxexp.report.payload import payload

HOSTNAME = "gpu07.cs.uni-example.edu"
HOME = "/home/jdoe42"
COMMIT = "37e747977a152e29c1ea463a665f800ee2cae77f"
NEVER = (
    "jdoe42", "gpu07", "uni-example", COMMIT[:7], "Jane Doe", "jane.doe", "janelab", "10.20.30.40",
    "Jane_Doe",
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Runs whose every text says who made them, in a repository with remote and author."""
    root = tmp_path / "project" / "jdoe42_runs"
    said = (
        f'File "{HOME}/project/train.py" on {HOSTNAME} ({HOSTNAME.upper()}) by jane.doe@cs.uni-'
        f"example.edu at {COMMIT[:9]}; see git@github.com:janelab/secret.git, "
        f"file%3A%2F%2F%2Fhome%2Fjdoe42%2Fx, {json.dumps(json.dumps(HOME))}, "
        f"C:\\Users\\jdoe42\\x, {HOME.replace('/', chr(92) + '/')}, 10.20.30.40:5000, Jane_Doe"
    )
    for at in range(4):
        failed = {"error_type": "ValueError", "error_message": said, "reason": "exception"}
        folder = write_run(
            root,
            f"20260101_00000{at}_jdoe42{at}",
            status="failed" if at == 3 else "succeeded",
            config={"lr": 0.1 * (at // 2 + 1), "seed": at % 2, "data_dir": f"{HOME}/data/{at}",
                    "user": "janelab2", "note": said, "nested": {"jdoe42": [said]}},
            metrics={"accuracy": 0.5 + at / 10, "acc of jdoe42": 1.0},
            curve=[{"step": 0, "metrics": {"loss jdoe42": 1.0}}],
            tags={"owner": "jdoe42", "where": HOSTNAME},
            group="jdoe42-group",
            started_at="2026-01-01T00:00:00+00:00",
            owner={"host": HOSTNAME, "pid": 1, "boot": "b00t-b00t", "pid_namespace": "pid:[7]"},
            **(failed if at == 3 else {}),
        )  # fmt: skip
        meta = {"git_commit": COMMIT, "git_branch": "jdoe42/fix", "hostname": HOSTNAME,
                "command": f"{HOME}/venv/bin/python train.py --out {HOME}/out",
                "function": "jdoe42.train:train", "git_dirty": False}  # fmt: skip
        put(folder / "meta.json", meta)
        if at == 3:
            (folder / "error.log").write_text(f"Traceback\n{said}\n")
    git = ["git", "-C", str(tmp_path / "project")]
    subprocess.run([*git, "init", "-q"], check=True)
    for name, value in (("user.name", "Jane Doe"), ("user.email", "jane.doe@cs.uni-example.edu")):
        subprocess.run([*git, "config", name, value], check=True)
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:janelab/x.git"], check=True)
    return root


def everything(text: str) -> str:
    """The page, what is packed in it, and both as a reader of JSON and of URLs would see them."""
    packed = "".join(
        gzip.decompress(base64.b64decode(one)).decode()
        for one in re.findall(r'id="data-gz">([^<]*)<', text)
    )
    both = text + packed
    decoded = [json.dumps(json.loads(one)) for one in re.findall(r'id="data">([^<]*)<', text)]
    return "\n".join([both, *decoded])


@pytest.mark.parametrize("plain_bytes", [0, 10**9])
def test_nothing_of_who_and_where_stays_in_a_report(root, plain_bytes, monkeypatch):
    monkeypatch.setattr("ztxexp.report.page._PLAIN_BYTES", plain_bytes)
    report = ResultAnalyzer(root).report(anonymous=True)
    text = everything(report.text).lower()
    for secret in NEVER:
        for form in forms(secret):
            assert form.lower() not in text, secret
    assert "host-1" in text and "user-1" in text and "~/data/0" in text


def test_the_same_secrets_stand_in_a_report_that_is_not_anonymous(root):
    report = ResultAnalyzer(root).report()
    text = everything(report.text)
    missing = [secret for secret in NEVER if secret not in text and secret != "Jane Doe"]
    assert not missing and report.payload["anonymous"] is None and report.taken == []


def test_it_lists_what_was_taken_and_how_often_without_saying_it(root):
    taken = ResultAnalyzer(root).report(anonymous=True).taken
    kinds = [line.partition(",")[0] for line in taken]
    for kind in ("host names", "user names", "home folders", "commits", "e-mail addresses",
                 "git remotes", "authors", "network addresses"):  # fmt: skip
        assert kind in kinds, kind
    assert all(re.search(r"\d+ times? \(now ", line) for line in taken)
    assert not any(secret in line for secret in NEVER for line in taken)


def test_values_that_say_nothing_stay_as_they_are(root):
    plain, anonymous = (ResultAnalyzer(root).report(anonymous=one).payload for one in (False, True))
    for name in ("status", "started", "seconds", "id", "code", "attempt"):
        assert plain["runs"][name] == anonymous["runs"][name]
    by_key = {column["key"]: column for column in anonymous["runs"]["columns"]}
    assert by_key["lr"]["values"] == [0.1, 0.1, 0.2, 0.2]
    assert by_key["accuracy"]["mode"] == "max"
    assert [one["y"] for one in plain["curves"]["series"]] == [
        one["y"] for one in anonymous["curves"]["series"]
    ]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\%."),
    min_size=5,
    max_size=12,
).filter(lambda name: not name.isdigit())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    NAMES,
    st.sampled_from(["{}", "x{}y", "a/{}/b", '"{}"', "{}\n{}", "...{}..."]),
    st.integers(0, 6),
)
def test_no_form_of_a_name_is_left(name, frame, form):
    secrets = Secrets()
    if secrets.add(USER, name) is None:
        return
    written = sorted(forms(name))[form % len(forms(name))]
    text = Anonymiser(secrets).text(frame.format(written, written))
    assert written.lower() not in text.lower()


ODD_NAMES = NAMES.map(lambda name: f"Zq{name}")  # which no page holds by chance


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ODD_NAMES, ODD_NAMES, ODD_NAMES, st.sampled_from([0, 10**9]))
def test_whoever_it_is_nobody_is_named_in_a_page(tmp_path, user, host, person, plain_bytes):
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    home = f"/home/{user}"
    said = (
        f"{home}/x {quote(home)} {json.dumps(home)} {host} {host}.{person}.edu by {user} {person}"
    )
    for at in range(2):
        folder = write_run(
            root, f"20260101_00000{at}_a", status="failed" if at else "succeeded",
            config={"lr": at, "data": f"{home}/d", "author": f"{person} Xyz", user: said},
            metrics={"accuracy": 1.0, f"{host} loss": 0.5, "text": said}, tags={"a": said},
            group=said, owner={"host": host}, error_type=said, error_message=said,
            curve=[{"step": 0, "metrics": {user: 1.0}}],
        )  # fmt: skip
        put(folder / "meta.json", {"hostname": host, "command": said, "function": f"{user}:f"})
        (folder / "error.log").write_text(said)
    table = RunTable.read(root)
    before = page_module._PLAIN_BYTES
    page_module._PLAIN_BYTES = plain_bytes
    try:
        made = page(anonymised(payload(table), table))
    finally:
        page_module._PLAIN_BYTES = before
    text = everything(made[made.index("<body>") : made.rindex("<script>")]).lower()
    for secret in (user, host, f"{person} xyz"):
        assert not [form for form in forms(secret) if form.lower() in text]


def test_a_short_name_is_taken_where_it_stands_alone():
    secrets = Secrets()
    secrets.add(USER, "tom")
    text = Anonymiser(secrets).text(r"custom tom/x a%2Ftom%2Fb C:\ntom Tom atom _tom_")
    assert text == r"custom user-1/x a%2Fuser-1%2Fb C:\nuser-1 user-1 atom _user-1_"


def test_letters_whose_small_one_is_two_are_known():
    secrets = Secrets()
    secrets.add(USER, "Zq0000İ")
    assert Anonymiser(secrets).text("by Zq0000İ and zq0000İ") == "by user-1 and user-1"


def test_what_was_cut_off_is_taken_too():
    secrets = Secrets()
    secrets.add_home("/home/jdoe42", "jdoe42")
    text = Anonymiser(secrets).text("read /home/jdo... and ...oe42/x")
    assert "jdo" not in text and "oe42" not in text


def test_a_host_with_and_without_its_domain_is_one():
    secrets = Secrets()
    secrets.add_host("gpu07.lab.example")
    words = Anonymiser(secrets).text("gpu07.lab.example GPU07 login.lab.example")
    assert words == "host-1 host-1 login.domain-1"


def test_accounts_of_systems_are_nobody():
    secrets = Secrets()
    for name in ("root", "ubuntu", "7", "x", "", None):
        assert secrets.add(USER, name) is None
    secrets.add(HOST, "localhost")
    assert Anonymiser(secrets).text("root@localhost 7 x") == "root@localhost 7 x"


def test_many_names_cost_little():
    secrets = Secrets()
    for at in range(500):
        secrets.add_author(f"First{at} Last{at}")
    anonymiser = Anonymiser(secrets)
    assert (
        anonymiser.text(f"by First77 Last77 {quote('First78 Last78')}") == "by author-78 author-79"
    )


def test_paths_that_may_name_a_group_are_shown():
    said = {"a": ["/data/smithlab/x.npz and /usr/lib/x", "https://a.example/b/c"]}
    assert paths_left(said) == ["/data/smithlab/x.npz"]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "tsv"])
def test_nothing_of_who_and_where_stays_in_an_export(root, tmp_path, ending):
    out = tmp_path / f"runs.{ending}"
    words = ["export", "-C", str(root), "-o", str(out), "--anonymous", "--status", "all"]
    words += ["--all-columns"] if ending == "json" else []
    result = CliRunner(catch_exceptions=False).invoke(main, words)
    assert result.exit_code == 0
    err = result.stderr
    text = out.read_text().lower()
    for secret in (*NEVER, "b00t-b00t"):
        for form in forms(secret):
            assert form.lower() not in text, secret
    assert "host-1" in text and "taken out: host names" in err and "jdoe42" not in err
    assert "0.5" in text and "20260101_00000" in text
