"""Bad expanders. Each does one thing wrong that the contract names."""

from __future__ import annotations

from zoo.animal import FOUND, Animal

HEAD = """
import itertools, random
from ztxexp_core import hookimpl

"""


def expander(body: str, *caught_by: str, said: str, suite: str = "pass") -> Animal:
    """Return a module with a hook of that body."""
    lines = body.strip("\n").splitlines()
    before = [line for line in lines if line.startswith("@@ ")]
    inside = [line for line in lines if not line.startswith("@@ ")]
    source = HEAD + "".join(f"{line[3:]}\n" for line in before)
    source += "@hookimpl\ndef ztxexp_expand(configs, options):\n"
    source += "".join(f"    {line}\n" for line in inside)
    return Animal(source, caught_by, said, suite=suite)


SAME = "test_equal_options_give_equal_results"
KEPT = "test_what_it_makes_can_be_compared_copied_and_written_down"
INDEPENDENT = "test_a_configuration_that_is_changed_changes_no_other"

EXPANDERS = {
    "changes_its_input": expander(
        """
for config in configs:
    for n in (1, 2):
        config["n"] = n
        yield dict(config)
""",
        "test_what_comes_in_stays_as_it_was",
        said="it changed the configurations that it was given",
    ),
    "changes_its_options": expander(
        """
for config in configs:
    options["count"] = options.get("count", 0) + 1
    yield dict(config)
""",
        "test_what_comes_in_stays_as_it_was",
        said="it changed its options",
    ),
    "at_random": expander(
        """
for config in configs:
    yield {**config, "n": random.random()}
""",
        SAME,
        "test_it_leaves_the_global_random_state_alone",
        said="",
    ),
    "seeds_everybody": expander(
        """
random.seed(0)
for config in configs:
    yield {**config, "n": random.random()}
""",
        "test_it_leaves_the_global_random_state_alone",
        said="what the whole process shares",
    ),
    "in_the_order_of_a_set": expander(
        """
for config in configs:
    for name in {"adam", "sgd", "rmsprop", "lion"}:
        yield {**config, "optimizer": name}
""",
        "test_equal_options_give_equal_results_in_another_process",
        said="",
    ),
    "counts_on": expander(
        """
@@ NUMBERS = itertools.count()
for config in configs:
    yield {**config, "n": next(NUMBERS)}
""",
        SAME,
        said="",
    ),
    "draws_from_one_stream": expander(
        """
@@ RNG = random.Random()
RNG.seed(1)
for config in configs:
    yield {**config, "n": RNG.random()}
""",
        "test_two_expansions_at_once_do_not_mix",
        said="",
    ),
    "without_end": expander(
        """
for config in configs:
    for n in itertools.count():
        yield {**config, "n": n}
""",
        "test_there_is_an_end_to_what_it_makes",
        said="it made 1000 configurations and did not end",
        suite="most = 1000",
    ),
    "makes_nothing_and_hangs": expander(
        """
while True:
    pass
yield {}
""",
        "test_there_is_an_end_to_what_it_makes",
        said="it made nothing for 2 s",
        suite="patience = 2.0",
    ),
    "takes_everything_first": expander(
        """
for config in list(configs):
    yield dict(config)
""",
        "test_the_first_one_is_made_before_the_last_one_is_asked_for",
        said="it asked for 1000 configurations before it made one",
    ),
    "goes_through_twice": expander(
        """
total = sum(1 for _ in configs)
for config in configs:
    yield {**config, "total": total}
""",
        "test_it_asks_for_each_configuration_once",
        said="it went 2 times through what it was given",
    ),
    "makes_no_dicts": expander(
        """
for config in configs:
    yield list(config.items())
""",
        "test_it_makes_dicts_with_texts_for_keys",
        said="it made a list",
    ),
    "numbers_for_keys": expander(
        """
for config in configs:
    yield {**config, 3: 4}
""",
        "test_it_makes_dicts_with_texts_for_keys",
        said="it made the keys [3], which are no texts",
    ),
    "nothing_that_can_be_kept": expander(
        """
for config in configs:
    yield {**config, "function": lambda: None}
""",
        KEPT,
        said="function",
    ),
    "returns_none": expander(
        """
list(configs)
""",
        "test_there_is_an_end_to_what_it_makes",
        said="its hook returned None, not configurations",
    ),
    "something_of_nothing": expander(
        """
yield from configs
yield {"extra": 1}
""",
        "test_nothing_comes_of_nothing",
        said="",
    ),
    "shares_a_value": expander(
        """
@@ supports = {"independent"}
shared = [1, 2]
for config in configs:
    yield {"sizes": shared}
    yield {"sizes": shared}
""",
        INDEPENDENT,
        said="it shares a value with another one",
    ),
    "shares_its_input": expander(
        """
@@ supports = {"independent"}
for config in configs:
    yield dict(config)
""",
        INDEPENDENT,
        said="it shares a value with what it was given",
    ),
    "shares_from_call_to_call": expander(
        """
@@ supports = {"independent"}
@@ SIZES = [1, 2]
yield {"sizes": SIZES}
""",
        INDEPENDENT,
        said="it shares a value with a later result",
    ),
    "cannot_be_made_twice": Animal(
        HEAD
        + "from dataclasses import dataclass\n"
        + "@dataclass\nclass Options:\n    values: list\n"
        + "    def __post_init__(self): self.values.append(len(self.values))\n"
        + "@hookimpl\ndef ztxexp_expand(configs, options):\n"
        + "    yield from ({**c, 'n': n} for c in configs for n in options['values'])\n",
        ("test_its_options_may_be_given_again",),
        "",
        suite='options = {"values": [1]}',
    ),
    "misspelt_hook": Animal(
        HEAD + "@hookimpl\ndef ztxexp_expandd(configs): ...\n",
        FOUND,
        "implements 'ztxexp_expandd', which is not a hook (did you mean 'ztxexp_expand'?)",
    ),
    "an_executor": Animal(
        HEAD + "@hookimpl\ndef ztxexp_execute(specs): ...\n", FOUND, "'ztxexp.executors'"
    ),
    "a_class": Animal(
        HEAD + "class Expander:\n    @hookimpl\n    def ztxexp_expand(self, configs): ...\n",
        FOUND,
        "is a class where an instance or a module is needed",
        attribute="Expander",
    ),
    "import_fails": Animal("1 / 0\n", FOUND, "ZeroDivisionError"),
}
