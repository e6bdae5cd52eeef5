"""The text learner over the fake foundation: what it sees, what it draws, and that bursts go on from each other."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from transformers import TrainerCallback

from domains.example import Message
from experts.alignment import Alignment, train_preferences
from experts.batch import collate, conversation_segment, pack
from experts.checkpoint import WEIGHTS, Checkpoint, load, load_tokenizer, read_adapter
from experts.encoding import completion_ids, prompt_ids
from experts.improvement.learner import Attempt, Lesson, Turn
from experts.improvement.learners.federated import FederatedLearner, owner
from experts.improvement.learners.text import GoOn, Manner, Study, TextLearner, as_preference, put
from experts.logprobs import score
from experts.measure import Bench
from experts.objectives.s_dpo import Objective
from experts.recipe import Evaluation, Training
from experts.train import prepare
from judges.verifier import Critique, Task

TRAINING = Training(rank=2, learning_rate=5e-2, row_tokens=128, checkpoint_steps=1, accumulation=1, epochs=1.0)


def task(number):
    return Task(f"t{number}", (Message("user", f"Say {number}."),))


def lessons(count=4):
    return [Lesson(task(n), f"Yes, {n}.", ("No.", "Perhaps not."), (0.9, 0.5), 0.9) for n in range(count)]


@pytest.fixture
def learner(base, tmp_path):
    bench = Bench.open(tmp_path / "bench", Evaluation())
    manner = Manner(max_new_tokens=8, context_tokens=500)
    study = Study("s_dpo", {"beta": 0.5}, TRAINING)
    return TextLearner(Checkpoint(base), bench, tmp_path / "work", manner, study)


def turn(number, *answers):
    return Turn(task(number), tuple(Attempt(text, Critique((0.0,), f"- Point {i}."), 0.0) for i, text in
                                    enumerate(answers)))  # fmt: skip


def test_a_retry_sees_its_trace_the_latest_first_as_far_as_it_fits(learner):
    seen = learner.prompt(turn(1, "One.", "Two."))
    assert [message.content for message in seen[:2]] == ["Say 1.", "One."]
    assert "- Point 0." in seen[2].content
    assert seen[3].content == "Two."
    short = learner.prompt(turn(1, "One. " * 60, "Two."))
    assert [message.content for message in short][:2] == ["Say 1.", "Two."]
    learner.manner = Manner(feedback=False)
    assert learner.prompt(turn(1, "One.")) == task(1).request


def test_the_first_attempt_is_greedy_and_a_retry_is_drawn_by_the_seed(learner):
    first, other = [turn(n) for n in range(3)], [turn(n, "Bad.") for n in range(3)]
    assert learner.answer_all(first, 1) == learner.answer_all(first, 2)
    assert learner.answer_all(other, 1) == learner.answer_all(other, 1)
    assert learner.answer_all(other, 1) != learner.answer_all(other, 2)
    mixed = learner.answer_all([first[0], other[1], first[2]], 1)
    assert [mixed[0], mixed[2]] == [learner.answer(task(0), (), 9), learner.answer(task(2), (), 9)]


def log_of(learner, version):
    lines = (learner.work / f"burst-{version}" / "train_log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_burst_has_the_frozen_start_as_reference_and_goes_on_from_the_one_before(learner):
    """At policy = reference S-DPO is ln(1 + k) = ln 3 with two rejected answers: so it is in the first step of the
    first burst, and no longer in that of the second, which begins where the first ended."""
    learner.train(lessons(), 2, seed=0)
    learner.train(lessons(), 2, seed=0)
    first, second = log_of(learner, 1)[0]["loss"], log_of(learner, 2)[0]["loss"]
    assert first == pytest.approx(math.log(3), abs=1e-3)
    assert second < math.log(3) - 0.05
    assert learner.version == 2


def test_the_model_that_trains_is_the_model_that_answers(learner, base):
    """The LoRA put into the trainer gives the log-probabilities of the joined adapter."""
    learner.train(lessons(), 2, seed=0)
    ready = prepare(Checkpoint(base), TRAINING, seed=5)
    put(ready.model, learner.own)
    tokenizer = load_tokenizer(base)
    segment = conversation_segment(prompt_ids(tokenizer, task(1).request), completion_ids(tokenizer, "Yes, 1."))
    batch = collate(pack([segment], 128), tokenizer.pad_token_id)
    joined = load(learner.checkpoint, torch.float32, "sdpa")
    with torch.no_grad():
        own, other = (score(model.eval().float(), batch).logprobs_S for model in (ready.model, joined))
    torch.testing.assert_close(own, other, rtol=1e-2, atol=5e-2)


class Stop(TrainerCallback):
    """Ends the process' work after a step, as a kill would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_burst_that_was_cut_ends_as_one_that_was_not(learner, base, tmp_path):
    """Cut in step 3 of 4, after the checkpoint of step 2, and run again: the same weights."""
    learner.train(lessons(), 2, seed=1)
    rows = [as_preference(lesson, place) for place, lesson in enumerate(lessons())]

    def burst(folder, *callbacks):
        return train_preferences(
            Checkpoint(base), rows, Alignment(Objective(beta=0.5)), TRAINING, 3, folder, [GoOn(learner.own), *callbacks]
        )

    with pytest.raises(KeyboardInterrupt):
        burst(tmp_path / "cut", Stop(3))
    assert not (tmp_path / "cut" / WEIGHTS).exists()
    burst(tmp_path / "cut")
    burst(tmp_path / "whole")
    cut, whole = (read_adapter(tmp_path / name) for name in ("cut", "whole"))
    for name, update in whole.items():
        torch.testing.assert_close(cut[name].delta(), update.delta())


