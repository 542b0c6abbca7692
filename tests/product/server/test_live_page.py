"""The live page in a real browser, while a real sweep runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browsing
import pytest
from handmade import write_run
from launches import at_work, launched, records, until
from live_pages import Served, served

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(browsing.launched)

_ROWS = ".tabulator-tableholder .tabulator-row"
_HOSTILE = '</script><img src=x onerror="window.pwned=1">'
_STRANGER = """async address => {
    const tried = {};
    for (const path of ["/api/data", "/api/events"])
        for (const mode of ["cors", "no-cors"])
            try {
                const answer = await fetch(address + path, { mode, credentials: "include" });
                tried[path + mode] = await answer.text();
            } catch (error) { tried[path + mode] = "refused"; }
    const body = JSON.stringify({ run: "20260301_101500_a", tags: { x: "y" } });
    const own = { "X-Ztxexp": "1", "Content-Type": "application/json" };
    for (const more of [{ mode: "no-cors" }, { mode: "cors", headers: own }])
        try {
            const post = { method: "POST", credentials: "include", body, ...more };
            await fetch(address + "/api/tag", post);
        } catch (error) { /* refused */ }
    const frame = document.createElement("iframe");
    frame.src = address + "/";
    document.body.append(frame);
    await new Promise(done => { frame.onload = done; setTimeout(done, 1500); });
    try { tried.frame = frame.contentDocument?.body?.innerText ?? ""; } catch (error) { }
    return tried;
}"""


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[tuple[Path, Served]]:
    with launched(tmp_path, "process_pool", 2), served(tmp_path / "results") as server:
        at_work(tmp_path, 2)
        yield tmp_path, server


def open_page(browser: Any, server: Served, **more: Any) -> Any:
    return browsing.opened(browser, server.url, allow=f"http://127.0.0.1:{server.port}/", **more)


def cells(page: Any, field: str) -> list[str]:
    found = page.locator(f"{_ROWS} .tabulator-cell[tabulator-field='{field}']")
    return [text.strip() for text in found.all_inner_texts()]


def statuses(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(f"{_ROWS} .badge").all_inner_texts()]


def wait(page: Any, condition: Callable[[], object]) -> None:
    """Wait in Python: the page's policy lets no test evaluate a text in it again and again."""
    for _ in range(400):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came")


def test_a_sweep_moves_and_is_stopped_and_tagged_from_the_page(
    browser: Any, sweep: tuple[Path, Served]
) -> None:
    folder, server = sweep
    with open_page(browser, server) as page:
        assert page.url == f"http://127.0.0.1:{server.port}/"  # the token has left the address
        assert server.token not in page.content()
        assert (
            page.evaluate("document.cookie + document.referrer + JSON.stringify(localStorage)")
            == "{}"
        )
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.wait_for_selector(".connection.live")
        wait(page, lambda: statuses(page) == ["running", "running"])
        before = page.locator("#curves").inner_text()
        wait(page, lambda: page.locator("#curves").inner_text() != before)

        page.locator(f"{_ROWS} a, {_ROWS} button").first.click()
        drawer = page.locator("aside.drawer")
        name = next(
            one["run_id"] for one in records(folder) if one["run_id"] in drawer.inner_text()
        )
        tags = folder / "results" / name / "tags.jsonl"
        box = drawer.get_by_label("another tag, key=value")
        box.fill("stage=odd one")
        box.press("Enter")
        drawer.locator(".tag", has_text="stage=odd one").wait_for()
        (line,) = tags.read_text().splitlines()
        assert json.loads(line)["set"] == {"stage": "odd one"}
        drawer.get_by_label("remove tag stage=odd one").click()
        wait(page, lambda: len(tags.read_text().splitlines()) == 2)

        drawer.get_by_role("button", name="Stop this run").click()
        wait(page, lambda: "failed" in statuses(page))
        stopped = next(one for one in records(folder) if one["run_id"] == name)
        assert (stopped["status"], stopped["reason"]) == ("failed", "stopped")
        page.keyboard.press("Escape")
        (folder / "go").touch()
        wait(page, lambda: statuses(page).count("ok") == 2)


def test_a_launch_is_stopped_from_the_page(browser: Any, sweep: tuple[Path, Served]) -> None:
    folder, server = sweep
    with open_page(browser, server) as page:
        page.get_by_role("button", name="stop launch").click()
        until(lambda: {one["reason"] for one in records(folder)} == {"interrupted"})
        button = page.get_by_role("button", name="stop launch")
        wait(page, lambda: button.count() == 0)


