"""Best-of-T and SFT on accepted answers: draws of different seeds are different, compute is that which was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from experts.improvement.baselines import best_of
from tests.fakes_improvement import Digest, task


@dataclass
class Drawn:
    """A learner that notes the seeds of its draws and answers with them."""

    seeds: list[int] = field(default_factory=list)
    manner: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(temperature=0.8))
    tokenizer: object = None

    def draws(self, tasks, seed, temperature):
        self.seeds.append(seed)
        return [f"{seed} {temperature}" for _ in tasks]


@pytest.fixture
def tokens(monkeypatch):
    monkeypatch.setattr("experts.improvement.baselines.completion_ids", lambda tokenizer, text: [1])
    monkeypatch.setattr("experts.improvement.baselines.prompt_ids", lambda tokenizer, prompt: [1, 2])


@pytest.mark.usefixtures("tokens")
def test_no_two_seeds_share_a_draw():
    used = []
    for seed in range(20):
        learner = Drawn()
        found = best_of(learner, Digest(), [task(1), task(2)], 20, seed)
        used += learner.seeds
        assert (found.num_tokens, found.num_prompt_tokens) == (40, 80)
    assert len(set(used)) == len(used) == 400
