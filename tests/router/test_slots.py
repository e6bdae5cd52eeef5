"""The running batch: an answer is the same alone and beside others of other experts, who come and go."""

from __future__ import annotations

import random

import pytest
import torch

from domains.example import Message
from experts.device import probe
from router.assistant import Sampling
from router.backends.in_process import InProcess
from router.scheduler import Limits
from router.slots import CHUNK_TOKENS, FIRST_WIDTH, SlotBatch

NAMES = ("toy/conversation", "toy/structured", "general")
QUESTIONS = ("Where does the kettle go?", "Label: ladder", "Sum up: the window broke, and then " * 12, "Hi")


def conversation(question):
    return (Message("user", question),)


def text_of(answer):
    return "".join(piece.text for piece in answer)


def answers(batch, asked, num_tokens):
    """Greedy tokens of (ids, expert) pairs that all run together."""
    places = [batch.join(ids, expert, len(ids) + num_tokens) for ids, expert in asked]
    found = {place: [] for place in places}
    while any(len(tokens) < num_tokens for tokens in found.values()):
        for place, logits in batch.step():
            place.token = int(logits.argmax())
            found[place].append(place.token)
    for place in places:
        batch.leave(place)
    return [found[place][:num_tokens] for place in places]


def test_a_batch_of_all_experts_writes_what_each_writes_alone(engine):
    asked = [(engine.encode(conversation(q)), name) for q in QUESTIONS for name in NAMES]
    alone = [answers(SlotBatch(engine), [each], 20)[0] for each in asked]
    assert len({tuple(tokens) for tokens in alone}) > len(QUESTIONS)
    assert answers(SlotBatch(engine), asked, 20) == alone


