"""Registries, with real discovery: distributions in a scratch folder on ``sys.path``."""

import importlib
import importlib.metadata
import itertools
import logging
import subprocess
import sys
import textwrap

import pytest

from ztxexp_core.errors import (
    OptionError,
    PluginContractError,
    PluginImportError,
    UnknownPluginError,
)
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.entries import PluginRef
from ztxexp_core.plugins.registry import (
    Registry,
    executors,
    expanders,
    tracker_spec,
)
from ztxexp_core.plugins.trackers import check_tracker, make_tracker

_numbers = itertools.count()

GOOD = """
from ztxexp_core import hookimpl

@hookimpl
def ztxexp_execute(specs, run_one, workers, options):
    for spec in specs:
        yield (run_one(spec), workers, dict(options))
"""

TRACKER = """
class Tracker:
    def __init__(self, path="x", *, level: int = 1):
        self.path, self.level = path, level

    def on_run_start(self, ctx, meta): ...
    def on_metric(self, ctx, event): ...
    def on_run_end(self, ctx, summary): ...
"""


class Site:
    """A folder on ``sys.path`` into which distributions are put."""

    def __init__(self, folder):
        self.folder = folder

    def module(self, source):
        """Write a module and return its name, a new one each time."""
        name = f"ztxexp_fake_{next(_numbers)}"
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return name

    def distribution(self, name, kind, entries, extras=()):
        info = self.folder / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.5"]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        table = "\n".join(f"{key} = {value}" for key, value in entries.items())
        (info / "entry_points.txt").write_text(f"[ztxexp.{kind}s]\n{table}\n")

    def plugin(self, kind, source, attribute="", **distribution):
        """Install one plugin named ``fake`` and return a new registry of its kind."""
        target = self.module(source) + attribute
        self.distribution("fake-plugin", kind, {"fake": target}, **distribution)
        return self.registry(kind)

    def registry(self, kind):
        return Registry(kind, f"ztxexp.{kind}s")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("ZTXEXP_DISABLE_PLUGINS", raising=False)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("ztxexp_fake_"):
            del sys.modules[name]


def refused(registry_, error=PluginContractError):
    with pytest.raises(error) as caught:
        registry_.load("fake")
    message = str(caught.value)
    assert caught.value.kind == registry_.kind
    assert caught.value.plugin == "fake"
    assert "\n" not in message
    return message


# ---- listing ---------------------------------------------------------------------------------


def test_built_ins_come_in_by_entry_points():
    assert {"grid", "variants", "random_search", "zip", "chain"} <= set(
        registry.expanders().names()
    )
    assert {"jsonl", "mlflow", "wandb"} <= set(registry.trackers().names())
    assert "process_pool" in registry.executors().names()


def test_listing_imports_nothing(site):
    fake = site.plugin("executor", "raise RuntimeError('imported')")
    target = fake.resolve("fake").target
    assert "fake" in fake.names()
    assert fake.resolve("fake") == PluginRef("executor", "fake", target, "fake-plugin", "1.5")
    assert target not in sys.modules


