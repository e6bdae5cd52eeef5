"""Packed rows: many texts in one row, with a mask that keeps them apart. One path for training and scoring.

Shape letters: R rows, L tokens in a row, S sequences (scored completions) in a batch, B examples, C candidates,
T target positions, H hidden size, V vocabulary. Sums of log-probabilities are in nats.

A token belongs to a *group* (a document, a conversation, a prompt with its candidates) and to a *branch* of it
(0 = shared by all, 1.. = one candidate). It sees earlier tokens of its group on branch 0 and on its own branch.
The last prompt token is repeated at the head of each branch, so that each candidate's first token has its own
predicting position; position ids restart there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Segment:
    """A group of tokens. `labels[i]` is the token to predict at position i (-100: none); `sequence[i]` the index,
    within the segment, of the sequence that this prediction counts to; `num_sequences` how many there are; `ends` the
    position of each sequence's last token, where the segment holds it."""

    input_ids: tuple[int, ...]
    position_ids: tuple[int, ...]
    branch: tuple[int, ...]
    labels: tuple[int, ...]
    sequence: tuple[int, ...]
    num_sequences: int = 1
    ends: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Batch:
    """A padded batch of packed rows, ready for a decoder model. An empty mask means plain causal rows. `ends_S` are
    places in the flattened rows (R x L) of the sequences' last tokens; empty where the segments do not hold these.
    `lengths_R` are tokens without padding."""

    input_ids_RL: Tensor
    position_ids_RL: Tensor
    mask_R1LL: Tensor
    labels_RL: Tensor
    sequence_RL: Tensor
    num_sequences: int
    ends_S: Tensor
    lengths_R: Tensor

    def parts(self, num_parts: int) -> list[Batch]:
        """Its rows as at most so many batches, in order, each only as long as its longest row. Sequences keep their
        numbers."""
        found, full = [], self.input_ids_RL.shape[1]
        row_S, place_S, mask = self.ends_S // full, self.ends_S % full, self.mask_R1LL
        for rows in torch.arange(len(self.lengths_R)).tensor_split(min(num_parts, len(self.lengths_R))):
            first, last, length = int(rows[0]), int(rows[-1]) + 1, int(self.lengths_R[rows].max())
            part = replace(
                self,
                input_ids_RL=self.input_ids_RL[first:last, :length],
                position_ids_RL=self.position_ids_RL[first:last, :length],
                mask_R1LL=mask[first:last, :, :length, :length] if mask.numel() else mask,
                labels_RL=self.labels_RL[first:last, :length],
                sequence_RL=self.sequence_RL[first:last, :length],
                ends_S=((row_S - first) * length + place_S)[(row_S >= first) & (row_S < last)],
                lengths_R=self.lengths_R[first:last],
            )
            found.append(part)
        return found


@dataclass
class Row:
    """Segments that share a row."""

    segments: list[Segment] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments)


def document_segments(ids: Sequence[int], max_tokens: int) -> list[Segment]:
    """A document as segments of at most `max_tokens`; every next token is a target."""
    pieces = [ids[i : i + max_tokens] for i in range(0, len(ids), max_tokens)]
    return [conversation_segment((), piece) for piece in pieces if len(piece) > 1]


def conversation_segment(prompt: Sequence[int], completion: Sequence[int]) -> Segment:
    """Prompt and completion as one sequence; only completion tokens are targets."""
    tokens = [*prompt, *completion]
    start = max(len(prompt) - 1, 0)
    labels = [IGNORED] * start + tokens[start + 1 :]
    size = len(tokens) - 1
    return Segment(
        tuple(tokens[:-1]), tuple(range(size)), (0,) * size, tuple(labels), tuple(0 if y >= 0 else -1 for y in labels)
    )


def context_segment(tokens: Sequence[int]) -> Segment:
    """Tokens that are read and not predicted."""
    size = len(tokens)
    return Segment(tuple(tokens), tuple(range(size)), (0,) * size, (IGNORED,) * size, (-1,) * size, 0)


