"""claims: launches that share a root do each configuration once, and nobody waits for the dead."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import claiming
import psutil
import pytest
from owners import at_work
from read_faults import ReadFaults

from ztxexp.analyzer import ResultAnalyzer
from ztxexp.results.claims import Claim, Claimed, ClaimFiles, Claims, Completed, Held
from ztxexp_core.errors import StoreError
from ztxexp_core.store import heartbeat
from ztxexp_core.store.files import read_json, write_json
from ztxexp_core.store.liveness import this_process
from ztxexp_core.store.run_folder import close_dead_run, create_run, iter_runs

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

ID = "1:00ff"
ALIVE, CLAIMS = ".ztxexp/alive", ".ztxexp/claims"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "results"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def no_beat_left() -> Iterator[None]:
    yield
    heartbeat._end_all()


def put_run(root: Path, run_id: str, status: str, **fields: Any) -> None:
    folder = root / run_id
    if not folder.exists():
        create_run(folder, {}, claiming.record(run_id, status), {})
    write_json(folder / "run.json", {**claiming.record(run_id, status), **fields})


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root / CLAIMS)) for path in claim_paths(root))


def claim_paths(root: Path) -> list[Path]:
    return [path for path in (root / CLAIMS).rglob("*") if path.is_file()]


def read_claim(path: Path) -> dict[str, Any]:
    """What the lines of a claim say together: who made it, how it has ended."""
    return {
        name: v for line in path.read_text().splitlines() for name, v in json.loads(line).items()
    }


def claim_file(root: Path) -> Path:
    """The one file that there is."""
    (name,) = files(root)
    return root / CLAIMS / name


def launch(root: Path, *claimed: tuple[str, str]) -> subprocess.Popen[str]:
    """Start another launch that has claimed (identity, run id) and waits to be killed."""
    code = (
        "import sys, json; from ztxexp.results.claims import Claims\n"
        "claims = Claims(sys.argv[1], {})\n"
        "for claimed in json.loads(sys.argv[2]): print(claims.claim(*claimed))\n"
        "print(flush=True); input()"
    )
    arguments = [sys.executable, "-c", code, str(root), json.dumps(claimed)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    for _ in claimed:
        assert process.stdout.readline() == "Claimed()\n"
    process.stdout.readline()
    return process


def dead_launch(root: Path, *claimed: tuple[str, str]) -> None:
    """Leave claims of a launch that was killed."""
    process = launch(root, *claimed)
    process.kill()
    process.communicate()


def send_away(root: Path, silent: float) -> None:
    """Make the last claim one of another host, which was last heard of some seconds ago."""
    path = max(claim_paths(root), key=lambda file: "after" in file.name)
    claim = read_claim(path)
    claim["owner"]["host"] = "elsewhere"
    path.write_text(json.dumps(claim) + "\n")
    os.utime(path, (time.time() - silent,) * 2)


# ---- one at a time -------------------------------------------------------------------------------


def test_of_two_launches_one_gets_a_configuration_and_the_other_learns_how_it_ended(
    root: Path,
) -> None:
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        assert ours.claim(ID, "r1") == Claimed()
        assert theirs.claim(ID, "r2") == Held("r1", this_process())
        put_run(root, "r1", "succeeded")
        ours.release(ID, "r1", "succeeded")
        assert theirs.claim(ID, "r2") == Completed("r1", "succeeded")
        assert theirs.claim("1:another", "r3") == Claimed()


def test_a_launch_that_asks_again_for_its_own_run_has_it(root: Path) -> None:
    with Claims(root, {}) as claims:
        claims.claim(ID, "r1")
        assert claims.claim(ID, "r1") == Claimed()
        assert claims.claim(ID, "r2") == Held("r1", this_process())


@pytest.mark.parametrize("how", ["give_up", "close"])
def test_what_is_given_up_is_free(root: Path, how: str) -> None:
    ours, theirs = Claims(root, {}), Claims(root, {})
    ours.claim(ID, "r1")
    ours.give_up(ID, "r1") if how == "give_up" else ours.close()
    assert theirs.claim(ID, "r2") == Claimed()
    theirs.close()


def test_only_the_run_that_holds_a_claim_gives_it_back(root: Path) -> None:
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        ours.claim(ID, "r1")
        ours.release(ID, "another", "succeeded")
        theirs.release(ID, "r1", "succeeded")
        theirs.give_up(ID, "r1")
        assert theirs.claim(ID, "r2") == Held("r1", this_process())


def test_a_launch_beats_while_it_has_claims(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SEC", 0.01)
    beat = root / ALIVE / heartbeat.own_name()
    with Claims(root, {}):
        deadline = time.monotonic() + 20
        while not beat.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert not beat.exists()


# ---- what ended before, and what meanwhile -------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_what_failed_before_is_tried_once_more_by_one_of_the_launches(
    root: Path, status: str
) -> None:
    with Claims(root, {}) as earlier:
        earlier.claim(ID, "r1")
        put_run(root, "r1", status)
        earlier.release(ID, "r1", status)
    with Claims(root, {ID: "r1"}) as ours, Claims(root, {ID: "r1"}) as theirs:
        assert ours.claim(ID, "r2") == Claimed()
        assert theirs.claim(ID, "r3") == Held("r2", this_process())
        time.sleep(0.02)  # a tick of the file system's clock
        put_run(root, "r2", status)
        ours.release(ID, "r2", status)
        assert theirs.claim(ID, "r3") == Completed("r2", status)
    assert len(files(root)) == 1


def test_a_run_that_another_launch_resumed_and_that_failed_again_is_not_tried_again(
    root: Path,
) -> None:
    put_run(root, "r1", "failed")
    with Claims(root, {ID: "r1"}) as ours, Claims(root, {ID: "r1"}) as theirs:
        assert ours.claim(ID, "r1") == Claimed()
        time.sleep(0.02)  # a tick of the file system's clock
        put_run(root, "r1", "failed")
        ours.release(ID, "r1", "failed")
        assert theirs.claim(ID, "r1") == Completed("r1", "failed")
    with Claims(root, {ID: "r1"}) as later:
        assert later.claim(ID, "r1") == Claimed()


def test_what_ended_between_the_look_and_the_claims_ended_meanwhile(root: Path) -> None:
    since = heartbeat.stamp(root)
    with Claims(root, {}) as theirs:
        theirs.claim(ID, "r1")
        time.sleep(0.02)
        put_run(root, "r1", "failed")
        theirs.release(ID, "r1", "failed")
    with Claims(root, {ID: "r1"}, since) as ours:
        assert ours.claim(ID, "r2") == Completed("r1", "failed")


@pytest.mark.parametrize("status", ["succeeded", "failed", "running"])
def test_a_run_that_this_launch_goes_on_in_counts_once(root: Path, status: str) -> None:
    """Of two configurations that are alike, one goes on in the folder of the other."""
    with Claims(root, {}) as earlier:
        for identity, run_id in ((ID, "r1"), (f"{ID}-2", "r2")):
            earlier.claim(identity, run_id)
            put_run(root, run_id, "failed")
            earlier.release(identity, run_id, "failed")
    known = {ID: "r2", f"{ID}-2": "r2"}
    with Claims(root, known, own=["r2", "r3"]) as claims, Claims(root, known) as theirs:
        assert claims.claim(ID, "r2") == Claimed()
        time.sleep(0.02)
        put_run(root, "r2", status)
        assert claims.claim(f"{ID}-2", "r3") == Claimed()
        claims.give_up(f"{ID}-2", "r3")
        assert theirs.claim(ID, "r4") == Held("r2", this_process())


def test_a_worker_that_died_is_an_end_like_any_other_where_its_launch_lives(root: Path) -> None:
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        ours.claim(ID, "r1")
        put_run(root, "r1", "failed", reason="lost")
        ours.release(ID, "r1", "failed")
        assert theirs.claim(ID, "r2") == Completed("r1", "failed")


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_claim_is_void_once_the_folder_of_its_run_is_deleted(root: Path, status: str) -> None:
    with Claims(root, {}) as earlier:
        earlier.claim(ID, "r1")
        put_run(root, "r1", status)
        earlier.release(ID, "r1", status)
    shutil.rmtree(root / "r1")
    with Claims(root, {}) as claims:
        assert claims.claim(ID, "r2") == Claimed()
        claims.release(ID, "r2", "failed")
    assert read_claim(claim_file(root))["run_id"] == "r2"


# ---- launches that die, stop, or are elsewhere ---------------------------------------------------


def test_the_claim_of_a_launch_that_was_killed_is_free_at_once(root: Path) -> None:
    dead_launch(root, (ID, "r1"))
    with Claims(root, {}) as claims:
        assert claims.claim(ID, "r2") == Claimed()
        claims.release(ID, "r2", "succeeded")
    assert len(files(root)) == 1


@posix
def test_a_stopped_launch_keeps_its_claims(root: Path) -> None:
    process = launch(root, (ID, "r1"))
    try:
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.005)
        with Claims(root, {}) as claims:
            verdict = claims.claim(ID, "r2")
            assert isinstance(verdict, Held)
            assert verdict.owner["pid"] == process.pid
            assert claims.claim("1:another", "r3") == Claimed()  # and holds up nobody
    finally:
        process.kill()
        process.communicate()


ENDS = [
    ({"status": "succeeded"}, Completed("r1", "succeeded")),
    ({"status": "failed", "reason": "exception"}, Completed("r1", "failed")),
    ({"status": "failed", "reason": "oom"}, Completed("r1", "failed")),
    ({"status": "skipped"}, Completed("r1", "skipped")),
    ({"status": "failed", "reason": "lost"}, Claimed()),  # as the next launch closes it
    ({"status": "failed", "reason": "interrupted"}, Claimed()),
    ({"status": "running"}, Held("r1", this_process())),  # a worker that outlives its launch
    ({"status": "running", "owner": None}, Claimed()),
    ({"status": "odd"}, Claimed()),
]


@pytest.mark.parametrize(("record", "verdict"), ENDS)
def test_the_run_of_a_launch_that_was_killed_is_looked_at_first(
    root: Path, record: dict[str, Any], verdict: object
) -> None:
    dead_launch(root, (ID, "r1"))
    put_run(root, "r1", **record)
    with Claims(root, {}) as claims:
        assert claims.claim(ID, "r2") == verdict


def test_a_launch_elsewhere_keeps_its_claims_while_its_heart_beats(root: Path) -> None:
    ours, theirs = Claims(root, {}), Claims(root, {})
    ours.claim(ID, "r1")
    send_away(root, silent=20)
    assert isinstance(theirs.claim(ID, "r2"), Held)  # young
    send_away(root, silent=1e6)
    beat = root / ALIVE / heartbeat.own_name()
    beat.parent.mkdir()
    beat.touch()
    assert isinstance(theirs.claim(ID, "r2"), Held)
    os.utime(beat, (time.time() + 5000,) * 2)  # a clock that was set
    assert isinstance(theirs.claim(ID, "r2"), Held)
    os.utime(beat, (time.time() - 150,) * 2)
    assert theirs.claim(ID, "r2") == Claimed()


@pytest.mark.parametrize("held", [True, False])
def test_a_run_that_was_closed_in_its_place_is_no_sign_of_its_launch_and_no_work_of_another(
    root: Path, held: bool
) -> None:
    """A host died an hour ago, with its claim held or with an end that only the claim has."""
    theirs = Claims(root, {})
    theirs.claim(ID, "r1")
    put_run(root, "r1", "running", owner={**this_process(), "pid": 2**22 + 1})
    if held:
        send_away(root, silent=3600)
    else:
        theirs.release(ID, "r1", "failed")
    with Claims(root, {ID: "r1"}) as claims:
        assert close_dead_run(root / "r1")
        assert claims.claim(ID, "r2") == Claimed()


def test_a_launch_that_was_taken_for_dead_forgets_a_claim_that_is_another_ones(root: Path) -> None:
    ours, theirs = Claims(root, {}), Claims(root, {})
    assert ours.claim(ID, "r1") == Claimed()
    send_away(root, silent=1e6)
    assert theirs.claim(ID, "r2") == Claimed()
    assert ours.claim(ID, "r1") == Held("r2", this_process())
    put_run(root, "r2", "succeeded")
    theirs.release(ID, "r2", "succeeded")
    assert ours.claim(ID, "r1") == Completed("r2", "succeeded")


def test_a_claim_that_is_handed_over_lasts_as_long_as_the_process_of_its_run(root: Path) -> None:
    later = Claims(root, {})
    with at_work() as owner:
        with Claims(root, {}) as ours:
            ours.claim(ID, "r1")
            put_run(root, "r1", "running", owner=owner)
            ours.hand_over(ID, "r1", owner)
        assert later.claim(ID, "r2") == Held("r1", owner)
    assert later.claim(ID, "r2") == Claimed()


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("back", ["while its successor is at work", "when its successor has ended"])
def test_a_launch_that_comes_back_does_not_touch_what_another_has_taken_over(
    root: Path, back: str, before: int
) -> None:
    if before:  # so that ours takes over, too
        dead_launch(root, (ID, "r0"))
    ours, theirs, third = Claims(root, {}), Claims(root, {}), Claims(root, {})
    ours.claim(ID, "r1")
    send_away(root, silent=1e6)
    assert theirs.claim(ID, "r2") == Claimed()
    if back == "while its successor is at work":
        ours.release(ID, "r1", "failed")
        assert third.claim(ID, "r3") == Held("r2", this_process())
    put_run(root, "r2", "succeeded")
    theirs.release(ID, "r2", "succeeded")
    ours.close()
    assert third.claim(ID, "r3") == Completed("r2", "succeeded")
    assert len(files(root)) == 1
    assert read_claim(claim_file(root))["run_id"] == "r2"


def test_who_takes_over_what_another_has_taken_over_and_ended_meanwhile_has_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_launch(root, (ID, "r1"))
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        look = ClaimFiles.chain

        def late(files: ClaimFiles, identity: str) -> list[Claim]:
            monkeypatch.setattr(ClaimFiles, "chain", look)  # once: between ours and its next step
            found = look(files, identity)
            assert theirs.claim(ID, "r2") == Claimed()
            put_run(root, "r2", "succeeded")
            theirs.release(ID, "r2", "succeeded")
            return found

        monkeypatch.setattr(ClaimFiles, "chain", late)
        assert ours.claim(ID, "r3") == Completed("r2", "succeeded")
    assert len(files(root)) == 1


# ---- accidents -----------------------------------------------------------------------------------

DAMAGED = ["", "{", "[]", "{}", "\udcff", '{"token": "../..", "run_id": "r", "status": "failed"}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_claim_is_taken_over_and_told(
    root: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Claims(root, {}) as claims:
        claims.claim(ID, "r1")
        path = claim_file(root)
    path.write_text(text, errors="surrogateescape")
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        assert isinstance(ours.claim(ID, "r2"), Held)  # it may be being written
        os.utime(path, (1e9, 1e9))
        assert ours.claim(ID, "r2") == Claimed()
        assert isinstance(theirs.claim(ID, "r3"), Held)
        put_run(root, "r2", "succeeded")
        ours.release(ID, "r2", "succeeded")
        assert theirs.claim(ID, "r3") == Completed("r2", "succeeded")
    (warning,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert str(path) in warning.getMessage()
    assert len(files(root)) == 1


@pytest.mark.parametrize("length", [0, 1, 40, -30, -1])
def test_a_claim_that_is_seen_cut_off_is_held_while_its_maker_lives(
    root: Path, length: int
) -> None:
    """As behind a mount that answers from memory, long after the claim was made."""
    with Claims(root, {}) as theirs, Claims(root, {}) as ours:
        theirs.claim(ID, "r1")
        path = claim_file(root)
        whole = path.read_bytes()
        assert len(whole) > 250
        path.write_bytes(whole[:length])
        ages = [20, 100] if length >= 0 else [20, 100, 1000]
        for age in ages:  # of the longer ones the owner can be read
            os.utime(path, (time.time() - age,) * 2)
            assert isinstance(ours.claim(ID, "r2"), Held)
        path.write_bytes(whole)
        theirs.release(ID, "r1", "succeeded")
        put_run(root, "r1", "succeeded")
        assert ours.claim(ID, "r2") == Completed("r1", "succeeded")


def test_a_claim_that_is_cut_off_behind_a_dead_owner_is_taken_over_at_once(root: Path) -> None:
    dead_launch(root, (ID, "r1"))
    path = claim_file(root)
    path.write_bytes(path.read_bytes()[:-1])
    with Claims(root, {}) as ours:
        assert ours.claim(ID, "r2") == Claimed()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_claim_that_cannot_be_read_is_not_taken_over(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_launch(root, (ID, "r1"))
    path = claim_file(root)
    os.utime(path, (1e9, 1e9))
    with Claims(root, {}) as ours:
        with monkeypatch.context() as patch:
            ReadFaults(patch, number, str(path))
            verdict = ours.claim(ID, "r2")
        assert verdict == Held("", {}, f"{path} cannot be read ({os.strerror(number)})")
        assert ours.claim(ID, "r2") == Claimed()


def test_a_success_whose_folder_cannot_be_read_is_known_by_its_claim(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Claims(root, {}) as ours:
        ours.claim(ID, "r1")
        put_run(root, "r1", "succeeded")
        ours.release(ID, "r1", "succeeded")
    with Claims(root, {}) as theirs:
        ReadFaults(monkeypatch, errno.EACCES, f"{root}/r1")
        assert theirs.claim(ID, "r2") == Completed("r1", "succeeded")


def test_a_run_of_a_dead_launch_that_cannot_be_read_is_not_done_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_launch(root, (ID, "r1"))
    put_run(root, "r1", "succeeded")
    with Claims(root, {}) as ours:
        with monkeypatch.context() as patch:
            ReadFaults(patch, errno.EIO, f"{root}/r1")
            verdict = ours.claim(ID, "r2")
        assert isinstance(verdict, Held) and "r1/run.json cannot be read" in verdict.unread
        assert ours.claim(ID, "r2") == Completed("r1", "succeeded")


def test_a_claim_that_was_made_while_the_chain_could_not_be_read_is_still_ours(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_launch(root, (ID, "r1"))
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        with monkeypatch.context() as patch:
            ReadFaults(patch, errno.EACCES, f"{root}/{CLAIMS}", after=2, calls=("open",))
            assert isinstance(ours.claim(ID, "r2"), Held)
        assert len(files(root)) == 2
        assert isinstance(theirs.claim(ID, "r3"), Held)
        assert ours.claim(ID, "r2") == Claimed()


def test_a_run_that_ended_elsewhere_just_now_may_show_late(root: Path) -> None:
    with Claims(root, {}) as theirs:
        theirs.claim(ID, "r1")
        theirs.release(ID, "r1", "succeeded")
    with Claims(root, {}) as ours, Claims(root, {}) as others:
        send_away(root, silent=0)
        verdict = ours.claim(ID, "r2")
        assert isinstance(verdict, Held) and verdict.unread.endswith("r1 does not show yet")
        send_away(root, silent=61)  # it was deleted
        assert ours.claim(ID, "r2") == Claimed()
        put_run(root, "r2", "succeeded")
        ours.release(ID, "r2", "succeeded")
        assert others.claim(ID, "r3") == Completed("r2", "succeeded")


def test_a_file_system_without_hard_links_will_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        assert ours.claim(ID, "r1") == Claimed()
        assert theirs.claim(ID, "r2") == Held("r1", this_process())
        ours.give_up(ID, "r1")
        assert theirs.claim(ID, "r2") == Claimed()
        assert ours.claim(ID, "r3") == Held("r2", this_process())


def test_claims_that_cannot_be_written_are_an_error_that_says_so(root: Path) -> None:
    (root / ".ztxexp").mkdir()
    (root / CLAIMS).write_text("in the way")
    with pytest.raises(StoreError, match="claims cannot be written"), Claims(root, {}) as claims:
        claims.claim(ID, "r1")


def test_what_killed_processes_were_writing_is_removed_after_a_day(root: Path) -> None:
    with Claims(root, {}) as claims:
        claims.claim(ID, "r1")
        claims.release(ID, "r1", "failed")
    (kept,) = files(root)
    for name, days in ((".a.tmp", 2.0), (".b.tmp", 0.5), (kept, 9.0)):
        (root / CLAIMS / name).touch()
        os.utime(root / CLAIMS / name, (time.time() - days * 86_400,) * 2)
    Claims(root, {}).close()
    assert files(root) == [".b.tmp", kept]


def test_claims_that_are_cleared_away_in_the_middle_cost_nothing(root: Path) -> None:
    with Claims(root, {}) as claims:
        claims.claim("1:01", "r1")
        shutil.rmtree(root / CLAIMS)
        claims.release("1:01", "r1", "succeeded")
        assert claims.claim("1:02", "r2") == Claimed()


def test_a_root_that_is_removed_does_not_come_back(root: Path) -> None:
    with Claims(root, {}) as claims:
        claims.claim("1:01", "r1")
        shutil.rmtree(root)
        with pytest.raises(StoreError):
            claims.claim("1:02", "r2")
    assert not root.exists()


@posix
def test_a_forked_child_on_its_way_out_gives_nothing_back(root: Path) -> None:
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        ours.claim(ID, "r1")
        pid = os.fork()
        if pid == 0:
            ours.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert isinstance(theirs.claim(ID, "r2"), Held)


def test_readers_and_clean_up_pass_claims_and_heartbeats_by(root: Path) -> None:
    with Claims(root, {}) as claims:
        claims.claim(ID, "r1")
        put_run(root, "r1", "succeeded")
        claims.release(ID, "r1", "succeeded")
        (root / ALIVE).mkdir()
        analyzer = ResultAnalyzer(root)
        assert [row["run_id"] for row in analyzer.to_records()] == ["r1"]
        everything = analyzer.clean_results(None, lambda row: True, dry_run=False, confirm=False)
        assert everything == [root / "r1"]
    assert os.listdir(root) == [".ztxexp"]
    assert sorted(os.listdir(root / ".ztxexp")) == [".gitignore", "alive", "claims"]


# ---- races ---------------------------------------------------------------------------------------


def test_a_claim_is_held_for_its_own_process_from_the_first_moment(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Claims(root, {}) as ours, Claims(root, {}) as theirs:
        make, seen = ClaimFiles.make, []

        def watched(files: ClaimFiles, identity: str, claim: Claim, after: str = "") -> bool:
            made = make(files, identity, claim, after)
            monkeypatch.setattr(ClaimFiles, "make", make)
            seen.append(theirs.claim(identity, "r2"))
            return made

        monkeypatch.setattr(ClaimFiles, "make", watched)
        assert ours.claim(ID, "r1") == Claimed()
        assert [type(verdict) for verdict in seen] == [Held]


def test_of_many_that_take_over_at_the_same_moment_one_wins(root: Path) -> None:
    identities = [f"1:{i:02x}" for i in range(50)]
    dead_launch(root, *((identity, "r") for identity in identities))
    got: Counter[str] = Counter()
    barrier = threading.Barrier(6)

    def take(n: int) -> None:
        with Claims(root, {}) as claims:
            for identity in identities:
                barrier.wait()
                if claims.claim(identity, f"r{n}") == Claimed():
                    got[identity] += 1
            barrier.wait()  # nobody gives up before all have asked

    threads = [threading.Thread(target=take, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == Counter(identities)


class Race:
    """Several launches, each a process, on one root."""

    def __init__(self, root: Path, size: int, identities: int):
        self.root, self.identities = root, identities
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(size):
            self.start()

    def start(self) -> None:
        arguments = [str(self.root), str(len(self.processes)), str(self.identities)]
        command = [sys.executable, claiming.__file__, *arguments]
        self.processes.append(subprocess.Popen(command))

    def log(self) -> list[list[str]]:
        path = self.root.parent / "log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def begun(self) -> dict[str, list[int]]:
        """Return which processes have begun each identity, in order."""
        found: dict[str, list[int]] = {f"1:{i:04x}": [] for i in range(self.identities)}
        for what, identity, pid in self.log():
            if what == "begin":
                found[identity].append(int(pid))
        return found

    def succeeded(self) -> Counter[str]:
        return Counter(
            read_json(folder / "config.json")["identity"]
            for folder, run in iter_runs(self.root)
            if run["status"] == "succeeded"
        )


@pytest.fixture
def race(root: Path) -> Iterator[Race]:
    race = Race(root, 8, 200)
    yield race
    for process in race.processes:
        process.kill()
        process.wait()


def test_eight_launches_carry_out_everything_once(race: Race) -> None:
    assert [process.wait(120) for process in race.processes] == [0] * 8
    begun = race.begun()
    assert {len(pids) for pids in begun.values()} == {1}
    assert race.succeeded() == Counter(begun.keys())
    assert len(files(race.root)) == 200


@pytest.mark.slow
def test_launches_that_are_killed_block_nothing_and_cost_only_what_they_had_begun(
    race: Race,
) -> None:
    killed = set()
    for step in range(10, 210, 20):
        deadline = time.monotonic() + 60
        while len(race.log()) < step:
            assert time.monotonic() < deadline, "nothing goes on"
            time.sleep(0.002)
        victim = random.choice([p for p in race.processes if p.poll() is None])
        victim.kill()
        killed.add(victim.pid)
        race.start()
    codes = {process.pid: process.wait(120) for process in race.processes}
    assert {pid for pid, code in codes.items() if code != 0} <= killed
    for pids in race.begun().values():
        assert pids, "an identity that was never begun"
        assert set(pids[:-1]) <= killed
    assert race.succeeded() == Counter(race.begun().keys())
    again = sum(len(pids) - 1 for pids in race.begun().values())
    assert again <= len(killed)
