"""Which votes are trained on: the valid ones that ask nothing held out; never as dev or test."""

from __future__ import annotations

import pytest

from domains.domain import Domain
from domains.example import Message
from domains.vote_training import VoteRows, held_out_prompts, vote_rows
from domains.votes import Candidate, Votes
from tests.fakes import write_domain

ANSWERS = Candidate("toy/conversation", "On the shelf."), Candidate("general", "No idea.")


@pytest.fixture
def domain(tmp_path):
    return Domain.load(write_domain(tmp_path / "toy"))


def vote(votes: Votes, *turns: str) -> None:
    roles = ("user", "assistant")
    votes.prefer([Message(roles[i % 2], text) for i, text in enumerate(turns)], *ANSWERS)


def test_no_votes_are_no_rows(domain, tmp_path):
    assert vote_rows(domain, Votes(tmp_path / "votes")) == VoteRows()


def test_near_duplicates_of_held_out_prompts_are_left_out_and_counted(domain, tmp_path):
    """Of 7 votes: 2 ask what a dev and a test preference ask (in other case and punctuation), 1 a question of the
    test set in an earlier turn, 1 a routing request of the test set, 1 a preference that is trained on anyway."""
    votes = Votes(tmp_path / "votes")
    dev, test, train = (domain.preferences(split)[0].prompt[0].content for split in ("dev", "test", "train"))
    vote(votes, dev.upper())
    vote(votes, f"{test}!")
    vote(votes, domain.examples("questions", "test")[0].question, "A thing.", "And where do I buy another of them?")
    vote(votes, domain.utterances("test")[0].text)
    vote(votes, train)
    vote(votes, "How can my sister learn to juggle with three of them?")
    vote(votes, "Which shop repairs old wooden trains in winter?")
    found = vote_rows(domain, votes)
    assert [row.prompt[0].content for row in found.rows] == [
        train,
        "How can my sister learn to juggle with three of them?",
        "Which shop repairs old wooden trains in winter?",
    ]
    assert found.counts() == {"vote_rows": 3, "vote_rows_invalid": 0, "vote_rows_near_held_out": 4}
    assert not {row.id for row in found.rows} & {row.id for s in ("dev", "test") for row in domain.preferences(s)}


def test_bad_rows_are_counted_and_do_not_stop_the_rest(domain, tmp_path):
    votes = Votes(tmp_path / "votes")
    vote(votes, "Which shop repairs old wooden trains in winter?")
    path = tmp_path / "votes" / "toy.jsonl"
    whole = path.read_text()
    path.write_text('{"id": "vote-x"}\n' + whole + whole + '{"id": "cut')
    assert vote_rows(domain, votes).counts()["vote_rows"] == 1
    assert vote_rows(domain, votes).num_invalid == 3


def test_another_domain_can_hold_out_too(domain, tmp_path):
    """The general instructions are measured as well."""
    votes, house = Votes(tmp_path / "votes"), Domain.load("house")
    vote(votes, house.examples("instructions", "test")[0].question)
    assert len(vote_rows(domain, votes).rows) == 1
    assert vote_rows(domain, votes, (house,)).num_near_held_out == 1


def test_held_out_prompts_are_all_dev_and_test_rows_with_a_prompt(domain):
    """20 questions are all held out; of the other kinds every row outside the training split; safety has no prompts."""
    others = [len(domain.preferences(s)) + len(domain.utterances(s)) for s in ("dev", "test")]
    others += [len(domain.examples(t, s)) for t in ("classification", "summarization") for s in ("dev", "test")]
    assert len(list(held_out_prompts(domain))) == 20 + sum(others)
