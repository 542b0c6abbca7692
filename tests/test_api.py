"""The documented interface of 1.0.3: names, argument orders, defaults, fields."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys

import pytest

import ztxexp

DOCUMENTED = [
    "ExpManager", "ExpRunner", "ResultAnalyzer", "ExperimentPipeline", "RunContext", "RunMetadata",
    "MetricEvent", "RunSummary", "SkipRun", "Tracker", "JsonlTracker", "MlflowTracker",
    "WandbTracker", "init_torch_env", "set_process_priority",
]  # fmt: skip

# What stands in the reference; "=" marks a default. New parameters may only follow.
SIGNATURES = {
    "ExpManager": "base_config=None",
    "ExpManager.grid": "self param_grid",
    "ExpManager.variants": "self variants",
    "ExpManager.random_search": "self space n_trials seed=42",
    "ExpManager.modify": "self modifier",
    "ExpManager.where": "self predicate",
    "ExpManager.exclude_completed": "self results_root ignore_keys=None",
    "ExpManager.shuffle": "self",
    "ExpManager.build": "self",
    "ExpManager.add_grid_search": "self param_grid",
    "ExpManager.add_variants": "self variant_space",
    "ExpManager.add_modifier": "self modifier_func",
    "ExpManager.add_filter": "self filter_func",
    "ExpManager.filter_completed": "self results_path ignore_keys=None",
    "ExpManager.get_configs": "self",
    "ExpManager.add_random_search": "self space n_trials seed=42",
    "ExpRunner": "configs results_root exp_function=None",
    "ExpRunner.run": (
        "self exp_function=None mode='sequential' workers=1 cpu_threshold=80 execution_mode=None "
        "num_workers=None dynamic_cpu_threshold=None metadata=None max_attempts=1 "
        "retry_on=('Exception',) tracker_specs=None trackers=None"
    ),
    "ExperimentPipeline": "results_root base_config=None",
    "ExperimentPipeline.grid": "self param_grid",
    "ExperimentPipeline.variants": "self variants",
    "ExperimentPipeline.random_search": "self space n_trials seed=42",
    "ExperimentPipeline.modify": "self fn",
    "ExperimentPipeline.where": "self fn",
    "ExperimentPipeline.exclude_completed": "self",
    "ExperimentPipeline.name": "self experiment_name",
    "ExperimentPipeline.group": "self group_name",
    "ExperimentPipeline.tags": "self tags",
    "ExperimentPipeline.lineage": "self parent_run_id",
    "ExperimentPipeline.retry": "self max_attempts=1 retry_on=('Exception',)",
    "ExperimentPipeline.track": "self tracker **kwargs",
    "ExperimentPipeline.build": "self",
    "ExperimentPipeline.run": "self exp_fn=None mode='sequential' workers=1 cpu_threshold=80",
    "ResultAnalyzer": "results_path",
    "ResultAnalyzer.to_records": (
        "self statuses=('succeeded',) metrics_filename='metrics.json' experiment_name=None "
        "group=None tags=None"
    ),
    "ResultAnalyzer.to_dataframe": (
        "self statuses=('succeeded',) metrics_filename='metrics.json' experiment_name=None "
        "group=None tags=None"
    ),
    "ResultAnalyzer.to_csv": (
        "self output_path sort_by=None statuses=('succeeded',) metrics_filename='metrics.json' "
        "experiment_name=None group=None tags=None"
    ),
    "ResultAnalyzer.to_metric_events": (
        "self statuses=('succeeded',) metrics_stream_filename='metrics.jsonl' "
        "experiment_name=None group=None tags=None"
    ),
    "ResultAnalyzer.to_curve_dataframe": (
        "self metric_key=None statuses=('succeeded',) metrics_stream_filename='metrics.jsonl' "
        "experiment_name=None group=None tags=None"
    ),
    "ResultAnalyzer.to_pivot_excel": (
        "self output_path df index_cols column_cols value_cols add_ranking=True "
        "ranking_ascending=False"
    ),
    "ResultAnalyzer.clean_results": (
        "self statuses=('failed', 'running', 'skipped') predicate=None dry_run=True "
        "metrics_filename='metrics.json' confirm=True"
    ),
    "RunContext.log_metric": "self step metrics split='train' phase='fit'",
    "MetricEvent.to_dict": "self",
    "RunMetadata.to_dict": "self",
    "Tracker.on_run_start": "self ctx meta",
    "Tracker.on_metric": "self ctx event",
    "Tracker.on_run_end": "self ctx summary",
    "JsonlTracker": "events_filename='events.jsonl'",
    "MlflowTracker": "tracking_uri=None experiment_name=None run_name=None",
    "WandbTracker": "project=None entity=None **kwargs",
    "init_torch_env": "seed=3407 use_gpu=True gpu_id=0 deterministic=False benchmark=False",
    "set_process_priority": "priority='high'",
}

FIELDS = {
    "MetricEvent": "step timestamp metrics split='train' phase='fit'",
    "RunMetadata": (
        "experiment_name=None group=None tags=None parent_run_id=None attempt=None "
        "git_commit=None python_version=None platform=None hostname=None started_cmd=None "
        "dataset_version=None seed=None extras=None"
    ),
    "RunContext": "run_id run_dir config logger meta=... _metrics_jsonl_path=None _trackers=...",
    "RunSummary": "total succeeded failed skipped duration_sec failed_run_ids",
}

MODULES = {
    "ztxexp.manager": ["ExpManager"],
    "ztxexp.runner": ["ExpRunner", "SkipRun"],
    "ztxexp.pipeline": ["ExperimentPipeline"],
    "ztxexp.analyzer": ["ResultAnalyzer"],
    "ztxexp.environment": ["init_torch_env", "set_process_priority"],
    "ztxexp.types": ["RunContext", "RunMetadata", "MetricEvent", "RunSummary"],
    "ztxexp.tracking": ["Tracker", "JsonlTracker", "MlflowTracker", "WandbTracker"],
    "ztxexp.tracking.base": ["Tracker"],
    "ztxexp.tracking.jsonl": ["JsonlTracker"],
    "ztxexp.tracking.adapters": ["MlflowTracker", "WandbTracker"],
}


def test_all_documented_names_are_exported_in_order():
    assert ztxexp.__all__ == DOCUMENTED
    assert ztxexp.__version__ == "2.0.0.dev0"


def _split(text: str) -> list[str]:
    """Split at blanks, but not within parentheses."""
    words: list[str] = []
    for word in text.split(" "):
        if words and words[-1].count("(") > words[-1].count(")"):
            words[-1] += " " + word
        else:
            words.append(word)
    return words


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_begin_as_documented_and_what_follows_is_optional(name):
    head, _, attribute = name.partition(".")
    thing = getattr(ztxexp, head)
    thing = getattr(thing, attribute) if attribute else thing
    parameters = [
        p for p in inspect.signature(thing).parameters.values() if p.kind is not p.KEYWORD_ONLY
    ]  # those that follow a star may be anywhere
    wanted = _split(SIGNATURES[name])
    for parameter, text in zip(parameters, wanted, strict=False):
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        has_default = parameter.default is not parameter.empty
        assert stars + parameter.name + (f"={parameter.default!r}" if has_default else "") == text
    assert len(parameters) >= len(wanted)
    for extra in parameters[len(wanted) :]:
        assert extra.default is not extra.empty, extra


@pytest.mark.parametrize("name", FIELDS)
def test_dataclass_fields_keep_their_order_and_defaults(name):
    fields = dataclasses.fields(getattr(ztxexp, name))
    for field, text in zip(fields, FIELDS[name].split(" "), strict=False):
        word, _, default = text.partition("=")
        assert field.name == word
        if default == "...":
            assert field.default_factory is not dataclasses.MISSING
        elif default:
            assert repr(field.default) == default
        else:
            assert field.default is dataclasses.MISSING
    for extra in fields[len(FIELDS[name].split(" ")) :]:
        assert extra.default is not extra.default_factory  # one of them is not MISSING


@pytest.mark.parametrize("module", MODULES)
def test_module_paths_of_1_0_3_give_the_same_objects(module):
    for name in MODULES[module]:
        assert getattr(importlib.import_module(module), name) is getattr(ztxexp, name)


def test_modules_of_1_0_3_are_attributes_without_an_import():
    modules = sorted({module for module in MODULES if module.count(".") == 1})
    modules += ["ztxexp.constants", "ztxexp.utils"]
    lines = "\n".join(f"assert {module}.__name__ == '{module}'" for module in modules)
    subprocess.run([sys.executable, "-c", f"import ztxexp\n{lines}"], check=True)


def test_constants_are_those_of_1_0_3():
    from ztxexp import constants

    assert constants.RUN_SCHEMA_VERSION == 2
    assert {"running", "succeeded", "failed", "skipped"} == constants.VALID_RUN_STATUSES
    assert constants.RUN_STATUS_SUCCEEDED == "succeeded"


def test_the_distributions_of_random_search_are_at_hand():
    from ztxexp import choice, integers, loguniform, uniform

    space = {
        "a": uniform(0, 1),
        "b": loguniform(1e-5, 1e-1),
        "c": integers(1, 3),
        "d": choice(["x", "y"]),
    }
    configs = ztxexp.ExpManager().random_search(space, n_trials=20, seed=3).build()
    assert len(configs) == 20
    assert all(1e-5 <= c["b"] <= 1e-1 and c["c"] in (1, 2, 3) and c["d"] in "xy" for c in configs)


def test_import_ztxexp_imports_nothing_heavy_and_reads_no_plugin():
    code = (
        "import sys, ztxexp; names = {m.partition('.')[0] for m in sys.modules}\n"
        "heavy = names & {'pandas', 'numpy', 'joblib', 'psutil', 'torch', 'mlflow', 'wandb',"
        " 'openpyxl', 'pluggy', 'orjson', 'ztxexp_core', 'ztxexp_trackers', 'ztxexp_executors'}\n"
        "print(sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_sequential_sweep_imports_neither_pandas_nor_other_trackers(tmp_path):
    code = (
        "import sys; from ztxexp import ExpRunner\n"
        "ExpRunner([{}], sys.argv[1]).run(lambda ctx: None)\n"
        "names = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(names & {'pandas', 'numpy', 'joblib', 'torch', 'mlflow', 'wandb'}))\n"
        "print('ztxexp_trackers.mlflow' in sys.modules, 'ztxexp_executors.joblib' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "r"], capture_output=True, text=True, check=True
    )
    assert out.stdout.split("\n")[:2] == ["[]", "False False"]


def _modules():
    import pkgutil

    for package in ("ztxexp", "ztxexp_core", "ztxexp_trackers", "ztxexp_executors"):
        found = importlib.import_module(package)
        yield package
        for info in pkgutil.walk_packages(found.__path__, package + "."):
            yield info.name


@pytest.mark.first_is_quick
@pytest.mark.parametrize("module", sorted(_modules()))
def test_every_module_imports_alone_and_quietly(module):
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, "", "")


def test_errors_can_be_caught_from_the_front():
    from ztxexp import ConfigError, StoreError, ZtxexpError

    assert issubclass(ConfigError, (ZtxexpError, ValueError))
    assert issubclass(StoreError, OSError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        ztxexp.nonsense
