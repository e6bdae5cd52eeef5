"""Rewards from judges, a head and a reward model, through the build; what serving chooses by; benches' numbers."""

import shutil
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.batch import candidates_segment
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.logprobs import HEAD, score
from experts.objectives import dph
from experts.preferences import (
    EncodedPreference,
    candidate_logprobs,
    collate_alone,
    collate_preferences,
    collator_for,
    encode_preference,
    load_objective,
    preference_batch,
)
from experts.recipe import Training
from experts.recommend import Recommended, as_examples, hit_ratio, recommend, valid_ratio
from experts.rerank import rewards
from experts.rewards import by_head, cached, check_source, standardised
from experts.stages import reward
from tests.experts.test_alignment import MORE, settings
from tests.experts.test_head import seeded_head
from tests.experts.test_logprobs import random_ids
from tests.experts.test_train import ROWS
from tests.fakes import tiny_model

PROMPT = (Message("user", "Where?"),)


def test_standardised_values_by_hand():
    """1 and 3 have mean 2 and spread 1; what is unscored counts as average."""
    assert standardised([1.0, None, 3.0]) == [-1.0, 0.0, 1.0]
    assert standardised([2.0, 2.0]) == [0.0, 0.0]
    assert standardised([None]) == [0.0]


def test_rewards_are_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"a": (1.0, 2.0)}

    for _ in range(2):
        assert cached(tmp_path / "r.json", compute) == {"a": (1.0, 2.0)}
    assert calls == [1]


def test_an_unknown_source_names_the_allowed():
    with pytest.raises(UserError, match="reward_modell.*Allowed: given, reward_model, judges:"):
        check_source("reward_modell")


def test_a_head_gives_rewards_and_a_folder_without_one_is_refused(base, tmp_path):
    expert = tmp_path / "expert"
    train_preferences(Checkpoint(base), ROWS, Alignment(dph.Objective()), settings(), 0, expert)
    found = by_head(Checkpoint(base, expert), ROWS)
    assert [len(found[row.id]) for row in ROWS] == [2, 3]
    assert len({value for values in found.values() for value in values}) > 1
    with pytest.raises(UserError, match="no preference head"):
        by_head(Checkpoint(base), ROWS)


def test_the_head_of_an_expert_of_full_weights_gives_rewards(base, tmp_path):
    """It is its own base, and lies beside its weights; the hidden states are those of the trained model."""
    expert = tmp_path / "expert"
    train_preferences(Checkpoint(base), ROWS, Alignment(dph.Objective()), settings(method="full"), 0, expert)
    load_tokenizer(base).save_pretrained(expert)
    found = by_head(Checkpoint(expert), ROWS)
    (expert / "model.safetensors").unlink()
    shutil.copy(base / "model.safetensors", expert)
    assert [len(found[row.id]) for row in ROWS] == [2, 3]
    assert found != by_head(Checkpoint(expert), ROWS)


def test_a_reward_model_learns_its_training_pairs(base, tmp_path):
    """Trained on six pairs for twelve epochs it puts every chosen answer above every rejected one."""
    training = Training(rank=8, epochs=12, accumulation=2, learning_rate=0.01)
    metrics = reward.run(Checkpoint(base), MORE, training, 0, tmp_path)
    assert metrics["pairs"] == 8
    found = reward.rewards(Checkpoint(base), tmp_path, MORE)
    assert all(max(values[1:]) < values[0] for values in found.values())
    assert not list(tmp_path.glob("*.bin"))


def test_padding_of_a_reward_model_is_not_the_end_of_turn(base):
    tokenizer = reward.padded_by_another(load_tokenizer(base))
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


class Shifted(torch.nn.Module):
    """A head whose rewards are all higher by a constant."""

    def __init__(self, head, constant):
        super().__init__()
        self.head, self.constant = head, constant

    def forward(self, hidden):
        return self.head(hidden) + self.constant


