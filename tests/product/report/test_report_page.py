"""The page of a report as a file: whole, closed to everything, inert whatever runs say."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import os
import re
import stat
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from handmade import put, write_run

from ztxexp import ResultAnalyzer
from ztxexp.analysis.run_table import RunTable
from ztxexp.cli.main import main
from ztxexp.report import page as page_module
from ztxexp.report.page import page, policy, static
from ztxexp.report.payload import payload
from ztxexp_core.errors import ZtxexpError

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>",
    "\u2028\u2029",
    "'\"`&amp;",
    "javascript:alert(1)",
    "a\x00b\x1b[31m\x9b",
    "\ud800",
    "‮txt",
    "=cmd()",
    "__proto__",
]


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def named(self, tag):
        return [
            (attributes, text)
            for (name, attributes), text in zip(self.elements, self.texts, strict=True)
            if name == tag
        ]


@pytest.fixture
def root(tmp_path):
    """Runs in which every field is hostile."""
    root = tmp_path / "results"
    for number, text in enumerate(HOSTILE):
        failed = (
            {"error_type": text, "error_message": text, "error_place": text} if number % 2 else {}
        )
        folder = write_run(
            root,
            f"20260101_00000{number:02}_a",
            status="failed" if failed else "succeeded",
            config={"lr": number % 4, "seed": number // 4, text: text, "x": {text: [text]}},
            metrics={"accuracy": number / 10, f"{text} accuracy": 1.0, "said": text},
            curve=[{"step": 0, "metrics": {text: 1.0}, "split": text}],
            tags={text: text},
            group=text,
            started_at=text,
            **failed,
        )
        put(folder / "meta.json", {"function": text, "command": text, "hostname": text,
                                   "git_branch": text, "git_commit": text})  # fmt: skip
        (folder / "error.log").write_bytes(text.encode("utf-8", "surrogatepass"))
    return root


def data_of(text: str):
    """The data as the page's script reads them."""
    elements = Elements(text)
    for attributes, content in elements.named("script"):
        if attributes.get("id") == "data":
            return json.loads(content)
        if attributes.get("id") == "data-gz":
            return json.loads(gzip.decompress(base64.b64decode(content)))
    raise AssertionError("no data")


def test_hostile_strings_are_data_and_nothing_else(root):
    text = ResultAnalyzer(root).report().text
    elements = Elements(text)
    scripts = elements.named("script")
    assert [attributes.get("id") for attributes, _ in scripts] in (
        ["data", None],
        ["data-gz", None],
    )
    assert not elements.named("img") and "<!--" not in text
    handlers = [n for _, attributes in elements.elements for n in attributes if n.startswith("on")]
    assert not handlers
    data = data_of(text)
    keys = [one["key"] for one in data["runs"]["columns"]]
    assert HOSTILE[0] in keys and HOSTILE[1] in keys
    assert "\x00" not in text and "\x1b" not in text.replace("\\u001b", "")
    text.encode()


def test_data_come_through_as_they_are_in_both_ways_of_packing(root, monkeypatch):
    data = payload(RunTable.read(root))
    for most in (10**9, 0):
        monkeypatch.setattr(page_module, "_PLAIN_BYTES", most)
        text = page(data)
        assert ('id="data-gz"' in text) == (most == 0)
        assert data_of(text) == json.loads(json.dumps(data))


def test_the_same_runs_make_the_same_file(root, monkeypatch):
    monkeypatch.setattr(page_module, "_PLAIN_BYTES", 0)
    data = payload(RunTable.read(root))
    assert page(data) == page(data)


