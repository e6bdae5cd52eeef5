"""Best of n: sample answers, and let the expert's own preference head choose. arXiv 2405.20053, section 3.5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from domains.errors import UserError
from domains.example import Message
from experts.batch import candidates_segment
from experts.encoding import completion_ids, prompt_ids
from experts.logprobs import HEAD, score
from experts.preferences import EncodedPreference, collator_for


@torch.no_grad()
def rewards(model: Any, tokenizer: Any, prompt: Sequence[Message], answers: Sequence[str]) -> Tensor:
    """The head's reward of each answer (n,), the prompt computed once where the model takes that. The end of turn is
    added where it lacks."""
    if getattr(model, HEAD, None) is None:
        raise UserError("This expert has no preference head to choose with. Build it with align.objective=dph.")
    segment = candidates_segment(
        prompt_ids(tokenizer, prompt), [completion_ids(tokenizer, a) for a in answers], with_ends=True
    )
    row, pad_id = EncodedPreference("", segment), tokenizer.pad_token_id
    collator = collator_for(model, row, len(segment), pad_id)
    found = score(model, collator([row], len(segment), pad_id)).rewards_S
    assert found is not None
    return found


def best_of(
    model: Any, tokenizer: Any, prompt: Sequence[Message], num_answers: int, max_new_tokens: int, seed: int
) -> str:
    """The answer with the highest reward of `num_answers` samples at temperature 1; one sample is that sample."""
    answers = sampled(model, tokenizer, prompt, num_answers, max_new_tokens, seed)
    return answers[int(rewards(model, tokenizer, prompt, answers).argmax())]


@torch.no_grad()
def sampled(
    model: Any, tokenizer: Any, prompt: Sequence[Message], num_answers: int, max_new_tokens: int, seed: int
) -> list[str]:
    """Answers drawn from the model."""
    ids = torch.tensor([prompt_ids(tokenizer, prompt)], device=model.device)
    torch.manual_seed(seed)
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        num_return_sequences=num_answers,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
    )
    return [text.strip() for text in tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)]
