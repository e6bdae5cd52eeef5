"""A prompt that begins like an earlier one is read from there on, and the answer has the same bits."""

import pytest
import torch

from router.prompt_memory import PromptMemory
from router.slots import CHUNK_TOKENS, SlotBatch

NAMES = ("toy/conversation", "toy/structured")
LONG = list(range(20, 20 + 220)) * 4  # 880 tokens: three whole chunks of 256


def logits_of(batch, ids, expert, num_tokens=4):
    """Logits of the first tokens of an answer, and how many chunks were read for it."""
    place, found, steps = batch.join(ids, expert, len(ids) + num_tokens), [], 0
    while len(found) < num_tokens:
        steps += 1
        for each, logits_V in batch.step():
            each.token = int(logits_V.argmax())
            found.append(logits_V.clone())
    batch.leave(place)
    return torch.stack(found), steps - num_tokens + 1


@pytest.fixture
def remembering(engine):
    return SlotBatch(engine, memory=PromptMemory(4000, CHUNK_TOKENS))


@pytest.mark.parametrize(
    ("first", "then", "spared"),
    [
        (LONG, [*LONG, 7, 8, 9], 768),  # the next turn
        (LONG, LONG, 768),
        (LONG[:512], LONG[:512], 256),  # the last token is read, and with it its chunk
        ([*LONG[:300], 1, *LONG[300:]], LONG, 256),
        ([1, *LONG], LONG, 0),
        (LONG[:200], LONG, 0),
    ],
)
def test_the_answer_is_the_one_without_memory(engine, remembering, first, then, spared):
    expected, num_chunks = logits_of(SlotBatch(engine), then, NAMES[0])
    logits_of(remembering, first, NAMES[0])
    found, num_read = logits_of(remembering, then, NAMES[0])
    assert torch.equal(found, expected)
    assert remembering.memory.num_spared == spared
    assert num_read == num_chunks - spared // CHUNK_TOKENS


def test_nothing_is_shared_between_experts(engine, remembering):
    logits_of(remembering, LONG, NAMES[0])
    found, _ = logits_of(remembering, LONG, NAMES[1])
    assert torch.equal(found, logits_of(SlotBatch(engine), LONG, NAMES[1])[0])
    assert remembering.memory.num_spared == 0


def test_others_in_the_batch_change_nothing(engine, remembering):
    """Two conversations go on together, in slots that are not those of their first turns."""
    other = LONG[::-1]
    logits_of(remembering, LONG, NAMES[0])
    logits_of(remembering, other, NAMES[1])
    places = [remembering.join(ids, name, 1000) for ids, name in ((other, NAMES[1]), (LONG, NAMES[0]))]
    found = {}
    while len(found) < 2:
        for place, logits_V in remembering.step():
            place.token = int(logits_V.argmax())
            found.setdefault(place, logits_V.clone())
    for place, name in zip(places, NAMES[::-1], strict=True):
        assert torch.equal(found[place], logits_of(SlotBatch(engine), place.ids, name, 1)[0][0])
    assert remembering.memory.num_spared == 2 * 768


def test_it_is_bounded_and_a_longer_turn_takes_the_place_of_a_shorter_one(engine):
    memory = PromptMemory(1100, CHUNK_TOKENS)
    batch = SlotBatch(engine, memory=memory)
    for ids in (LONG[:300], LONG, [5, *LONG[:300]], [6, *LONG]):
        logits_of(batch, ids, NAMES[0], 1)
    assert [read.ids[:2] for read in memory.known] == [(5, 20), (6, 20)]
    assert sum(len(read.ids) for read in memory.known) == 1024
    logits_of(batch, LONG * 2, NAMES[0], 1)  # above the bound: not kept
    assert len(memory.known) == 2
