"""Batched generation gives what one prompt at a time gives, in the order of the prompts."""

import pytest
import torch

from domains.example import Message
from experts.encoding import prompt_ids
from experts.generate import Generated, decoded, generate
from tests.fakes import byte_tokenizer

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


def test_answers_are_kept_one_by_one_shortest_batch_first(model, tokenizer):
    seen = []
    answers = generate(model, tokenizer, PROMPTS, 4, 2, lambda place, found: seen.append((place, found)))
    assert [sorted(place for place, _ in seen[i : i + 2]) for i in (0, 2)] == [[1, 3], [0, 2]]
    assert all(answers[place] == found for place, found in seen)


def test_an_answer_is_kept_before_its_batch_is_through(model):
    """The fourth token of the first answer is made the end of turn, so that it ends there and others go on."""
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(greedy(model, tokenizer, PROMPTS[0], 4)[3])
    answers = generate(model, tokenizer, PROMPTS, 30, 4)
    ended = min(answer.num_tokens for answer in answers)
    assert ended <= 3
    assert max(answer.num_tokens for answer in answers) > ended
    seen = []

    def stop_at_first(place, found):
        seen.append((place, found))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model, tokenizer, PROMPTS, 30, 4, stop_at_first)
    ((place, found),) = seen
    assert found == answers[place]
    assert found.num_tokens == ended


def test_an_answer_is_cut_at_the_end_of_turn_token(tokenizer):
    tokens = [*tokenizer.encode(" Yes. "), tokenizer.eos_token_id, *tokenizer.encode("more"), tokenizer.eos_token_id]
    assert decoded(tokenizer, tokens) == Generated("Yes.", True, 6)


def test_an_answer_without_it_is_not_finished(tokenizer):
    assert decoded(tokenizer, tokenizer.encode("Yes")) == Generated("Yes", False, 3)


def test_an_empty_answer_is_finished(tokenizer):
    assert decoded(tokenizer, [tokenizer.eos_token_id]) == Generated("", True, 0)


def test_no_prompts_no_answers(model, tokenizer):
    assert generate(model, tokenizer, [], 4) == []