def test_listing_built_ins_imports_no_plugin_in_a_fresh_process():
    code = (
        "import sys; from ztxexp_core.plugins import registry as r;"
        "r.executors().names(); r.trackers().names(); r.expanders().names();"
        "bad = [m for m in sys.modules if m.startswith(('ztxexp_executors', 'ztxexp_trackers'))];"
        "more = ('mlflow', 'joblib', 'ztxexp.configs.expanders');"
        "bad += [m for m in more if m in sys.modules];"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_entry_points_are_listed_once():
    calls = []

    def find():
        calls.append(1)
        return []

    empty = Registry("tracker", "ztxexp.trackers", find)
    assert empty.names() == [] and empty.names() == []
    assert calls == [1]


def test_a_distribution_with_damaged_metadata_does_not_hide_the_others(site):
    site.distribution("odd", "executor", {"odd": "odd_module"})
    (site.folder / "odd-1.5.dist-info" / "METADATA").unlink()
    fake = site.plugin("executor", GOOD)
    assert {*fake.names()} >= {"fake", "odd"}
    assert fake.load("fake").ref.distribution == "fake-plugin"


def test_an_entry_point_without_a_distribution_works(site):
    entry = importlib.metadata.EntryPoint("fake", site.module(GOOD), "ztxexp.executors")
    lone = Registry("executor", "ztxexp.executors", lambda: [entry])
    assert lone.load("fake").ref.distribution == "unknown distribution"


# ---- names -----------------------------------------------------------------------------------


def test_an_unknown_name_tells_the_known_ones_and_the_closest():
    with pytest.raises(UnknownPluginError) as caught:
        executors().load("proces_pool")
    message = str(caught.value)
    assert "unknown executor (mode) 'proces_pool'" in message
    assert "did you mean 'process_pool'?" in message
    assert "sequential" in message
    assert isinstance(caught.value, ValueError)


def test_an_unknown_tracker_is_told_before_anything_runs():
    with pytest.raises(UnknownPluginError, match=r"unknown tracker 'wanbd' \(did you mean 'wandb'"):
        tracker_spec("wanbd")


def test_two_distributions_with_one_name_are_both_named(site):
    site.distribution("alpha", "executor", {"fake": "alpha_mod"})
    site.distribution("beta", "executor", {"fake": "beta_mod:plugin"})
    message = refused(site.registry("executor"))
    assert "claimed twice" in message
    assert "alpha 1.5, alpha_mod" in message and "beta 1.5, beta_mod:plugin" in message
    assert "ZTXEXP_DISABLE_PLUGINS=alpha:fake or beta:fake, or uninstall alpha or beta" in message


@pytest.mark.parametrize("word", ["foreign-grids:grid", "foreign-grids", "Foreign_Grids : grid"])
def test_a_name_of_a_built_in_claimed_by_others_is_won_back_by_the_way_out_told(
    site, monkeypatch, word
):
    site.distribution("foreign-grids", "expander", {"grid": site.module(GOOD), "own": "own_mod"})
    both = site.registry("expander")
    with pytest.raises(PluginContractError) as caught:
        both.load("grid")
    assert "\n" not in str(caught.value)
    way_out = "ZTXEXP_DISABLE_PLUGINS=foreign-grids:grid, or uninstall foreign-grids"
    assert str(caught.value).endswith(way_out)
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", word)
    assert both.load("grid").ref.distribution == "ztxexp"
    assert both.names().count("grid") == 1
    assert ("own" in both.names()) == (":" in word)


def test_either_of_two_claims_can_be_blocked_within_one_process(site, monkeypatch):
    for name in ("alpha", "beta"):
        site.distribution(name, "executor", {"fake": site.module(GOOD)})
    two = site.registry("executor")
    for blocked, kept in (("alpha", "beta"), ("beta", "alpha"), ("alpha:fake", "beta")):
        monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", blocked)
        loaded = two.load("fake")
        assert (
            loaded.ref.distribution == kept and loaded.implementation.__name__ == loaded.ref.target
        )
        assert list(loaded.call(specs=[1], run_one=str, workers=1, options={})) == [("1", 1, {})]
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "fake")
    message = refused(two, UnknownPluginError)
    assert "take 'fake' out of it, or name the one to block as 'distribution:name'" in message


def test_distributions_are_blocked_however_their_name_is_spelt(site, monkeypatch):
    site.distribution("My.Fancy_plugins", "executor", {"fake": "m", "other": "m2"})
    fancy = site.registry("executor")
    for spelling in ("my-fancy-plugins", "My.Fancy_plugins", "MY__fancy.-plugins"):
        monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", spelling)
        assert not {"fake", "other"} & set(fancy.names())
        assert "take " + repr(spelling) in refused(fancy, UnknownPluginError)
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "my-fancy-plugins:FAKE")
    assert {"fake", "other"} <= set(fancy.names())


def test_a_word_that_blocks_nothing_is_told_once_with_the_closest_name(site, monkeypatch, caplog):
    monkeypatch.setattr(registry, "_checked_words", set())
    site.plugin("executor", GOOD)
    words = "mlfow, jsonl, ztxexp, fake-plugin:fakes, fake_plugin"  # trackers count here, too
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", words)
    with caplog.at_level(logging.WARNING, "ztxexp"):
        for _ in range(2):
            site.registry("executor").names()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "'fake-plugin:fakes'" in told[0] and "did you mean 'fake-plugin:fake'?" in told[0]
    assert "'mlfow'" in told[1] and "did you mean 'mlflow'?" in told[1]


