"""Threads, the replay buffer and the loop, followed by hand with a learner of one number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from experts.improvement.bursts import Background, Immediate, Job
from experts.improvement.loop import Pace
from experts.improvement.record import Record
from experts.improvement.replay import Replay
from experts.improvement.thread import Acceptance, Outcome, Rules, run_threads
from judges.samples import repaired
from tests.fakes_improvement import NUMBER, Counter, Reaches, loop_in, task

ROOT = Path(__file__).parents[3]


def threads(wanted, rules=None, learner=None, verifier=None):
    found = []
    tasks = [task(n) for n in wanted]
    run_threads(learner or Counter(), verifier or Reaches(), tasks, rules or Rules(), 0, found.append)
    return {thread.task.facts["wanted"]: thread for thread in found}


def test_first_good_is_skipped_none_good_is_discarded_and_all_earlier_ones_are_rejected():
    """With skill 0 the attempts are 0, 1, 2, 3, 4: task 0 is good at once, task 3 at the fourth, task 9 never. The
    scores of task 3 are 0, 0.5/3, 1/3, 1: the gaps 1, 5/6 and 2/3."""
    found = threads([0, 3, 9])
    assert {n: t.outcome for n, t in found.items()} == {
        0: Outcome.SKIPPED,
        3: Outcome.LEARNT,
        9: Outcome.DISCARDED,
    }
    lesson = found[3].lesson
    assert (lesson.accepted, lesson.rejected) == (3, (0, 1, 2))
    assert lesson.gaps == pytest.approx((1, 5 / 6, 2 / 3))
    assert lesson.priority == 1
    assert found[0].lesson is None
    assert found[9].lesson is None
    assert [len(found[n].attempts) for n in (0, 3, 9)] == [1, 4, 5]


def test_only_attempts_that_are_worse_by_more_than_the_gap_are_rejected_samples():
    """The gaps are 1, 5/6 and 2/3: a gap of 0.7 leaves two of them, one of 1 none."""
    assert threads([3], Rules(gap=0.7))[3].lesson.rejected == (0, 1)
    assert threads([3], Rules(gap=1.0))[3].outcome == Outcome.TOO_CLOSE


def test_what_cannot_be_judged_ends_its_thread_alone():
    found = threads([2, 3], verifier=Reaches(blind=frozenset({"t2"})))
    assert (found[2].outcome, found[3].outcome) == (Outcome.UNJUDGED, Outcome.LEARNT)


@pytest.mark.parametrize(
    ("rule", "threshold", "scores", "expected"),
    [
        ("all", 0.5, (0.5, 0.9), True),
        ("all", 0.5, (0.49, 1.0), False),
        ("mean", 0.95, (0.9, 1.0), True),
        ("mean", 0.96, (0.9, 1.0), False),
        ("share", 0.6, (0.5, 0.5, 0.0), True),
        ("share", 0.7, (0.5, 0.5, 0.0), False),
        ("all", 0.0, (), False),
    ],
)
def test_the_acceptance_rule_is_a_setting(rule, threshold, scores, expected):
    assert Acceptance(rule, threshold).accepts(scores) is expected


def test_the_score_of_an_answer_is_that_of_the_rule():
    scores = (0.2, 0.9, 1.0)
    assert [Acceptance(rule).score(scores) for rule in ("all", "mean", "share")] == pytest.approx([0.2, 0.7, 2 / 3])


def test_each_prompt_is_answered_before_it_is_learnt_from(tmp_path):
    """12 tasks in rounds of 4: the attempts of round r are given by version r, and a burst draws from rounds so far."""
    learner = Counter()
    loop = loop_in(tmp_path, learner, Pace(prompts=4, steps=2, rows_per_step=2))
    loop.run([task(n) for n in range(12)])
    groups = loop.pace.rounds([task(n) for n in range(12)])
    for number, group in enumerate(groups):
        asked = {version for name, _, version in learner.asked if name in {each.id for each in group}}
        assert asked == {number}
        so_far = {each.id for g in groups[: number + 1] for each in g}
        assert set(learner.trained[number]) <= so_far
    assert learner.version == 3
    assert all(len(rows) == 4 for rows in learner.trained)


def test_a_second_run_does_nothing_again(tmp_path):
    loop_in(tmp_path, Counter(), Pace(prompts=4, steps=2)).run([task(n) for n in range(12)])
    again = Counter()
    loop_in(tmp_path, again, Pace(prompts=4, steps=2)).run([task(n) for n in range(12)])
    assert (again.asked, again.trained) == ([], [])
    assert (again.skill, again.version) == (3, 3)


@pytest.mark.parametrize("burst", [1, 2])
def test_a_kill_in_the_middle_of_a_burst_loses_no_verified_pair_and_resumes(tmp_path, burst):
    """Killed in step 2 of a burst: the lessons that were verified before are all there afterwards, and the second run
    ends as one that was never killed."""
    command = [sys.executable, "-m", "tests.fakes_improvement"]
    with subprocess.Popen([*command, str(tmp_path / "a"), "0.2"], cwd=ROOT, text=True, stdout=subprocess.PIPE) as first:
        seen = 0
        while seen < burst:
            seen += first.stdout.readline() == "step 2\n"
        os.kill(first.pid, signal.SIGKILL)
    verified = [row for row in repaired(tmp_path / "a" / "threads.jsonl") if row["lesson"]]
    before = {row["key"] for row in repaired(tmp_path / "a" / "replay.jsonl")}
    assert len(before) == len(verified) > 0
    assert not (tmp_path / "a" / f"version-{burst}").exists()
    ended = [subprocess.run([*command, str(tmp_path / name)], cwd=ROOT, text=True, capture_output=True, check=True)
             for name in ("a", "b")]  # fmt: skip
    assert json.loads(ended[0].stdout) == json.loads(ended[1].stdout)
    assert before <= {row["key"] for row in repaired(tmp_path / "a" / "replay.jsonl")}


class Struck(Record):
    """A record whose process is killed where it would note the thread of a third lesson."""

    def keep(self, thread, seen):
        if thread.lesson and sum(row["lesson"] is not None for row in self.all_threads()) == 2:
            raise KeyboardInterrupt
        super().keep(thread, seen)


def test_a_kill_in_the_middle_of_a_round_leaves_its_lessons_to_a_run_with_other_settings(tmp_path):
    """With skill 0 the tasks 1 to 4 are solved by a later attempt: the third lesson is in the buffer before its thread
    is noted. A run in another folder finds the three there, and only the fourth is new to it."""
    tasks, lines = [task(n) for n in range(5)], []
    loop = loop_in(tmp_path, Counter(), Pace(prompts=5, steps=2))
    loop.record = Struck(tmp_path, NUMBER)
    with pytest.raises(KeyboardInterrupt):
        loop.run(tasks)
    assert len(Replay(tmp_path / "replay.jsonl", NUMBER)) == 3
    other = loop_in(tmp_path, Counter(), Pace(prompts=5, steps=2, seed=1))
    other.record, other.tell = Record(tmp_path / "other", NUMBER), lines.append
    other.bursts = Immediate(other.learner, other.record)
    other.run(tasks)
    assert "1 new lessons, 4 in the buffer" in lines[0]


class Gated(Counter):
    """Trains only when it is let through."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def train(self, rows, num_steps, seed):
        assert self.gate.wait(20)
        return super().train(rows, num_steps, seed)