def test_files_are_saved_and_never_shown(browser: Any, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "results", "20260301_101500_a", metrics={"loss": 1.0})
    (folder / "artifacts" / "page.html").write_text("<script>window.pwned=1</script>")
    with served(tmp_path / "results") as server, open_page(browser, server) as page:
        page.locator(f"{_ROWS} a, {_ROWS} button").first.click()
        with page.expect_download() as saved:
            page.get_by_text("artifacts/page.html").click()
        assert saved.value.suggested_filename == "page.html"
        assert page.url.startswith(f"http://127.0.0.1:{server.port}/")


def test_what_runs_say_is_text(browser: Any, tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "results",
        "20260301_101500_a",
        "failed",
        config={_HOSTILE: _HOSTILE},
        metrics={_HOSTILE: 1.0},
        error_type=_HOSTILE,
        error_message=_HOSTILE,
        tags=[_HOSTILE],
    )
    (folder / "run.log").write_text(_HOSTILE)
    (folder / "artifacts" / "<img src=x onerror=alert(1)>").write_text("x")
    with served(tmp_path / "results") as server, open_page(browser, server) as page:
        page.locator(f"{_ROWS} a, {_ROWS} button").first.click()
        page.get_by_text("artifacts/<img").wait_for()
        assert page.locator("aside.drawer img").count() == 0
        server.cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
        assert (
            server.post("/api/tag", {"run": folder.name, "tags": {"<b>x": _HOSTILE}}).status == 200
        )
        page.wait_for_timeout(1500)  # told, merged, drawn
        assert page.locator("b").count() == 0


def test_the_page_comes_back_after_the_server_was_away(browser: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "results", "20260301_101500_a", metrics={"loss": 1.0})
    with served(tmp_path / "results") as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector(".connection.live")
        server.end()
        page.wait_for_selector(".connection.lost")
        with served(tmp_path / "results", "--port", server.port) as again:
            # Its secrets are new: the old page stays outside until the new address is opened.
            page.wait_for_timeout(3500)
            assert page.locator(".connection.lost").count() == 1
            context.new_page().goto(again.url)
            page.wait_for_selector(".connection.live", timeout=10_000)
        context.close()


def test_an_address_that_is_followed_from_another_page_opens(browser: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "results", "20260301_101500_a", metrics={"loss": 1.0})
    with served(tmp_path / "results") as server:
        link = tmp_path / "link.html"
        link.write_text(f"<a href='{server.url}'>the live page</a>")
        context = browser.new_context()
        page = context.new_page()
        page.goto(link.as_uri())
        page.get_by_text("the live page").click()
        page.wait_for_selector("html[data-ready]")
        assert page.url == f"http://127.0.0.1:{server.port}/"
        context.close()


def test_a_page_of_a_stranger_gets_nothing(browser: Any, tmp_path: Path) -> None:
    """It is on the same site, another port of this machine, and the browser has the cookie."""
    write_run(
        tmp_path / "results", "20260301_101500_a", metrics={"loss": 1.0}, config={"lr": 0.125}
    )
    (tmp_path / "other").mkdir()
    with served(tmp_path / "results") as server, served(tmp_path / "other") as stranger:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.goto(stranger.url)
        address = f"http://127.0.0.1:{server.port}"
        assert f"ztxexp-{server.port}" in {one["name"] for one in context.cookies()}
        page.goto("about:blank")
        page.route(
            "http://127.0.0.1:9/", lambda route: route.fulfill(body="<p>", content_type="text/html")
        )
        page.goto("http://127.0.0.1:9/")
        outcome = page.evaluate(_STRANGER, address)
        context.close()
    assert all("0.125" not in text and "20260301" not in text for text in outcome.values()), outcome
    assert not (tmp_path / "results" / "20260301_101500_a" / "tags.jsonl").exists()


def test_it_is_usable_on_a_phone_in_the_dark(browser: Any, sweep: tuple[Path, Served]) -> None:
    _, server = sweep
    with open_page(browser, server, width=390, height=844, color_scheme="dark") as page:
        page.wait_for_selector(".connection.live")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator(f"{_ROWS} a, {_ROWS} button").first.click()
        assert page.get_by_role("button", name="Stop this run").is_visible()


def test_a_page_that_is_opened_before_the_sweep_comes_alive(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path / "results", make=False) as server, open_page(browser, server) as page:
        page.get_by_text("Waiting for the first run").wait_for()
        with launched(tmp_path, "process_pool", 2):
            at_work(tmp_path, 2)
            wait(page, lambda: statuses(page) == ["running", "running"])
            head = page.locator(".under-way")
            wait(page, lambda: head.count() == 1 and "of 3 runs done" in head.inner_text())
