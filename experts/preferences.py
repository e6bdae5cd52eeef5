"""Preference rows as tensors: from text to policy_BC, reference_BC, num_tokens_BC, present_BC.

B examples, C candidates; column 0 is the chosen answer; ragged rows by the mask `present_BC`; sums in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from domains.errors import UserError
from domains.example import Preference
from domains.plugins import load_plugin
from experts.batch import Batch, Segment, candidates_segment, collate, pack_in_order
from experts.encoding import Tokenizer, completion_ids, prompt_ids
from experts.logprobs import Scored, score


@dataclass(frozen=True)
class PreferenceBatch:
    """What an objective sees."""

    policy_BC: Tensor
    reference_BC: Tensor
    num_tokens_BC: Tensor
    present_BC: Tensor

    @property
    def ratio_BC(self) -> Tensor:
        """log p - log p_ref, 0 where there is no candidate."""
        return torch.where(self.present_BC, self.policy_BC - self.reference_BC, 0.0)

    @property
    def margins_BK(self) -> Tensor:
        """Log-ratio of the chosen minus that of each rejected answer (not multiplied by beta)."""
        return self.ratio_BC[:, :1] - self.ratio_BC[:, 1:]


class Objective(Protocol):
    """A loss on preference rows; one file each in `experts/objectives`. Only training calls `observe`."""

    needs: ClassVar[frozenset[str]]

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B."""
        ...

    def observe(self, batch: PreferenceBatch) -> None:
        """Update running statistics."""
        ...

    def state(self) -> dict[str, Any]:
        """The running statistics, as JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the running statistics."""
        ...


def load_objective(name: str, settings: dict[str, Any]) -> Objective:
    """An objective by file name with its settings."""
    plugin = load_plugin("experts.objectives", name, "objective")
    try:
        objective: Objective = plugin.Objective(**settings)
    except TypeError as error:
        allowed = ", ".join(field.name for field in fields(plugin.Objective))
        raise UserError(f"Settings {settings} do not fit objective '{name}' ({error}). Allowed: {allowed}.") from None
    unknown = objective.needs - {"reference"}
    if unknown:
        raise UserError(f"Objective '{name}' needs {', '.join(sorted(unknown))}, which this build does not provide.")
    return objective


@dataclass(frozen=True)
class EncodedPreference:
    """A preference row as one packed segment, with the reference's log-probabilities once they are known."""

    id: str
    segment: Segment
    reference: tuple[float, ...] = ()


def encode_preference(tokenizer: Tokenizer, row: Preference) -> EncodedPreference:
    """Tokenize a prompt and its candidates; the end-of-turn token belongs to each candidate."""
    candidates = [completion_ids(tokenizer, text) for text in row.candidates]
    return EncodedPreference(row.id, candidates_segment(prompt_ids(tokenizer, row.prompt), candidates))


def collate_preferences(rows: Sequence[EncodedPreference], row_tokens: int, pad_id: int) -> Batch:
    """Pack rows in order, so that the sequences of the batch are the candidates of the rows in order."""
    return collate(pack_in_order([row.segment for row in rows], row_tokens), pad_id)


def by_candidate(values_S: Tensor, counts: Sequence[int]) -> Tensor:
    """Values of sequences as a (B, C) table, zeros where a row has fewer candidates."""
    return nn.utils.rnn.pad_sequence(list(values_S.split(list(counts))), batch_first=True)


def preference_batch(scored: Scored, rows: Sequence[EncodedPreference]) -> PreferenceBatch:
    """The tensors of an objective, on the device of the scores; a row without references has zeros there."""
    counts = [row.segment.num_sequences for row in rows]
    policy = by_candidate(scored.logprobs_S, counts)
    reference = torch.tensor([v for row in rows for v in (row.reference or (0.0,) * row.segment.num_sequences)])
    present = by_candidate(torch.ones(sum(counts)), counts) > 0
    return PreferenceBatch(
        policy,
        by_candidate(reference, counts).to(policy),
        by_candidate(scored.num_tokens_S, counts),
        present.to(policy.device),
    )


@torch.no_grad()
def candidate_logprobs(
    model: nn.Module, rows: Sequence[EncodedPreference], row_tokens: int, pad_id: int
) -> list[PreferenceBatch]:
    """Score rows without gradients, one small batch each, in row order."""
    return [preference_batch(score(model, collate_preferences([row], row_tokens, pad_id)), [row]) for row in rows]