def test_answers_go_on_with_the_old_weights_while_training_runs(tmp_path):
    """Bursts of 2 steps, at most 2 steps stale: round 1 is answered by version 0 while burst 0 waits at the gate, which
    opens when that round's first answer is given; before burst 1 begins the answering learner has version 1."""
    gate, answering = threading.Event(), Counter()
    loop = loop_in(tmp_path, answering, Pace(prompts=4, steps=2, max_staleness=2))
    lines = []
    loop.bursts = Background(Gated(gate), loop.record, lines.append)
    loop.learner = Opening(answering, gate)
    loop.run([task(n) for n in range(12)])
    rows = loop.record.all_threads()
    assert {row["version"] for row in rows if row["number"] == 1} == {0}
    assert {row["staleness"] for row in rows if row["number"] == 1} == {2}
    assert max(row["staleness"] for row in rows) <= 2
    assert answering.version == 3
    assert any("steps are under way" in line for line in lines)


class Opening:
    """A learner that opens a gate with the first answer of the second round."""

    def __init__(self, inner, gate):
        self.inner, self.gate = inner, gate

    @property
    def version(self):
        return self.inner.version

    def answer(self, task, trace, seed):
        if len({name for name, _, _ in self.inner.asked}) >= 4 and not trace:
            self.gate.set()
        return self.inner.answer(task, trace, seed)

    def load(self, folder):
        self.inner.load(folder)