def test_saved_and_loaded_it_answers_the_same(learner, tmp_path):
    learner.train(lessons(), 2, seed=0)
    learner.save(tmp_path)
    answers = learner.answer_all([turn(n) for n in range(4)], 0)
    other = TextLearner(learner.start, learner.bench, tmp_path / "other", learner.manner, learner.study)
    other.load(tmp_path)
    assert other.version == 1
    assert other.answer_all([turn(n) for n in range(4)], 0) == answers


def test_one_worker_of_two_with_all_lessons_is_alone_in_the_average(learner):
    """Lessons of one owner only: the average of one adapter is that adapter."""
    mine = [lesson for lesson in lessons(12) if owner(lesson.task.id, 2) == 0][:2]
    both = FederatedLearner.of(learner, 2)
    found = both.train(mine, 2, seed=0)
    assert found.metrics["workers"] == 1
    assert found.metrics["lost_by_rank"] == pytest.approx(0, abs=1e-4)
    alone = read_adapter(both.workers[0].work / "burst-1")
    for name, update in read_adapter(both.workers[1].own).items():
        torch.testing.assert_close(update.delta(), alone[name].delta(), rtol=1e-3, atol=1e-4)


def test_the_rank_does_not_grow_with_every_promotion(learner):
    """Three runs, each from what the one before learnt: of rank 2, 4 and 6 without a bound, here 2. What the cuts lose
    is said (its size: test_averaging.py)."""
    learner.study = replace(learner.study, max_rank=2)
    ranks, lost = [], []
    for number in range(3):
        run = replace(learner, work=learner.work / str(number))
        run.train(lessons(), 2, number)
        ranks.append(max(update.down.shape[0] for update in read_adapter(run.checkpoint.adapter).values()))
        lost.append(run.lost_by_rank)
        learner.start = run.checkpoint
    assert ranks == [2, 2, 2]
    assert lost[0] == 0
    assert all(0 <= share < 0.5 for share in lost)


def test_a_burst_counts_the_tokens_that_it_trained(learner):
    """Every row is trained once: its prompt once, and each candidate, which has the prompt's last token at its head."""
    rows = lessons()
    burst = learner.train(rows, 2, 1)
    expected = sum(learner.num_tokens(as_preference(row, 0)) for row in rows)
    assert burst.num_trained == pytest.approx(expected, rel=0.1)
