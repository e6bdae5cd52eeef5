"""Batched generation gives what one prompt at a time gives, in the order of the prompts."""

import pytest
import torch

from domains.example import Message
from experts.encoding import prompt_ids
from experts.generate import Generated, decoded, generate

PROMPTS = [
    (Message("user", text),) for text in ("A long question about a ladder in a garden?", "B", "Where is it?", "Hm")
]


@torch.no_grad()
def greedy(model, tokenizer, prompt, limit):
    """The plain loop: the most likely next token, all of the text computed again for each."""
    ids = prompt_ids(tokenizer, prompt)
    size = len(ids)
    while len(ids) < size + limit and ids[-1] != tokenizer.eos_token_id:
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[size:]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batches_equal_the_plain_loop(model, tokenizer, batch_size):
    answers = generate(model, tokenizer, PROMPTS, 12, batch_size)
    assert answers == [decoded(tokenizer, greedy(model, tokenizer, prompt, 12)) for prompt in PROMPTS]
    assert len({answer.text for answer in answers}) > 1


def test_batches_are_reported_shortest_first(model, tokenizer):
    seen = []
    answers = generate(model, tokenizer, PROMPTS, 4, 2, lambda places, found: seen.append((places, found)))
    assert [places for places, _ in seen] == [[1, 3], [2, 0]]
    assert [answers[i] for places, _ in seen for i in places] == [a for _, found in seen for a in found]


def test_an_answer_is_cut_at_the_end_of_turn_token(tokenizer):
    tokens = [*tokenizer.encode(" Yes. "), tokenizer.eos_token_id, *tokenizer.encode("more"), tokenizer.eos_token_id]
    assert decoded(tokenizer, tokens) == Generated("Yes.", True, 6)


def test_an_answer_without_it_is_not_finished(tokenizer):
    assert decoded(tokenizer, tokenizer.encode("Yes")) == Generated("Yes", False, 3)


def test_an_empty_answer_is_finished(tokenizer):
    assert decoded(tokenizer, [tokenizer.eos_token_id]) == Generated("", True, 0)


def test_no_prompts_no_answers(model, tokenizer):
    assert generate(model, tokenizer, [], 4) == []