def candidates_segment(prompt: Sequence[int], candidates: Sequence[Sequence[int]], with_ends: bool = False) -> Segment:
    """A prompt and its candidates, the prompt computed once. The last token of a candidate predicts nothing; it is read
    only `with_ends`, for a preference head."""
    shared = list(prompt[:-1])
    ids, positions, branch = list(shared), list(range(len(shared))), [0] * len(shared)
    labels, sequence, ends = [IGNORED] * len(shared), [-1] * len(shared), []
    for index, candidate in enumerate(candidates):
        size = len(candidate) + with_ends
        ids += [prompt[-1], *candidate][:size]
        positions += range(len(shared), len(shared) + size)
        branch += [index + 1] * size
        labels += [*candidate, IGNORED][:size]
        sequence += [index] * len(candidate) + [-1] * with_ends
        ends += [len(ids) - 1] * with_ends
    return Segment(
        tuple(ids), tuple(positions), tuple(branch), tuple(labels), tuple(sequence), len(candidates), tuple(ends)
    )


def unshared(segment: Segment) -> list[Segment]:
    """Each branch of a segment with the shared tokens before it, as a segment of its own; one without branches as it
    is."""
    if not any(segment.branch):
        return [segment]
    found = []
    for branch in range(1, max(segment.branch) + 1):
        kept = [i for i, b in enumerate(segment.branch) if b in (0, branch)]
        found.append(
            Segment(
                tuple(segment.input_ids[i] for i in kept),
                tuple(segment.position_ids[i] for i in kept),
                (0,) * len(kept),
                tuple(segment.labels[i] for i in kept),
                tuple(min(segment.sequence[i], 0) for i in kept),
                ends=tuple(kept.index(end) for end in segment.ends if end in kept),
            )
        )
    return found


def pack(segments: Iterable[Segment], row_tokens: int) -> list[Row]:
    """First-fit packing in the given order; a segment longer than `row_tokens` gets a row of its own."""
    rows: list[Row] = []
    for segment in segments:
        home = next((row for row in rows if len(row) + len(segment) <= row_tokens), None)
        if home is None:
            home = Row()
            rows.append(home)
        home.segments.append(segment)
    return rows


def pack_in_order(segments: Iterable[Segment], row_tokens: int) -> list[Row]:
    """Next-fit packing: the order of segments is kept across rows."""
    rows: list[Row] = []
    for segment in segments:
        if not rows or len(rows[-1]) + len(segment) > row_tokens:
            rows.append(Row())
        rows[-1].segments.append(segment)
    return rows


def collate(rows: Sequence[Row], pad_id: int) -> Batch:
    """Pad packed rows to one length. Sequences are numbered in the order of rows and segments."""
    length = max(len(row) for row in rows)
    shape = (len(rows), length)
    ids, positions = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    labels, sequence = torch.full(shape, IGNORED), torch.full(shape, -1)
    group, branch = torch.full(shape, -1), torch.zeros(shape, dtype=torch.long)
    num_sequences = num_groups = 0
    ends: list[int] = []
    for r, row in enumerate(rows):
        at = 0
        for segment in row.segments:
            span = slice(at, at + len(segment))
            ids[r, span] = torch.tensor(segment.input_ids)
            positions[r, span] = torch.tensor(segment.position_ids)
            labels[r, span] = torch.tensor(segment.labels)
            numbers = torch.tensor(segment.sequence)
            sequence[r, span] = torch.where(numbers >= 0, numbers + num_sequences, -1)
            group[r, span], branch[r, span] = num_groups, torch.tensor(segment.branch)
            ends += [r * length + at + end for end in segment.ends]
            at, num_groups = at + len(segment), num_groups + 1
            num_sequences += segment.num_sequences
    return Batch(
        ids,
        positions,
        visible(group, branch),
        labels,
        sequence,
        num_sequences,
        torch.tensor(ends, dtype=torch.long),
        torch.tensor([len(row) for row in rows]),
    )


def collate_plain(segments: Iterable[Segment], pad_id: int) -> Batch:
    """One row per sequence, padded on the right, for a model that takes no mask of its own: causal attention alone
    keeps the padding out."""
    batch = collate([Row([alone]) for segment in segments for alone in unshared(segment)], pad_id)
    return replace(batch, mask_R1LL=torch.zeros(0, dtype=torch.bool))


def visible(group_RL: Tensor, branch_RL: Tensor) -> Tensor:
    """Boolean mask (R, 1, L, L): which key (last axis) each query sees. Padding sees itself only."""
    length = group_RL.shape[1]
    same_group = group_RL.unsqueeze(2) == group_RL.unsqueeze(1)
    same_branch = (branch_RL.unsqueeze(1) == 0) | (branch_RL.unsqueeze(2) == branch_RL.unsqueeze(1))
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen = same_group & same_branch & causal & (group_RL >= 0).unsqueeze(1)
    return (seen | torch.eye(length, dtype=torch.bool)).unsqueeze(1)
