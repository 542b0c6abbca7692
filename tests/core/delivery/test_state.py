"""What a tracker has got of a run is known to the line, whatever happened in between."""

from __future__ import annotations

import json
import random

import pytest
from reading import python

from ztxexp_core.delivery.state import EVENTS, EXTRAS, DeliveryState, Range


@pytest.fixture
def opened(tmp_path):
    """Return a maker of state with a session, which is ended with the test."""
    made = []

    def make(name="mine", destination="here"):
        state = DeliveryState.of(tmp_path, name, destination)
        state.open(tracker=name)
        made.append(state)
        return state

    yield make
    for state in made:
        state.close()


def test_what_was_told_is_read_back(tmp_path, opened):
    state = opened()
    state.set_started()
    state.advance(EVENTS, 100)
    state.skip(EVENTS, Range(100, 150))
    state.advance(EVENTS, 400)
    state.advance(EXTRAS, 30)
    state.set_ended(2, "failed")
    state.close()
    found = DeliveryState.of(tmp_path, "mine", "here")
    assert found.offsets == {EVENTS: 400, EXTRAS: 30}
    assert found.gaps == {EVENTS: [Range(100, 150)], EXTRAS: []}
    assert (found.started, found.ended, found.in_use) == (True, 2, False)


def test_each_tracker_and_destination_has_its_own(tmp_path, opened):
    for name, destination in (("mine", "here"), ("mine", "there"), ("other", "here")):
        opened(name, destination).advance(EVENTS, len(name + destination))
    assert len(list((tmp_path / "trackers").iterdir())) == 3
    assert DeliveryState.of(tmp_path, "mine", "there").offsets[EVENTS] == 9


def test_a_name_that_is_a_path_stays_in_the_folder(tmp_path, opened):
    opened("../../evil/名")
    (path,) = (tmp_path / "trackers").iterdir()
    assert path.name.startswith("______evil_名-")


def test_what_is_brought_later_is_missed_no_longer(tmp_path, opened):
    state = opened()
    for start in range(0, 100, 10):
        state.skip(EVENTS, Range(start, start + 10))
    state.fill(EVENTS, Range(15, 35))
    expected = [Range(0, 10), Range(10, 15), Range(35, 40), *(
        Range(start, start + 10) for start in range(40, 100, 10)
    )]  # fmt: skip
    assert state.gaps[EVENTS] == expected
    assert DeliveryState.of(tmp_path, "mine", "here").gaps[EVENTS] == expected


def test_a_session_is_one_processs_own_until_it_ends(tmp_path, opened):
    state = opened()
    assert DeliveryState.of(tmp_path, "mine", "here").in_use
    with pytest.raises(BlockingIOError):
        opened()
    state.close()
    assert not DeliveryState.of(tmp_path, "mine", "here").in_use
    opened().advance(EVENTS, 5)


def test_a_killed_session_is_over_and_what_it_had_told_stands(tmp_path, opened):
    done = python(
        """
        import os, sys
        from ztxexp_core.delivery.state import EVENTS, DeliveryState
        state = DeliveryState.of(sys.argv[1], "mine", "here")
        state.open()
        state.set_started()
        state.advance(EVENTS, 77)
        os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    assert done.returncode == -9, done.stderr
    found = DeliveryState.of(tmp_path, "mine", "here")
    assert (found.in_use, found.offsets[EVENTS], found.started) == (False, 77, True)
    opened().advance(EVENTS, 78)


def test_a_new_session_owes_the_end_again(tmp_path, opened):
    state = opened()
    state.set_ended(1, "failed")
    state.close()
    assert DeliveryState.of(tmp_path, "mine", "here").ended == 1
    opened()
    assert DeliveryState.of(tmp_path, "mine", "here").ended == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_damaged_state_are_read_as_far_as_they_go_and_written_on(tmp_path, opened, damage):
    state = opened()
    state.advance(EVENTS, 100)
    state.skip(EVENTS, Range(100, 150))
    state.close()
    (path,) = (tmp_path / "trackers").iterdir()
    data = path.read_bytes()
    rng = random.Random(damage)
    for _ in range(30):
        if damage == "cut":
            path.write_bytes(data[: rng.randrange(len(data))])
        elif damage == "flipped":
            place = rng.randrange(len(data))
            path.write_bytes(data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :])
        elif damage == "foreign":
            path.write_bytes(b'{"skipped": "nothing"}\n[1]\n{"ended": "x"}\n\xff\n' + data)
        else:
            path.write_bytes(b"")
        again = opened()
        again.advance(EVENTS, 500)
        again.set_ended(3, "succeeded")
        again.close()
        found = DeliveryState.of(tmp_path, "mine", "here")
        assert (found.offsets[EVENTS], found.ended) == (500, 3)
        lines = path.read_bytes().split(b"\n")
        assert json.loads(lines[0])["events_to"] == 500


def test_behind_a_link_in_place_of_the_folder_nothing_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trackers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="is a link"):
        DeliveryState.of(tmp_path, "mlflow", "here").open()
    assert not list((tmp_path / "elsewhere").iterdir())
