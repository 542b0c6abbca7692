"""The commands that the page gives run, and its conditions are those of the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import launched, opened
from click.testing import CliRunner
from handmade import event, write_run

from ztxexp.analysis.run_table import RunTable
from ztxexp.cli.main import main
from ztxexp.report.page import page as page_of
from ztxexp.report.payload import payload
from ztxexp.text.expression import Expression
from ztxexp_core.errors import ConfigError

pytestmark = pytest.mark.slow

browser = pytest.fixture(scope="module")(launched)

_CONDITIONS = [
    "lr < 0.05",
    "0.001 < lr <= 0.1 and not opt == 'sgd'",
    "opt in ('adam', \"it's\") or accuracy > 0.95",
    "opt not in ['adam']",
    "model.hidden * 2 >= 128",
    "model.hidden // 3 == 5 or model.hidden % 3 == 0",
    "-lr > -0.05",
    "2 ** 4 == model.hidden",
    "`val/loss` < 0.3",
    "accuracy != 0.5",
    "flag",
    "not flag and lr > 0",
    "flag == 1",
    "flag == true",
    "opt > 3",
    "opt < 'b'",
    "'d' in opt",
    "lr / 0 > 1 or seed == 1",
    "lr == 0.01 and (seed == 0 or seed == 2)",
    "lr == 1e-2",
    "maybe > 0 or seed == 0",
    "maybe > 0 and seed == 0",
    "not maybe > 0",
    "metrics.accuracy > 0.95 and config.lr < 1",
    "status == 'failed'",
    'opt == "it\'s"',
    "seed in (1, 2,)",
    "1 < 2 < seed",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: Any) -> Path:
    """Return a root with keys that a shell and a condition have to be told carefully."""
    folder: Path = tmp_path_factory.mktemp("of it's") / "res ults"
    at = 0
    for lr in (0.01, 0.1):
        for opt in ("adam", "sgd", "it's"):
            for seed in range(3):
                at += 1
                config = {"lr": lr, "opt": opt, "seed": seed, "model": {"hidden": 16 * (seed + 1)}}
                config.update({"model": {"hidden": 16 if opt == "sgd" else 64}, "flag": lr < 0.05})
                if seed:
                    config["maybe"] = seed - 1
                failed = at == 5
                metrics = {"accuracy": 0.9 + at / 200, "val/loss": 0.5 - at / 50}
                write_run(
                    folder,
                    f"20260301_1000{at:02}_{at:015x}",
                    "failed" if failed else "succeeded",
                    config,
                    None if failed else metrics,
                    [event(step, loss=1 / (step + at)) for step in range(1, 6)],
                    duration_sec=float(at),
                    started_at=f"2026-03-01T10:00:{at:02}+00:00",
                    error_type="ValueError" if failed else None,
                    error_message="bad" if failed else None,
                )
    return folder


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: Any) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(payload(RunTable.read(root))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as one:
        yield one


def _run(command: str, folder: Path) -> tuple[int, str]:
    words = shlex.split(command)
    assert words[0] == "ztxexp"
    words = [str(folder / word) if word.endswith(".pdf") else word for word in words[1:]]
    result = CliRunner().invoke(main, words, standalone_mode=False)
    code = result.return_value if result.exception is None else 1
    return int(code or 0), f"{command}\n{result.output}{result.exception or ''}"


def _shown(page: Any, condition: str) -> list[str] | None:
    """Return the names of the runs that pass on the page; ``None``: it takes no such condition."""
    script = """condition => {
        const { store, view, model } = ztxexpPage;
        store.set({ q: condition });
        return view.problem ? null : view.visible.map(at => model.payload.runs.name[at]);
    }"""
    names: list[str] | None = page.evaluate(script, condition)
    return names


@pytest.mark.parametrize("condition", _CONDITIONS)
def test_a_condition_means_the_same_as_on_the_command_line(
    page: Any, root: Path, condition: str
) -> None:
    if condition == "flag" or condition.startswith(("not flag", "not maybe")):
        condition = f"{condition} and seed >= 0"  # bare words are words
    expected = RunTable.read(root).filtered(Expression(condition)).runs.names
    shown = _shown(page, condition)
    assert shown is not None, page.evaluate("ztxexpPage.view.problem")
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize(
    "condition", ["lr >", "(lr > 1", "lr > 1)", "lr >< 1", "x.y > 1", "a = = 1"]
)
def test_what_the_command_line_refuses_the_page_refuses(
    page: Any, root: Path, condition: str
) -> None:
    with pytest.raises(ConfigError):
        RunTable.read(root).filtered(Expression(condition))
    assert _shown(page, condition) is None


@pytest.mark.parametrize(
    "state",
    [
        "",
        "q=lr+%3D+0.01&sort=metrics:accuracy",
        "grouped=1&sort=-metrics:accuracy",
        "grouped=1&filters=" + json.dumps({"config:opt": "it's"}),
        "columns=config:lr,metrics:val%2Floss&sort=-config:lr",
        "filters=" + json.dumps({"metrics:val/loss": "0.1..0.4", "seconds": "> 0", "status": "s"}),
        "brush=" + json.dumps({"config:lr": [[0.005, 0.05]], "config:opt": ["adam", "it's"]}),
        "by=config:opt&xlog=1&ylog=1&smooth=0.5&seeds=1&axes=config:lr,config:opt",
        "constant=1&by=",
    ],
)
def test_every_command_of_the_page_runs(
    browser: Any, address: str, state: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    with opened(browser, f"{address}#{state}") as page:
        commands = page.locator("main .command code").all_text_contents()
    assert len(commands) >= 7
    for command in commands:
        if command.split()[1] == "retry":
            continue  # it starts runs
        code, text = _run(command, tmp_path)
        assert code == 0 or command.split()[1] in ("check", "status"), text


def test_list_shows_the_runs_that_the_page_shows(
    browser: Any, address: str, tmp_path: Path
) -> None:
    filters = json.dumps({"metrics:accuracy": "> 0.93", "config:opt": "A"})
    with opened(browser, f"{address}#filters={filters}&sort=-metrics:val/loss") as page:
        command = page.locator("#runs .command code").inner_text()
        ids = page.locator(".tabulator-row .run-link").all_inner_texts()
    code, text = _run(f"{command} --json", tmp_path)
    assert code == 0, text
    listed = json.loads(text[text.index("[") : text.rindex("]") + 1])
    assert [one["run"] for one in listed] == ids


def test_the_command_of_curves_leaves_out_what_the_page_leaves_out(
    browser: Any, address: str, tmp_path: Path
) -> None:
    with opened(browser, f"{address}#by=config:opt") as page:
        page.locator("#curves").scroll_into_view_if_needed()
        page.get_by_text("1 run that failed is left out").wait_for()
        command = page.locator("#curves .command code").inner_text()
        drawn = page.locator("#curves .legend .n").all_inner_texts()
    assert "--status succeeded" in command
    code, text = _run(command.replace("-o curves.pdf", "--format json"), tmp_path)
    assert code == 0, text
    points = json.loads(text[text.index("[") : text.rindex("]") + 1])
    assert len({one["run_id"] for one in points}) == sum(int(one[2:]) for one in drawn) == 17
