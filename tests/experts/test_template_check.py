"""What is shown is what is trained, and a template whose end of turn is not trained is found."""

import pytest

from domains.errors import UserError
from domains.example import Example, Message, Preference
from experts.template_check import check_template
from tests.fakes import END, START, byte_tokenizer

EXAMPLE = Example("a", "questions", (Message("user", "Hi?"),), "Yes.")
PREFERENCE = Preference("b", (Message("user", "Hi?"),), "Yes.", ("No.",))
PROMPT = f"{START}user\nHi?{END}\n{START}assistant\n"


def with_template(template):
    """The byte tokenizer with another chat template."""
    made = byte_tokenizer()
    made.chat_template = template
    return made


@pytest.mark.parametrize("record", [EXAMPLE, PREFERENCE])
def test_prompt_and_answer_with_its_end(record):
    """Bytes: the answer has four, and its end-of-turn token is the fifth trained token."""
    found = check_template(byte_tokenizer(), record)
    assert found.ok
    assert [(piece.text, piece.trained) for piece in found.pieces] == [(PROMPT, False), (f"Yes.{END}", True)]
    assert (found.num_trained, found.end_of_turn) == (5, END)
    assert any(END in line and "is trained" in line for line in found.lines())


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("<|im_start|>", "another token"), ("", "writes nothing after an answer"), ("\n", "another token")],
)
def test_a_template_that_ends_an_answer_otherwise(ending, reason):
    template = "{% for m in messages %}" + START + "{{ m['role'] }}\n{{ m['content'] }}" + ending + "{% endfor %}"
    template += "{% if add_generation_prompt %}" + START + "assistant\n{% endif %}"
    found = check_template(with_template(template), EXAMPLE)
    assert not found.ok
    assert reason in found.problems[0]


def test_a_template_that_writes_the_answer_otherwise():
    template = "{% for m in messages %}{{ m['content'] | upper }}" + END + "{% endfor %}"
    found = check_template(with_template(template), EXAMPLE)
    assert "does not begin" in found.problems[0]


def test_a_template_that_refuses_a_turn_is_the_users_to_fix():
    template = "{{ raise_exception('no system turn') }}"
    with pytest.raises(UserError, match=r"row a: no system turn"):
        check_template(with_template(template), EXAMPLE)
