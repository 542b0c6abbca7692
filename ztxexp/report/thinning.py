"""Long curves with fewer points: of each stretch the smallest and the largest stay.

So no peak and no dip is lost, as it would be where every tenth point is kept; and a stretch in
which a value is missing or not finite keeps its gap.
"""

from __future__ import annotations

from collections.abc import Sequence

Values = Sequence[float | None]


def kept(y: Values, most: int) -> Sequence[int]:
    """Return the positions of the points that stay, in rising order.

    The first and the last point stay, and of every stretch between them the smallest, the largest
    and the first gap, where there is one.

    Args:
        y: the values; ``None`` is a gap.
        most: how many stay at most; at least 5.

    Example:
        >>> kept([0, 1, 9, 1, 0, 1, -9, 1, 0], 6)
        [0, 1, 2, 5, 6, 8]
    """
    n = len(y)
    if n <= most:
        return range(n)
    inner = n - 2
    stretches = max(1, (most - 2) // (3 if None in y else 2))
    positions = [0]
    for number in range(stretches):
        begin = 1 + inner * number // stretches
        end = 1 + inner * (number + 1) // stretches
        positions += _of_stretch(y, begin, end)
    positions.append(n - 1)
    return positions


def _of_stretch(y: Values, begin: int, end: int) -> list[int]:
    part = y[begin:end]
    values = [value for value in part if value is not None]
    stay = set()
    if values:
        stay |= {part.index(min(values)), part.index(max(values))}
    if len(values) < len(part):
        stay.add(part.index(None))
    return [begin + at for at in sorted(stay)]


def thinned(x: Sequence[float], y: Values, most: int | None) -> tuple[Sequence[float], Values]:
    """Return a curve of at most so many points.

    Args:
        x: the steps.
        y: the values.
        most: how many points; ``None``: all.
    """
    if most is None or len(x) <= most:
        return x, y
    positions = kept(y, most)
    return [x[at] for at in positions], [y[at] for at in positions]
