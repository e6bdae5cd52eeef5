"""Best of n: the rewards by which an expert's own preference head chooses an answer. arXiv 2405.20053, section 3.5."""

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