def test_two_distributions_may_name_the_same_object(site):
    module = site.module(GOOD)
    site.distribution("alpha", "executor", {"fake": module})
    site.distribution("beta", "executor", {"fake": module})
    assert site.registry("executor").load("fake").ref.target == module


def test_blocked_names_are_neither_listed_nor_loaded(site, monkeypatch):
    fake = site.plugin("executor", GOOD)
    fake.load("fake")
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "other, fake")
    assert "fake" not in fake.names()
    message = refused(fake, UnknownPluginError)
    assert "ZTXEXP_DISABLE_PLUGINS" in message and "fake-plugin 1.5" in message
    monkeypatch.delenv("ZTXEXP_DISABLE_PLUGINS")
    assert "fake" in fake.names() and fake.load("fake")


# ---- importing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["import no_such_package_here", "1 / 0", "raise SystemExit(3)", "def broken(:"]
)
def test_whatever_an_import_raises_is_told_with_its_cause(site, source):
    fake = site.plugin("executor", source)
    with pytest.raises(PluginImportError) as caught:
        fake.load("fake")
    assert caught.value.__cause__ is not None
    assert type(caught.value.__cause__).__name__ in str(caught.value)
    assert "fake-plugin 1.5" in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_the_extra_named_like_the_plugin_is_suggested(site):
    fake = site.plugin("executor", "import no_such_package_here", extras=["docs", "fake"])
    assert 'pip install "fake-plugin[fake]"' in refused(fake, PluginImportError)


def test_a_missing_attribute_is_an_import_error(site):
    fake = site.plugin("executor", GOOD, ":plugin")
    assert "has no attribute 'plugin'" in refused(fake, PluginImportError)


def test_a_broken_plugin_harms_no_other(site):
    sources = ["1 / 0", "x = 1", GOOD.replace("specs,", "*specs,"), GOOD]
    modules = [site.module(source) for source in sources]
    names = ["broken", "hookless", "starred", "good"]
    site.distribution("many", "executor", dict(zip(names, modules, strict=True)))
    many = site.registry("executor")
    for name in names[:-1]:
        with pytest.raises((PluginImportError, PluginContractError)):
            many.load(name)
    good = many.load("good")
    assert list(good.call(specs=[1], run_one=str, workers=2, options={})) == [("1", 2, {})]


def test_a_repaired_plugin_loads_at_the_next_try(site):
    fake = site.plugin("executor", "1 / 0")
    refused(fake, PluginImportError)
    target = fake.resolve("fake").target
    (site.folder / f"{target}.py").write_text(GOOD + "\n# repaired\n")
    assert fake.load("fake").call(specs=[], run_one=str, workers=1, options={}) is not None


def test_a_contract_failure_leaves_nothing_registered(site):
    fake = site.plugin("executor", GOOD.replace("ztxexp_execute", "ztxexp_exekute"))
    first = refused(fake)
    assert refused(fake) == first
    module = sys.modules[fake.resolve("fake").target]
    module.ztxexp_execute = module.ztxexp_exekute
    del module.ztxexp_exekute
    assert list(fake.load("fake").call(specs=[], run_one=str, workers=1, options={})) == []


# ---- the contract of hooks -------------------------------------------------------------------


def test_a_module_with_one_function_is_an_executor(site):
    loaded = site.plugin("executor", GOOD).load("fake")
    assert loaded.supports == frozenset() and loaded.options_class is None
    assert list(loaded.call(specs=["a"], run_one=len, workers=3, options={})) == [(1, 3, {})]


def test_an_instance_is_an_executor_and_may_ask_for_fewer_arguments(site):
    source = """
        from ztxexp_core import hookimpl

        class Plugin:
            supports = {"in_process"}

            @hookimpl
            def ztxexp_execute(self, run_one, specs):
                return map(run_one, specs)

        plugin = Plugin()
    """
    loaded = site.plugin("executor", source, ":plugin").load("fake")
    assert list(loaded.call(specs=["ab"], run_one=len, workers=3, options={})) == [2]
    assert loaded.supports == {"in_process"}


