"""Options of ``ztxexp table`` as arguments of :func:`ztxexp.tables.making.table_of`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from ztxexp.cli.completing import complete_metric
from ztxexp.cli.filters import keys_option
from ztxexp.cli.repeated import Joined, Once

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHOWS = ("std", "sem", "ci95", "median[iqr]", "none")
_TESTS = ("paired-t", "permutation", "wilcoxon", "bootstrap")


def table_options(command: _Command) -> _Command:
    """Add the options; the command gets the arguments that were given as ``asked``."""
    names = [
        "rows", "cols", "metric", "show", "test", "correct", "against", "alpha", "percent",
        "digits", "highlight", "labels", "order", "groups", "averages", "reported", "transpose",
    ]  # fmt: skip

    @functools.wraps(command)
    def with_asked(*args: Any, **given: Any) -> Any:
        return command(*args, asked=asked_of({name: given.pop(name) for name in names}), **given)

    decorated: Any = with_asked
    options = [
        keys_option("--rows", help="Keys of the rows; none: one row."),
        keys_option("--cols", help="Keys of the columns; none: one for each metric."),
        click.option(
            "--metric",
            metavar="NAMES",
            cls=Joined,
            shell_complete=complete_metric,
            help="What is averaged.",
        ),
        click.option(
            "--show", type=click.Choice(_SHOWS), help="What stands behind the mean; the std."
        ),
        click.option(
            "--test", type=click.Choice(_TESTS), help="A test paired by seed. Needs scipy."
        ),
        click.option(
            "--against",
            metavar="WHAT",
            cls=Once,
            help="What is tested against: best, or the baseline, such as model=svm.",
        ),
        click.option(
            "--correct",
            type=click.Choice(["holm", "none"]),
            help="For several comparisons; holm by default.",
        ),
        click.option("--alpha", type=float, metavar="P", help="Level of the test; 0.05."),
        click.option("--percent", is_flag=True, help="Numbers times 100."),
        click.option(
            "--digits", type=click.IntRange(0, 15), help="Decimals; by default two of the spread."
        ),
        click.option(
            "--highlight",
            metavar="WHERE",
            cls=Once,
            help="Mark the best of each column, row, block, or of the table; separable: all that "
            "the test cannot tell from it.",
        ),
        label_option(),
        click.option(
            "--order",
            multiple=True,
            metavar="KEY=VALUES",
            help="Only these values, in this order: model=svm,mlp.",
        ),
        click.option(
            "--groups",
            multiple=True,
            metavar="KEY",
            help="Groups of rows: a key of the rows, or 'TITLE: VALUES' for each.",
        ),
        click.option(
            "--averages",
            metavar="KINDS",
            cls=Joined,
            help="Of each row: average, rank, or both with a comma; with --highlight row of each "
            "column.",
        ),
        click.option(
            "--reported",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="A CSV file of values that others have reported.",
        ),
        click.option("--transpose", is_flag=True, help="The same table, rows as columns."),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def asked_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for, without what was left to be as usual.

    Raises:
        click.UsageError: a label, an order or a baseline that cannot be read.
    """
    asked = {name: value for name, value in given.items() if value not in (None, (), False)}
    for name in ("rows", "cols", "metric", "averages"):
        if name in asked:
            names = _names(asked[name])
            asked[name] = names[0] if len(names) == 1 else names
            if asked[name] == "none" and name in ("rows", "cols"):
                asked[name] = []
    if asked.get("against", "best") != "best":
        asked["against"] = _pairs(asked["against"])
    if "labels" in asked:
        asked["labels"] = labels_of(asked["labels"])
    if "order" in asked:
        asked["order"] = dict(map(_order, asked["order"]))
    if "groups" in asked:
        asked["groups"] = _groups(asked["groups"])
    return asked


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _values(text: str) -> list[str]:
    from ztxexp.text.pieces import pieces

    return [piece.strip() for piece in pieces(text) if piece.strip()]


def _pairs(text: str) -> dict[str, str]:
    """Return the values of ``model=svm,lr=0.1`` by key."""
    pairs = {}
    for piece in _values(text):
        key, equals, value = piece.partition("=")
        if not equals:
            raise click.UsageError(
                f"--against takes best, or the baseline's values such as model=svm, not {text!r}"
            )
        pairs[key.strip()] = value.strip()
    return pairs


def label_option() -> Callable[[Any], Any]:
    """Return the option ``--label``, read by :func:`labels_of`."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="'KEY as TEXT'",
        help="What a key, a value ('lr=0.1 as large') or a metric is called.",
    )


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the texts of ``--label`` by name.

    Raises:
        click.UsageError: one that cannot be read.
    """
    return dict(map(_label, texts))


def _label(text: str) -> tuple[str, str]:
    name, separator, label = text.partition(" as ")
    if not separator or not name.strip():
        raise click.UsageError(f"--label takes 'KEY as TEXT' or 'KEY=VALUE as TEXT', not {text!r}")
    return name.strip(), label.strip()


def _order(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    if not equals or not _values(values):
        raise click.UsageError(f"--order takes KEY=VALUES, such as model=svm,mlp, not {text!r}")
    return key.strip(), _values(values)


def _groups(texts: Sequence[str]) -> str | dict[str, list[str]]:
    if len(texts) == 1 and ":" not in texts[0]:
        return texts[0]
    groups = {}
    for text in texts:
        title, colon, values = text.partition(":")
        if not colon:
            raise click.UsageError(f"--groups takes one key, or 'TITLE: VALUES', not {text!r}")
        groups[title.strip()] = _values(values)
    return groups
