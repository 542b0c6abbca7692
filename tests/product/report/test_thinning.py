"""Thinned curves keep the first and the last point, extremes and gaps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp.report.thinning import kept, thinned

VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-3, 3).map(float), st.none()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=400), st.integers(5, 60))
def test_thinning_keeps_ends_extremes_and_the_size(y, most):
    positions = list(kept(y, most))
    assert positions == sorted(set(positions))
    assert len(positions) <= max(most, 1)
    assert positions[0] == 0 and positions[-1] == len(y) - 1
    values = [value for value in y if value is not None]
    shown = [y[at] for at in positions if y[at] is not None]
    if values:
        assert min(shown) == min(values) and max(shown) == max(values)
    assert (None in y) == (None in [y[at] for at in positions])


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=50, max_size=400), st.integers(10, 40))
def test_every_stretch_keeps_its_own_extremes(y, most):
    positions = set(kept(y, most))
    stretches = max(1, (most - 2) // (3 if None in y else 2))
    inner = len(y) - 2
    for number in range(stretches):
        of = range(1 + inner * number // stretches, 1 + inner * (number + 1) // stretches)
        values = [y[at] for at in of if y[at] is not None]
        if values and len(y) > most:
            stay = [y[at] for at in of if at in positions and y[at] is not None]
            assert (min(stay), max(stay)) == (min(values), max(values))


def test_a_short_curve_is_not_touched():
    x, y = [0.0, 1.0], [1.0, None]
    assert thinned(x, y, 5) == (x, y)
    assert thinned(x * 100, y * 100, None) == (x * 100, y * 100)


def test_thinning_twice_keeps_the_extremes():
    y = [float(at % 97) for at in range(10_000)]
    y[4321] = 1e6
    y[77] = -1e6
    x1, y1 = thinned(list(range(10_000)), y, 1000)
    _, y2 = thinned(x1, y1, 250)
    assert max(y2) == 1e6 and min(y2) == -1e6 and len(y2) <= 250