def test_logits_do_not_depend_on_the_neighbours(engine):
    """First alone, then beside three others whose prompts are longer: bit for bit in bf16; in fp32 some processors add
    in another order when there are more rows, so up to the rounding of that."""

    def logits(neighbours):
        batch = SlotBatch(engine)
        ids = engine.encode(conversation(QUESTIONS[0]))
        places = [batch.join(ids, NAMES[0], 400)]
        places += [batch.join(engine.encode(conversation(QUESTIONS[2] * 2)), name, 2000) for name in NAMES[:neighbours]]
        found = []
        while len(found) < 6:
            for place, logits_V in batch.step():
                place.token = int(logits_V.argmax())
                if place is places[0]:
                    found.append(logits_V.clone())
        return torch.stack(found)

    torch.testing.assert_close(logits(0), logits(3), rtol=0, atol=0 if probe().bf16 else 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_coming_and_going_changes_nothing(engine, seed):
    """Twelve answers of 3 to 30 tokens through four places, some given up half way: each is a prefix of what it is
    alone, and whole where it was not given up."""
    chance = random.Random(seed)
    backend = InProcess(engine, Limits())
    backend.scheduler.batch.max_rows = 4
    asked = [(chance.choice(QUESTIONS), chance.choice(NAMES), chance.randint(3, 30)) for _ in range(12)]
    running = [backend.start(conversation(q), name, Sampling(max_tokens=n), "") for q, name, n in asked]
    given_up = {i for i in range(12) if chance.random() < 0.3}
    for i in given_up:
        next(running[i])
        running[i].close()
    for i, (question, name, num_tokens) in enumerate(asked):
        if i not in given_up:
            alone = backend.start(conversation(question), name, Sampling(max_tokens=num_tokens), "")
            assert text_of(running[i]) == text_of(alone)
    assert backend.close(20) == 0
    assert backend.scheduler.batch.places == []


def test_a_long_prompt_is_read_in_chunks_while_others_write(engine):
    """700 tokens are three chunks: the short answer gets at least two tokens before the long one's first."""
    batch = SlotBatch(engine)
    short, long = engine.encode(conversation("Hi")), [65] * (2 * CHUNK_TOKENS + 188)
    first = batch.join(short, "general", 100)
    batch.step()
    second = batch.join(long, "general", len(long) + 5)
    order = []
    while second not in order:
        for place, logits in batch.step():
            place.token = int(logits.argmax())
            order.append(place)
    assert order == [first, first, first, second]


def test_reading_in_chunks_is_reading_at_once(engine):
    """The chunks' logits and those of one forward pass agree to rounding."""
    ids = engine.encode(conversation("kettle ladder window " * 30))
    assert len(ids) > 2 * CHUNK_TOKENS
    batch = SlotBatch(engine)
    batch.join(ids, NAMES[0], len(ids) + 1)
    found = []
    while not found:
        found = batch.step()
    with engine.using(NAMES[0]) as model:
        expected = model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
    assert torch.allclose(found[0][1].float(), expected.float(), atol=0.1)
    assert int(found[0][1].argmax()) == int(expected.argmax())


def test_room_is_bounded_by_places_and_by_memory(engine):
    """8,000 tokens: two answers of 4,000 fit; a third of any width would make the buffer 3 x 4,000."""
    batch = SlotBatch(engine, max_rows=3, max_tokens=8000)
    assert batch.has_room(10**9), "an empty batch takes anyone, or it would wait for ever"
    batch.join([1], "general", 4000)
    assert batch.has_room(4000)
    assert not batch.has_room(4001)
    batch.join([1], "general", 10)
    assert not batch.has_room(10)


def allocated(batch):
    """Slots x width of the buffers."""
    slots, _, width, _ = batch.layers[0].buffers[0].shape
    return slots, width


def test_a_long_answer_takes_slots_and_not_memory(engine):
    """4,200 tokens in a cache of 32,768: slots for 7 answers of that width, not 16; when it has left, all are back.
    What another one writes beside it stays the same."""
    batch, ids = SlotBatch(engine), engine.encode(conversation(QUESTIONS[0]))
    expected = answers(SlotBatch(engine), [(ids, NAMES[0])], 6)[0]
    place, found = batch.join(ids, NAMES[0], 100), []

    def write(count):
        for _ in range(count):
            for each, logits in batch.step():
                each.token = int(logits.argmax())
                if each is place:
                    found.append(each.token)

    write(2)
    assert allocated(batch) == (16, FIRST_WIDTH)
    long = batch.join(ids, NAMES[1], 4200)
    write(2)
    slots, width = allocated(batch)
    assert (slots, width >= 4200, slots * width <= batch.max_tokens + slots * 64) == (7, True, True)
    assert batch.has_room(4200)
    batch.leave(long)
    write(2)
    assert allocated(batch) == (16, FIRST_WIDTH)
    assert found == expected


def test_the_buffers_stay_within_the_bound(engine):
    """Whoever comes and goes: rows in use have slots, and the memory is that of `max_tokens`."""
    chance = random.Random(3)
    batch, places = SlotBatch(engine, max_rows=4, max_tokens=4096), []
    for _ in range(60):
        width = chance.choice((40, 300, 700, 1500, 3000))
        if places and (chance.random() < 0.4 or not batch.has_room(width)):
            batch.leave(places.pop(chance.randrange(len(places))))
        else:
            places.append(batch.join([1, 2], "general", width))
        assert batch.plan.num_slots * batch.plan.width <= 4096 + 64 * 4
        assert len(places) <= batch.plan.num_slots
        assert all(place.width <= batch.plan.width for place in places)


def test_an_empty_batch_gives_wide_buffers_back(engine):
    batch = SlotBatch(engine)
    place = batch.join(engine.encode(conversation("Hi")), "general", 10 * FIRST_WIDTH)
    batch.step()
    assert batch.layers[0].buffers[0].shape[2] >= 10 * FIRST_WIDTH
    batch.leave(place)
    assert (batch.plan.width, batch.layers[0].buffers) == (FIRST_WIDTH, [])
