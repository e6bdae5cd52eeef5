"""The preference head: it reads an answer's last token and nothing else, changes no output, and is kept whole."""

from copy import deepcopy

import pytest
import torch

from domains.errors import UserError
from experts.alignment import REFERENCES, Alignment, add_head, head_groups, train_preferences
from experts.batch import Row, candidates_segment, collate, pack_in_order
from experts.checkpoint import Checkpoint, read_adapter
from experts.head import POOLERS, PreferenceHead, load_head
from experts.logprobs import HEAD, score
from experts.objectives import dph
from experts.preferences import EncodedPreference, preference_batch
from experts.recipe import Align
from experts.stages import align
from experts.train import prepare
from tests.experts.test_logprobs import random_ids
from tests.experts.test_train import ROWS
from tests.fakes import tiny_model


def segments(with_ends=True):
    prompts, answers = random_ids(41, 7, 4), random_ids(42, 3, 9, 5, 2)
    return [
        candidates_segment(prompts[0], answers[:2], with_ends),
        candidates_segment(prompts[1], answers[2:], with_ends),
    ], [(prompts[0], answers[0]), (prompts[0], answers[1]), (prompts[1], answers[2]), (prompts[1], answers[3])]


def seeded_head(size, pooler="identity"):
    head = PreferenceHead(size, pooler, seed=1)
    torch.nn.init.normal_(head.reward.weight)
    return head


@pytest.mark.parametrize("pooler", POOLERS)
@pytest.mark.parametrize("row_tokens", [16, 1000])
def test_the_reward_is_read_at_the_last_token_of_each_answer(model, pooler, row_tokens):
    """However rows are packed and padded: the head on the hidden state of the whole text's last token."""
    model = deepcopy(model)
    model.add_module(HEAD, seeded_head(model.config.hidden_size, pooler))
    packed, texts = segments()
    found = score(model, collate(pack_in_order(packed, row_tokens), 0)).rewards_S
    for reward, (prompt, answer) in zip(found, texts, strict=True):
        hidden = model.model(input_ids=torch.tensor([[*prompt, *answer]])).last_hidden_state[0, -1:]
        torch.testing.assert_close(reward, getattr(model, HEAD)(hidden)[0], rtol=1e-4, atol=1e-5)


def test_the_output_of_the_language_model_is_the_same_bit_for_bit(model):
    model = deepcopy(model)
    batch = collate(pack_in_order(segments()[0], 1000), 0)
    before = score(model, batch)
    model.add_module(HEAD, seeded_head(model.config.hidden_size))
    after = score(model, batch)
    assert torch.equal(before.logprobs_S, after.logprobs_S)
    assert torch.equal(before.token_logprobs_T, after.token_logprobs_T)
    assert before.rewards_S is None
    assert after.rewards_S.shape == (4,)


def test_the_last_token_is_read_and_not_predicted():
    """One token more per answer and no target more."""
    (with_ends, _), _ = segments()
    (without, _), _ = segments(with_ends=False)
    assert len(with_ends) == len(without) + 2
    assert [y for y in with_ends.labels if y >= 0] == [y for y in without.labels if y >= 0]
    assert [with_ends.input_ids[i] for i in with_ends.ends] == [segments()[1][0][1][-1], segments()[1][1][1][-1]]


@pytest.mark.parametrize("pooler", POOLERS)
def test_the_head_computes_in_fp32_under_mixed_precision(pooler):
    head, hidden = seeded_head(64, pooler), torch.randn(5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = head(hidden)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, head(hidden))


@pytest.mark.parametrize("pooler", POOLERS)
def test_a_saved_head_is_the_same_head(tmp_path, pooler):
    head = seeded_head(8, pooler)
    head.save(tmp_path)
    hidden = torch.randn(5, 8)
    assert torch.equal(load_head(tmp_path)(hidden), head(hidden))
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_a_folder_without_a_head_is_answered(tmp_path):
    with pytest.raises(UserError, match="no preference head"):
        load_head(tmp_path)


