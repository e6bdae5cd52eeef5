"""The replay buffer: nothing verified is lost, nothing comes twice, bounds hold, what matters more is drawn more."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from domains.errors import UserError
from domains.example import Message, Preference
from experts.improvement.learner import TEXT, Lesson
from experts.improvement.promotion import verifiers_in
from experts.improvement.replay import LOOP, VOTE, Replay, Stamp, vote_lessons
from judges.samples import repaired
from judges.verifier import Task
from judges.verifiers.arithmetic import Verifier as Arithmetic
from judges.verifiers.panel import Verifier as Panel
from judges.verifiers.reading_level import Verifier as ReadingLevel


def lesson(number, priority=0.5, request=None, accepted=None):
    task = Task(f"t{number}", (Message("user", request or f"Question {number}?"),))
    return Lesson(task, accepted or f"Good {number}.", (f"Bad {number}.", "Worse."), (0.4, 0.5), priority)


def replay(tmp_path, **settings):
    return Replay(tmp_path / "replay.jsonl", TEXT, **settings)


def test_lessons_come_back_as_they_were_after_a_cut_last_line(tmp_path):
    replay(tmp_path).add([lesson(1), lesson(2)], Stamp(LOOP, ("safety", "reading_level")))
    with (tmp_path / "replay.jsonl").open("a") as handle:
        handle.write('{"key": "half')
    again = replay(tmp_path)
    assert sorted(each.task.id for each in again.sample(2, 0)) == ["t1", "t2"]
    assert next(each for each in again.sample(2, 0) if each.task.id == "t1") == lesson(1)
    again.add([lesson(3)], Stamp())
    taught = [row["verifiers"] for row in repaired(tmp_path / "replay.jsonl")]
    assert taught == [["safety", "reading_level"], ["safety", "reading_level"], []]


def test_the_same_lesson_is_added_once_whatever_the_order_of_its_rejected_answers(tmp_path):
    buffer = replay(tmp_path)
    first = lesson(1)
    turned = Lesson(Task("other id", first.task.request), first.accepted, first.rejected[::-1], (0.5, 0.4), 0.9)
    assert buffer.add([first, first, turned], Stamp()) == 1
    assert replay(tmp_path).add([turned], Stamp()) == 0


def test_two_open_buffers_do_not_write_into_each_other(tmp_path):
    first, second = replay(tmp_path), replay(tmp_path)
    first.add([lesson(1)], Stamp())
    second.add([lesson(2)], Stamp())
    assert len(replay(tmp_path)) == 2


def test_the_least_important_leave_the_oldest_of_them_first_and_do_not_return(tmp_path):
    """Capacity 2: of 0.5, 0.9, 0.5, 0.7 the two of 0.5 leave."""
    buffer = replay(tmp_path, capacity=2)
    buffer.add([lesson(1, 0.5), lesson(2, 0.9), lesson(3, 0.5), lesson(4, 0.7)], Stamp())
    assert {row["lesson"]["task"]["id"] for row in buffer.rows.values()} == {"t2", "t4"}
    assert replay(tmp_path, capacity=2).add([lesson(1, 0.5)], Stamp()) == 0
    assert len(replay(tmp_path, capacity=2)) == 2


def test_one_request_cannot_fill_the_buffer(tmp_path):
    buffer = replay(tmp_path, per_request=2)
    buffer.add([lesson(n, 0.1 * n, request="The same?", accepted=f"Answer {n}.") for n in range(1, 6)], Stamp())
    assert {row["lesson"]["task"]["id"] for row in buffer.rows.values()} == {"t4", "t5"}


def test_the_file_stays_bounded(tmp_path):
    """Capacity 2 and 60 lessons: without compaction 58 x 2 + 2 lines."""
    for number in range(60):
        replay(tmp_path, capacity=2).add([lesson(number, 0.01 * number + 0.01)], Stamp())
    assert len((tmp_path / "replay.jsonl").read_text().splitlines()) < 30
    assert {row["lesson"]["task"]["id"] for row in replay(tmp_path, capacity=2).rows.values()} == {"t58", "t59"}


def test_draws_follow_priority_to_the_power_of_alpha(tmp_path):
    """Priorities 1 and 0.1 with alpha 1: the first of two draws is the important one in 10 of 11 cases; with alpha 0
    in half of them. Of 400 draws the shares lie within 0.07 of that but for 1 in 10^4 cases."""
    for alpha, expected in ((1.0, 10 / 11), (0.0, 0.5)):
        buffer = replay(tmp_path / str(alpha), alpha=alpha)
        buffer.add([lesson(1, 1.0), lesson(2, 0.1)], Stamp())
        first = Counter(buffer.sample(1, seed)[0].task.id for seed in range(400))
        assert first["t1"] / 400 == pytest.approx(expected, abs=0.07)


def test_all_come_once_before_any_comes_again_and_a_seed_draws_the_same(tmp_path):
    buffer = replay(tmp_path)
    assert buffer.sample(4, 0) == []
    buffer.add([lesson(n) for n in range(3)], Stamp())
    drawn = [each.task.id for each in buffer.sample(7, 1)]
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == ["t0", "t1", "t2"]
    assert drawn == [each.task.id for each in buffer.sample(7, 1)]


def test_votes_come_before_what_the_loop_finds(tmp_path):
    rows = [Preference("vote-1", (Message("user", "Why?"),), "Because.", ("No.", "So."))]
    buffer = replay(tmp_path, capacity=1)
    buffer.add([lesson(1, 1.0)], Stamp(LOOP))
    buffer.add(vote_lessons(rows), Stamp(VOTE))
    assert buffer.counts() == {"vote": 1}
    assert buffer.sample(1, 0)[0].rejected == ("No.", "So.")


def test_a_lesson_on_a_held_out_request_is_refused_wherever_it_comes_from(tmp_path):
    buffer = replay(tmp_path, held_out=frozenset({"Question 2?"}))
    with pytest.raises(UserError, match="held out"):
        buffer.add([lesson(1), lesson(2)], Stamp(VOTE))
    assert json.loads((tmp_path / "replay.jsonl").read_text())["lesson"]["task"]["id"] == "t1"


def test_a_lesson_whose_request_is_held_out_later_is_never_drawn(tmp_path):
    """The file outlives runs: between two of them a prompt may become one of dev or test."""
    replay(tmp_path).add([lesson(1), lesson(2)], Stamp())
    buffer = replay(tmp_path, held_out=frozenset({"Question 2?"}))
    assert len(buffer) == 1
    assert {each.task.id for seed in range(20) for each in buffer.sample(4, seed)} == {"t1"}
    assert len(replay(tmp_path)) == 2


def test_votes_are_drawn_first_for_half_of_the_places(tmp_path):
    buffer = replay(tmp_path)
    rows = [Preference(f"vote-{n}", (Message("user", f"Why {n}?"),), "Because.", ("No.",)) for n in range(3)]
    buffer.add([lesson(n) for n in range(40)], Stamp(LOOP))
    buffer.add(vote_lessons(rows), Stamp(VOTE))
    for seed in range(20):
        few, many = ([each.task.id for each in buffer.sample(count, seed)] for count in (4, 8))
        assert all(name.startswith("vote") for name in few[:2])
        assert {"vote-0", "vote-1", "vote-2"} <= set(many)
        assert len(set(many)) == 8


def test_votes_of_earlier_runs_are_not_drawn_by_a_run_without_votes(tmp_path):
    rows = [Preference("vote-1", (Message("user", "Why?"),), "Because.", ("No.",))]
    replay(tmp_path).add(vote_lessons(rows), Stamp(VOTE))
    assert replay(tmp_path, votes=False).sample(4, 0) == []
    buffer = replay(tmp_path, votes=False)
    buffer.add([lesson(1)], Stamp(LOOP))
    assert [each.task.id for each in buffer.sample(3, 0)] == ["t1"] * 3


def test_what_a_judge_of_this_run_has_taught_is_not_drawn(tmp_path):
    """A judge may have another name as verifier. Of a panel one member is enough; files from before `verifiers` was
    written have a `version` in its place, and are drawn."""
    panel = Panel((Arithmetic(), ReadingLevel()))
    replay(tmp_path).add([lesson(1)], Stamp.of(Arithmetic()))
    replay(tmp_path).add([lesson(2)], Stamp.of(panel))
    path = tmp_path / "replay.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["verifiers"] for row in rows] == [["arithmetic"], ["arithmetic", "reading_level"]]
    older = {name: value for name, value in rows[0].items() if name != "verifiers"} | {"key": "older", "version": 3}
    older["lesson"] = rows[0]["lesson"] | {"task": rows[0]["lesson"]["task"] | {"id": "t0"}}
    path.write_text(path.read_text() + json.dumps(older) + "\n")

    def names(*judges):
        buffer = replay(tmp_path, barred=verifiers_in(judges))
        return {each.task.id for each in buffer.sample(6, 0)}

    assert names("plain_safe") == {"t0", "t1", "t2"}
    assert names("readability") == {"t0", "t1"}
    assert names("plain_safe", "arithmetic") == {"t0"}
