"""The built-in trackers pass the suite that is shipped to authors of trackers."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from mlflow_reading import empty_store, mlflow, process_unchanged  # noqa: F401
from wandb_reading import records

from ztxexp_testing import Contents, TrackerSuite
from ztxexp_trackers.wandb import _artifact_name

pytestmark = pytest.mark.slow

SPLITS = ("valid", "test")


def split_of(tag):
    """Return split and name of a curve named ``<split>/<name>``."""
    split, slash, name = tag.partition("/")
    return (split, name) if slash and split in SPLITS else ("train", tag)


# ---- jsonl ---------------------------------------------------------------------------------------


class TestJsonl(TrackerSuite):
    keeps_config = "config.json lies beside the file"
    counts_repeats_once = "the run itself tells it, and repeats nothing"

    def make(self):
        return "jsonl", {"events_filename": "told.jsonl"}

    def contents(self):
        for path in self.results.glob("*/told.jsonl"):
            lines = path.read_bytes().splitlines()
            yield of_lines(path.parent.name, [json.loads(line) for line in lines])


def of_lines(run_id, rows):
    points, summary = [], {}
    for row in rows:
        assert row["run_id"] == run_id
        if row["event"] == "metric":
            event = row["payload"]
            points += [
                (event["split"], name, event["step"], float(value))
                for name, value in event["metrics"].items()
            ]
        elif row["event"] == "run_end":
            summary = row["summary"]
    return Contents(run_id, points, summary.get("status"), figures=summary.get("metrics", {}))


# ---- mlflow --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("process_unchanged")
class TestMlflow(TrackerSuite):
    @pytest.fixture(autouse=True)
    def store(self, suite_folders, empty_store):  # noqa: F811
        self.database = self.place / "store.db"
        if not self.database.exists():
            shutil.copyfile(empty_store, self.database)

    @property
    def uri(self):
        return f"sqlite:///{self.database}"

    def make(self):
        return "mlflow", {"tracking_uri": self.uri, "experiment_name": "conformance"}

    def contents(self):
        client = mlflow.MlflowClient(tracking_uri=self.uri)
        experiment = client.get_experiment_by_name("conformance")
        points = self.points()
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            tags, run_id = run.data.tags, run.info.run_id
            assert (
                run.info.status
                in {
                    "succeeded": ("FINISHED",),
                    "skipped": ("FINISHED",),
                    "failed": ("FAILED", "KILLED"),
                    "running": ("RUNNING",),
                }[tags["status"]]
            )
            yield Contents(
                tags["run_id"],
                points[run_id],
                tags["status"],
                run.data.params,
                run.data.metrics,
                dict(files_below(Path(run.info.artifact_uri))),
            )

    def points(self):
        found = defaultdict(list)
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            for run_id, key, step, value, is_nan in db.execute(
                "SELECT run_uuid, key, step, value, is_nan FROM metrics"
            ):
                if abs(value) == sys.float_info.max:  # as which databases keep infinity
                    value = math.copysign(math.inf, value)
                found[run_id].append((*split_of(key), step, math.nan if is_nan else value))
        return found


# ---- wandb ---------------------------------------------------------------------------------------


@pytest.fixture(scope="class")
def wandb_service():
    """Let the client's service run for all tests of a class: it takes long to start."""
    yield
    pytest.importorskip("wandb").teardown()


@pytest.mark.usefixtures("wandb_service")
class TestWandb(TrackerSuite):
    counts_repeats_once = "W&B appends rows, and offline there is nobody to ask for those there are"
    survives_a_kill = "offline, W&B's service holds up to 32 KiB back, and dies with its client"
    settles_in = 30.0  # the client's service writes on its own

    @pytest.fixture(autouse=True)
    def home(self, suite_folders, monkeypatch):
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            monkeypatch.setenv(name, str(self.place))

    def make(self):
        return "wandb", {"project": "conformance"}

    def contents(self):
        for folder in self.results.glob("*"):
            written = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
            if written:  # of each start one
                yield of_records(folder, [record for path in written for record in records(path)])


def of_records(folder, found):
    points, config, summary, artifacts = [], {}, {}, {}
    for record in found:
        if record.HasField("run"):
            assert record.run.run_id == folder.name
            config.update(items(record.run.config.update))
        config.update(items(record.config.update))
        summary.update(items(record.summary.update))
        row = items(record.history.item)
        points += [
            (*split_of(name), row["event/step"], float(value))
            for name, value in row.items()
            if name[0] != "_" and name != "event/step"
        ]
        if record.HasField("artifact"):
            entries = record.artifact.manifest.contents
            artifacts[record.artifact.name] = {e.path: Path(e.local_path) for e in entries}
    return Contents(
        folder.name,
        points,
        summary.get("status"),
        config,
        summary.get("metrics", {}),
        dict(by_our_names(folder, artifacts)),
    )


def by_our_names(folder, artifacts):
    for path in (folder / "artifacts").rglob("*"):
        name = path.relative_to(folder / "artifacts").as_posix()
        for inner, copy in artifacts.get(_artifact_name(folder.name, name), {}).items():
            yield f"{name}/{inner}" if path.is_dir() else name, copy.read_bytes()


def items(found):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in found}


# ---- tensorboard ---------------------------------------------------------------------------------


class TestTensorboard(TrackerSuite):
    precision = 1e-6  # event files hold single precision

    def make(self):
        return "tensorboard", {"log_dir": str(self.results.parent / "tensorboard")}

    def contents(self):
        for folder in (self.results.parent / "tensorboard").glob("*"):
            yield of_event_files(folder)


def of_event_files(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    points, figures, params, status = [], {}, {}, None
    for tag in read.Tags()["scalars"]:
        for event in read.Scalars(tag):
            if tag.startswith("final/"):
                figures[tag.removeprefix("final/")] = event.value
            else:
                points.append((*split_of(tag), event.step, event.value))
    for content in read.summary_metadata.values():
        if content.plugin_data.plugin_name == "hparams":
            said = HParamsPluginData.FromString(content.plugin_data.content)
            for name, value in said.session_start_info.hparams.items():
                params[name] = getattr(value, value.WhichOneof("kind"))
            if said.HasField("session_end_info"):
                status = ("skipped", "succeeded", "failed", None)[said.session_end_info.status]
    return Contents(folder.name, points, status, params, figures)


def files_below(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