def test_only_the_plugin_asked_for_is_called(site):
    modules = [site.module(GOOD) for _ in range(3)]
    site.distribution("many", "executor", {f"p{i}": m for i, m in enumerate(modules)})
    many = site.registry("executor")
    loaded = [many.load(f"p{i}") for i in range(3)]
    for module, plugin in zip(modules, loaded, strict=True):
        generator = plugin.call(specs=[0], run_one=str, workers=1, options={})
        assert generator.gi_frame.f_globals["__name__"] == module


def test_one_object_may_have_two_names(site):
    module = site.module(GOOD)
    site.distribution("two", "executor", {"a": module, "b": module})
    two = site.registry("executor")
    assert [two.load(name).ref.name for name in "ab"] == ["a", "b"]


HEAD = "from dataclasses import dataclass\nfrom ztxexp_core import hookimpl\n"
MISFITS = {
    "a class instead of an instance": (
        "class Plugin:\n    @hookimpl\n    def ztxexp_execute(self, specs): ...",
        ":Plugin",
        "is a class where an instance or a module is needed",
    ),
    "the function instead of its module": (
        "@hookimpl\ndef ztxexp_execute(specs): ...",
        ":ztxexp_execute",
        "is a function; let the entry point name the module",
    ),
    "no hook": ("x = 1", "", "has no hook; define ztxexp_execute"),
    "an undecorated hook": ("def ztxexp_execute(specs): ...", "", "decorate it with @hookimpl"),
    "a misspelt hook": (
        "@hookimpl\ndef ztxexp_exekute(specs): ...",
        "",
        "'ztxexp_exekute', which is not a hook (did you mean 'ztxexp_execute'?)",
    ),
    "a misspelt hook beside a good one": (
        "@hookimpl\ndef ztxexp_execute(specs): ...\n@hookimpl\ndef ztxexp_clos(x): ...",
        "",
        "'ztxexp_clos', which is not a hook",
    ),
    "a wrong argument": (
        "@hookimpl\ndef ztxexp_execute(specs, worker): ...",
        "",
        "asking for 'worker' (did you mean 'workers'?)",
    ),
    "a keyword-only argument": (
        "@hookimpl\ndef ztxexp_execute(specs, *, workers): ...",
        "",
        "a keyword-only parameter, 'workers'",
    ),
    "star arguments": ("@hookimpl\ndef ztxexp_execute(*args): ...", "", "a star parameter, 'args'"),
    "double star": ("@hookimpl\ndef ztxexp_execute(**kw): ...", "", "a star parameter, 'kw'"),
    "the hook of another kind": (
        "@hookimpl\ndef ztxexp_expand(configs): ...",
        "",
        "is an expander: it has ztxexp_expand; register it in the group 'ztxexp.expanders'",
    ),
    "a wrapper": (
        "@hookimpl(wrapper=True)\ndef ztxexp_execute(specs):\n    return (yield)",
        "",
        "only a wrapper",
    ),
    "an unhashable instance": (
        "@dataclass\nclass P:\n    @hookimpl\n    def ztxexp_execute(self, specs): ...\np = P()",
        ":p",
        "cannot be hashed",
    ),
    "supports as one text": (
        "supports = 'refill'\n@hookimpl\ndef ztxexp_execute(specs): ...",
        "",
        "has supports = 'refill'",
    ),
    "options that are no dataclass": (
        "class Options: ...\n@hookimpl\ndef ztxexp_execute(specs): ...",
        "",
        "has an Options that is not a dataclass",
    ),
}


