"""What the grammar expands is what the builder of Python expands."""

from __future__ import annotations

import itertools
import json
import math
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp import ExpManager
from ztxexp.configs.distributions import choice, integers, loguniform, uniform
from ztxexp.sweeps.spec import SweepSpec
from ztxexp.sweeps.values import as_text, as_word, quoted, read_values
from ztxexp_core.errors import ConfigError

# Texts that a grammar may trip over, beside any others.
_TRICKY = [
    "", " ", "1e-3", "0..4", "null", "None", "true", "~", "@file", "a,b", "[1", "{a: 1}", "a=b",
    "uniform(0,1)", "x: y", "# no", "- a", "'", '"', "\\", "a\nb", "\t", "\x1b[31m", "\u202e", "é",
    "\U0001f600", "1_000", "0x1F", "1:30", "2020-01-01", "...",
    "---", "<<", "*a", "&a", "!a", "%a",
    "yes", "|", ">", "?", "`", ".nan", "NaN ", "007", "http://a:1/b?c=d", "../x", "\u2028",
    "\ufeff", "A(", "f(0", "0)", "=", "==1",
]  # fmt: skip
_text = st.one_of(st.sampled_from(_TRICKY), st.text(max_size=12))
_number = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.booleans(), st.none()
)
_value = st.recursive(
    st.one_of(_text, _number),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
_keys = st.sampled_from(["lr", "seed", "opt", "model.width", "model.opt.name", "zip", "draws"])
_grid = st.dictionaries(_keys, st.lists(_value, min_size=1, max_size=3), min_size=1, max_size=4)


def _words(grid: dict) -> list[str]:
    return [f"{key}={as_text(values)}" for key, values in grid.items()]


def _manager(grid: dict) -> ExpManager:
    base: dict = {}
    if any(key.startswith("model.") for key in grid):
        base["model"] = {"opt": {}} if "model.opt.name" in grid else {}
    return ExpManager(base)


def _exact(manager: ExpManager) -> list[str]:
    """Return the configurations as texts, in which 1, 1.0 and true differ."""
    return [json.dumps(config, sort_keys=True) for config in manager.build()]


def _through_files(spec: SweepSpec) -> list[SweepSpec]:
    specs = [spec, SweepSpec.from_dict(spec.to_dict())]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("s.yaml", "s.json", "s.toml"):
            path = os.path.join(folder, name)
            try:
                spec.save(path)
            except ConfigError as exc:
                assert name == "s.toml", exc  # neither null nor a lone surrogate
                continue
            specs.append(SweepSpec.from_file(path))
    return specs


@settings(max_examples=150, deadline=None)
@given(_value)
def test_a_quoted_value_is_read_as_itself(value):
    for text in (quoted(value), as_word("key", value).partition("=")[2]):
        assert json.dumps(read_values(text)) == json.dumps([value])
        assert text.isprintable()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_grid)
def test_a_grid_is_the_grid_of_the_builder(grid):
    expected = _manager(grid).grid(grid)
    for spec in _through_files(SweepSpec.from_words(_words(grid))):
        assert _exact(spec.apply(ExpManager())) == _exact(expected)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(_grid, min_size=2, max_size=3))
def test_a_union_is_the_chain_of_the_builder(grids):
    words = _words(grids[0])
    for grid in grids[1:]:
        words += ["+", *_words(grid)]
    expected = ExpManager().chain(*(_manager(grid).grid(grid) for grid in grids))
    for spec in _through_files(SweepSpec.from_words(words)):
        assert _exact(spec.apply(ExpManager())) == _exact(expected)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(_value, _value), min_size=2, max_size=4),
    st.lists(_value, min_size=1, max_size=2),
    st.booleans(),
)
def test_zip_is_the_zip_of_the_builder(pairs, others, first):
    zipped = {"a": [one for one, _ in pairs], "b": [other for _, other in pairs]}
    grid = {"c": others}
    words = [*_words(grid), *_words(zipped)] if first else [*_words(zipped), *_words(grid)]
    manager = ExpManager()
    expected = manager.grid(grid).zip(zipped) if first else manager.zip(zipped).grid(grid)
    for spec in _through_files(SweepSpec.from_words(words, zip="a,b")):
        assert _exact(spec.apply(ExpManager())) == _exact(expected)


_finite = st.floats(1e-6, 1e6)
_distribution = st.one_of(
    st.tuples(_finite, _finite).filter(lambda ends: ends[0] < ends[1]).map(lambda e: uniform(*e)),
    st.tuples(_finite, _finite).filter(lambda e: e[0] < e[1]).map(lambda e: loguniform(*e)),
    st.tuples(st.integers(-9, 0), st.integers(0, 9)).map(lambda ends: integers(*ends)),
    st.lists(_value, min_size=1, max_size=3).map(choice),
    st.lists(st.tuples(_value, st.integers(1, 5)), min_size=1, max_size=3).map(
        lambda pairs: choice([value for value, _ in pairs], [weight for _, weight in pairs])
    ),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["x", "y"]), _distribution, min_size=1),
    _grid,
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 9)),
)
def test_draws_are_the_random_search_of_the_builder(space, grid, draws, seed):
    words = [*_words(grid), *_words(space)]
    manager = _manager(grid).random_search(space, draws, 42 if seed is None else seed).grid(grid)
    for spec in _through_files(SweepSpec.from_words(words, draws=draws, draw_seed=seed)):
        assert _exact(spec.apply(ExpManager())) == _exact(manager)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=5),
    st.lists(_text, min_size=1, max_size=3),
    st.integers(-5, 5),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    _text,
)
def test_conditions_are_the_where_of_the_builder(numbers, texts, bound, sign, text):
    grid = {"n": numbers, "t": texts}
    condition = f"n {sign} {bound} or t == {text!r}"
    compare = {
        "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__, "==": int.__eq__,
        "!=": int.__ne__,
    }[sign]  # fmt: skip
    manager = ExpManager().grid(grid).where(lambda c: compare(c["n"], bound) or c["t"] == text)
    for spec in _through_files(SweepSpec.from_words(_words(grid), where=condition)):
        assert _exact(spec.apply(ExpManager())) == _exact(manager)


@settings(max_examples=60, deadline=None)
@given(st.integers(-20, 20), st.integers(0, 40), st.integers(1, 7))
def test_ranges_are_those_of_python(first, length, step):
    last = first + length
    assert read_values(f"{first}..{last}") == list(range(first, last + 1))
    assert read_values(f"{first}..{last}:{step}") == list(range(first, last + 1, step))
    assert read_values(f"{last}..{first}:{-step}") == list(range(last, first - 1, -step))


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 20))
def test_spaced_numbers_have_both_ends(start, stop, count):
    for name, step in (("linspace", lambda a, b: b - a), ("logspace", lambda a, b: b / a)):
        numbers = read_values(f"{name}({start!r},{stop!r},{count})")
        assert isinstance(numbers, list) and len(numbers) == count
        assert (numbers[0], numbers[-1]) == (start, stop)
        steps = [step(a, b) for a, b in itertools.pairwise(numbers)]
        tolerance = 1e-9 * max(abs(start), abs(stop), 1)
        assert all(math.isclose(s, steps[0], rel_tol=1e-6, abs_tol=tolerance) for s in steps)
