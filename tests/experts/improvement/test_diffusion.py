"""The diffusion learner: its loss against hand-derived values, what it keeps, and the loop that the text expert has."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from math import log
from pathlib import Path

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
from judges.verifier import Critique
from judges.verifiers.shapes import Verifier
from tests.fakes_diffusion import LEVELS, picture, pretrain, task, tasks, tiny_model

pytest.importorskip("diffusers")
ROOT = Path(__file__).parents[3]


def learner(objective: str = "s_dpo", beta: float = 0.02, draws: int = 2) -> DiffusionLearner:
    unet, scheduler = tiny_model()
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


def test_the_loss_is_equation_14_of_the_paper():
    """-log sigma(-beta T/2 ((e_w - r_w) - (e_l - r_l))), e and r the squared errors of the policy and of the frozen
    start on the same noise at the same level, computed here one picture at a time."""
    made, row = moved(learner("dpo", beta=0.03, draws=3)), lesson()
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
            errors += [(noises[place] - policy).square().sum() - (noises[place] - start).square().sum()]
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
    unet, scheduler = tiny_model()
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


def loop_in(folder: Path, made: DiffusionLearner, pace: Pace) -> Loop:
    """The loop that the text expert runs in, with pictures."""
    record, replay = Record(folder, PICTURE), Replay(folder / "replay.jsonl", PICTURE)
    rules = Rules(max_attempts=4, acceptance=Acceptance("all", 0.5), gap=0.1)
    return Loop(made, Verifier(), replay, record, Immediate(made, record), rules, pace, lambda line: None)


def test_the_loop_runs_with_it_and_discards_what_an_untrained_model_draws(tmp_path):
    made = learner()
    loop_in(tmp_path, made, Pace(prompts=3, steps=2)).run(tasks(1)[:6])
    assert made.version == 0
    assert len((tmp_path / "threads.jsonl").read_text().splitlines()) == 6


def pass_rate(made: DiffusionLearner, seed: int, copies: int) -> float:
    """The share of first pictures that meet all conditions."""
    verifier, wanted = Verifier(), tasks(copies)
    pictures = made.answer_all([Turn(each) for each in wanted], seed)
    judged = [verifier.judge(t, verifier.conditions(t), p) for t, p in zip(wanted, pictures, strict=True)]
    return sum(min(critique.scores) >= 0.5 for critique in judged) / len(judged)


@pytest.mark.slow
def test_the_loop_makes_it_draw_the_wanted_colour_more_often(tmp_path):
    """The start was taught with wrong colours in 40% of its pictures. Measured on noise that no burst has seen."""
    unet, scheduler = tiny_model()
    made = DiffusionLearner.over(pretrain(unet, scheduler, steps=400, wrong_share=0.4), scheduler)
    before = pass_rate(made, seed=10_000, copies=6)
    loop_in(tmp_path, made, Pace(prompts=24, steps=8, rows_per_step=4)).run(tasks(6))
    after = pass_rate(made, seed=10_000, copies=6)
    assert made.version >= 2
    assert after > before + 0.1