SUBMITS = """
@hookimpl
def ztxexp_submit(request, options): return ["1"]
"""
ASKS = """
@hookimpl
def ztxexp_jobs(ids): return {}
"""
CANCELS = """
@hookimpl
def ztxexp_cancel(ids): ...
"""
SUBMITTING = SUBMITS + ASKS + CANCELS
RUNS = "@hookimpl\ndef ztxexp_execute(specs): ..."
MISFITS |= {
    "submits, but cannot be asked": (
        SUBMITS + CANCELS,
        "",
        "has ztxexp_submit, but no ztxexp_jobs; define it",
    ),
    "submits, but cannot cancel": (
        SUBMITS + ASKS,
        "",
        "has ztxexp_submit, but no ztxexp_cancel; define it",
    ),
    "cancels, but does not submit": (
        ASKS + CANCELS,
        "",
        "has ztxexp_cancel, but no ztxexp_submit; define it",
    ),
    "a hook of a submitting executor without a mark": (
        SUBMITS + CANCELS + "\ndef ztxexp_jobs(ids): return {}",
        "",
        "has ztxexp_submit, but no ztxexp_jobs with a mark; decorate it with @hookimpl",
    ),
    "no hook of a submitting executor has a mark": (
        SUBMITTING.replace("@hookimpl", ""),
        "",
        "has a ztxexp_jobs without a mark; decorate it with @hookimpl",
    ),
    "both kinds": (
        SUBMITTING + RUNS,
        "",
        "has ztxexp_execute and ztxexp_submit; keep ztxexp_execute if it carries out runs",
    ),
    "carries out runs, and cancels jobs": (
        CANCELS + RUNS,
        "",
        "has ztxexp_execute and ztxexp_cancel",
    ),
    "a wrong argument of a submitting executor": (
        SUBMITTING.replace("request, ", "requests, "),
        "",
        "has a ztxexp_submit asking for 'requests' (did you mean 'request'?)",
    ),
    "a star argument of a submitting executor": (
        SUBMITTING.replace("jobs(ids)", "jobs(*ids)"),
        "",
        "has a ztxexp_jobs with a star parameter, 'ids'",
    ),
    "a keyword-only argument of a submitting executor": (
        SUBMITTING.replace("cancel(ids)", "cancel(*, ids)"),
        "",
        "has a ztxexp_cancel with a keyword-only parameter, 'ids'",
    ),
    "a wrapper of submission": (
        SUBMITTING.replace("@hookimpl", "@hookimpl(wrapper=True)", 1),
        "",
        "has a ztxexp_submit that is only a wrapper",
    ),
    "a misspelt hook of a submitting executor": (
        SUBMITTING.replace("ztxexp_cancel", "ztxexp_cancell"),
        "",
        "'ztxexp_cancell', which is not a hook (did you mean 'ztxexp_cancel'?)",
    ),
    "submits, with options that are no dataclass": (
        "class Options: ..." + SUBMITTING,
        "",
        "has an Options that is not a dataclass",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_plugin_that_does_not_fit_is_told_why(site, case):
    source, attribute, expected = MISFITS[case]
    message = refused(site.plugin("executor", HEAD + source, attribute))
    assert expected in message
    assert message.startswith("executor 'fake' (fake-plugin 1.5, ")


def test_an_executor_in_the_group_of_expanders_is_told_so(site):
    assert "is an executor" in refused(site.plugin("expander", GOOD))


def test_one_module_may_hold_both_hooks(site):
    both = GOOD + "\n@hookimpl\ndef ztxexp_expand(configs):\n    return list(configs) * 2\n"
    assert site.plugin("executor", both).load("fake").ref.kind == "executor"
    loaded = site.plugin("expander", both).load("fake")
    assert loaded.call(configs=[{}], options={}) == [{}, {}]


def test_a_hook_may_stand_under_another_name(site):
    source = (
        HEAD + "@hookimpl(specname='ztxexp_execute')\ndef run_all(specs):\n    return iter(specs)"
    )
    loaded = site.plugin("executor", source).load("fake")
    assert list(loaded.call(specs=[1, 2], run_one=str, workers=1, options={})) == [1, 2]


def test_an_executor_that_submits_jobs_fits_and_is_known_as_one(site):
    loaded = site.plugin("executor", HEAD + SUBMITTING).load("fake")
    assert loaded.submits
    assert loaded.hooks == {"ztxexp_submit", "ztxexp_jobs", "ztxexp_cancel"}
    assert loaded.ask("ztxexp_submit", request=None, options={}) == ["1"]
    asking = site.plugin("executor", GOOD + ASKS).load("fake")  # its jobs outlive their launcher
    assert not asking.submits and asking.ask("ztxexp_jobs", ids=()) == {}


def test_an_executor_that_submits_jobs_carries_out_no_run(site):
    loaded = site.plugin("executor", HEAD + SUBMITTING).load("fake")
    with pytest.raises(PluginContractError, match="submits jobs and has no ztxexp_execute; ask"):
        loaded.call(specs=iter(()), run_one=str, workers=1, options={})


def test_a_submitting_hook_may_stand_under_another_name(site):
    source = SUBMITTING.replace("@hookimpl", "@hookimpl(specname='ztxexp_submit')", 1)
    source = source.replace("def ztxexp_submit", "def send")
    assert site.plugin("executor", HEAD + source).load("fake").submits


# ---- options ---------------------------------------------------------------------------------

OPTIONS = HEAD + textwrap.dedent("""
    @dataclass
    class Options:
        queue: object
        size: int = 4

        def __post_init__(self):
            if self.size < 1:
                raise ValueError("size is below 1")

    @hookimpl
    def ztxexp_execute(specs): ...
""")


def test_options_are_completed_with_defaults_and_not_copied(site):
    loaded = site.plugin("executor", OPTIONS).load("fake")
    queue = object()
    assert loaded.check_options({"queue": queue}) == {"queue": queue, "size": 4}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"queue": "q", "sise": 1},
            r"no option 'sise' \(did you mean 'size'\?\); known: 'queue', ",
        ),
        ({"size": 1}, "needs the option 'queue'"),
        ({"queue": "q", "size": 0}, "refuses its options: size is below 1"),
        ({"queue": "q", "size": "big"}, r"option 'size' must be int, got 'big' \(str\); known: "),
    ],
)
def test_options_that_do_not_fit_are_refused(site, given, expected):
    loaded = site.plugin("executor", OPTIONS).load("fake")
    with pytest.raises(OptionError, match=expected):
        loaded.check_options(given)


