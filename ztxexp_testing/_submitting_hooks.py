"""What a submitting executor promises of its three hooks, asked with small jobs."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

import pytest

from ztxexp_core.errors import ExecutorError, closest
from ztxexp_core.store.jobs import GONE, PENDING, RUNNING, job_of
from ztxexp_testing._processes import alive, remaining
from ztxexp_testing._submitting_base import AGAIN, SubmittingBase
from ztxexp_testing.executors import CAPABILITIES

_LONG = 120.0
_ODD = ["two words", "it's", 'a "quote"', "$HOME `id` \\", "a,b=c;d", "ü", "*", "%j", "two\nlines"]
_UNKNOWN = ("987654321", "987654321_7", "no-such-job")


class SubmittingHooks(SubmittingBase):
    """Jobs are submitted, know themselves, are asked for, cancelled and queued again."""

    # ---- the plugin ----------------------------------------------------------------------------

    def test_it_is_found_by_its_name_and_fits_the_contract(self) -> None:
        plugin = self.load()
        assert plugin.submits, "it carries out runs itself; ExecutorSuite is the suite for it"
        for name in plugin.supports.difference(CAPABILITIES):
            near = closest(name, CAPABILITIES)
            assert not near, f"supports names {name!r}{near}; the core would take no notice of it"

    # ---- submitting ----------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [1, 5])
    def test_each_job_has_an_id_and_knows_its_id_and_its_number(self, count: int) -> None:
        request = self.request(count, first=3)
        before = repr(request)
        ids = self.submit(request)
        assert repr(request) == before, "it changed the request"
        assert len(ids) == count, f"{len(ids)} ids for {count} jobs"
        assert all(isinstance(job, str) for job in ids), f"ids are texts, not {ids}"
        assert len(set(ids)) == count, f"jobs have the same id: {ids}"
        odd = [job for job in ids if not job or ":" in job or "/" in job or job.split() != [job]]
        assert not odd, f"ids with a colon, slash or space, or without anything: {odd}"
        self.wait_gone(ids)
        jobs = self.began()
        assert [job.number for job in jobs] == list(range(3, 3 + count)), (
            "ZTXEXP_PILOT does not count from request.first"
        )
        assert [job.job for job in jobs] == ids, (
            "the id in ZTXEXP_JOB is not that which ztxexp_submit has returned for this number"
        )
        for job in jobs:
            own = job_of({"job": job.environment.get("ZTXEXP_JOB", "")})
            assert own is not None and own.start, "ZTXEXP_JOB is not name:id:start"
            assert own.engine == self.plugin_name, f"ZTXEXP_JOB names {own.engine!r} as executor"

    def test_the_command_arrives_as_it_is(self) -> None:
        self.wait_gone(self.submit(self.request(1, *_ODD)))
        job = self.only_began()
        assert job.arguments == _ODD

    def test_variables_of_the_request_are_set_and_no_others_go_along(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ZTXEXP_SUITE_OTHER", "the launcher's")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "the launcher's")
        given = {f"ZTXEXP_SUITE_{n}": value for n, value in enumerate(_ODD)}
        self.wait_gone(self.submit(self.request(1, environment=given)))
        job = self.only_began()
        odd = {name: job.environment.get(name) for name in given}
        odd = {name: value for name, value in odd.items() if value != given[name]}
        assert not odd, f"variables of the request are lacking or differ: {odd}"
        assert "ZTXEXP_SUITE_OTHER" not in job.environment, "a variable of the launcher went along"
        assert job.environment.get("CUDA_VISIBLE_DEVICES") != "the launcher's"

    def test_a_job_works_in_its_folder_and_leaves_nothing_there(self) -> None:
        self.wait_gone(self.submit(self.request(2)))
        work = self.place / "work here"
        assert [Path(job.folder).resolve() for job in self.began()] == 2 * [work.resolve()]
        assert os.listdir(work) == [], "files are left in the working folder"

    def test_what_jobs_print_lies_in_the_folder_of_the_request(self) -> None:
        prints = self.place / "what they print"
        prints.mkdir()
        self.wait_gone(self.submit(self.request(2, folder=prints)))

        def is_there(line: str) -> bool:
            return any(line in path.read_text() for path in prints.rglob("*") if path.is_file())

        for number in (0, 1):
            for line in (f"job {number} has begun", f"job {number} complains"):
                self.wait_for(functools.partial(is_there, line), f"{line!r} is not printed")

    def test_two_submissions_do_not_mix(self) -> None:
        first = self.submit(self.request(2, wait=_LONG))
        second = self.submit(self.request(2, first=2, wait=_LONG))
        assert not set(first) & set(second), "two submissions have jobs of the same id"
        self.wait_begun(0)
        self.cancel(first)
        self.wait_gone(first)
        time.sleep(0.5)
        states = self.states(second)
        assert GONE not in states.values(), f"jobs that nobody has cancelled are gone: {states}"

    def test_a_need_that_it_observes_is_accepted(self) -> None:
        amounts = {"cpus": 1.0, "memory": 64.0 * 2**20, "time": 300.0}
        needs = {name: amounts[name] for name in amounts if name in self.load().needs}
        asked = time.time()
        self.wait_gone(self.submit(self.request(1, needs=needs)))
        job = self.only_began()
        ends = job.environment.get("ZTXEXP_JOB_ENDS")
        if "time" in needs:
            assert ends is not None, "the end of the job's time is known, but not told"
        if ends is not None:
            assert float(ends) > asked, "ZTXEXP_JOB_ENDS is no time to come, since 1970"

    def test_what_cannot_be_submitted_is_an_error(self) -> None:
        if self.refused_options is None:
            pytest.skip("refused_options: not given")
        with pytest.raises(ExecutorError) as raised:
            self.submit(self.request(2), self.refused_options)
        assert str(raised.value).strip(), "the error does not say why"
        assert self.began() == []

    # ---- asking --------------------------------------------------------------------------------

    def test_a_job_is_pending_then_running_then_gone(self) -> None:
        self.needs("observes_at_once")
        ids = self.submit(self.request(2, wait=_LONG, at_once=1))
        self.wait_for(self.began, "no job has begun")
        first = self.began()[0]
        other = 1 - first.number
        self.wait_state(ids[first.number], RUNNING)
        time.sleep(0.5)
        states = self.states(ids)
        assert states[ids[other]] == PENDING, f"with at_once=1 the states of two jobs are {states}"
        self.let_go(first.number)
        self.wait_begun(other)
        self.wait_state(ids[other], RUNNING)
        self.let_go(other)
        self.wait_gone(ids)

    def test_unknown_jobs_are_gone_or_left_out_and_harm_no_answer(self) -> None:
        assert set(self.states(_UNKNOWN).values()) == {GONE}
        (job,) = self.submit(self.request(1, wait=_LONG))
        self.wait_begun(0)
        states = self.states([*_UNKNOWN, job])
        assert states.pop(job) == RUNNING, "unknown ids in the same call spoil the answer"
        assert set(states.values()) == {GONE}

    def test_many_jobs_are_submitted_and_asked_for_in_one_call(self) -> None:
        ids = self.submit(self.request(20))
        assert len(ids) == 20
        many = [*ids, *(f"9{number:08}" for number in range(500))]
        assert len(self.states(many)) == 520
        assert self.states([]) == {}
        self.wait_gone(ids)
        assert [job.number for job in self.began()] == list(range(20))

    # ---- cancelling ----------------------------------------------------------------------------

    def test_a_job_that_is_cancelled_gets_sigterm_and_is_gone(self) -> None:
        ids = self.submit(self.request(2, wait=_LONG))
        self.wait_begun(0)
        self.wait_begun(1)
        self.cancel(ids)
        self.wait_gone(ids)
        jobs = self.began()
        assert len(jobs) == 2, "a job that was cancelled has been started again"
        assert not any(job.has_ended for job in jobs)
        if self.runs_here is True:
            left = remaining(lambda: alive(job.pid for job in jobs))
            assert not left, "the process of a job that was cancelled is still there"
        self.needs("passes_sigterm")
        told = [job.was_told for job in jobs]
        assert all(told), "the command has got no SIGTERM when its job was cancelled"

    def test_a_pending_job_that_is_cancelled_never_starts(self) -> None:
        self.needs("observes_at_once")
        ids = self.submit(self.request(2, wait=_LONG, at_once=1))
        self.wait_for(self.began, "no job has begun")
        first = self.began()[0]
        other = 1 - first.number
        self.cancel([ids[other]])
        self.wait_gone([ids[other]])
        self.wait_state(ids[first.number], RUNNING)
        self.let_go(first.number)
        self.wait_gone([ids[first.number]])
        time.sleep(0.5)
        assert len(self.began()) == 1, "a job that was cancelled while it was pending has begun"

    def test_to_cancel_what_has_ended_or_is_unknown_does_nothing(self) -> None:
        ids = self.submit(self.request(1))
        self.wait_gone(ids)
        (other,) = self.submit(self.request(1, first=1, wait=_LONG))
        self.wait_begun(1)
        self.cancel([])
        self.cancel([*ids, *_UNKNOWN])
        self.wait_state(other, RUNNING)
        self.cancel([*_UNKNOWN, *ids, other])
        self.wait_gone([other])

    # ---- queued again --------------------------------------------------------------------------

    def test_a_job_that_ends_with_75_is_queued_again_with_a_new_start(self) -> None:
        self.needs("queues_again")
        (job,) = self.submit(self.request(1, codes=(AGAIN, AGAIN, 0)))
        lost = False
        until = time.monotonic() + self.patience
        while len(self.began()) < 3:
            state = self.states([job])[job]
            lost = lost or (state == GONE and len(self.began()) < 3)
            assert time.monotonic() < until, f"it was started {len(self.began())} times, not 3"
            time.sleep(self.asks_every)
        self.wait_gone([job])
        starts = self.began()
        assert len(starts) == 3, "exit code 0 ends a job"
        assert {each.job for each in starts} == {job}, "a job that is queued again keeps its id"
        own = [each.start for each in starts]
        assert len(set(own)) == 3, f"the starts of one job are told as {own}"
        assert not lost, "a job that is queued again was told as gone in between"

    def test_a_job_that_waits_to_be_started_again_can_be_cancelled(self) -> None:
        self.needs("queues_again")
        (job,) = self.submit(self.request(1, codes=(AGAIN,), wait=0.2))
        self.wait_for(
            lambda: self.states([job])[job] == PENDING or len(self.began()) > 1,
            "a job that ended with 75 is not queued again",
        )
        self.cancel([job])
        self.wait_gone([job])
        count = len(self.began())
        time.sleep(1.0)
        assert len(self.began()) == count, "a job that was cancelled has been started again"

    @pytest.mark.parametrize("code", [0, 1, 143])
    def test_a_job_with_another_exit_code_is_gone(self, code: int) -> None:
        ids = self.submit(self.request(1, codes=(code,)))
        self.wait_gone(ids)
        time.sleep(1.0)
        assert set(self.states(ids).values()) == {GONE}
        assert len(self.began()) == 1, f"a job that ended with {code} was started again"
