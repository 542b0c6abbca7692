"""The live page in a real browser, beside a server that speaks as ``ztxexp ui`` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import launched, opened
from live_server import LiveServer, delta_of, serving
from sample_payload import HOSTILE, sample_payload

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(launched)

_LAST = 59  # the run that is at work


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with serving(sample_payload(60, 60, 40, live=True)) as one:
        yield one


@pytest.fixture
def page(browser: Any, server: LiveServer) -> Iterator[Any]:
    with opened(browser, server.address, allow=server.address) as one:
        one.wait_for_selector(".connection.live")
        yield one


def _open_last(page: Any, server: LiveServer) -> None:
    page.locator(f"button[data-run='{server.payload['runs']['name'][_LAST]}']").click()
    page.wait_for_selector("aside.drawer:not([hidden])")


def test_a_change_is_merged_and_what_the_reader_chose_stays(page: Any, server: LiveServer) -> None:
    page.click("[data-sort='metrics:accuracy']")
    page.fill("#search", "opt == 'sgd'")
    page.wait_for_selector(".chip")
    page.locator(".tabulator-row input[type=checkbox]").nth(2).check()
    page.evaluate("document.querySelector('.tabulator-tableholder').scrollTop = 200")
    page.evaluate("scrollTo(0, 300)")
    server.send("delta", delta_of(server.payload, _LAST, status="succeeded", accuracy=0.999))
    page.wait_for_function("() => !document.querySelector('.numbers .running')")
    assert page.locator(".numbers .succeeded strong").inner_text() == "57"
    assert page.input_value("#search") == "opt == 'sgd'"
    assert "1 selected" in page.locator("#runs .count").inner_text()
    assert page.evaluate("document.querySelector('.tabulator-tableholder').scrollTop") == 200
    assert page.evaluate("scrollY") == 300
    page.evaluate("document.querySelector('.tabulator-tableholder').scrollTop = 0")
    page.wait_for_timeout(100)
    assert "0.9990" in page.locator(".tabulator-row").first.inner_text()


def test_a_new_run_and_its_curve_appear(page: Any, server: LiveServer) -> None:
    delta = delta_of(server.payload, _LAST, name="20260921-new", id="beef", accuracy=None)
    delta["curves"] = [{"run": 0, "metric": "loss", "x": [1, 2], "y": [1.5, 1.2], "of": 2}]
    server.send("delta", delta)
    page.wait_for_selector("button[data-run='20260921-new']")
    assert page.locator(".numbers strong").first.inner_text() == "61"
    page.fill("#search", "20260921-new")
    page.wait_for_selector(".chip")
    page.locator("#curves").scroll_into_view_if_needed()
    page.locator("#curves select").select_option("loss")
    value = page.locator(".legend .value").inner_text()
    assert value == "1.2"


def test_reload_reads_all_anew(page: Any, server: LiveServer) -> None:
    server.payload = sample_payload(65, 60, 40, live=True)
    server.payload["runs"]["columns"].append(
        {"key": "new_key", "part": "config", "type": "number", "varies": True, "seed": False,
         "mode": None, "source": None, "values": list(range(65))}
    )  # fmt: skip
    server.send("reload", {})
    page.wait_for_selector("[data-sort='config:new_key']")
    assert page.locator("#runs .count").inner_text() == "65 runs"


def test_a_lost_connection_is_said_and_taken_up_where_it_ended(
    page: Any, server: LiveServer
) -> None:
    server.send("delta", delta_of(server.payload, _LAST, accuracy=0.5))
    page.wait_for_timeout(200)
    server.cut()
    page.wait_for_selector(".connection.lost")
    assert "connection lost" in page.locator(".connection").inner_text()
    page.wait_for_selector(".connection.live")
    assert server.asked[0].endswith("since=1") and server.asked[-1].endswith("since=2")


def test_a_run_is_stopped_after_a_question(page: Any, server: LiveServer) -> None:
    _open_last(page, server)
    page.get_by_role("button", name="Stop this run").click()
    page.wait_for_selector(".toast.on")
    ((path, headers, content),) = server.posts
    assert (path, content) == ("/api/stop", {"run": server.payload["runs"]["name"][_LAST]})
    assert headers["X-Ztxexp"] == "1" and headers["Origin"] == server.address.rstrip("/")


def test_a_launch_is_stopped(page: Any, server: LiveServer) -> None:
    page.get_by_role("button", name="stop launch l1").click()
    page.wait_for_selector(".toast.on")
    assert [(path, content) for path, _, content in server.posts] == [
        ("/api/stop", {"launch": "l1"})
    ]


def test_tags_are_set_and_removed(page: Any, server: LiveServer) -> None:
    _open_last(page, server)
    page.get_by_label("another tag").fill("kind=final")
    page.keyboard.press("Enter")
    page.wait_for_selector(".drawer .tag")
    page.get_by_role("button", name="remove tag kind=final").click()
    page.wait_for_function("() => !document.querySelector('.drawer .tag')")
    name = server.payload["runs"]["name"][_LAST]
    assert [content for _, _, content in server.posts] == [
        {"run": name, "tags": {"kind": "final"}},
        {"run": name, "tags": {"kind": None}},
    ]


def test_log_and_files_are_read_and_are_only_text(page: Any, server: LiveServer) -> None:
    server.details = {"log": HOSTILE, "files": [{"path": f"a/{HOSTILE}", "size": 5}]}
    _open_last(page, server)
    page.wait_for_selector(".drawer .files a")
    assert "<img src=x" in page.locator(".drawer pre.log").inner_text()
    href = page.locator(".drawer .files a").get_attribute("href")
    assert href.startswith("/files/") and "<" not in href


def test_a_hostile_delta_is_only_text(page: Any, server: LiveServer) -> None:
    delta = delta_of(server.payload, _LAST, opt=HOSTILE, error=HOSTILE, status="failed", id=HOSTILE)
    delta["notes"] = [HOSTILE]
    server.send("delta", delta)
    page.wait_for_function("() => document.querySelector('.callout').textContent.includes('<img')")
    assert not page.evaluate("document.querySelectorAll('img').length")
