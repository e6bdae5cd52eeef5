"""The answer store survives kills, line separators inside answers, and a rerun costs what is missing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding, LocalModel, answer_key, failed
from experts.generate import Generated, generate
from tests.fakes_killed import PROMPTS as MANY
from tests.fakes_killed import SETTINGS, answerer_in

PROMPTS = [(Message("user", text),) for text in ("A kettle?", "B", "Where is the ladder now?")]


def kept(store, *keys):
    return [store.get(key) for key in keys]


def test_answers_come_back_as_they_were(tmp_path):
    """U+2028, U+0085 and form feed end a line for str.splitlines but not in a JSONL file."""
    answers = [Generated("one\ntwo", True, 3), Generated("a\u2028b\u0085c\x0cd", False, 9), Generated("", True, 0)]
    store = AnswerStore.open(tmp_path / "a.jsonl")
    for key, answer in zip(["k1", "k2", "k3"], answers, strict=True):
        store.add(key, answer)
    assert kept(AnswerStore.open(tmp_path / "a.jsonl"), "k1", "k2", "k3") == answers


@pytest.mark.parametrize("lost", [1, 2, 3, 20, 60])
def test_a_line_cut_by_a_kill_is_left_out_and_the_file_goes_on(tmp_path, lost):
    """The last line has a character of three bytes: some cuts fall near or inside it."""
    path = tmp_path / "a.jsonl"
    store = AnswerStore.open(path)
    store.add("k1", Generated("x", True, 1))
    store.add("k2", Generated("€", True, 1))
    path.write_bytes(path.read_bytes()[:-lost])
    store = AnswerStore.open(path)
    assert ("k1" in store, "k2" in store) == (True, False)
    store.add("k3", Generated("z", True, 1))
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["k1", "k3"]


def test_a_cut_inside_a_character(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"key": "k1", "text": "€'.encode()[:-1])
    assert "k1" not in AnswerStore.open(path)
    assert path.read_bytes() == b""


def test_every_row_has_a_status_and_failures_are_tried_again(tmp_path):
    path = tmp_path / "a.jsonl"
    store = AnswerStore.open(path)
    store.add("good", Generated("x", True, 1))
    store.add("bad", failed("out of memory"))
    assert store.get("bad") == Generated("", False, 0, "out of memory")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["status"], row["reason"]) for row in rows] == [("ok", ""), ("failed", "out of memory")]
    again = AnswerStore.open(path)
    assert ("good" in again, "bad" in again) == (True, False)
    again.add("bad", Generated("y", True, 1))
    assert AnswerStore.open(path).get("bad").text == "y"


@pytest.fixture
def answerer(model, tokenizer, tmp_path):
    return Answerer(LocalModel(model, tokenizer, "digest"), AnswerStore.open(tmp_path / "a.jsonl"))


def test_only_missing_prompts_are_generated(answerer, model, tokenizer, tmp_path):
    decoding = Decoding(5, 2)
    answerer(PROMPTS[:2], decoding)
    assert answerer.num_missing(PROMPTS, decoding) == 1
    answers = answerer(PROMPTS, decoding)
    assert answers == generate(model, tokenizer, PROMPTS, 5, 1)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    before = (tmp_path / "a.jsonl").read_bytes()
    assert answerer(PROMPTS, decoding) == answers
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_the_same_prompt_twice_is_generated_once(answerer, tmp_path):
    first, second = answerer([PROMPTS[0], PROMPTS[0]], Decoding(5, 2))
    assert first == second
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_finished_answers_are_kept_when_the_disk_is_full_later(model, tokenizer, tmp_path):
    """Batches of one, shortest prompt first; the store refuses the second. That is no failure of a row."""

    class Full(AnswerStore):
        def add(self, key, answer):
            if self.file.known:
                raise OSError("disk full")
            super().add(key, answer)

    store = Full.open(tmp_path / "a.jsonl")
    with pytest.raises(OSError, match="disk full"):
        Answerer(LocalModel(model, tokenizer, "digest"), store)(PROMPTS, Decoding(5, 1))
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert row["key"] == answer_key("digest", PROMPTS[1], Decoding(5, 1))


def test_a_prompt_that_is_too_long_fails_alone(answerer):
    """The model takes 8,192 tokens and the tokenizer makes one of every byte."""
    long = (Message("user", "x" * 9000),)
    good, bad, other = answerer([PROMPTS[0], long, PROMPTS[1]], Decoding(5, 4))
    assert bad.failure.startswith("the prompt has 90")
    assert (good.failure, other.failure) == ("", "")


class Short:
    """The fake model, out of memory whenever it reads the word "ladder"."""

    def __init__(self, model, tokenizer):
        self.inner, self.word = model, tokenizer.encode("ladder")
        self.config, self.device, self.dtype = model.config, model.device, model.dtype
        self.get_output_embeddings = model.get_output_embeddings

    def get_decoder(self):
        return self.read

    def read(self, input_ids, **options):
        ids = input_ids.flatten().tolist()
        if any(ids[i : i + len(self.word)] == self.word for i in range(len(ids))):
            raise RuntimeError("out of memory")
        return self.inner.get_decoder()(input_ids=input_ids, **options)


def test_a_batch_that_cannot_be_computed_is_tried_row_by_row(model, tokenizer, tmp_path):
    """Only the last prompt has the word that the model cannot read; all three are one batch."""
    answerer = Answerer(
        LocalModel(Short(model, tokenizer), tokenizer, "digest"), AnswerStore.open(tmp_path / "a.jsonl")
    )
    answers = answerer(PROMPTS, Decoding(5, 3))
    assert [answer.failure for answer in answers] == ["", "", "RuntimeError: out of memory"]
    assert answers[:2] == generate(model, tokenizer, PROMPTS[:2], 5, 1)


def test_the_key_is_the_model_the_prompt_and_the_limit():
    key = answer_key("m", PROMPTS[0], Decoding(5, 2))
    assert key == answer_key("m", PROMPTS[0], Decoding(5, 16))
    others = [answer_key("n", PROMPTS[0], Decoding(5, 2)), answer_key("m", PROMPTS[1], Decoding(5, 2))]
    assert key not in [*others, answer_key("m", PROMPTS[0], Decoding(6, 2))]


@pytest.mark.slow
def test_kill_9_loses_no_finished_row(tmp_path):
    """A process that answers and says each key once its row is written is killed after some; all said rows are there,
    and the rerun adds the rest: the file then has each answer once, equal to an undisturbed run."""
    command = [sys.executable, "-m", "tests.fakes_killed", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(7)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    assert 7 <= len(said) < len(MANY)
    path = tmp_path / "answers.jsonl"
    with path.open("ab") as handle:
        handle.write(b'{"key": "half')
    store = AnswerStore.open(path)
    assert [key for key in said if key not in store] == []
    again = answerer_in(tmp_path)(MANY, SETTINGS)
    assert again == answerer_in(tmp_path / "undisturbed")(MANY, SETTINGS)
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == len(MANY)


def test_after_a_kill_the_batches_are_those_of_an_undisturbed_run(model, tokenizer, tmp_path):
    """Company changes answers by rounding, so a batch of which some answers were kept is computed as a whole again,
    and what was kept stays."""
    prompts = [(Message("user", "word " * size),) for size in (3, 9, 1, 7, 5)]
    decoding = Decoding(4, 2)
    batches: list[list[int]] = []

    class Watching(LocalModel):
        def answer(self, prompts, decoding, keep):
            places = self.batches(prompts, decoding)
            batches.extend([[len(prompts[i][0].content.split()) for i in batch] for batch in places])
            super().answer(prompts, decoding, keep)

    source = Watching(model, tokenizer, "digest")
    whole = Answerer(source, AnswerStore.open(tmp_path / "whole.jsonl"))
    expected = whole(prompts, decoding)
    assert batches == [[1, 3], [5, 7], [9]]
    store = AnswerStore.open(tmp_path / "cut.jsonl")
    keys = whole.keys(prompts, decoding)
    store.add(keys[2], expected[2])
    store.add(keys[1], expected[1])
    store.add(keys[4], Generated("kept", True, 1))
    del batches[:]
    found = Answerer(source, store)(prompts, decoding)
    assert batches == [[1, 3], [5, 7]]
    assert found[4].text == "kept"
    assert found[:4] == expected[:4]