def test_the_policy_lets_only_the_pages_own_script_run(root):
    text = ResultAnalyzer(root).report().text
    elements = Elements(text)
    (content,) = [
        attributes["content"]
        for attributes, _ in elements.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in content.split("; "))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'none'"
    assert "unsafe" not in rules["script-src"] and "*" not in content
    ((_, script),) = [one for one in elements.named("script") if not one[0].get("id")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert text.index("Content-Security-Policy") < text.index("<script")


def test_nothing_outside_the_file_is_named_as_a_source(root):
    elements = Elements(ResultAnalyzer(root).report().text)
    for _, attributes in elements.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attributes.get(name, "data:,") in ("data:,", None)
    assert not elements.named("iframe") and not elements.named("base")


def test_it_has_what_every_page_has(root):
    text = ResultAnalyzer(root).report().text
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">')
    elements = Elements(text)
    assert any(a.get("name") == "viewport" for a, _ in elements.named("meta"))
    assert elements.named("title")[0][1] == "results - ztxexp"
    assert [a.get("id") for a, _ in elements.named("div")] == ["app"]


def test_without_scripts_the_head_and_the_best_are_there(tmp_path):
    for seed in (0, 1):
        for lr in ("a<b", "b"):
            write_run(tmp_path, f"r{seed}{lr[0]}", config={"lr": lr, "seed": seed},
                      metrics={"accuracy": 0.5 + seed / 10 + (lr == "b")})  # fmt: skip
    text = page(payload(RunTable.read(tmp_path)))
    shown = text[text.index("<noscript>") : text.index("</noscript>")]
    assert "4 runs: 4 succeeded" in shown and "a&lt;b" in shown
    assert "<td>b</td><td>1.55</td><td>0.071</td><td>2</td>" in shown


def test_a_script_that_holds_its_own_end_stays_whole(monkeypatch, tmp_path):
    (tmp_path / "report.js").write_text("x = '</script><!--'; // ü\r\n")
    (tmp_path / "report.css").write_text("a::before { content: '</style>' }")
    monkeypatch.setattr(page_module, "_STATIC", tmp_path)
    static.cache_clear()
    try:
        elements = Elements(page(None, nonce="abc"))
        ((attributes, script),) = elements.named("script")
        assert script == "x = '<\\/script>\\x3c!--'; // ü" and attributes["nonce"] == "abc"
        assert "'nonce-abc'" in policy("abc") and "connect-src 'self'" in policy("abc")
        assert "'sha256-" in policy() and not elements.named("noscript")[0][0]
    finally:
        static.cache_clear()


def test_an_installation_without_the_page_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(page_module, "_STATIC", tmp_path / "static")
    static.cache_clear()
    with pytest.raises(ZtxexpError, match=r"report\.js cannot be read .* install ztxexp again"):
        page(None)


# ---- the file and the command --------------------------------------------------------------------


def ztxexp(*words):
    result = CliRunner(catch_exceptions=False).invoke(main, list(words), prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_a_file_and_says_what_is_next(root, tmp_path):
    out = tmp_path / "r.html"
    code, stdout, err = ztxexp("report", "-C", str(root), "-o", str(out))
    assert code == 0 and stdout == "" and out.read_text().startswith("<!DOCTYPE html>")
    assert f"wrote {out}" in err and "iB)" in err and "12 runs" in err and "--anonymous" in err


def test_it_chooses_runs_as_other_commands_do(root, tmp_path):
    out = tmp_path / "r.html"
    code, _, err = ztxexp("report", "-C", str(root), "-o", str(out), "--status", "failed")
    assert code == 0 and set(data_of(out.read_text())["runs"]["status"]) == {"failed"}
    code, _, err = ztxexp("report", "-C", str(root), "-o", str(out), "-w", "lr > 99")
    assert code == 1 and "none of the 12 runs" in err


def test_a_page_on_standard_output_is_only_that(root):
    code, stdout, err = ztxexp("report", "-C", str(root), "-o", "-")
    assert (
        code == 0 and stdout.startswith("<!DOCTYPE html>") and stdout.rstrip().endswith("</html>")
    )
    assert "wrote" not in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(root, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ZtxexpError, match=r"closed.*cannot be written: Permission denied"):
        ResultAnalyzer(root).report(closed / "r.html")


def test_a_path_that_cannot_be_one_is_named_and_nothing_is_left(root, tmp_path):
    analyzer = ResultAnalyzer(root)
    with pytest.raises(ZtxexpError, match="there is no folder"):
        analyzer.report(tmp_path / "no" / "r.html")
    with pytest.raises(ZtxexpError, match="is a folder; name a file in it"):
        analyzer.report(tmp_path)
    with pytest.raises(ZtxexpError, match=r"a report is HTML; name it r\.html"):
        analyzer.report(tmp_path / "r.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]
    code, _, err = ztxexp("report", "-C", str(root), "-o", str(tmp_path))
    assert code == 1 and "name a file in it" in err


def test_the_old_file_stands_until_the_new_one_is_whole(root, tmp_path, monkeypatch):
    out = tmp_path / "r.html"
    out.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ztxexp_core.store.files._replace", fail)
    with pytest.raises(ZtxexpError, match="No space left"):
        ResultAnalyzer(root).report(out)
    assert out.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_it_opens_a_browser_when_asked(root, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    out = tmp_path / "r ü.html"
    code, _, err = ztxexp("report", "-C", str(root), "-o", str(out), "--open")
    assert code == 0 and opened == [out.as_uri()] and "next:" not in err
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    code, _, err = ztxexp("report", "-C", str(root), "-o", str(out), "--open")
    assert code == 0 and "no browser could be started" in err


def test_in_a_notebook_it_is_a_link_and_a_line(root, tmp_path):
    report = ResultAnalyzer(root).report()
    assert report.path is None and "not a file yet" in report._repr_html_()
    with pytest.raises(ZtxexpError, match="no file yet"):
        report.open()
    path = report.save(tmp_path / "a&b.html")
    shown = report._repr_html_()
    assert html.escape(path.as_uri()) in shown and "a&amp;b.html" in shown and len(shown) < 900
    assert re.search(r"report of 12 runs: .* KiB; ", str(report))
