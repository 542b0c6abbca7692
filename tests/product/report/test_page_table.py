"""The run table of the page in a real browser: sorted, filtered, grouped, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import launched, opened
from sample_page import write_page
from sample_payload import sample_payload

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(launched)

_ROWS = ".tabulator-tableholder .tabulator-row"


@pytest.fixture(scope="module")
def address(tmp_path_factory: Any) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    return write_page(path, sample_payload(60, 20, 40))


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as one:
        yield one


def _column(page: Any, field: str) -> list[str]:
    cells = page.locator(f"{_ROWS} .tabulator-cell[tabulator-field='{field}']")
    texts: list[str] = cells.all_inner_texts()
    return [text.strip() for text in texts]


def _numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if text and text != "\u2013"]


def _count(page: Any) -> str:
    text: str = page.locator("#runs .count").inner_text()
    return text


def _wait_for_count(page: Any, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('#runs .count').textContent.startsWith(text)", arg=text
    )


def test_the_table_shows_runs_and_hides_what_is_constant(page: Any) -> None:
    titles = page.locator(".tabulator-col .sorter .name").all_inner_texts()
    assert titles[:6] == ["run", "status", "lr", "model.hidden", "opt", "seed"]
    assert "epochs" not in titles
    assert (
        "3 columns with one value are not shown"
        in page.locator("details.hidden-columns").inner_text()
    )
    page.locator("details.hidden-columns summary").click()
    assert "data/digits.npz" in page.locator("details.hidden-columns").inner_text()


def test_a_click_on_a_metric_sorts_the_best_first_and_says_so_by_aria(page: Any) -> None:
    page.click("[data-sort='metrics:loss']")
    losses = _numbers(_column(page, "metrics:loss"))
    assert losses == sorted(losses) and losses
    assert page.get_attribute(".tabulator-col[tabulator-field='metrics:loss']", "aria-sort") == (
        "ascending"
    )
    page.click("[data-sort='metrics:accuracy']")
    best = _numbers(_column(page, "metrics:accuracy"))
    assert best == sorted(best, reverse=True)
    page.click("[data-sort='metrics:accuracy']")
    assert _numbers(_column(page, "metrics:accuracy"))[0] < best[0]
    page.click("[data-sort='metrics:accuracy']")  # and not at all
    assert page.get_attribute("[tabulator-field='metrics:accuracy']", "aria-sort") == "none"


def test_a_condition_filters_and_stands_in_the_command(page: Any) -> None:
    page.fill("#search", "lr = 0.01 and model.hidden in (64,)")
    _wait_for_count(page, "10 of 60 runs")
    assert set(_column(page, "config:lr")) == {"0.01"}
    command = page.locator("#runs .command code").inner_text()
    assert command == (
        "ztxexp list --where 'lr == 0.01 and model.hidden in (64,)' -C results_digits"
    )


def test_words_are_looked_for_in_everything_and_the_command_says_what_it_lacks(page: Any) -> None:
    page.fill("#search", "not finite")
    _wait_for_count(page, "3 of 60 runs")
    assert set(_column(page, "status")) == {"failed"}
    assert 'without the words "not finite"' in page.locator("#runs .command").inner_text()


@pytest.mark.parametrize("text", ["lr >", "nothing_such > 1", "lr > (", "lr ~ 3 > 1"])
def test_what_is_no_condition_is_said_and_filters_nothing(page: Any, text: str) -> None:
    page.fill("#search", text)
    page.wait_for_selector("#search-problem:not([hidden])")
    assert _count(page).startswith("60 runs")
    assert page.get_attribute("#search", "aria-invalid") == "true"


def test_a_box_below_a_title_filters_its_column(page: Any) -> None:
    page.get_by_role("button", name="Filters").click()
    page.fill("input[data-filter='metrics:accuracy']", "> 0.97")
    page.wait_for_selector(".chip")
    assert all(value > 0.97 for value in _numbers(_column(page, "metrics:accuracy")))
    page.fill("input[data-filter='config:opt']", "ad")
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 2")
    assert set(_column(page, "config:opt")) == {"adam"}
    command = page.locator("#runs .command code").inner_text()
    assert "--where '(accuracy > 0.97) and (opt == \"adam\")'" in command
    page.get_by_role("button", name="Clear all").click()
    _wait_for_count(page, "60 runs")


def test_the_number_of_failed_runs_shows_them(page: Any) -> None:
    page.locator(".numbers .failed button").click()
    _wait_for_count(page, "3 of 60 runs")
    assert "--status failed" in page.locator("#runs .command code").inner_text()


def test_seeds_are_grouped_with_mean_and_spread_and_a_group_opens(page: Any) -> None:
    payload = sample_payload(60, 20, 40)
    accuracy = payload["runs"]["columns"][7]["values"]
    best = payload["best"][0]
    page.get_by_role("button", name="Group seeds").click()
    page.click("[data-sort='metrics:accuracy']")
    first = page.locator(_ROWS).first
    text = first.locator("[tabulator-field='metrics:accuracy']").inner_text()
    assert text == f"{best['mean']:.4f} \u00b1 {best['std']:.4f} n={best['n']}"
    first.locator("button[data-group]").click()
    page.wait_for_selector(".inner-row")
    inner = page.locator(".inner-row [tabulator-field='metrics:accuracy']").all_inner_texts()
    expected = [accuracy[at] for at in best["runs"]]
    assert sorted(_numbers(inner)) == pytest.approx(sorted(expected), abs=5e-5)
    page.locator(_ROWS).first.locator("button[data-group]").click()
    page.wait_for_function("() => !document.querySelector('.inner-row')")


def test_a_group_with_a_failed_seed_says_so_and_counts_it_out(page: Any) -> None:
    page.get_by_role("button", name="Group seeds").click()
    row = page.locator(_ROWS).filter(has_text="1 failed").first
    assert "n=4" in row.locator("[tabulator-field='metrics:accuracy']").inner_text()


def test_columns_are_chosen_and_pinned(page: Any) -> None:
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="batch_size").check()
    page.get_by_role("button", name="pin accuracy").click()
    page.keyboard.press("Escape")
    titles = page.locator(".tabulator-col .sorter .name").all_inner_texts()
    assert "batch_size" in titles and titles[:2] == ["run", "accuracy"]
    frozen = page.locator(".tabulator-col.tabulator-frozen .name").all_inner_texts()
    assert frozen == ["run", "accuracy"]
    assert "--columns" in page.locator("#runs .command code").inner_text()


def test_a_row_opens_all_of_a_run_and_escape_closes_it(page: Any) -> None:
    page.locator(_ROWS).nth(3).locator("[tabulator-field='config:opt']").click()
    drawer = page.locator("aside.drawer")
    drawer.wait_for()
    text = drawer.inner_text()
    for part in ("Metrics", "Configuration", "Record", "digits.py:train", "ztxexp show"):
        assert part in text
    before = drawer.locator("h2").inner_text()
    drawer.get_by_role("button", name="next run").click()
    assert drawer.locator("h2").inner_text() != before
    page.keyboard.press("Escape")
    assert drawer.is_hidden()


def test_the_error_of_a_failed_run_stands_in_its_drawer(page: Any) -> None:
    page.locator(".numbers .failed button").click()
    _wait_for_count(page, "3 of 60 runs")
    page.locator(_ROWS).first.locator("button[data-run]").click()
    assert "loss is not finite" in page.locator("aside.drawer pre.error").inner_text()


def test_the_keyboard_alone_sorts_opens_selects_and_moves(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "search"
    for _ in range(40):  # through the titles to the rows
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.sort") == "metrics:accuracy":
            page.keyboard.press("Enter")
        if page.evaluate("document.activeElement.dataset.run !== undefined"):
            break
    first = page.evaluate("document.activeElement.dataset.run")
    assert first and _numbers(_column(page, "metrics:accuracy"))[0] > 0.98
    page.keyboard.press("ArrowDown")
    second = page.evaluate("document.activeElement.dataset.run")
    assert second and second != first
    page.keyboard.press(" ")
    assert "1 selected" in _count(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("aside.drawer:not([hidden])")
    assert page.evaluate("document.activeElement.closest('aside') !== null")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.run") == second
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # the focus can be seen
    for key in ("End", "Home"):
        page.keyboard.press(key)
        page.wait_for_timeout(120)
    assert page.evaluate("document.activeElement.dataset.run") == first
