"""Packed scoring against one text at a time, no leakage between texts, and the projection's gradients."""

import pytest
import torch

from experts.batch import Row, candidates_segment, collate, conversation_segment, document_segments, pack, pack_in_order
from experts.logprobs import CHUNK, FrozenProjection, decoder, projected_logprobs, score
from tests.fakes import tiny_model


def random_ids(seed: int, *sizes: int) -> list[list[int]]:
    """Random byte tokens, one list per size."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (size,), generator=generator).tolist() for size in sizes]


@torch.no_grad()
def alone(model, prompt: list[int], completion: list[int]) -> float:
    """log p(completion | prompt) the plain way: one text, the model's own mask and positions, all logits."""
    tokens = torch.tensor([prompt + completion])
    logprobs = model(input_ids=tokens, use_cache=False).logits[0, :-1].double().log_softmax(-1)
    values = logprobs.gather(1, tokens[0, 1:].unsqueeze(1)).squeeze(1)
    return float(values[max(len(prompt) - 1, 0) :].sum())


@pytest.mark.parametrize("row_tokens", [40, 64, 400])
def test_packed_conversations_equal_one_by_one(model, row_tokens):
    prompts, completions = random_ids(1, 5, 30, 1, 17), random_ids(2, 9, 1, 20, 12)
    pairs = list(zip(prompts, completions, strict=True))
    rows = pack_in_order([conversation_segment(p, c) for p, c in pairs], row_tokens)
    scored = score(model, collate(rows, 0))
    assert scored.logprobs_S.tolist() == pytest.approx([alone(model, p, c) for p, c in pairs], abs=1e-4)
    assert scored.num_tokens_S.tolist() == [9, 1, 20, 12]


def test_first_fit_rows_give_the_same_total(model):
    """First fit changes the order, not the values."""
    pairs = list(zip(random_ids(3, 9, 14, 3, 8), random_ids(4, 6, 2, 11, 5), strict=True))
    rows = pack([conversation_segment(p, c) for p, c in pairs], 24)
    assert sorted(score(model, collate(rows, 0)).logprobs_S.tolist()) == pytest.approx(
        sorted(alone(model, p, c) for p, c in pairs), abs=1e-4
    )


def test_packed_documents_equal_one_by_one(model):
    documents = random_ids(5, 25, 7, 40, 2)
    segments = [segment for ids in documents for segment in document_segments(ids, 512)]
    scored = score(model, collate(pack_in_order(segments, 50), 0))
    assert scored.logprobs_S.tolist() == pytest.approx([alone(model, [], ids) for ids in documents], abs=1e-4)


@pytest.mark.parametrize("num_candidates", [1, 2, 5])
def test_shared_prompt_equals_one_by_one(model, num_candidates):
    (prompt,) = random_ids(6, 23)
    candidates = random_ids(7, *range(3, 3 + 4 * num_candidates, 4))
    scored = score(model, collate([Row([candidates_segment(prompt, candidates)])], 0))
    assert scored.logprobs_S.tolist() == pytest.approx([alone(model, prompt, c) for c in candidates], abs=1e-4)
    assert scored.num_tokens_S.tolist() == [len(c) for c in candidates]


def test_a_prompt_of_one_token_equals_one_by_one(model):
    candidates = random_ids(8, 4, 6)
    scored = score(model, collate([Row([candidates_segment([5], candidates)])], 0))
    assert scored.logprobs_S.tolist() == pytest.approx([alone(model, [5], c) for c in candidates], abs=1e-4)


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_no_leakage_between_candidates(model, changed):
    """Another text of the same length in one branch moves the others by nothing at all."""
    (prompt,) = random_ids(9, 12)
    before = random_ids(10, 6, 6, 6)
    after = [list(c) for c in before]
    after[changed] = random_ids(11, 6)[0]
    first, second = (
        score(model, collate([Row([candidates_segment(prompt, c)])], 0)).logprobs_S for c in (before, after)
    )
    others = [i for i in range(3) if i != changed]
    assert torch.equal(first[others], second[others])
    assert abs(float(first[changed] - second[changed])) > 0.1


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_no_leakage_between_documents(model, changed):
    before = random_ids(12, 9, 9, 9)
    after = [list(c) for c in before]
    after[changed] = random_ids(13, 9)[0]
    first, second = (
        score(model, collate([Row([s for d in docs for s in document_segments(d, 99)])], 0)).logprobs_S
        for docs in (before, after)
    )
    others = [i for i in range(3) if i != changed]
    assert torch.equal(first[others], second[others])
    assert abs(float(first[changed] - second[changed])) > 0.1


def test_padding_token_does_not_matter(model):
    rows = pack_in_order([conversation_segment(p, p) for p in random_ids(14, 20, 5, 9)], 41)
    assert len(rows) > 1
    assert torch.equal(score(model, collate(rows, 0)).logprobs_S, score(model, collate(rows, 200)).logprobs_S)


def projection_case(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, projection and labels of `size` targets."""
    generator = torch.Generator().manual_seed(size)
    hidden = torch.randn(size, 8, generator=generator, dtype=torch.float32)
    weight = torch.randn(50, 8, generator=generator, dtype=torch.float32)
    return hidden, weight, torch.randint(0, 50, (size,), generator=generator)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_frozen_projection_equals_autograd(size):
    """Value and gradient for any upstream gradient, also across the borders of chunks."""
    hidden, weight, labels = projection_case(size)
    upstream = torch.randn(size, generator=torch.Generator().manual_seed(1))
    ours, plain = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    value = FrozenProjection.apply(ours, weight, labels)
    expected = (plain @ weight.T).log_softmax(-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    value.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-5, rtol=1e-5)


def test_trained_projection_equals_frozen():
    """Same values and same gradient for the hidden states; the trained one also has a gradient for the projection."""
    hidden, weight, labels = projection_case(CHUNK + 7)
    trained_weight = weight.clone().requires_grad_()
    frozen_hidden, trained_hidden = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    frozen = projected_logprobs(frozen_hidden, weight, labels)
    trained = projected_logprobs(trained_hidden, trained_weight, labels)
    torch.testing.assert_close(frozen, trained, atol=1e-5, rtol=1e-5)
    frozen.sum().backward()
    trained.sum().backward()
    torch.testing.assert_close(frozen_hidden.grad, trained_hidden.grad, atol=1e-5, rtol=1e-5)
    plain_weight = weight.clone().requires_grad_()
    (hidden @ plain_weight.T).log_softmax(-1).gather(1, labels.unsqueeze(1)).sum().backward()
    torch.testing.assert_close(trained_weight.grad, plain_weight.grad, atol=1e-4, rtol=1e-4)


def test_no_targets_give_no_values():
    hidden, weight, _ = projection_case(1)
    with torch.no_grad():
        assert projected_logprobs(hidden[:0], weight, torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_are_active_below_the_projection():
    """A PEFT-wrapped model with a changed adapter scores differently from its base: the decoder keeps the adapter."""
    from peft import LoraConfig, get_peft_model

    inner = tiny_model()
    batch = collate([Row([conversation_segment(*random_ids(15, 6, 6))])], 0)
    before = score(inner, batch).logprobs_S
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    wrapped = get_peft_model(inner, config)
    assert decoder(wrapped) is decoder(inner)
    with torch.no_grad():
        assert abs(float(score(wrapped, batch).logprobs_S) - before.item()) > 1e-3


def test_a_model_without_vocabulary_projection_is_refused():
    with pytest.raises(TypeError, match="causal language model"):
        score(torch.nn.Linear(2, 2), collate([Row([conversation_segment([1], [2])])], 0))