def test_an_error_in_the_background_is_not_lost(tmp_path):
    class Broken(Counter):
        def train(self, rows, num_steps, seed):
            raise ValueError("no memory")

    loop = loop_in(tmp_path, Counter(), Pace(prompts=4, steps=2, max_staleness=2))
    loop.bursts = Background(Broken(), loop.record, lambda line: None)
    with pytest.raises(ValueError, match="no memory"):
        loop.run([task(n) for n in range(12)])
    assert len(Replay(tmp_path / "replay.jsonl", NUMBER)) > 0


class FailsOnce(Gated):
    """The first burst fails, when it is let through."""

    def train(self, rows, num_steps, seed):
        found = super().train(rows, num_steps, seed)
        if len(self.trained) == 1:
            raise ValueError("no memory")
        return found


def test_a_burst_behind_one_that_failed_trains_nothing(tmp_path):
    """The second is under way before anyone asks for the first: without version 1 there is no version 2."""
    gate, record = threading.Event(), Record(tmp_path, NUMBER)
    bursts = Background(FailsOnce(gate), record, lambda line: None)
    for number in (0, 1):
        bursts.submit(Job(number, number + 1, [], 2, 0))
    gate.set()
    with pytest.raises(RuntimeError, match="version-1 is missing"):
        bursts.waiting[1][1].result(20)
    with pytest.raises(ValueError, match="no memory"):
        bursts.settle(0)
    bursts.close()
    assert not record.version(2).exists()


def test_bursts_that_have_not_begun_never_do_once_the_loop_ends(tmp_path):
    gate, began, record = threading.Event(), threading.Event(), Record(tmp_path, NUMBER)

    class Begun(Gated):
        def train(self, rows, num_steps, seed):
            began.set()
            return super().train(rows, num_steps, seed)

    learner = Begun(gate)
    bursts = Background(learner, record, lambda line: None)
    for number in range(3):
        bursts.submit(Job(number, number + 1, [], 2, 0))
    assert began.wait(20)
    threading.Timer(0.3, gate.set).start()
    bursts.close()
    assert [record.version(number).exists() for number in (1, 2, 3)] == [True, False, False]


def test_versions_of_the_same_pace_are_the_same_and_seeds_differ():
    pace = Pace(prompts=4)
    tasks = [task(n) for n in range(12)]
    assert pace.rounds(tasks) == pace.rounds(tasks)
    assert pace.rounds(tasks) != replace(pace, seed=1).rounds(tasks)


@pytest.mark.parametrize(("repeats", "drawn", "steps"), [(3, 9, 5), (1, 3, 2), (100, 16, 8)])
def test_a_burst_is_short_while_the_buffer_holds_few_lessons(tmp_path, repeats, drawn, steps):
    """Of the tasks 0 to 3 three teach: 3 lessons, each at most `repeats` times, 2 a step, at most 8 steps."""
    learner = Counter()
    loop = loop_in(tmp_path, learner, Pace(prompts=4, steps=8, rows_per_step=2, repeats=repeats))
    loop.run([task(n) for n in range(4)])
    (rows,) = learner.trained
    assert len(rows) == drawn
    assert max(rows.count(name) for name in set(rows)) - min(rows.count(name) for name in set(rows)) <= 1
    assert loop.record.burst(1).steps == steps
