"""Main effects and interactions beside pandas, scipy and statsmodels."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from handmade import write_run

from ztxexp import ConfigError
from ztxexp.analysis.effects import main_effects
from ztxexp.analysis.f_distribution import f_above
from ztxexp.analysis.run_table import RunTable


def put(root, rows, metric="accuracy"):
    """Write a run for each configuration and its value."""
    for number, (config, value) in enumerate(rows):
        metrics = None if value is None else {metric: value}
        write_run(root, f"r{number:03}", config=config, metrics=metrics)
    return RunTable.read(root)


def grid(value, seeds=4, noise=0.01, lrs=(0.1, 0.01, 0.001), hidden=(16, 64), depth=(1, 2)):
    """Configurations of a full grid with ``value(lr, hidden, depth)`` and noise."""
    chance = np.random.default_rng(7)
    for lr, h, d, seed in itertools.product(lrs, hidden, depth, range(seeds)):
        config = {"lr": lr, "net": {"hidden": h}, "depth": d, "seed": seed, "batch": 32}
        yield config, float(value(lr, h, d) + chance.normal(0, noise))


def frame_of(rows):
    flat = [
        {
            "lr": c["lr"],
            "hidden": c["net"]["hidden"],
            "depth": c["depth"],
            "seed": c["seed"],
            "y": y,
        }
        for c, y in rows
    ]
    return pd.DataFrame(flat)


def additive(lr, hidden, depth):
    return 0.5 + 0.1 * np.log10(lr) + hidden / 200 + 0.01 * depth


def interacting(lr, hidden, depth):
    return 0.5 + (0.3 if (lr == 0.1) == (hidden == 64) else 0.0) + 0.05 * (lr == 0.1)


def test_means_and_intervals_are_those_of_pandas_and_scipy(tmp_path):
    rows = list(grid(additive))
    effects = {one.key: one for one in main_effects(put(tmp_path, rows), "accuracy")}
    assert list(effects) == ["net.hidden", "lr", "depth"]  # the largest first; no seed, no constant
    frame = frame_of(rows)
    settings = frame.groupby(["lr", "hidden", "depth"])["y"].mean().reset_index()
    for key, name in (("lr", "lr"), ("net.hidden", "hidden"), ("depth", "depth")):
        effect = effects[key]
        means = settings.groupby(name)["y"].mean()
        assert [level.value for level in effect.levels] == list(means.index)
        assert [level.mean for level in effect.levels] == pytest.approx(list(means))
        assert effect.range == pytest.approx(means.max() - means.min())
        assert effect.mode == "max" and effect.paired and not effect.notes
        others = [one for one in ("lr", "hidden", "depth") if one != name]
        wide = settings.pivot_table(index=others, columns=name, values="y")
        normal = wide.sub(wide.mean(axis=1), axis=0)  # Cousineau
        count, size = wide.shape
        sem = normal.std() * np.sqrt(size / (size - 1)) / np.sqrt(count)  # Morey
        half = sem * scipy.stats.t.ppf(0.975, count - 1)
        assert [lv.high - lv.mean for lv in effect.levels] == pytest.approx(list(half))
        assert [lv.mean - lv.low for lv in effect.levels] == pytest.approx(list(half))
        assert {lv.n for lv in effect.levels} == {count}


def test_additive_keys_do_not_interact(tmp_path):
    assert all(not one.interacts for one in main_effects(put(tmp_path, grid(additive)), "accuracy"))


def test_an_interaction_is_named_with_where_it_shows(tmp_path):
    effects = {one.key: one for one in main_effects(put(tmp_path, grid(interacting)), "accuracy")}
    (text,) = effects["lr"].interacts
    assert text.startswith("net.hidden: from lr=")
    assert (
        "at net.hidden=16" in text and "at net.hidden=64" in text and "(F test, p < 0.001)" in text
    )
    assert effects["net.hidden"].interacts[0].startswith("lr: ")
    assert not effects["depth"].interacts


@pytest.mark.slow
def test_the_test_is_that_of_statsmodels(tmp_path):
    """With a quarter of the range as the second condition out of the way."""
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    from ztxexp.analysis import effects as module

    rows = list(grid(lambda lr, h, d: 0.5 + (0.006 if (lr == 0.1) == (h == 64) else 0.0)))
    model = ols("y ~ C(lr) * C(hidden) * C(depth)", frame_of(rows)).fit()
    table = sm.stats.anova_lm(model, typ=2)
    taken = {}
    original = module._pair

    def spy(settings, one, other, error, freedom):
        taken[one, other] = original(settings, one, other, error, freedom)
        return taken[one, other]

    module._pair = spy
    try:
        main_effects(put(tmp_path, rows), "accuracy")
    finally:
        module._pair = original
    names = {"lr": "C(lr)", "net.hidden": "C(hidden)", "depth": "C(depth)"}
    assert len(taken) == 3
    for (one, other), pair in taken.items():
        term = f"{names[one]}:{names[other]}"
        if term not in table.index:
            term = f"{names[other]}:{names[one]}"
        assert pair.p == pytest.approx(table.loc[term, "PR(>F)"], rel=1e-9)


@pytest.mark.parametrize("value", [0.001, 0.5, 1.0, 3.7, 40.0, 1e5])
@pytest.mark.parametrize(("of", "against"), [(1, 1), (2, 10), (7, 3), (4, 400), (30, 2)])
def test_the_f_distribution_is_that_of_scipy(value, of, against):
    assert f_above(value, of, against) == pytest.approx(
        scipy.stats.f.sf(value, of, against), rel=1e-9
    )


def test_holes_are_said_and_intervals_hold_what_other_keys_do(tmp_path):
    rows = [row for row in grid(additive) if row[0]["lr"] != 0.1 or row[0]["net"]["hidden"] != 64]
    effects = {one.key: one for one in main_effects(put(tmp_path, rows), "accuracy")}
    lr = effects["lr"]
    assert not lr.paired
    assert "compared over different settings of the other keys" in lr.notes[0]
    assert any("lr interacts with net.hidden cannot be judged" in note for note in lr.notes)
    settings = frame_of(rows).groupby(["lr", "hidden", "depth"])["y"].mean().reset_index()
    of = settings[settings["lr"] == 0.01]["y"]
    level = next(one for one in lr.levels if one.value == 0.01)
    interval = scipy.stats.t.interval(0.95, len(of) - 1, of.mean(), scipy.stats.sem(of))
    assert (level.low, level.high) == pytest.approx(interval)
    assert effects["depth"].paired


def test_seeds_that_are_missing_or_without_a_number_are_said(tmp_path):
    rows = list(grid(additive))
    rows[0] = (rows[0][0], float("nan"))
    rows[1] = (rows[1][0], None)
    del rows[2]
    effects = main_effects(put(tmp_path, rows), "accuracy")
    assert all("1 of 12 settings lack seeds that others have" in one.notes for one in effects)
    assert all("2 runs without a finite number left out" in one.notes for one in effects)


def test_without_repeated_seeds_interactions_are_not_judged(tmp_path):
    effects = main_effects(put(tmp_path, grid(interacting, seeds=1)), "accuracy")
    assert all("interactions are not judged" in one.notes[-1] for one in effects)
    assert all(not one.interacts for one in effects)


def test_keys_that_change_together_are_one(tmp_path):
    rows = [
        ({"name": n, "width": w, "lr": lr, "seed": s}, w / 100 + lr + s / 1000)
        for (n, w), lr, s in itertools.product([("s", 1), ("m", 2)], [0.1, 0.2], range(3))
    ]
    table = put(tmp_path, rows)
    effects = {one.key: one for one in main_effects(table, "accuracy")}
    assert list(effects) == ["lr", "name"]
    assert "name and width change together" in effects["name"].notes[0]
    (asked,) = main_effects(table, "accuracy", keys=["width"])
    assert [level.value for level in asked.levels] == [1, 2] and asked.paired


def test_many_numbers_are_taken_in_ranges(tmp_path):
    chance = np.random.default_rng(0)
    rows = [({"lr": float(lr), "run": f"r{lr}"}, float(lr)) for lr in chance.uniform(0, 1, 40)]
    (effect,) = main_effects(put(tmp_path, rows), "accuracy")
    assert [level.n for level in effect.levels] == [10] * 4
    assert "the values of lr are taken in 4 ranges" in effect.notes
    ordered = sorted(row[1] for row in rows)
    assert effect.levels[0].value == f"{ordered[0]:.3g} to {ordered[9]:.3g}"
    assert effect.levels[0].mean == pytest.approx(np.mean(ordered[:10]))


def test_a_key_that_some_settings_lack_is_a_value_of_its_own(tmp_path):
    rows = [({"model": m, "seed": s}, 0.1 + s) for m in ("a", "b") for s in (0, 1)]
    rows += [({"model": "c", "hidden": 8, "seed": s}, 0.9 + s) for s in (0, 1)]
    effects = {one.key: one for one in main_effects(put(tmp_path, rows), "accuracy")}
    assert [level.value for level in effects["hidden"].levels] == [8, None]


def test_what_makes_no_sense_is_refused_and_nothing_gives_nothing(tmp_path):
    table = put(tmp_path, grid(additive))
    with pytest.raises(ConfigError, match=r"'batch' does not vary.*these vary: lr"):
        main_effects(table, "accuracy", keys=["batch"])
    with pytest.raises(ConfigError, match="'seed' is averaged over"):
        main_effects(table, "accuracy", keys=["seed"])
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        main_effects(table, "acuracy")
    assert main_effects(table.chosen([]), "accuracy") == []
    assert len(main_effects(table.runs, "accuracy", over=["seed", "depth"])) == 2


def test_neither_pandas_nor_scipy_is_imported(tmp_path):
    put(tmp_path, grid(additive))
    code = (
        "import sys; from ztxexp.analysis.effects import main_effects;"
        "from ztxexp.analysis.run_table import RunTable;"
        f"assert main_effects(RunTable.read({str(tmp_path)!r}), 'accuracy');"
        "print(sorted({'pandas', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