def test_the_reward_of_an_answer_is_its_own_and_a_constant_changes_no_choice(model, tokenizer):
    """Whatever else is asked about, and in whatever order; the served answer is the one with the highest reward."""
    model = deepcopy(model)
    model.add_module(HEAD, seeded_head(model.config.hidden_size))
    answers = ["Yes.", "It is in the shed.", "No idea.", "Behind the house, I think."]
    values = rewards(model, tokenizer, PROMPT, answers)
    assert len({round(float(value), 4) for value in values}) == len(answers)
    torch.testing.assert_close(rewards(model, tokenizer, PROMPT, answers[::-1]), values.flip(0), rtol=1e-4, atol=1e-5)
    alone = torch.cat([rewards(model, tokenizer, PROMPT, [answer]) for answer in answers])
    torch.testing.assert_close(alone, values, rtol=1e-4, atol=1e-5)
    setattr(model, HEAD, Shifted(getattr(model, HEAD), 5.0))
    assert rewards(model, tokenizer, PROMPT, answers).argmax() == values.argmax()


def test_reranking_without_a_head_is_answered(model, tokenizer):
    with pytest.raises(UserError, match="no preference head"):
        rewards(model, tokenizer, PROMPT, ["Yes."])


# scoring without a shared prompt


def test_candidates_alone_score_like_candidates_together(model, tokenizer):
    rows = [encode_preference(tokenizer, row) for row in (*ROWS, *MORE)]
    packed = score(model, collate_preferences(rows, 128, 0))
    alone = score(model, collate_alone(rows, 128, 0))
    torch.testing.assert_close(alone.logprobs_S, packed.logprobs_S, rtol=1e-4, atol=1e-4)
    assert alone.num_tokens_S.tolist() == packed.num_tokens_S.tolist()


def test_a_model_that_ignores_the_mask_is_found_out(model, tokenizer):
    """With causal attention alone the second candidate sees the first one."""
    row = encode_preference(tokenizer, ROWS[1])
    assert collator_for(model, row, 128, 0) is collate_preferences
    deaf = deepcopy(model)
    forward = deaf.model.forward
    deaf.model.forward = lambda **options: forward(**(options | {"attention_mask": None, "position_ids": None}))
    with pytest.warns(UserWarning, match="gives other values under the mask"):
        assert collator_for(deaf, row, 128, 0) is collate_alone


def deaf_model(model):
    """A copy that takes a mask and positions, and ignores both."""
    deaf = deepcopy(model)
    forward = deaf.model.forward
    deaf.model.forward = lambda **options: forward(**(options | {"attention_mask": None, "position_ids": None}))
    return deaf


def test_scoring_checks_a_model_by_itself_and_once(model, tokenizer):
    """Without being asked, a model that ignores the mask is scored right; the check is one packed and one plain pass
    more, and two over the beginning of a text for its logits, the first time alone."""
    deaf = deaf_model(model)
    encoded = [encode_preference(tokenizer, row) for row in MORE]
    calls, forward = [], deaf.model.forward
    deaf.model.forward = lambda **options: calls.append(1) or forward(**options)
    with pytest.warns(UserWarning, match="gives other values under the mask"):
        found = candidate_logprobs(deaf, encoded, 128, 0)
    expected = candidate_logprobs(model, encoded, 128, 0, collate_alone)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.policy_BC, b.policy_BC, rtol=1e-4, atol=1e-4)
    first = len(calls)
    candidate_logprobs(deaf, encoded, 128, 0)  # no warning, which would be an error
    per_row = (len(calls) - first) / len(encoded)
    assert first - per_row * len(encoded) <= 4 * per_row


def test_reranking_with_a_model_that_ignores_the_mask_gives_each_answers_own_reward(model, tokenizer):
    model = deepcopy(model)
    model.add_module(HEAD, seeded_head(model.config.hidden_size))
    answers = ["Yes.", "It is in the shed.", "No idea."]
    with pytest.warns(UserWarning, match="gives other values under the mask"):
        found = rewards(deaf_model(model), tokenizer, PROMPT, answers)
    torch.testing.assert_close(found, rewards(model, tokenizer, PROMPT, answers), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["s_dpo", "dpo", "ddo_rm"])