def test_an_executor_without_options_takes_none(site):
    loaded = site.plugin("executor", GOOD).load("fake")
    assert loaded.check_options({}) == {}
    with pytest.raises(OptionError, match="takes no options; leave out 'size'"):
        loaded.check_options({"size": 1})


def test_an_expander_without_options_gets_them_as_they_are(site):
    source = HEAD + "@hookimpl\ndef ztxexp_expand(configs, options):\n    return [dict(options)]"
    loaded = site.plugin("expander", source).load("fake")
    options = loaded.check_options({"n": 3})
    assert loaded.call(configs=[], options=options) == [{"n": 3}]


def test_every_installed_built_in_passes_its_checks():
    for name in ("sequential", "process_pool", "joblib", "dynamic"):
        assert executors().load(name).ref.name == name
    for name in ("grid", "variants", "random_search", "zip", "chain"):
        assert expanders().load(name).options_class is not None


# ---- trackers --------------------------------------------------------------------------------


def test_a_tracker_is_checked_in_the_parent_and_made_in_the_worker(site):
    fake = site.plugin("tracker", TRACKER, ":Tracker")
    spec = fake.load("fake").tracker_spec({"path": "p", "level": 2})
    assert spec.target == fake.resolve("fake").target
    tracker = make_tracker(spec)
    assert (tracker.path, tracker.level) == ("p", 2)


def test_making_a_tracker_reads_no_metadata(site, monkeypatch):
    spec = site.plugin("tracker", TRACKER, ":Tracker").load("fake").tracker_spec({})
    monkeypatch.setattr(importlib.metadata, "entry_points", None)
    assert make_tracker(spec).level == 1


def test_a_factory_function_is_a_tracker_and_its_product_is_checked(site):
    source = TRACKER + "\ndef make(good=True):\n    return Tracker() if good else object()\n"
    fake = site.plugin("tracker", source, ":make")
    with pytest.raises(
        PluginContractError, match=r"tracker 'fake' .* lacks a method: define on_run"
    ):
        make_tracker(fake.load("fake").tracker_spec({"good": False}))
    assert make_tracker(fake.load("fake").tracker_spec({})).path == "x"


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"pth": 1}, r"no option 'pth' \(did you mean 'path'\?\); known: 'path', 'level'"),
        ({"path": 1, "self": 2}, "self"),
    ],
)
def test_arguments_that_a_tracker_does_not_know_are_told_without_making_it(site, kwargs, expected):
    fake = site.plugin("tracker", TRACKER, ":Tracker")
    with pytest.raises(OptionError, match=expected):
        fake.load("fake").tracker_spec(kwargs)


