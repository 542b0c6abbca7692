"""The page on a phone, in the dark, for screen readers, with hostile texts, and with many runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import launched, opened
from sample_page import write_page
from sample_payload import hostile_payload, sample_payload
from web_sources import ROOT, installed

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(launched)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("pages")
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> str:
    return write_page(folder / "report.html", sample_payload(60, 20, 40))


@pytest.fixture(scope="module")
def hostile(folder: Path) -> str:
    return write_page(folder / "hostile.html", hostile_payload())


@pytest.fixture(scope="module")
def axe(folder: Path) -> Iterator[str]:
    path = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        path = installed(folder) / "node_modules" / "axe-core" / "axe.min.js"
    yield path.read_text()


def _walk(page: Any) -> None:
    """Scroll through the page, so that everything is drawn."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 600):
        page.evaluate("top => scrollTo(0, top)", top)
        page.wait_for_timeout(60)
    page.evaluate("scrollTo(0, 0)")


def _findings(page: Any, axe: str) -> list[str]:
    page.evaluate(f"() => {{ {axe}; return true; }}")
    results = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['impact']} {one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["", "#grouped=1&boxes=1", "#run=20260921-000007-538453d7"])
def test_axe_finds_nothing_serious(
    browser: Any, address: str, axe: str, scheme: str, state: str
) -> None:
    with opened(browser, address + state, color_scheme=scheme) as page:
        _walk(page)
        assert _findings(page, axe) == []


def test_axe_finds_nothing_serious_on_a_phone_and_with_boxes_open(
    browser: Any, address: str, axe: str
) -> None:
    with opened(browser, address, width=390, height=844) as page:
        _walk(page)
        page.get_by_role("button", name="Columns").click()
        page.locator("#curves .as-data summary").click()
        assert _findings(page, axe) == []