def test_packed_and_padded_rows_give_the_same_gradients(tokenizer, name):
    """Ragged rows of one to three rejected answers, all weights, an objective on top."""
    texts = [replace(row, scores=tuple(range(len(row.candidates)))) for row in ROWS + MORE[:1]]
    texts += [
        Preference("k3", PROMPT, "On the left.", ("No.", "Elsewhere, I think.", "Why?"), scores=(1.0, 0.0, 0.0, 0.0))
    ]
    rows = [
        replace(encode_preference(tokenizer, row), scores=row.scores, references=((-20.0,) * len(row.candidates),))
        for row in texts
    ]
    found = []
    for collator in (collate_preferences, collate_alone):
        own = tiny_model()
        load_objective(name, {})(preference_batch(score(own, collator(rows, 128, 0)), rows)).mean().backward()
        found.append({key: weight.grad for key, weight in own.named_parameters()})
    for key, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][key], rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_the_gradient_of_a_row_of_4096_tokens_is_that_of_its_candidates_alone():
    prompt, *answers = random_ids(61, 1297, 700, 700, 700, 700)
    row = EncodedPreference("long", candidates_segment(prompt, answers))
    assert len(row.segment) == 4096
    found = []
    for collator in (collate_preferences, collate_alone):
        own = tiny_model()
        scored = score(own, collator([row], 512, 0))
        (scored.logprobs_S / scored.num_tokens_S).log_softmax(0)[0].backward()
        found.append([weight.grad for weight in own.parameters()])
    for packed, alone in zip(*found, strict=True):
        assert torch.isfinite(packed).all()
        torch.testing.assert_close(packed, alone, rtol=1e-2, atol=1e-3 * float(alone.abs().max()))


def test_a_model_that_refuses_the_mask_is_scored_without(model, tokenizer):
    refusing = deepcopy(model)
    forward = refusing.model.forward

    def without_a_mask(attention_mask=None, **options):
        if attention_mask is not None:
            raise ValueError("only 2-D masks")
        return forward(**options)

    refusing.model.forward = without_a_mask
    with pytest.warns(UserWarning, match="refuses the mask"):
        assert collator_for(refusing, encode_preference(tokenizer, ROWS[1]), 128, 0) is collate_alone


# recommendation


def titles(found, right="a b", free="a b"):
    return Recommended("x", right, found, free)


def test_ratios_by_hand():
    """Two of four constrained choices right; free: one right, one wrong, two not valid."""
    found = [titles("a b"), titles("a b", free="c"), titles("c", free=None), titles("c", free=None)]
    assert (hit_ratio(found), hit_ratio(found, constrained=False), valid_ratio(found)) == (0.5, 0.25, 0.5)


def test_the_constrained_choice_is_always_a_candidate(model, tokenizer):
    rows = [Preference("r", PROMPT, "blue loan", ("red loan", "green loan"))]
    (found,) = recommend(model, tokenizer, rows)
    assert found.constrained in rows[0].candidates
    assert found.right == "blue loan"
    assert as_examples(rows)[0].completion == "blue loan"


def test_shipped_recommendations_name_six_products_each_and_only_these():
    from domains.domain import Domain

    domain = Domain.load("mortgage")
    rows = [row for split in ("train", "dev", "test") for row in domain.recommendations(split)]
    assert len(rows) == 96
    places = []
    for row in rows:
        assert len(set(row.candidates)) == 6
        listed = [line.removeprefix("- ") for line in row.prompt[-1].content.splitlines() if line.startswith("- ")]
        assert sorted(listed) == sorted(row.candidates)
        places.append(listed.index(row.chosen))
    assert {places.count(place) for place in range(6)} == {16}


# benches


def test_the_summary_of_scores_by_hand():
    """Row 1: chosen above both by mean, above one by reward. Row 2: below its only rival by mean, above by reward."""
    from experts.benches.objectives import Scores, summary

    found = summary([Scores("1", (1.0, 0.0, 2.0), (-1.0, -2.0, -3.0)), Scores("2", (1.0, 0.0), (-4.0, -3.0))])
    assert found["pair_accuracy_reward"] == 0.75
    assert found["pair_accuracy_logp"] == 0.5
    assert found["auc_within"] == 0.5
    assert found["margin"] == pytest.approx((1 + 2 - 1) / 3, abs=1e-4)
    assert found["n"] == 2


def test_the_padded_contender_scores_like_ours(model, tokenizer):
    from experts.benches.preference import padded_logprobs

    rows = [replace(row, rejected=row.rejected[:1]) for row in MORE]
    ours = score(model, collate_preferences([encode_preference(tokenizer, row) for row in rows], 128, 0)).logprobs_S
    torch.testing.assert_close(padded_logprobs(model, tokenizer, rows).flatten(), ours, rtol=1e-4, atol=1e-4)
