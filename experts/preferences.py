"""Preference rows as tensors: from text to policy_BC, reference_BC, num_tokens_BC, present_BC.

B examples, C candidates; column 0 is the chosen answer; ragged rows by the mask `present_BC`; sums in nats.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from domains.errors import UserError
from domains.example import Preference
from domains.plugins import load_plugin
from experts.attention import has_window
from experts.batch import (
    Batch,
    Row,
    Segment,
    candidates_segment,
    collate,
    collate_plain,
    conversation_segment,
    pack_in_order,
)
from experts.encoding import Tokenizer, completion_ids, prompt_ids
from experts.logprobs import CHUNK, Scored, own_logprobs, score


@dataclass(frozen=True)
class PreferenceBatch:
    """What an objective sees. `scores_BC` are rewards and `head_BC` the preference head's, where an objective needs
    them; `training` is False in evaluation, where nothing is filtered and no statistic moves. `deciding_BC`, where
    it is not empty, is the reference by which an objective decides what concerns the whole batch: one of several losses
    that are added has the mixture there."""

    policy_BC: Tensor
    reference_BC: Tensor
    num_tokens_BC: Tensor
    present_BC: Tensor
    scores_BC: Tensor = field(default_factory=lambda: torch.zeros(0))
    head_BC: Tensor = field(default_factory=lambda: torch.zeros(0))
    training: bool = False
    deciding_BC: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def ratio_BC(self) -> Tensor:
        """log p - log p_ref, 0 where there is no candidate."""
        return torch.where(self.present_BC, self.policy_BC - self.reference_BC, 0.0)

    @property
    def margins_BK(self) -> Tensor:
        """Log-ratio of the chosen minus that of each rejected answer (not multiplied by beta)."""
        return self.ratio_BC[:, :1] - self.ratio_BC[:, 1:]

    @property
    def mean_logprobs_BC(self) -> Tensor:
        """Log-probability per token under the policy."""
        return self.policy_BC / self.num_tokens_BC.clamp(min=1)

    @property
    def mean_reference_BC(self) -> Tensor:
        """Log-probability per token under the reference."""
        return self.reference_BC / self.num_tokens_BC.clamp(min=1)

    def mean_over_rejected(self, values_BK: Tensor) -> Tensor:
        """The mean of each row over the rejected answers that it has (B,)."""
        return mean_over_rejected(values_BK, self.present_BC)


def mean_over_rejected(values: Tensor, present_BC: Tensor) -> Tensor:
    """The mean over the rejected answers that each row has: (..., B, K) to (..., B)."""
    present_BK = present_BC[:, 1:]
    return torch.where(present_BK, values, 0.0).sum(-1) / present_BK.sum(-1)


class Objective(Protocol):
    """A loss on preference rows; one file each in `experts/objectives`."""

    @property
    def needs(self) -> frozenset[str]:
        """What it reads of a batch besides the policy: "reference", "scores", "head"."""
        ...

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """loss_B."""
        ...


@runtime_checkable
class Running(Protocol):
    """What has running statistics. Only training calls `observe`; the state is saved with each checkpoint."""

    def observe(self, batch: Any) -> None:
        """Update the statistics."""
        ...

    def state(self) -> dict[str, Any]:
        """The statistics, as JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the statistics."""
        ...


@runtime_checkable
class Batchwise(Protocol):
    """An objective with statistics over a batch."""

    def check_batch(self, num_rows: int) -> None:
        """Refuse so many rows a batch, those of all ranks counted."""
        ...


@runtime_checkable
class Measured(Protocol):
    """An objective with numbers of its own in the training log."""

    def metrics(self, batch: PreferenceBatch) -> dict[str, float]:
        """Numbers of one batch."""
        ...


def load_objective(name: str, settings: dict[str, Any]) -> Objective:
    """An objective by file name with its settings."""
    plugin = load_plugin("experts.objectives", name, "objective")
    try:
        objective: Objective = plugin.Objective(**settings)
    except TypeError as error:
        allowed = ", ".join(each.name for each in fields(plugin.Objective) if each.init)
        raise UserError(f"Settings {settings} do not fit objective '{name}' ({error}). Allowed: {allowed}.") from None
    return objective


TOLERANCE = 0.05  # nats per token; bf16 noise is below 0.01


@dataclass(frozen=True)
class EncodedPreference:
    """A preference row as one packed segment, with each reference's log-probabilities of its candidates (nats) once
    they are known, and the candidates' rewards where an objective needs them."""

    id: str
    segment: Segment
    references: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()


