"""The diffusion learner: its loss against hand-derived values, what it keeps, and the loop that the text expert has."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid

from domains.errors import UserError
from experts.improvement.bursts import Immediate
from experts.improvement.learner import Attempt, Lesson, Turn, lesson_as_dict, lesson_of
from experts.improvement.learners.diffusion import (
    LORA,
    PICTURE,
    DiffusionLearner,
    Drawing,
    Schooling,
    tensor_of,
    words_BLD,
)
from experts.improvement.loop import Loop, Pace
from experts.improvement.record import Record
from experts.improvement.replay import Replay
from experts.improvement.thread import Acceptance, Rules
from judges.pictures import COLOURS, Picture
from judges.verifier import Condition, Critique, Task
from judges.verifiers.shapes import Verifier
from tests.fakes_diffusion import LEVELS, picture, pretrain, task, tasks, tiny_model

pytest.importorskip("diffusers")
ROOT = Path(__file__).parents[3]


def learner(
    objective: str = "s_dpo", beta: float = 0.02, draws: int = 2, prediction: str = "epsilon"
) -> DiffusionLearner:
    unet, scheduler = tiny_model(prediction)
    schooling = Schooling(objective, {"beta": beta}, draws=draws, learning_rate=1e-3)
    return DiffusionLearner.over(unet, scheduler, drawing=Drawing(steps=3, batch_size=5), schooling=schooling)


def lesson(num_rejected: int = 1, shape: str = "circle") -> Lesson:
    rejected = tuple(picture(shape, colour) for colour in ("red", "green", "yellow")[:num_rejected])
    gaps = (0.5,) * num_rejected
    return Lesson(task(shape, "blue"), picture(shape, "blue"), rejected, gaps, 1.0)


def moved(made: DiffusionLearner) -> DiffusionLearner:
    """The learner with LoRA weights that are not zero."""
    generator = torch.Generator().manual_seed(3)
    for weight in made.unet.parameters():
        if weight.requires_grad:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.05
    return made


@pytest.mark.parametrize(("num_rejected", "expected"), [(1, log(2)), (2, log(3)), (3, log(4))])
def test_the_loss_at_zero_margin(num_rejected, expected):
    """A new LoRA changes nothing, so that all log-ratios are 0: -log sigma(0) = ln 2, and ln(1 + k) against k."""
    made = learner()
    batch = made.batch([lesson(num_rejected)], torch.Generator().manual_seed(0))
    assert torch.equal(batch.policy_BC, batch.reference_BC)
    assert made.objective(batch).tolist() == pytest.approx([expected] * 2)


def test_rows_of_different_width_share_a_batch():
    made = learner()
    loss_B = made.objective(made.batch([lesson(1), lesson(3)], torch.Generator().manual_seed(0)))
    assert loss_B.tolist() == pytest.approx([log(2)] * 2 + [log(4)] * 2)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_equation_14_of_the_paper(prediction):
    """-log sigma(-beta T/2 ((e_w - r_w) - (e_l - r_l))), e and r the squared errors of the policy and of the frozen
    start on the same noise at the same level, computed here one picture at a time. A model of velocities is held to
    v = sqrt(a) noise - sqrt(1 - a) x (Salimans and Ho 2022, arXiv 2202.00512)."""
    made, row = moved(learner("dpo", 0.03, 3, prediction)), lesson()
    found = made.objective(made.batch([row], torch.Generator().manual_seed(5))).detach()
    generator = torch.Generator().manual_seed(5)
    levels, words = torch.randint(LEVELS, (3,), generator=generator), made.read([row.task])
    noises = torch.randn(3, 3, 8, 8, generator=generator)
    for place in range(3):
        errors = []
        for shown in (row.accepted, row.rejected[0]):
            noised = made.scheduler.add_noise(tensor_of(shown)[None], noises[place][None], levels[place][None])
            with torch.no_grad():
                policy = made.unet(noised, levels[place], words, class_labels=words.sum(1)).sample
                with made.unet.disable_adapter():
                    start = made.unet(noised, levels[place], words, class_labels=words.sum(1)).sample
            kept = made.scheduler.alphas_cumprod[levels[place]]
            target = noises[place]
            if prediction == "v_prediction":
                target = kept.sqrt() * noises[place] - (1 - kept).sqrt() * tensor_of(shown)
            errors += [(target - policy).square().sum() - (target - start).square().sum()]
        expected = -logsigmoid(-0.03 * LEVELS / 2 * (errors[0] - errors[1]))
        assert float(found[place]) == pytest.approx(float(expected), rel=1e-3)
        assert float(found[place]) != pytest.approx(log(2), abs=1e-3)


def test_a_burst_widens_the_margin_and_leaves_the_start_alone():
    made = learner(draws=8)
    frozen = {n: w.clone() for n, w in made.unet.named_parameters() if not w.requires_grad}
    burst = made.train([lesson()] * 6, 6, seed=1)
    batch = made.batch([lesson()] * 4, torch.Generator().manual_seed(9))
    assert float(batch.margins_BK.detach().mean()) > 0
    assert (burst.steps, burst.num_trained, made.version) == (6, 6 * 8 * 2, 1)
    assert all(torch.equal(frozen[n], w) for n, w in made.unet.named_parameters() if n in frozen)


def test_the_same_burst_gives_the_same_weights():
    first, second = learner(), learner()
    rows = [lesson(1), lesson(2, "square"), lesson(3, "triangle")]
    assert first.train(rows, 2, seed=4).loss == second.train(rows, 2, seed=4).loss
    assert first.answer(rows[0].task, (), 0) == second.answer(rows[0].task, (), 0)
    assert learner().train(rows, 5, seed=4).steps == 3


def test_a_loss_that_is_no_number_stops_before_the_weights_change():
    made = learner()
    next(w for w in made.unet.parameters() if not w.requires_grad).data.fill_(float("nan"))
    before = [w.clone() for w in made.unet.parameters() if w.requires_grad]
    with pytest.raises(FloatingPointError):
        made.train([lesson()], 1, seed=0)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (w for w in made.unet.parameters() if w.requires_grad), strict=True)
    )
    assert made.version == 0


def test_pictures_depend_on_seed_task_and_attempt_but_not_on_their_company():
    made, wanted = moved(learner()), task("circle", "red")
    attempt = Attempt(picture("circle", "blue"), Critique((0.0,), ""), 0.0)
    alone = made.answer(wanted, (), 1)
    assert made.answer(wanted, (), 1) == alone
    assert made.answer(wanted, (), 2) != alone
    assert made.answer(wanted, (attempt,), 1) != alone
    among = made.answer_all([Turn(each) for each in tasks(1)[:6]] + [Turn(wanted)], 1)
    assert abs(among[6].pixels - alone.pixels).max() <= 1 / 255 + 1e-9


def test_save_and_load(tmp_path):
    made, other = moved(learner()), learner()
    made.version = 7
    made.save(tmp_path)
    other.load(tmp_path)
    assert other.version == 7
    assert other.answer(task("circle", "red"), (), 1) == made.answer(task("circle", "red"), (), 1)
    save_file({"other.lora_A.weight": torch.zeros(2, 2), **load_file(tmp_path / LORA)}, tmp_path / LORA)
    with pytest.raises(UserError, match="another model"):
        other.load(tmp_path)


def test_a_model_in_the_layout_of_diffusers(tmp_path):
    unet, scheduler = tiny_model("epsilon")
    unet.save_pretrained(tmp_path / "unet")
    with pytest.raises(UserError, match="no folder scheduler"):
        DiffusionLearner.open(tmp_path)
    scheduler.save_pretrained(tmp_path / "scheduler")
    drawing = Drawing(steps=3, batch_size=5)
    opened = DiffusionLearner.open(tmp_path, drawing=drawing)
    assert opened.answer(task("circle", "red"), (), 1) == learner().answer(task("circle", "red"), (), 1)


def test_an_objective_that_reads_rewards_is_refused():
    with pytest.raises(UserError, match="log-ratios"):
        _ = replace(learner(), schooling=Schooling("ddo_rm", {})).objective


def test_without_the_extra_everything_imports_and_the_message_names_it(monkeypatch, tmp_path):
    """The library is imported nowhere at the top of a file; `None` in sys.modules is how Python marks an absent one."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "experts").rglob("*.py"))
    assert re.findall(r"^(?:import|from) diffusers", code, re.MULTILINE) == []
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=re.escape("pip install 'expertsmith[diffusers]'")):
        DiffusionLearner.open(tmp_path)


