"""Bars go to standard error, only where a person watches, and change nothing of what they count."""

import io
from contextlib import redirect_stderr

import pytest

from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding
from experts.generate import Generated
from experts.progress import bar, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Echo:
    """A source that answers with the question."""

    digest = "echo"

    def answer(self, prompts, decoding, keep):
        for place, prompt in enumerate(prompts):
            keep(place, Generated(prompt[0].content, True, 1))


SCREENS = pytest.mark.parametrize("kind", [Terminal, io.StringIO])


@SCREENS
def test_items_are_the_same_with_and_without_a_terminal(kind):
    with redirect_stderr(kind()) as screen:
        assert list(shown([3, 1, 2], "Reading")) == [3, 1, 2]
        with bar(2, "Answering") as progress:
            progress.update()
            progress.update()
    written = screen.getvalue()
    assert bool(written) == screen.isatty()
    assert ("Reading" in written and "Answering" in written) == screen.isatty()


@SCREENS
def test_answering_counts_what_is_missing(kind, tmp_path):
    """The second time there is nothing to answer and so no bar."""
    answer = Answerer(Echo(), AnswerStore.open(tmp_path / "answers.jsonl"))
    prompts = [(Message("user", text),) for text in ("A", "B", "A")]
    with redirect_stderr(kind()) as screen:
        assert [each.text for each in answer(prompts, Decoding(4, 2))] == ["A", "B", "A"]
        assert ("/2 " in screen.getvalue()) == screen.isatty()
        before = screen.getvalue()
        answer(prompts, Decoding(4, 2))
        assert screen.getvalue() == before