Collator = Callable[[Sequence[EncodedPreference], int, int], Batch]


@dataclass(frozen=True)
class Checked:
    """The collator that fits a model, and the length (tokens) of the text that it was found with."""

    collator: Collator
    length: int


COLLATORS: WeakKeyDictionary[nn.Module, Checked] = WeakKeyDictionary()  # of the models that were checked


def encode_preference(tokenizer: Tokenizer, row: Preference, with_ends: bool = False) -> EncodedPreference:
    """Tokenize a prompt and its candidates; the end-of-turn token belongs to each candidate, and is read (not only
    predicted) `with_ends`."""
    candidates = [completion_ids(tokenizer, text) for text in row.candidates]
    return EncodedPreference(row.id, candidates_segment(prompt_ids(tokenizer, row.prompt), candidates, with_ends))


def collate_preferences(rows: Sequence[EncodedPreference], row_tokens: int, pad_id: int) -> Batch:
    """Pack rows in order, so that the sequences of the batch are the candidates of the rows in order."""
    return collate(pack_in_order([row.segment for row in rows], row_tokens), pad_id)


def collate_alone(rows: Sequence[EncodedPreference], row_tokens: int, pad_id: int) -> Batch:
    """Every candidate in a row of its own, with its prompt; slower, and any causal model takes it."""
    return collate_plain([row.segment for row in rows], pad_id)


def longest(rows: Sequence[EncodedPreference]) -> EncodedPreference:
    """The row with the longest text, a prompt with one of its answers: what a window shows in first."""
    return max(rows, key=lambda row: max(row.segment.position_ids))


def collator_for(model: nn.Module, row: EncodedPreference, row_tokens: int, pad_id: int) -> Collator:
    """The collator that fits a model, found with the longest of the rows that it scores first and remembered for the
    model; one with a window is checked again with a longer row."""
    known, length = COLLATORS.get(model), max(row.segment.position_ids) + 1
    if known is None:
        check_logits(model, row.segment, pad_id)
        known = COLLATORS[model] = Checked(checked_collator(model, row, row_tokens, pad_id), length)
    elif known.collator is collate_preferences and length > known.length and has_window(model):
        known = COLLATORS[model] = Checked(checked_collator(model, row, row_tokens, pad_id), length)
    return known.collator


def checked_collator(model: nn.Module, row: EncodedPreference, row_tokens: int, pad_id: int) -> Collator:
    """The packed collator when this model scores a row with it as it scores its candidates alone, else the plain one,
    with a message."""
    return collate_preferences if packs(model, [row.segment], pad_id) else collate_alone


@torch.no_grad()
def packs(model: nn.Module, segments: Sequence[Segment], pad_id: int) -> bool:
    """Whether a model scores segments that share a row as it scores each text alone; a message says why not. Models
    differ where they ignore a mask that is given to them, or refuse it."""
    alone = score(model, collate_plain(segments, pad_id))
    try:
        packed = score(model, collate([Row(list(segments))], pad_id)).logprobs_S
    except torch.OutOfMemoryError:
        raise
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError) as error:
        reason = f"refuses the mask ({type(error).__name__})"
    else:
        gap = float(((packed - alone.logprobs_S).abs() / alone.num_tokens_S.clamp(min=1)).max())
        if gap <= TOLERANCE:
            return True
        reason = f"gives other values under the mask ({gap:.2g} nats per token)"
    warnings.warn(f"{type(model).__name__} {reason}: each text has a row of its own, which is slower.", stacklevel=2)
    return False


