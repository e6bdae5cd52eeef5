"""Packing: what is a target, what sees what, and where positions start again; all by hand on short rows."""

import pytest

from experts.batch import (
    IGNORED,
    Row,
    candidates_segment,
    collate,
    conversation_segment,
    document_segments,
    pack,
    pack_in_order,
)


def test_conversation_targets_are_the_completion():
    """Prompt 1 2 3, completion 4 5: the token at position 2 predicts 4, that at 3 predicts 5, earlier ones nothing."""
    segment = conversation_segment([1, 2, 3], [4, 5])
    assert segment.input_ids == (1, 2, 3, 4)
    assert segment.labels == (IGNORED, IGNORED, 4, 5)
    assert segment.sequence == (-1, -1, 0, 0)


def test_document_targets_are_every_next_token():
    (segment,) = document_segments([7, 8, 9], 512)
    assert (segment.input_ids, segment.labels) == ((7, 8), (8, 9))


def test_a_long_document_is_cut_and_nothing_but_the_cuts_is_lost():
    """10 tokens in pieces of 4: 4 + 4 + 2, so 3 + 3 + 1 targets; a piece of one token has no target: no segment."""
    assert [s.labels for s in document_segments(list(range(10)), 4)] == [(1, 2, 3), (5, 6, 7), (9,)]
    assert len(document_segments(list(range(9)), 4)) == 2


def test_candidates_share_the_prompt():
    """Prompt 1 2 3, candidates 4 5 and 6: the last prompt token heads each branch at position 2 = where it was."""
    segment = candidates_segment([1, 2, 3], [[4, 5], [6]])
    assert segment.input_ids == (1, 2, 3, 4, 3)
    assert segment.position_ids == (0, 1, 2, 3, 2)
    assert segment.branch == (0, 0, 1, 1, 2)
    assert segment.labels == (IGNORED, IGNORED, 4, 5, 6)
    assert segment.sequence == (-1, -1, 0, 0, 1)
    assert segment.num_sequences == 2


def test_candidate_mask_by_hand():
    """Columns: prompt 1, prompt 2, head and token of candidate A, head of candidate B."""
    batch = collate([Row([candidates_segment([1, 2, 3], [[4, 5], [6]])])], pad_id=0)
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert batch.mask_R1LL[0, 0].int().tolist() == expected


def test_documents_in_a_row_do_not_see_each_other():
    batch = collate([Row([*document_segments([1, 2, 3], 9), *document_segments([4, 5, 6], 9)])], pad_id=0)
    assert batch.mask_R1LL[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert batch.position_ids_RL.tolist() == [[0, 1, 0, 1]]
    assert batch.sequence_RL.tolist() == [[0, 0, 1, 1]]


def test_padding_is_seen_by_nobody_and_is_no_target():
    rows = pack([*document_segments([1, 2, 3, 4], 9), *document_segments([5, 6], 9)], 3)
    batch = collate(rows, pad_id=99)
    assert batch.input_ids_RL.tolist() == [[1, 2, 3], [5, 99, 99]]
    assert batch.labels_RL[1].tolist() == [6, IGNORED, IGNORED]
    assert batch.mask_R1LL[1, 0].int().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_sequences_are_numbered_in_order_across_rows():
    segments = [candidates_segment([1, 2], [[3], [4]]), candidates_segment([1, 2], [[5], [6], [7]])]
    batch = collate(pack_in_order(segments, 4), pad_id=0)
    assert batch.num_sequences == 5
    assert [[n for n in row if n >= 0] for row in batch.sequence_RL.tolist()] == [[0, 1], [2, 3, 4]]


@pytest.mark.parametrize("packer", [pack, pack_in_order])
@pytest.mark.parametrize("row_tokens", [3, 8, 1000])
def test_packing_keeps_every_segment_once(packer, row_tokens):
    segments = [conversation_segment([n], [n] * size) for n, size in enumerate([3, 1, 7, 2, 2, 9, 1], 1)]
    rows = packer(segments, row_tokens)
    assert sorted(s.input_ids[0] for row in rows for s in row.segments) == [1, 2, 3, 4, 5, 6, 7]
    assert all(len(row) <= row_tokens or len(row.segments) == 1 for row in rows)


def test_first_fit_fills_holes_and_next_fit_keeps_order():
    """Sizes 3, 3, 1 in rows of 4: first fit puts the third beside the first, next fit beside the second."""
    segments = [conversation_segment([n], [n] * size) for n, size in [(1, 3), (2, 3), (3, 1)]]
    first = [[s.input_ids[0] for s in row.segments] for row in pack(segments, 4)]
    next_fit = [[s.input_ids[0] for s in row.segments] for row in pack_in_order(segments, 4)]
    assert (first, next_fit) == ([[1, 3], [2]], [[1], [2, 3]])
