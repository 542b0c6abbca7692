"""What the tests of the wandb tracker share: reading what the client wrote without a network."""

import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ztxexp_trackers import wandb as module

wandb = pytest.importorskip("wandb")

BLOCK = 32768


def records(path):
    """Yield the records of a ``.wandb`` file: LevelDB's log framing of protobuf messages.

    The client's service may be writing it: what is not there whole is left out.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    at, message = 7, b""  # the first seven bytes are the file's own header
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # too little left in this block for a header
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            at += BLOCK - at % BLOCK
            continue
        if at + 7 + length > len(data):
            return
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole message, or the last part of one
            record = Record()
            record.ParseFromString(message)
            yield record
            message = b""


class Written:
    """What the client wrote about one run, the first, second ... time that it was started."""

    def __init__(self, folder, start=0, of=1):
        self.rows, self.times, self.summary, self.config = [], [], {}, {}
        self.artifacts = {}
        for record in _complete(folder, start, of):
            getattr(self, f"_{record.WhichOneof('record_type')}", lambda record: None)(record)

    def _run(self, record):
        self.run = record.run
        self.config.update(_items(record.run.config.update))

    def _config(self, record):
        self.config.update(_items(record.config.update))

    def _history(self, record):
        row = _items(record.history.item)
        self.rows.append({k: v for k, v in row.items() if k[0] != "_"})
        self.times.append(row["_timestamp"])

    def _artifact(self, record):
        found = record.artifact
        files = {entry.path: entry.size for entry in found.manifest.contents}
        self.artifacts.setdefault(found.name, []).append((found.type, files))

    def _summary(self, record):
        self.summary.update(_items(record.summary.update))

    def _exit(self, record):
        self.exit_code = record.exit.exit_code


def _complete(folder, start, of):
    """Return a run's records once its end is on disk: the client's service writes on its own."""
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.parent)
    assert len(paths) == of
    path, give_up = paths[start], time.monotonic() + 60
    while True:
        found = list(records(path))
        if any(record.HasField("exit") for record in found) or time.monotonic() > give_up:
            return found
        time.sleep(0.05)


def _items(items):
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


@pytest.fixture
def no_run_left():
    yield
    left, module._running[:] = list(module._running), []
    for run in left:
        run.finish(exit_code=1)
    wandb.teardown()  # ends the service, and with it the settings that were read only once
    assert left == []
    assert wandb.run is None


@pytest.fixture
def staging_folder(monkeypatch, tmp_path):
    """Let copies of artifacts lie below ``tmp_path``, not in the home folder."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))


def elsewhere(call, *args):
    """Make a call in another thread, as the core does."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *args).result()


def until(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