@torch.no_grad()
def check_logits(model: nn.Module, segment: Segment, pad_id: int) -> None:
    """Refuse a model whose class makes other logits than are computed here; the beginning of one text tells."""
    batch = collate_plain([conversation_segment((), segment.input_ids[: CHUNK + 1])], pad_id)
    gap = float((score(model, batch).token_logprobs_T - own_logprobs(model, batch)).abs().mean())
    if gap > TOLERANCE:
        raise UserError(
            f"{type(model).__name__} computes its logits in a way that is not supported ({gap:.2g} nats per token away "
            "from a linear head with, at most, a bias, one scale and a cap as in Gemma, Cohere and Granite); take "
            "another base model."
        )


def by_candidate(values_S: Tensor, counts: Sequence[int]) -> Tensor:
    """Values of sequences as a (B, C) table, zeros where a row has fewer candidates."""
    return nn.utils.rnn.pad_sequence(list(values_S.split(list(counts))), batch_first=True)


def preference_batch(scored: Scored, rows: Sequence[EncodedPreference], training: bool = False) -> PreferenceBatch:
    """The tensors of an objective, on the device of the scores, with the first reference of each row (zeros where a
    row has none)."""
    counts = [row.segment.num_sequences for row in rows]
    policy = by_candidate(scored.logprobs_S, counts)
    present = by_candidate(torch.ones(sum(counts)), counts) > 0
    return PreferenceBatch(
        policy,
        table(
            [row.references[0] if row.references else (0.0,) * n for row, n in zip(rows, counts, strict=True)], policy
        ),
        by_candidate(scored.num_tokens_S, counts),
        present.to(policy.device),
        table([row.scores for row in rows], policy),
        policy.new_zeros(0) if scored.rewards_S is None else by_candidate(scored.rewards_S, counts),
        training,
    )


def references_of(rows: Sequence[EncodedPreference], like: Tensor) -> Tensor:
    """All references' log-probabilities, (R, B, C)."""
    return torch.stack([table(column, like) for column in zip(*(row.references for row in rows), strict=True)])


def table(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Ragged rows of numbers as (B, C), zeros behind their ends."""
    return nn.utils.rnn.pad_sequence([like.new_tensor(row) for row in rows], batch_first=True)


@torch.no_grad()
def candidate_logprobs(
    model: nn.Module,
    rows: Sequence[EncodedPreference],
    row_tokens: int,
    pad_id: int,
    collator: Collator | None = None,
) -> list[PreferenceBatch]:
    """Score rows without gradients; a batch of one row for each, in row order. Where the model takes packed rows, those
    of like length share a forward pass of at most `row_tokens` tokens (a longer row has one alone)."""
    if not rows:
        return []
    collator = collator or collator_for(model, longest(rows), row_tokens, pad_id)
    budget = row_tokens if collator is collate_preferences else 0
    found: dict[int, PreferenceBatch] = {}
    for places in grouped([len(row.segment) for row in rows], budget):
        group = [rows[place] for place in places]
        scored = score(model, collator(group, row_tokens, pad_id))
        parts = by_row(scored, [row.segment.num_sequences for row in group])
        found |= {place: preference_batch(part, [rows[place]]) for place, part in zip(places, parts, strict=True)}
    return [found[place] for place in range(len(rows))]


def grouped(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of rows in groups of at most `budget` tokens, the longest rows first; a row above it is a group alone."""
    groups: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not groups or lengths[place] > room:
            groups.append([])
            room = budget
        groups[-1].append(place)
        room -= lengths[place]
    return groups


def by_row(scored: Scored, counts: Sequence[int]) -> list[Scored]:
    """What was scored in one pass, row by row: each has so many sequences."""
    sizes = list(counts)
    rewards = [None] * len(sizes) if scored.rewards_S is None else scored.rewards_S.split(sizes)
    parts = zip(scored.logprobs_S.split(sizes), scored.num_tokens_S.split(sizes), rewards, strict=True)
    return [Scored(scored.token_logprobs_T[:0], *part) for part in parts]
