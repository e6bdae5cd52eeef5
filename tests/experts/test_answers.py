"""The answer store survives kills, line separators inside answers, and a rerun costs what is missing."""

import json

import pytest

from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding, answer_key
from experts.generate import Generated, generate

PROMPTS = [(Message("user", text),) for text in ("A kettle?", "B", "Where is the ladder now?")]


def test_answers_come_back_as_they_were(tmp_path):
    """U+2028, U+0085 and form feed end a line for str.splitlines but not in a JSONL file."""
    answers = [Generated("one\ntwo", True, 3), Generated("a\u2028b\u0085c\x0cd", False, 9), Generated("", True, 0)]
    AnswerStore(tmp_path / "a.jsonl").add(["k1", "k2", "k3"], answers)
    assert list(AnswerStore(tmp_path / "a.jsonl").known.items()) == list(zip(["k1", "k2", "k3"], answers, strict=True))


@pytest.mark.parametrize("lost", [1, 2, 3, 20])
def test_a_line_cut_by_a_kill_is_left_out_and_the_file_goes_on(tmp_path, lost):
    """The last answer ends with a character of three bytes before the quote: some cuts fall inside it."""
    path = tmp_path / "a.jsonl"
    AnswerStore(path).add(["k1", "k2"], [Generated("x", True, 1), Generated("€", True, 1)])
    path.write_bytes(path.read_bytes()[:-lost])
    assert list(AnswerStore(path).known) == ["k1"]
    AnswerStore(path).add(["k3"], [Generated("z", True, 1)])
    assert list(AnswerStore(path).known) == ["k1", "k3"]


def test_a_cut_inside_a_character(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"key": "k1", "text": "€'.encode()[:-1])
    assert AnswerStore(path).known == {}


@pytest.fixture
def answerer(model, tokenizer, tmp_path):
    return Answerer(model, tokenizer, "digest", AnswerStore(tmp_path / "a.jsonl"))


def test_only_missing_prompts_are_generated(answerer, tmp_path):
    decoding = Decoding(5, 2)
    answerer(PROMPTS[:2], decoding)
    answers = answerer(PROMPTS, decoding)
    assert answers == generate(answerer.model, answerer.tokenizer, PROMPTS, 5, 1)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    before = (tmp_path / "a.jsonl").read_bytes()
    assert answerer(PROMPTS, decoding) == answers
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_finished_batches_are_kept_when_a_later_one_fails(model, tokenizer, tmp_path):
    """Batches of one, shortest prompt first; the store refuses the second."""

    class Full(AnswerStore):
        def add(self, keys, answers):
            if len(self.known) == 1:
                raise OSError("disk full")
            super().add(keys, answers)

    store = Full(tmp_path / "a.jsonl")
    with pytest.raises(OSError, match="disk full"):
        Answerer(model, tokenizer, "digest", store)(PROMPTS, Decoding(5, 1))
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert row["key"] == answer_key("digest", PROMPTS[1], Decoding(5, 1))


def test_the_key_is_the_model_the_prompt_and_the_limit():
    key = answer_key("m", PROMPTS[0], Decoding(5, 2))
    assert key == answer_key("m", PROMPTS[0], Decoding(5, 16))
    others = [answer_key("n", PROMPTS[0], Decoding(5, 2)), answer_key("m", PROMPTS[1], Decoding(5, 2))]
    assert key not in [*others, answer_key("m", PROMPTS[0], Decoding(6, 2))]
