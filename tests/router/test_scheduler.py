"""The scheduler over a scripted batch: order, limits, cancellation, deadlines, failures, shutdown. No model."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest
import torch

from router.assistant import Answer, Busy, Closing, Sampling, TimedOut
from router.scheduler import Limits, Row, Scheduler
from router.slots import Place
from router.writing import Writer


@dataclass
class ScriptedBatch:
    """Each answer says "a" for ever, or until its prompt, the number of tokens, is over. While `gate` is held no step
    is made. `steps` keeps which prompts were in each step; a prompt of `unwelcome` tokens cannot join."""

    size: int = 2
    places: list[Place] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)
    gate: threading.Lock = field(default_factory=threading.Lock)
    failures: list[Exception] = field(default_factory=list)
    seconds: float = 0.0
    unwelcome: int = -1

    def has_room(self, width):
        return len(self.places) < self.size

    def join(self, ids, expert, width):
        if ids[0] == self.unwelcome:
            raise MemoryError("no place")
        place = Place(ids, expert, width, len(self.places))
        self.places.append(place)
        self.joined.append(ids[0])
        return place

    def leave(self, place):
        self.places.remove(place)

    def step(self):
        with self.gate:
            time.sleep(self.seconds)
            if self.failures:
                raise self.failures.pop()
            self.steps.append([place.ids[0] for place in self.places])
            found = []
            for place in self.places:
                place.length += 1
                logits = torch.zeros(258)
                logits[257 if place.length > place.ids[0] else 64] = 1.0
                found.append((place, logits))
            return found


@dataclass
class Bench:
    scheduler: Scheduler
    batch: ScriptedBatch
    tokenizer: object

    def ask(self, length, client="", **sampling) -> Answer:
        answer = Answer(1)
        writer = Writer(self.tokenizer, Sampling(max_tokens=10**7, **sampling))
        self.scheduler.submit([Row([length], "general", writer, answer)], client)
        return answer


@pytest.fixture
def bench(tokenizer):
    made = []

    def make(limits=None, **batch):
        scripted = ScriptedBatch(**batch)
        made.append(Bench(Scheduler(scripted, limits or Limits()), scripted, tokenizer))
        return made[-1]

    yield make
    for each in made:
        each.scheduler.close(0)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def length_of(answer):
    return len("".join(piece.text for piece in answer))


def test_answers_run_together_and_a_place_that_becomes_free_is_taken(bench):
    """Two places: 3 and 9 begin; when 3 is done, 5 joins 9 in the middle of it."""
    run = bench(size=2)
    with run.batch.gate:
        answers = [run.ask(length) for length in (3, 9, 5)]
    assert [length_of(answer) for answer in answers] == [3, 9, 5]
    assert [9, 5] in run.batch.steps
    assert run.scheduler.counts.finished == 3
    assert run.scheduler.counts.completion_tokens == 4 + 10 + 6


def test_one_that_cannot_join_is_told_and_the_others_go_on(bench):
    run = bench(size=2, unwelcome=13)
    with run.batch.gate:
        answers = [run.ask(length) for length in (3, 13, 5)]
    with pytest.raises(MemoryError):
        list(answers[1])
    assert [length_of(answers[0]), length_of(answers[2])] == [3, 5]
    assert (run.scheduler.counts.failed, run.scheduler.counts.finished) == (1, 2)


def test_clients_take_turns(bench):
    """One place, held by a blocker; four of a wait before one of b, which is served second."""
    run = bench(size=1)
    with run.batch.gate:
        blocker = run.ask(1, "z")
        wait_for(lambda: run.batch.joined == [1])
        answers = [run.ask(length, "a") for length in (11, 12, 13, 14)] + [run.ask(21, "b")]
    assert [length_of(a) for a in [blocker, *answers]] == [1, 11, 12, 13, 14, 21]
    assert run.batch.joined == [1, 11, 21, 12, 13, 14]


def test_a_full_queue_refuses_and_says_when_to_come_back(bench):
    run = bench(Limits(max_waiting=3, max_waiting_per_client=2), size=1)
    with run.batch.gate:
        running = run.ask(1)
        wait_for(lambda: run.batch.joined == [1])
        waiting = [run.ask(1, "a"), run.ask(1, "a")]
        with pytest.raises(Busy, match="2 of your own") as caught:
            run.ask(1, "a")
        assert 1 <= caught.value.retry_after_seconds <= 60
        waiting.append(run.ask(1, "b"))
        with pytest.raises(Busy, match="3 answers are waiting"):
            run.ask(1, "c")
    assert [length_of(a) for a in [running, *waiting]] == [1, 1, 1, 1]
    assert run.scheduler.counts.refused == 2
    assert length_of(run.ask(2, "a")) == 2


def test_rows_of_one_request_are_accepted_together_or_not_at_all(bench, tokenizer):
    run = bench(Limits(max_waiting=1), size=1)
    answer = Answer(2)
    rows = [Row([1], "general", Writer(tokenizer, Sampling(), choice), answer) for choice in range(2)]
    with pytest.raises(Busy):
        run.scheduler.submit(rows)
    assert len(run.scheduler.waiting) == 0


def test_several_answers_come_through_one_reader(bench, tokenizer):
    run = bench(size=2)
    answer = Answer(2)
    rows = [Row([length], "general", Writer(tokenizer, Sampling(), i), answer) for i, length in enumerate((2, 4))]
    run.scheduler.submit(rows)
    pieces = list(answer)
    assert ["".join(p.text for p in pieces if p.choice == i) for i in range(2)] == ["aa", "aaaa"]
    assert [p.choice for p in pieces if p.finish_reason] == [0, 1]


def test_a_reader_that_leaves_frees_its_place_and_the_queue(bench):
    """Two endless answers run, one waits; all three readers leave; then the batch is empty and another is served."""
    run = bench(size=2, seconds=0.001)
    answers = [run.ask(10**6) for _ in range(3)]
    next(answers[0])
    for answer in answers:
        answer.close()
    wait_for(lambda: not run.batch.places and not run.scheduler.waiting)
    assert run.scheduler.counts.cancelled == 3
    assert list(answers[2]) == []
    assert length_of(run.ask(2)) == 2


def test_an_answer_that_takes_too_long_is_told_and_its_place_is_free(bench):
    run = bench(Limits(seconds=1.0), size=1, seconds=0.005)
    endless, behind = run.ask(10**6), run.ask(10**6)
    for answer in (endless, behind):
        with pytest.raises(TimedOut, match="within 1"):
            list(answer)
    assert run.scheduler.counts.timed_out == 2
    wait_for(lambda: not run.batch.places)
    assert length_of(run.ask(2)) == 2


def test_a_failed_step_is_told_to_all_in_it_and_the_next_requests_are_served(bench):
    run = bench(size=2)
    answers = [run.ask(10**6), run.ask(10**6)]
    wait_for(lambda: len(run.batch.places) == 2)
    run.batch.failures.append(RuntimeError("broken step"))
    for answer in answers:
        with pytest.raises(RuntimeError, match="broken step"):
            list(answer)
    assert run.batch.places == []
    assert length_of(run.ask(3)) == 3


def test_an_error_of_one_answer_is_its_own(bench):
    """Asking for 1,000 alternatives of 258 tokens fails when it is computed; the other answer is whole."""
    run = bench(size=2)
    with run.batch.gate:
        broken, whole = run.ask(4, logprobs=1000), run.ask(4)
    with pytest.raises(RuntimeError):
        list(broken)
    assert length_of(whole) == 4


def test_closing_finishes_what_was_accepted(bench):
    run = bench(size=1, seconds=0.001)
    answers = [run.ask(30), run.ask(30)]
    assert run.scheduler.close(20) == 0
    assert [length_of(answer) for answer in answers] == [30, 30]
    with pytest.raises(Closing):
        run.ask(1)
    run.scheduler.thread.join(5)
    assert not run.scheduler.thread.is_alive()


def test_closing_tells_what_it_could_not_finish(bench):
    """One is running, one waits; both readers learn it, and what was written before is theirs."""
    run = bench(size=1, seconds=0.001)
    answers = [run.ask(10**6), run.ask(10**6)]
    first = next(answers[0])
    assert first.text == "a"
    assert run.scheduler.close(0.05) == 2
    for answer in answers:
        with pytest.raises(Closing, match="shut down before"):
            list(answer)


def test_closing_an_idle_scheduler_is_quick(bench):
    run = bench()
    started = time.monotonic()
    assert run.scheduler.close(30) == 0
    assert time.monotonic() - started < 5


def test_an_answer_is_read_from_several_threads(bench):
    """As a web server does: each piece in another thread."""
    run = bench()
    answer, pieces = run.ask(5), []
    for _ in range(8):
        thread = threading.Thread(target=lambda: pieces.extend([p for p in [next(answer, None)] if p]))
        thread.start()
        thread.join(10)
    assert "".join(piece.text for piece in pieces) == "aaaaa"


def test_a_slow_reader_holds_up_nobody(bench):
    """Nobody reads the first answer; the second is finished, and then the first is there as a whole."""
    run = bench(size=2)
    unread, read = run.ask(20), run.ask(40)
    assert length_of(read) == 40
    assert length_of(unread) == 20


LEAVING = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from router.assistant import Answer, Sampling
from router.scheduler import Row, Scheduler
from tests.router.test_scheduler import ScriptedBatch

class Slow(ScriptedBatch):
    def step(self):
        Path(sys.argv[1]).write_text("begun")
        time.sleep(1)
        Path(sys.argv[1]).write_text("ended")
        return []

Scheduler(Slow()).submit([Row([3], "general", SimpleNamespace(sampling=Sampling()), Answer(1))])
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
"""


def test_a_process_that_ends_in_the_middle_of_a_step_waits_for_it(tmp_path):
    """The interpreter would abort a thread that it finds inside a step, and the whole process with it."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, tmp_path / "step"], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "step").read_text() == "ended"
