"""The memorisation probe: what one pass says of greedy decoding, on random and on rigged models."""

from __future__ import annotations

import math

import pytest
import torch

from domains.example import Document
from experts.memorisation import CONTINUATION_TOKENS, PROMPT_TOKENS, Passage, exact_tokens, nats, passages, recalls
from tests.fakes import byte_tokenizer, tiny_model

LENGTH = PROMPT_TOKENS + CONTINUATION_TOKENS


def passage(seed: int = 0, prompt: list[int] | None = None) -> Passage:
    ids = prompt or torch.randint(0, 256, (LENGTH,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Passage(f"p{seed}", True, tuple(ids))


def test_its_own_greedy_continuation_is_repeated_to_the_end():
    """The probe says 32 of 32 for what the model itself generates, and stops where one token is changed."""
    model = tiny_model()
    prompt = torch.randint(0, 256, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(1))
    own = prompt
    with torch.no_grad():
        for _ in range(CONTINUATION_TOKENS):
            own = torch.cat([own, model(own).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    changed = own.clone()
    changed[0, PROMPT_TOKENS + 5] = (changed[0, PROMPT_TOKENS + 5] + 1) % 256
    found = recalls(model, [passage(prompt=own[0].tolist()), passage(prompt=changed[0].tolist())])
    assert [recall.exact_tokens for recall in found] == [CONTINUATION_TOKENS, 5]
    assert found[0].nats < found[1].nats


def test_loss_and_exact_tokens_by_hand():
    """Even odds over two tokens cost ln 2; the first two of three predictions are right."""
    assert nats(torch.zeros(3, 2), torch.tensor([0, 1, 1])) == pytest.approx(math.log(2))
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert exact_tokens(logits, torch.tensor([1, 0, 1, 1])) == 2


def test_batches_do_not_matter():
    model, many = tiny_model(), [passage(seed) for seed in range(11)]
    together = recalls(model, many)
    alone = [recalls(model, [each])[0] for each in many]
    assert [r.exact_tokens for r in together] == [r.exact_tokens for r in alone]
    assert [r.nats for r in together] == pytest.approx([r.nats for r in alone], rel=1e-4)


def test_passages_come_from_the_middle_of_documents_that_are_long_enough():
    documents = [Document(f"d{i}", "x" * size) for i, size in enumerate((10, 64, 65, 300, 63))]
    found = passages(byte_tokenizer(), documents, False, 10)
    assert [p.id for p in found] == ["d1", "d2", "d3"]
    assert {len(p.ids) for p in found} == {LENGTH}
    assert not any(p.trained for p in found)


def test_a_limit_spreads_over_all_documents():
    documents = [Document(f"d{i}", "x" * 80) for i in range(10)]
    assert [p.id for p in passages(byte_tokenizer(), documents, True, 3)] == ["d0", "d3", "d6"]
    assert passages(byte_tokenizer(), [], True, 3) == []
