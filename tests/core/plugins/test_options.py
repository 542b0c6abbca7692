"""Options of plugins: names, types, defaults and help, and what is refused before anything runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import numpy as np
import pytest

from ztxexp.runner import ExpRunner
from ztxexp_core.errors import OptionError, PluginContractError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.options import REQUIRED, Option, checked_options, fits, options_of
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.store.run_folder import run_names
from ztxexp_testing import FakeDistribution


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


# ---- types -----------------------------------------------------------------------------------

FITTING = [
    (int, [0, -3, 10**30, np.int64(3)], [True, 3.0, "3", None, np.bool_(True)]),
    (float, [0.5, 3, float("nan"), np.float32(1.5), np.int8(2)], [True, "0.5", None, 1j]),
    (bool, [True, False, np.bool_(False)], [0, 1, "true", None]),
    (str, ["", "x"], [b"x", 1, Path("x"), None]),
    (bytes, [b"x"], ["x", bytearray(b"x")]),
    (None, [None], [0, ""]),
    (Path, [Path("x"), "x"], [b"x", 3, None]),
    (Any, [None, 1, object()], []),
    (int | None, [1, None], ["1", True]),
    (Optional[str], ["a", None], [1]),  # noqa: UP045
    (Union[int, str], [1, "a"], [1.5, None]),  # noqa: UP007
    (Literal["a", 1], ["a", 1], ["b", True, 2]),
    (list[int], [[], [1, 2], (1, 2)], [[1, "a"], "12", {1}, 1]),
    (Sequence[str], [["a"], ("a",)], ["a", [1]]),
    (tuple[int, str], [(1, "a"), [1, "a"]], ["ab", 1]),
    (tuple[float, ...], [(), (1, 2.5)], [("a",)]),
    (dict[str, float], [{}, {"a": 1}], [{"a": "b"}, {1: 1.0}, [("a", 1.0)]]),
    (Mapping[str, Any], [{"a": object()}], [{1: 1}, []]),
    (list[int | None] | float, [[None, 1], 2.5], [["a"], "a"]),
    (list, [[1, "a"]], ["a"]),
]


@pytest.mark.parametrize(("annotation", "good", "bad"), FITTING, ids=range(len(FITTING)))
def test_a_value_fits_the_types_that_it_is_of_and_no_others(annotation, good, bad):
    assert [value for value in good if not fits(annotation, value)] == []
    assert [value for value in bad if fits(annotation, value)] == []


@pytest.mark.parametrize(
    "annotation",
    [Option, "NotKnown", 3, ["a"], Colour, Callable[[int], str], Iterable[int], Annotated[int, ""]],
)
def test_a_type_that_is_not_checked_takes_anything(annotation):
    assert fits(annotation, 5) and fits(annotation, "a")


def test_a_type_is_shown_as_its_author_wrote_it():
    def make(
        a: Optional[int],  # noqa: UP045
        b: dict[str, list[float]],
        c: Literal["a", 1],
        d: Colour,
        e: Sequence[Path | None],
        f: NotKnown,  # noqa: F821
        g=3,
    ): ...

    assert [option.type for option in options_of(make)] == [
        "Optional[int]",
        "dict[str, list[float]]",
        'Literal["a", 1]'.replace('"', "'"),
        "Colour",
        "Sequence[Path | None]",
        "NotKnown",
        "Any",
    ]


# ---- declarations ----------------------------------------------------------------------------


@dataclass
class Base:
    """Settings.

    Attributes:
        rate: how fast it goes,
            in hertz: never mind where.
        name (str): of the thing
    """

    rate: float
    name: str = "x"


@dataclass
class Derived(Base):
    tags: list[str] = field(default_factory=list, metadata={"help": "words"})
    odd: NotKnown = 3  # noqa: F821 - as where a name is imported for type checkers only
    derived: int = field(default=0, init=False)


def test_the_options_of_a_dataclass_have_types_defaults_and_help():
    assert [(o.name, o.type, o.default) for o in options_of(Base)] == [
        ("rate", "float", REQUIRED),
        ("name", "str", "x"),
    ]
    told = options_of(Derived)
    assert [option.name for option in told] == ["rate", "name", "tags", "odd"]
    assert (told[2].default, told[2].help, told[3].type) == ([], "words", "NotKnown")


def test_the_options_of_a_tracker_are_those_of_its_constructor():
    class Mine:
        """Sends.

        Args:
            url: where to.
        """

        def __init__(self, url: str, *, tries: int = 3, **more: Any):
            """And tries again.

            Args:
                tries: how often.
            """

    told = options_of(Mine)
    assert [(o.name, o.type) for o in told] == [("url", "str"), ("tries", "int")]


def test_a_factory_and_a_dataclass_are_trackers_too():
    def make(url: str = "x") -> object: ...

    @dataclass
    class Tracker:
        depth: int = 1

    assert [(o.name, o.default) for o in options_of(make)] == [("url", "x")]
    assert [(o.name, o.type) for o in options_of(Tracker)] == [("depth", "int")]
    assert options_of(dict) == []  # written in C: it does not tell


# ---- what is refused -------------------------------------------------------------------------


def test_all_values_of_a_wrong_type_are_named_at_once_with_the_known_options():
    with pytest.raises(OptionError) as caught:
        checked_options("executor 'x'", Derived, {"rate": "fast", "name": "n", "tags": [1]})
    assert str(caught.value) == (
        "executor 'x': option 'rate' must be float, got 'fast' (str); option 'tags' must be "
        "list[str], got [1] (list); known: 'rate', 'name', 'tags', 'odd'"
    )


def test_nothing_is_converted_and_the_very_default_is_always_taken():
    @dataclass
    class Options:
        rate: float = 1
        path: Path = None  # type: ignore[assignment]  # as one often sees

    assert checked_options("x", Options, {"rate": 3, "path": None}) == {"rate": 3, "path": None}
    assert type(checked_options("x", Options, {"rate": 3})["rate"]) is int


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("mlflow", {"experiment_name": 3}, "option 'experiment_name' must be str | None, got 3"),
        ("mlflow", {"log_artifacts": "yes"}, "option 'log_artifacts' must be bool, got 'yes'"),
        ("tensorboard", {"log_dir": 3}, "option 'log_dir' must be str | Path | None, got 3"),
        ("jsonl", {"events_filename": None}, "option 'events_filename' must be str, got None"),
        ("wandb", {"project": ["a"], "mode": "offline"}, "option 'project' must be str | None"),
    ],
)
def test_built_in_trackers_refuse_values_of_a_wrong_type(name, kwargs, said):
    with pytest.raises(OptionError) as caught:
        registry.tracker_spec(name, kwargs)
    assert said in str(caught.value)
    assert f"tracker {name!r} (ztxexp " in str(caught.value) and "known: " in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu_threshold": "80"}, "option 'cpu_threshold' must be float, got '80'"),
        ({"min_free_memory": None}, "option 'min_free_memory' must be float, got None"),
        ({"min_fre_memory": 0.1}, r"no option 'min_fre_memory' \(did you mean 'min_free_memory'"),
    ],
)
def test_options_of_an_executor_are_refused_before_anything_runs(tmp_path, options, said):
    ran = []
    with pytest.raises(OptionError, match=said):
        ExpRunner([{}], tmp_path / "r").run(ran.append, mode="dynamic", options=options)
    assert ran == [] and run_names(tmp_path / "r") == []


TRACKER = """
    from dataclasses import dataclass
    from ztxexp_core import OptionError

    class Declared:
        @dataclass
        class Options:
            rate: float = 1.0
            name: str = "x"

            def __post_init__(self):
                if self.rate <= 0:
                    raise ValueError("rate must be over 0")

        def __init__(self, **options):
            self.options = self.Options(**options)

        def on_run_start(self, ctx, meta): ...
        def on_metric(self, ctx, event): ...
        def on_run_end(self, ctx, summary): ...

    class Undeclared(Declared):
        Options = {"rate": 1.0}
"""


def test_a_tracker_may_declare_its_options_as_a_dataclass():
    entries = {"declared": "own_tracker:Declared", "undeclared": "own_tracker:Undeclared"}
    with FakeDistribution("own", {"own_tracker": TRACKER}, trackers=entries):
        spec = registry.tracker_spec("declared", {"rate": 2})
        assert spec.kwargs == {"rate": 2}  # as given, since it is made elsewhere
        assert make_tracker(spec).options.rate == 2
        for kwargs, said in [
            ({"rat": 2}, r"no option 'rat' \(did you mean 'rate'\?\); known: 'rate', 'name'"),
            ({"rate": "fast"}, "option 'rate' must be float, got 'fast'"),
            ({"rate": 0}, "refuses its options: rate must be over 0"),
        ]:
            with pytest.raises(OptionError, match=said):
                registry.tracker_spec("declared", kwargs)
        with pytest.raises(PluginContractError, match="has an Options that is not a dataclass"):
            registry.tracker_spec("undeclared")
