"""Curves, parallel coordinates, effects, best and failures of the page in a real browser."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import launched, opened
from sample_page import write_page
from sample_payload import sample_payload

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(launched)


@pytest.fixture(scope="module")
def address(tmp_path_factory: Any) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    return write_page(path, sample_payload(60, 60, 40))


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as one:
        one.locator("#curves").scroll_into_view_if_needed()
        one.wait_for_selector(".uplot canvas")
        yield one


def _legend(page: Any) -> list[str]:
    texts: list[str] = page.locator(".legend .label").all_inner_texts()
    return texts


def _is_drawn(page: Any, selector: str) -> bool:
    """Return whether a canvas has a pixel with colour."""
    script = """selector => {
        const canvas = document.querySelector(selector);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        for (let at = 0; at < data.length; at += 4) {
            if (Math.abs(data[at] - data[at + 2]) > 60 && data[at + 3] > 100) return true;
        }
        return false;
    }"""
    drawn: bool = page.evaluate(script, selector)
    return drawn


def test_a_mean_with_a_band_is_drawn_for_each_group_of_seeds(page: Any) -> None:
    assert len(_legend(page)) == 12
    assert _is_drawn(page, ".uplot canvas")
    note = page.locator("#curves .note").inner_text()
    assert "Mean over seed; the band is \u00b1 1 standard deviation." in note
    assert "runs that failed are left out" in note


def test_the_last_mean_is_that_of_the_seeds_at_the_last_common_step(page: Any) -> None:
    page.locator("#curves select").select_option("loss")
    series = [one for one in sample_payload(60, 60, 40)["curves"]["series"] if one["run"] < 5]
    ends = [one["y"][-1] for one in series if one["metric"] == "loss"]
    shown = page.locator(".legend li").filter(has_text="lr=0.001 model.hidden=16 opt=adam")
    assert float(shown.locator(".value").inner_text()) == pytest.approx(
        statistics.mean(ends), rel=1e-3
    )
    assert "n=5" in shown.inner_text()
    page.locator("#curves .as-data summary").click()
    row = page.locator("#curves .as-data tbody tr").first.inner_text()
    assert row.split("\t")[1:3] == ["5", "40"]


def test_keys_metric_axes_and_smoothing_are_chosen_and_said(page: Any) -> None:
    page.get_by_role("button", name="Group by").click()
    page.locator("#curves .popover").get_by_role("checkbox", name="model.hidden").uncheck()
    page.locator("#curves .popover").get_by_role("checkbox", name="opt").uncheck()
    page.keyboard.press("Escape")
    assert _legend(page) == ["lr=0.001", "lr=0.01", "lr=0.1"]
    assert "Mean over model.hidden, opt, seed" in page.locator("#curves .note").inner_text()
    page.get_by_role("button", name="log y").click()
    page.locator("#curves").get_by_label("smoothing").fill("0.6")
    note = page.locator("#curves .note").inner_text()
    assert "weight 0.60" in note and "Log axes" in note
    command = page.locator("#curves .command code").inner_text()
    assert command == (
        "ztxexp curves valid/accuracy --by lr --logy --smooth 0.60 --status running,succeeded "
        "-o curves.pdf -C results_digits"
    )


def test_smoothing_is_off_at_first(page: Any) -> None:
    assert page.locator("#curves output").inner_text() == "off"
    assert "--smooth" not in page.locator("#curves .command code").inner_text()


def test_the_legend_leaves_curves_out_and_shows_values_under_the_mouse(page: Any) -> None:
    page.locator(".legend .series").first.click()
    assert page.locator(".legend .series").first.get_attribute("aria-pressed") == "false"
    page.locator(".uplot .u-over").hover(position={"x": 200, "y": 100})
    assert page.locator("#curves .at").inner_text().startswith("Step ")
    page.locator(".legend li").nth(1).hover()
    page.locator(".legend .only").nth(1).click()
    assert page.locator(".legend li.off").count() == 11


def test_arrow_keys_read_the_values_of_the_plot(page: Any) -> None:
    page.locator(".uplot").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#curves .at").inner_text().startswith("Step 1")
    page.keyboard.press("ArrowRight")
    assert page.locator("#curves .at").inner_text().startswith("Step 2")
    label = page.locator(".uplot").get_attribute("aria-label")
    assert "over steps" in label and "ends at" in label


def test_selected_rows_restrict_the_curves(page: Any) -> None:
    page.locator(".tabulator-row input[type=checkbox]").nth(1).check()
    page.locator(".tabulator-row input[type=checkbox]").nth(2).check()
    assert len(_legend(page)) == 1
    assert "n=2" in page.locator(".legend").inner_text()


def test_a_range_that_is_marked_on_an_axis_filters_the_table(page: Any) -> None:
    page.locator("#parallel").scroll_into_view_if_needed()
    page.wait_for_selector(".parallel canvas")
    assert _is_drawn(page, ".parallel canvas")
    box = page.locator(".parallel").bounding_box()
    x = box["x"] + box["width"] - 64  # the last axis: accuracy
    page.mouse.move(x, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 120, steps=6)
    page.mouse.up()
    page.wait_for_selector(".chip")
    page.wait_for_timeout(400)  # ranges are taken while the mouse moves, too
    count = page.locator("#runs .count").inner_text()
    shown = int(count.split()[0])
    assert 0 < shown < 60
    assert "<= accuracy <=" in page.locator("#runs .command code").inner_text()
    page.wait_for_timeout(200)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#runs .count").inner_text() == count
    page.locator("#parallel").scroll_into_view_if_needed()
    page.get_by_role("button", name="Clear ranges").click()
    page.wait_for_function(
        "() => document.querySelector('#runs .count').textContent.startsWith('60')"
    )


def test_effects_are_sorted_and_warn_of_interactions(page: Any) -> None:
    heads = page.locator(".effect h3 span").all_inner_texts()
    assert heads == ["lr", "model.hidden", "opt"]
    assert "with sgd small rates lose" in page.locator(".interacts").inner_text()
    assert "95 % interval" in page.locator("#effects .note").inner_text()
    payload = sample_payload(60, 60, 40)
    mean = payload["effects"][0]["levels"][0]["mean"]
    assert f"{mean:.4f}" in page.locator(".effect").first.inner_text()
    assert page.locator("#effects .command code").inner_text() == (
        "ztxexp effects accuracy -o effects.pdf -C results_digits"
    )


def test_the_best_configurations_show_their_curves(page: Any) -> None:
    best = sample_payload(60, 60, 40)["best"][0]
    row = page.locator("#best tbody tr").first
    assert f"{best['mean']:.4f} \u00b1 {best['std']:.4f}" in row.inner_text()
    row.get_by_role("button").click()
    assert len(_legend(page)) == 1


def test_failures_are_digested_with_the_command_to_try_again(page: Any) -> None:
    text = page.locator("#failures").inner_text()
    for part in ("3 \u00d7 ValueError", "opt=sgd", "ztxexp retry ValueError", "--status failed"):
        assert part in text
    page.locator("#failures summary").click()
    assert "Traceback" in page.locator("#failures pre").inner_text()
    page.locator("#failures .run-link").first.click()
    assert page.locator("aside.drawer").is_visible()


def test_every_panel_gives_a_command(page: Any, browser: Any) -> None:
    sections = page.locator("main > section:not([hidden])")
    for at in range(sections.count()):
        assert sections.nth(at).locator(".command code").last.inner_text().startswith("ztxexp ")


def test_a_command_is_copied(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator("#best .command button").click()
        page.wait_for_selector(".toast.on")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == "ztxexp best accuracy -C results_digits"


def _with_curves(folder: Path, curves: list[dict[str, Any]], most: int = 1000) -> str:
    """Write a page of two seeds of one configuration with these curves of ``loss``."""
    payload = sample_payload(2, 2, 12)
    payload["curves"] = {
        "series": [{"run": at, "metric": "loss", **one} for at, one in enumerate(curves)],
        "most": most,
        "thinned": sum(one["of"] > len(one["x"]) for one in curves),
        "left_out": 3,
    }
    return write_page(folder / "curves.html", payload)


def _line(browser: Any, address: str) -> tuple[dict[str, Any], str]:
    """Return the mean that is drawn, and what the page says of it."""
    with opened(browser, address) as page:
        page.locator("#curves").scroll_into_view_if_needed()
        page.wait_for_selector(".uplot canvas")
        data = page.evaluate("ztxexpPage.panels[1].drawn.chart.data.map(list => [...list])")
        note = page.locator("#curves .note").inner_text()
    return {"x": data[0], "mean": data[1], "low": data[2], "high": data[3]}, note


def test_a_mean_ends_where_a_seed_ends_and_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    long = {"x": list(range(1, 11)), "y": [float(x) for x in range(1, 11)], "of": 10}
    short = {"x": list(range(1, 7)), "y": [x + 2.0 for x in range(1, 7)], "of": 6}
    line, note = _line(browser, _with_curves(tmp_path, [long, short]))
    assert line["x"] == [1, 2, 3, 4, 5, 6]
    assert line["mean"] == pytest.approx([2, 3, 4, 5, 6, 7])
    std = statistics.stdev([1, 3])
    assert line["high"][0] - line["mean"][0] == pytest.approx(std)
    assert line["mean"][0] - line["low"][0] == pytest.approx(std)
    assert "Only steps that all runs of a group have count" in note
    assert "3 curves of further runs are not in this file" in note


def test_a_value_that_is_missing_leaves_its_step_out_of_the_mean(
    browser: Any, tmp_path: Path
) -> None:
    one = {"x": [1, 2, 3, 4], "y": [1.0, None, 3.0, 4.0], "of": 4}
    other = {"x": [1, 2, 3, 4], "y": [3.0, 4.0, 5.0, 6.0], "of": 4}
    line, _ = _line(browser, _with_curves(tmp_path, [one, other]))
    assert (line["x"], line["mean"]) == ([1, 3, 4], [2, 4, 5])


def test_thinned_curves_with_other_steps_are_followed_and_the_page_says_so(
    browser: Any, tmp_path: Path
) -> None:
    one = {"x": [1, 4, 7, 10], "y": [1.0, 4.0, 7.0, 10.0], "of": 1000}
    other = {"x": [1, 3, 8, 9], "y": [3.0, 5.0, 10.0, 11.0], "of": 1000}
    line, note = _line(browser, _with_curves(tmp_path, [one, other], most=4))
    assert line["x"] == [1, 3, 4, 7, 8, 9]  # 10 is beyond the other's end
    assert line["mean"] == pytest.approx([2, 4, 5, 8, 9, 10])
    assert "follow straight lines between the points that were kept" in note
    assert "2 curves were thinned to at most 4 points" in note
