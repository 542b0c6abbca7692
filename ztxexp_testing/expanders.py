"""The suite that every expander passes: :class:`ExpanderSuite`."""

from __future__ import annotations

import copy
import itertools
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from ztxexp.manager import ExpManager
from ztxexp_core.pickling import pickle_by_value
from ztxexp_core.records import Config
from ztxexp_core.values.codec import plain
from ztxexp_core.values.copying import copy_config
from ztxexp_core.values.identity import config_identity
from ztxexp_testing._processes import Script, run_in_time
from ztxexp_testing._suite import Ability, PluginSuite

__all__ = ["ExpanderSuite"]

T = TypeVar("T")

_ADDRESS = re.compile(r"at 0x[0-9a-fA-F]+")
_MAX_PULLED = 1000  # configurations of an input without end

_SCRIPT = """
import pickle, sys
from pathlib import Path
from ztxexp_core.values.identity import config_identity
from ztxexp_core.plugins.registry import expanders

name, options, configs = pickle.loads(Path(sys.argv[1]).read_bytes())
plugin = expanders().load(name)
for config in plugin.call(configs=iter(configs), options=plugin.check_options(options)):
    print(config_identity(config))
"""


class ExpanderSuite(PluginSuite):
    """Promises of an expander, each a test; inherit it in a class whose name begins with ``Test``.

    Set ``name``, and ``options`` with which it makes something. What the expander cannot do is
    declared by an attribute that holds the reason; its tests are skipped, and show the reason. A
    single test can be overridden, with a reason.

    Attributes:
        name: the name of the expander.
        plugin: a module or instance, which is installed under that name while a test runs.
        options: the keyword arguments of ``.expand(name, **options)``.
        configs: sample inputs; the first one alone has to give something.
        is_lazy: the first configuration is made before the last one has been asked for.
        gives_nothing_for_nothing: without configurations it makes none.
        is_the_same_everywhere: equal options give equal results in another process as well.
        most: this many configurations made of the samples are taken for an endless number.
        patience: seconds after which what does not come is taken for hanging.

    Example:
        >>> class TestSobol(ExpanderSuite):
        ...     name = "sobol"
        ...     options = {"space": {"lr": uniform(0, 1)}, "n": 8}
    """

    kind = "expander"
    configs: ClassVar[Sequence[Config]] = (
        {},
        {"lr": 0.5, "model": {"name": "tiny", "layers": [16, 8], "head": {"dim": 4}}},
        {"tags": {"a": [1, {"b": 2}]}, "none": None, "text": "größe", "on": True},
    )

    is_lazy: ClassVar[Ability] = True
    gives_nothing_for_nothing: ClassVar[Ability] = True
    is_the_same_everywhere: ClassVar[Ability] = True
    most: ClassVar[int] = 100_000

    @pytest.fixture(autouse=True)
    def suite_setting(self, tmp_path: Path) -> Iterator[None]:
        """Install the plugin, and set :attr:`place`."""
        self.place = tmp_path
        with self.plugin_installed():
            yield

    def samples(self) -> list[Config]:
        """Return copies of the sample configurations."""
        return [copy_config(config) for config in self.configs]

    def begin(
        self, configs: Iterable[Config], options: Mapping[str, Any] | None = None
    ) -> Iterator[Config]:
        """Call the expander as the core does, and return an iterator of what it makes."""
        plugin = self.load()
        checked = plugin.check_options(self.options) if options is None else options
        made = plugin.call(configs=configs, options=checked)
        assert isinstance(made, Iterable), f"its hook returned {made!r}, not configurations"
        return iter(made)

    def expand(self, configs: Iterable[Config] | None = None) -> list[Config]:
        """Return all that the expander makes, of the samples if no configurations are given."""
        inputs = self.samples() if configs is None else configs
        made = self._in_time(lambda: list(itertools.islice(self.begin(inputs), self.most)))
        assert len(made) < self.most, f"it made {self.most} configurations and did not end"
        return made

    def _in_time(self, do: Callable[[], T]) -> T:
        return run_in_time(do, self.patience, "it made nothing")

    # ---- the plugin ----------------------------------------------------------------------------

    def test_it_is_found_by_its_name_and_fits_the_contract(self) -> None:
        self.load()

    def test_its_options_may_be_given_again(self) -> None:
        before = _text(self.options)
        plugin = self.load()
        first, second = (_text(plugin.check_options(self.options)) for _ in range(2))
        assert first == second
        assert _text(self.options) == before, "it changed the options that it was given"

    # ---- what it makes -------------------------------------------------------------------------

    def test_it_makes_dicts_with_texts_for_keys(self) -> None:
        made = self.expand(self.samples()[:1])
        assert made, "it made no configuration of the first sample"
        for config in [*made, *self.expand()]:
            assert type(config) is dict, f"it made a {type(config).__name__}"
            odd = [key for key in config if not isinstance(key, str)]
            assert not odd, f"it made the keys {odd}, which are no texts"

    def test_what_it_makes_can_be_compared_copied_and_written_down(self) -> None:
        for config in self.expand():
            assert config_identity(copy_config(config)) == config_identity(config)
            plain(config)

    def test_there_is_an_end_to_what_it_makes(self) -> None:
        assert len(self.expand()) < self.most

    def test_nothing_comes_of_nothing(self) -> None:
        self.needs("gives_nothing_for_nothing")
        assert self.expand([]) == []

    # ---- pure ----------------------------------------------------------------------------------

    def test_equal_options_give_equal_results(self) -> None:
        first = self.expand()
        _seed(2)  # which has no part in it
        assert _identities(self.expand()) == _identities(first)

    def test_equal_options_give_equal_results_in_another_process(self) -> None:
        self.needs("is_the_same_everywhere")
        pickled = self.place / "given.pickle"
        given = (self.plugin_name, dict(self.options), self.samples())
        pickled.write_bytes(pickle_by_value(given))
        for number in (1, 2):
            source = f"{self.script_line}\n{_SCRIPT}"
            with Script(self.place / f"process{number}", source, pickled) as script:
                code, out, err = script.finish(self.patience)
            assert code == 0, err
            assert out.split() == _identities(self.expand())

    def test_it_leaves_the_global_random_state_alone(self) -> None:
        self.expand()  # which may import NumPy
        _seed(3)
        before = _random_states()
        self.expand()
        assert _random_states() == before, "it drew from, or seeded, what the whole process shares"

    def test_two_expansions_at_once_do_not_mix(self) -> None:
        alone = _identities(self.expand())
        one, two = self.begin(self.samples()), self.begin(self.samples())
        pairs = list(itertools.islice(zip(one, two, strict=True), self.most))
        assert _identities(config for config, _ in pairs) == alone
        assert _identities(config for _, config in pairs) == alone

    def test_what_comes_in_stays_as_it_was(self) -> None:
        given, plugin = self.samples(), self.load()
        options = plugin.check_options(self.options)
        before = copy.deepcopy(given), _text(options)
        for config in itertools.islice(self.begin(given, options), self.most):
            _change(copy_config(config))
        assert given == before[0], "it changed the configurations that it was given"
        assert _text(options) == before[1], "it changed its options"

    def test_a_configuration_that_is_changed_changes_no_other(self) -> None:
        if "independent" not in self.load().supports:
            pytest.skip("supports has no 'independent': the core copies what it makes")
        given = self.samples()
        before = copy.deepcopy(given)
        made = self.expand(given)
        expected = _identities(made)
        for index, config in enumerate(made):
            assert config_identity(config) == expected[index], "it shares a value with another one"
            _change(config)
        assert given == before, "it shares a value with what it was given"
        assert _identities(self.expand()) == expected, "it shares a value with a later result"

    # ---- lazy ----------------------------------------------------------------------------------

    def test_the_first_one_is_made_before_the_last_one_is_asked_for(self) -> None:
        self.needs("is_lazy")
        made = self._in_time(lambda: next(self.begin(self._endless()), None))
        assert made is not None

    def _endless(self) -> Iterator[Config]:
        for number, config in enumerate(itertools.cycle(self.configs)):
            if number == _MAX_PULLED:
                raise AssertionError(f"it asked for {number} configurations before it made one")
            yield copy_config(config)

    def test_it_asks_for_each_configuration_once(self) -> None:
        begun: list[int] = []

        class Once(list[Config]):
            def __iter__(self) -> Iterator[Config]:
                begun.append(1)
                return super().__iter__()

        self.expand(Once(self.samples()))
        assert len(begun) <= 1, f"it went {len(begun)} times through what it was given"

    # ---- in a sweep ----------------------------------------------------------------------------

    def test_it_is_a_step_of_a_sweep_like_any_other(self) -> None:
        base = self.samples()[0]
        runs = [{**copy_config(base), "run": run} for run in (1, 2)]
        manager = ExpManager(base).grid({"run": [1, 2]}).expand(self.plugin_name, **self.options)
        built = manager.build()
        assert _identities(built) == _identities(self.expand(runs))
        expected = _identities(built)
        for config in built:
            _change(config)
        assert _identities(manager.build()) == expected


def _identities(configs: Iterable[Config]) -> list[str]:
    return [config_identity(config) for config in configs]


def _text(value: Any) -> str:
    """Return a text in which a change of options shows, without addresses of objects."""
    return _ADDRESS.sub("at ...", repr(value))


def _seed(seed: int) -> None:
    """Set the generators that a whole process shares."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def _random_states() -> list[Any]:
    """Return the states of the generators that a whole process shares."""
    states: list[Any] = [random.getstate()]
    if "numpy" in sys.modules:
        name, words, *rest = sys.modules["numpy"].random.get_state()
        states += [name, words.tolist(), *rest]
    return states


def _change(value: Any) -> None:
    """Change a value in place, all the way down."""
    if isinstance(value, dict):
        for inner in list(value.values()):
            _change(inner)
        value["changed by the suite"] = 1
    elif isinstance(value, list):
        for inner in value:
            _change(inner)
        value.append("changed by the suite")