def test_words_are_vectors_of_one_length_that_their_letters_decide():
    found = words_BLD(["Draw a RED circle!", "a red circle", ""], 3, 16)
    assert torch.equal(found[0], found[1])
    assert found.norm(dim=-1).tolist() == [pytest.approx([4.0] * 3)] * 2 + [[0.0] * 3]


def test_lessons_with_pictures_go_through_json():
    row = lesson(2)
    assert lesson_of(lesson_as_dict(row, PICTURE), PICTURE) == row


def loop_in(folder: Path, made: DiffusionLearner, pace: Pace, verifier: Any = None) -> Loop:
    """The loop that the text expert runs in, with pictures."""
    record, replay = Record(folder, PICTURE), Replay(folder / "replay.jsonl", PICTURE)
    rules = Rules(max_attempts=4, acceptance=Acceptance("all", 0.5), gap=0.05)
    return Loop(made, verifier or Verifier(), replay, record, Immediate(made, record), rules, pace, lambda line: None)


def test_the_loop_runs_with_it_and_discards_what_an_untrained_model_draws(tmp_path):
    made = learner()
    loop_in(tmp_path, made, Pace(prompts=3, steps=2)).run(tasks(1)[:6])
    assert made.version == 0
    assert len((tmp_path / "threads.jsonl").read_text().splitlines()) == 6


