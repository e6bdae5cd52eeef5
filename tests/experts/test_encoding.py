"""The end-of-turn token is trained and stands once; the prompt is the template and nothing else."""

import pytest

from domains.errors import UserError
from domains.example import Message
from experts.batch import conversation_segment
from experts.encoding import completion_ids, document_ids, prompt_ids, render_prompt, template_digest
from tests.fakes import byte_tokenizer

PROMPT = (Message("system", "Be kind."), Message("user", "Héllo?"))


def test_rendered_prompt_ends_where_the_answer_begins(tokenizer):
    expected = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHéllo?<|im_end|>\n<|im_start|>assistant\n"
    assert render_prompt(tokenizer, PROMPT) == expected
    assert tokenizer.decode(prompt_ids(tokenizer, PROMPT)) == expected


@pytest.mark.parametrize("text", ["Yes.", "  Yes.\n", "Yes.<|im_end|>", " Yes.<|im_end|>\n"])
def test_the_end_of_turn_token_stands_exactly_once(tokenizer, text):
    ids = completion_ids(tokenizer, text)
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == "Yes."


def test_the_end_of_turn_token_is_a_target_and_prompt_tokens_are_not(tokenizer):
    prompt, completion = prompt_ids(tokenizer, PROMPT), completion_ids(tokenizer, "Yes.")
    segment = conversation_segment(prompt, completion)
    assert [label for label in segment.labels if label >= 0] == completion
    assert all(label < 0 for label in segment.labels[: len(prompt) - 1])
    assert prompt.count(tokenizer.eos_token_id) == 2


def test_a_document_ends_with_the_end_token(tokenizer):
    ids = document_ids(tokenizer, " A line.\n")
    assert tokenizer.decode(ids) == "A line.<|im_end|>"
    assert ids.count(tokenizer.eos_token_id) == 1


def test_the_template_digest_changes_with_the_template():
    tokenizer = byte_tokenizer()
    before = template_digest(tokenizer)
    tokenizer.chat_template += " "
    assert template_digest(tokenizer) != before


def test_a_tokenizer_without_template_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        template_digest(tokenizer)