def test_training_teaches_the_head_to_rank_and_writes_it(base, tmp_path):
    settings = Align(rank=4, epochs=12, batch_rows=1, accumulation=2, row_tokens=128, learning_rate=0.01)
    objective = dph.Objective(head_learning_rate=0.05)
    metrics = train_preferences(Checkpoint(base), ROWS, Alignment(objective), settings, 0, tmp_path)
    assert metrics["loss"] < 3 * 0.6931
    ready = prepare(Checkpoint(base), settings, 0)
    add_head(ready, objective, 0)
    assert load_head(tmp_path).reward.weight.abs().sum() > 0
    assert not getattr(ready.model, HEAD).reward.weight.any()


def test_prior_decay_pulls_the_adapter_back(base, tmp_path):
    """With a strong pull toward the start the second factors stay smaller."""
    sizes = []
    for decay in (0.0, 20.0):
        settings = Align(rank=4, epochs=6, batch_rows=1, accumulation=2, row_tokens=128, learning_rate=0.01)
        folder = tmp_path / str(decay)
        train_preferences(Checkpoint(base), ROWS, Alignment(dph.Objective(prior_decay=decay)), settings, 0, folder)
        sizes.append(sum(float(update.up.norm()) for update in read_adapter(folder).values()))
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("dpo_weight", [0.0, 1.0])
def test_the_heads_loss_alone_leaves_the_vocabulary_projection_without_gradient(dpo_weight):
    """The decoder frozen, the projection and the head trainable: only the part that is DPO reaches the projection."""
    own = tiny_model(tied=False).requires_grad_(False)
    own.add_module(HEAD, seeded_head(own.config.hidden_size).requires_grad_(True))
    own.get_output_embeddings().requires_grad_(True)
    segment = segments()[0][0]
    rows = [EncodedPreference("a", segment, ((-20.0, -30.0),))]
    batch = preference_batch(score(own, collate([Row([segment])], 0)), rows)
    dph.Objective(dpo_weight=dpo_weight)(batch).mean().backward()
    gradient = own.get_output_embeddings().weight.grad
    assert (gradient is not None and bool(gradient.any())) == bool(dpo_weight)
    assert getattr(own, HEAD).reward.weight.grad.any()
    assert all(weight.grad is None for weight in own.model.parameters())


def test_without_decay_and_with_one_rate_the_groups_are_plain_adamw(base):
    """The same gradients in ten steps: every trained weight is the same bit for bit; with decay the second factors
    are not."""
    found = []
    for decay in (None, 0.0, 0.5):
        ready = prepare(Checkpoint(base), Align(rank=2), 0)
        objective = dph.Objective(prior_decay=decay or 0.0, head_decay=0.0, head_learning_rate=0.01)
        add_head(ready, objective, 0)
        trained = {name: weight for name, weight in ready.model.named_parameters() if weight.requires_grad}
        groups = head_groups(ready.model, objective) if decay is not None else list(trained.values())
        optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(10):
            for weight in trained.values():
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        found.append({name: weight.detach() for name, weight in trained.items()})
    plain, without, decayed = found
    assert all(torch.equal(plain[name], weight) for name, weight in without.items())
    assert {name for name, weight in decayed.items() if not torch.equal(plain[name], weight)} == {
        name for name in plain if "lora_B" in name
    }


def test_prior_decay_of_all_weights_is_refused_and_not_ignored(base, tmp_path):
    decaying = dph.Objective(prior_decay=0.1)
    with pytest.raises(UserError, match="prior_decay is 0.1, but with align.method = full"):
        train_preferences(Checkpoint(base), ROWS, Alignment(decaying), Align(method="full"), 0, tmp_path)
    with pytest.raises(UserError, match="prior_decay"):
        align.check(Align(method="full", objective="dph", settings={"prior_decay": 0.1}))
    align.check(Align(method="full", objective="dph"))


def test_a_head_alone_needs_no_reference(base, tmp_path):
    objective = dph.Objective(dpo_weight=0.0)
    train_preferences(Checkpoint(base), ROWS, Alignment(objective), Align(rank=2, epochs=1), 0, tmp_path)
    assert not (tmp_path / REFERENCES).exists()
    assert "reference" in dph.Objective().needs