@dataclass(frozen=True)
class Reddish:
    """One condition: more red than green on the whole, 1 or 0 from a difference of 0.05 on."""

    name: str = "reddish"

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        return (Condition("red", "Is it more red than green?"),)

    def judge(self, task: Task, conditions: Sequence[Condition], answer: Picture) -> Critique:
        red, green, _ = answer.pixels.mean((0, 1))
        return Critique((min(1.0, max(0.0, 0.5 + 10 * float(red - green))),), "- Is it more red than green? No.")


def test_the_loop_learns_versions_and_goes_on_as_with_text(tmp_path):
    """What an untrained model draws is red or green by chance, so that threads end in lessons. A second loop over the
    same folder finds everything done; a third learner takes up the last version from disk."""
    made = learner()
    pace = Pace(prompts=6, steps=3, rows_per_step=2)
    loop = loop_in(tmp_path, made, pace, Reddish())
    loop.run(tasks(1))
    kept = Replay(tmp_path / "replay.jsonl", PICTURE).sample(4, 0)
    assert kept
    assert all(isinstance(row.accepted, Picture) and row.rejected for row in kept)
    assert made.version == 2
    again = learner()
    other = loop_in(tmp_path, again, pace, Reddish())
    other.run(tasks(1))
    assert again.version == 2
    wanted = task("circle", "red")
    assert again.answer(wanted, (), 5) == made.answer(wanted, (), 5) != learner().answer(wanted, (), 5)


def first_pass_rate(made: DiffusionLearner, copies: int) -> float:
    """The share of first pictures that meet all conditions, on noise that no burst has seen."""
    verifier, wanted = Verifier(), tasks(copies)
    pictures = made.answer_all([Turn(each) for each in wanted], 10_000)
    judged = [verifier.judge(t, verifier.conditions(t), p) for t, p in zip(wanted, pictures, strict=True)]
    return sum(min(critique.scores) >= 0.5 for critique in judged) / len(judged)


def mean_margin(made: DiffusionLearner) -> float:
    """By how much (nats) the right colour gained on the wrong ones against the start, over clean figures that the
    model did not draw."""
    rows = [
        Lesson(t, picture(t.facts["shape"], t.facts["colour"]), wrong_colours(t), (0.5,) * 3, 1.0) for t in tasks(1)
    ]
    return float(made.batch(rows, torch.Generator().manual_seed(3)).margins_BK.detach().mean())


def wrong_colours(wanted: Task) -> tuple[Picture, ...]:
    """The figure of a task in every other colour."""
    return tuple(picture(wanted.facts["shape"], colour) for colour in COLOURS if colour != wanted.facts["colour"])


@pytest.mark.slow
def test_a_trained_model_draws_the_wanted_colour_more_often(tmp_path):
    """The start was taught with wrong colours in 40% of its pictures, so that about half of them pass. After 144
    prompts and six bursts the right colour has gained on the wrong ones, and first pictures pass more often: 0.51
    before and 0.65 after, of 96 on noise that no burst has seen."""
    unet, scheduler = tiny_model("v_prediction")
    schooling = Schooling("s_dpo", {"beta": 0.02}, learning_rate=5e-3)
    start = pretrain(unet, scheduler, steps=350, wrong_share=0.4)
    made = DiffusionLearner.over(start, scheduler, schooling=schooling)
    before = first_pass_rate(made, copies=8)
    assert before > 0.25
    assert mean_margin(made) == 0
    loop_in(tmp_path, made, Pace(prompts=24, steps=8, rows_per_step=4)).run(tasks(12))
    assert made.version == 6
    assert mean_margin(made) > 0
    assert first_pass_rate(made, copies=8) > before