@pytest.mark.parametrize("which", ["address", "hostile"])
def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Any, which: str, request: Any
) -> None:
    with opened(browser, request.getfixturevalue(which), width=390, height=844) as page:
        _walk(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.locator(".tabulator-row button[data-run]").first.click()
        page.wait_for_selector("aside.drawer:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator("aside.drawer").bounding_box()["width"] <= 390
        inner, outer = page.evaluate(
            "() => { const one = document.querySelector('.tabulator-tableholder');"
            " return [one.scrollWidth, one.clientWidth]; }"
        )
        assert inner > outer  # the table scrolls inside


def test_dark_is_what_the_system_says_or_the_reader(browser: Any, address: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, address, color_scheme="dark") as page:
        assert page.evaluate(background) == "rgb(15, 19, 24)"
        page.get_by_role("button", name="theme: as the system").click()
        assert page.evaluate(background) == "rgb(255, 255, 255)"
        page.get_by_role("button", name="theme: light").click()
        assert page.evaluate(background) == "rgb(15, 19, 24)"


def test_the_address_brings_the_view_back(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        page.click("[data-sort='metrics:loss']")
        page.fill("#search", "lr < 0.05, 'x' in opt")
        page.fill("#search", "lr < 0.05")
        page.get_by_role("button", name="Group seeds").click()
        page.locator("button[data-group]").first.click()
        page.locator(".inner-row button[data-run]").first.click()
        page.keyboard.press("Escape")
        page.locator("#curves").scroll_into_view_if_needed()
        page.locator("#curves select").select_option("loss")
        page.get_by_role("button", name="log y").click()
        page.locator(".legend .series").first.click()
        page.wait_for_timeout(300)
        before = _view(page)
        link = page.url
        assert "sort=metrics:loss" in link and "grouped=1" in link
    with opened(browser, link) as again:
        again.locator("#curves").scroll_into_view_if_needed()
        again.wait_for_selector(".legend li")
        assert _view(again) == before
        again.evaluate("location.hash = ''")
        again.wait_for_function(
            "() => document.querySelector('#runs .count').textContent === '60 runs'"
        )


def _view(page: Any) -> list[str]:
    return [
        page.locator("#runs .count").inner_text(),
        page.locator(".tabulator-tableholder").inner_text(),
        page.locator(".legend").inner_text(),
        page.locator("#curves .command code").inner_text(),
        page.input_value("#search"),
    ]


@pytest.mark.parametrize(
    "state",
    [
        "filters=%7B",
        "sort=-nothing&columns=a,b&by=x&metric=y&target=z&axes=q&run=none&smooth=ten",
        "brush={%22config:lr%22:5}&filters=[1]&theme=pink&open=%E0%A4%A",
        "filters={%22config:lr%22:7}&brush={%22config:opt%22:[%22adam%22,3]}",
    ],
)
def test_an_address_that_somebody_has_cut_does_no_harm(
    browser: Any, address: str, state: str
) -> None:
    with opened(browser, f"{address}#{state}") as page:
        _walk(page)
        assert page.locator(".numbers strong").first.inner_text() == "60"


def test_hostile_texts_are_only_texts(browser: Any, hostile: str) -> None:
    with opened(browser, hostile) as page:
        _walk(page)
        page.get_by_role("button", name="Columns").click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Filters").click()
        page.get_by_role("button", name="Group seeds").click()
        page.locator("button[data-group]").first.click()
        page.locator("button[data-run]").first.click()
        page.wait_for_selector("aside.drawer:not([hidden])")
        assert "<img src=x" in page.locator("aside.drawer").inner_text()
        for tag in ("img", "iframe", "object", "embed"):
            assert page.locator(tag).count() == 0
        assert page.locator("script").count() <= 3
        page.locator("aside.drawer").get_by_role("button", name="close").click()
        page.fill("#search", "onerror")
        page.wait_for_timeout(300)
        _walk(page)
        assert not page.evaluate("window.pwned")


def test_reduced_motion_and_print_leave_nothing_out(browser: Any, address: str) -> None:
    with opened(browser, address, reduced_motion="reduce") as page:
        duration = page.evaluate(
            "() => { const one = document.querySelector('button');"
            " return getComputedStyle(one).transitionDuration; }"
        )
        assert duration in ("0s", "")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.wait_for_selector(".uplot canvas")
        page.wait_for_selector(".parallel canvas")
        assert page.locator(".bar").is_hidden() and page.locator(".effect").first.is_visible()


def test_ten_thousand_runs_are_small_quick_sorted_and_filtered(browser: Any, folder: Path) -> None:
    path = folder / "many.html"
    many = write_page(path, sample_payload(10_000, 100, 1_000, extra_metrics=4))
    assert path.stat().st_size < 3_000_000
    with opened(browser, many) as page:
        ready = float(page.evaluate("document.documentElement.dataset.ready"))
        assert ready < 5_000  # on a busy machine; the benchmark gives the true figure
        assert page.locator("#runs .count").inner_text() == "10,000 runs"
        assert page.locator(".tabulator-row").count() < 200
        page.click("[data-sort='metrics:accuracy']")
        page.fill("#search", "accuracy > 0.95 and opt == 'adam'")
        page.wait_for_function(
            "() => document.querySelector('#runs .count').textContent.includes('of 10,000')"
        )
        page.get_by_role("button", name="Group seeds").click()
        page.wait_for_selector("button[data-group]")
        _walk(page)
        assert "1,000 best runs" in page.locator("#parallel .note").inner_text()


def test_hundreds_of_columns_are_counted_and_shown_when_asked(browser: Any, folder: Path) -> None:
    wide = write_page(folder / "wide.html", sample_payload(200, 5, 20, extra_metrics=250))
    with opened(browser, wide) as page:
        assert page.locator(".tabulator-col").count() < 40
        assert "228 columns more" in page.locator("#runs p.hidden-columns").inner_text()
        page.get_by_role("button", name="Columns").click()
        page.get_by_label("find a column").fill("extra_249")
        page.get_by_role("checkbox", name="extra_249").check()
        assert page.locator("[data-sort='metrics:extra_249']").count() == 1