def test_an_argument_that_a_tracker_needs_is_told_without_making_it(site):
    source = TRACKER.replace('path="x"', "path")
    with pytest.raises(OptionError, match="needs the option 'path'"):
        site.plugin("tracker", source, ":Tracker").load("fake").tracker_spec({})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "def on_metric(self, ctx, event)",
            "def on_step(self, ctx, event)",
            "lacks a method: define",
        ),
        (
            "def on_metric(self, ctx, event)",
            "def on_metric(self, ctx)",
            "on_metric(self, ctx), which",
        ),
        (
            "def on_run_end(self, ctx, summary)",
            "def on_run_end(self, a, b, c)",
            "on_run_end(self, a",
        ),
        (
            "def on_run_end(self, ctx, summary)",
            "def on_run_end(self, *, a, b)",
            "on_run_end(self, *",
        ),
    ],
)
def test_a_tracker_class_with_wrong_methods_is_refused(site, old, new, expected):
    message = refused_tracker(site, TRACKER.replace(old, new))
    assert expected in message


def refused_tracker(site, source):
    fake = site.plugin("tracker", source, ":Tracker")
    with pytest.raises(PluginContractError) as caught:
        fake.load("fake")
    assert str(caught.value).startswith("tracker 'fake' (fake-plugin 1.5, ")
    return str(caught.value)


def test_a_tracker_may_have_static_methods_and_further_defaults(site):
    source = TRACKER.replace(
        "def on_metric(self, ctx, event)", "@staticmethod\n    def on_metric(c, e)"
    )
    source = source.replace("ctx, summary)", "*args, extra=1)")
    assert (
        site.plugin("tracker", source, ":Tracker").load("fake").implementation.__name__ == "Tracker"
    )


def test_a_module_is_no_tracker(site):
    fake = site.plugin("tracker", TRACKER)
    with pytest.raises(PluginContractError, match="is a module, but must be a class or a factory"):
        fake.load("fake")


def test_a_missing_requirement_is_told_with_the_line_that_installs_it(site):
    source = TRACKER + "\n    requires = ('json', 'no_such_package_here')\n"
    plain = site.plugin("tracker", source, ":Tracker")
    with pytest.raises(PluginImportError, match="pip install no_such_package_here"):
        plain.load("fake").tracker_spec({})
    extra = site.plugin("tracker", source, ":Tracker", extras=["fake"])
    with pytest.raises(PluginImportError, match=r'pip install "fake-plugin\[fake\]"'):
        extra.load("fake").tracker_spec({})


def test_a_tracker_that_cannot_be_imported_in_a_worker_is_named(site):
    spec = registry.TrackerSpec("fake", "no_such_package_here:Tracker")
    with pytest.raises(PluginImportError, match="tracker 'fake'") as caught:
        make_tracker(spec)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


class Live:
    def on_run_start(self, ctx, meta): ...
    def on_metric(self, ctx, event): ...
    def on_run_end(self, ctx, summary): ...


class Short(Live):
    def on_metric(self, ctx): ...


def test_a_live_tracker_is_checked_by_binding_its_signatures():
    check_tracker(Live(), "mine")
    for bad in (Short(), object(), Live, None):
        with pytest.raises(TypeError, match=r"^mine "):
            check_tracker(bad, "mine")


def test_what_is_no_instance_is_told_by_its_own_name_where_the_caller_has_no_better():
    wanted = "an instance with on_run_start, on_metric, on_run_end"
    for given, expected in (
        (Live, "Live is a class; pass Live(), or its registered name"),
        (None, f"a tracker is needed, got None; pass a name such as 'jsonl' or {wanted}"),
    ):
        with pytest.raises(PluginContractError) as caught:
            check_tracker(given)
        assert str(caught.value) == expected


def test_the_registries_of_the_process_are_made_once():
    for accessor in (registry.trackers, registry.executors, registry.expanders):
        assert accessor() is accessor()
