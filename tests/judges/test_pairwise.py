"""Pairs in both orders: agreement decides, disagreement is a tie and a flip."""

from __future__ import annotations

import re
from math import log

import pytest

from judges.pairwise import Pair, PairwiseJudge, flip_rate
from judges.scorers.llm_judge import Judge
from tests.fakes_judges import Body, said, scripted_endpoint

GOOD, BAD = "Look at the shortage line first.", "No idea."
PAIRS = [Pair("Q?", GOOD, BAD), Pair("Q?", BAD, GOOD)]


def shown(body: Body) -> tuple[str, str]:
    """Which answers stand as A and B."""
    user = body["messages"][1]["content"]
    first, second = (
        re.search(rf"\[ANSWER {name} (\w+)\]\n> (.*?)\n\[END", user, re.DOTALL).group(2)  # type: ignore[union-attr]
        for name in "AB"
    )
    return first, second


def winner(name: str) -> tuple[int, Body]:
    return said(f'{{"reason": "because", "winner": "{name}"}}')


def compare(script, pairs: list[Pair], **settings):
    with scripted_endpoint(script) as endpoint:
        judge = Judge(base_url=endpoint.url, **({"use_logprobs": False, "retries": 0} | settings))
        return PairwiseJudge(judge)(pairs), endpoint.requests


def test_a_judge_that_sees_the_better_answer_finds_it_on_either_side():
    verdicts, requests = compare(lambda body: winner("A" if shown(body)[0] == GOOD else "B"), PAIRS)
    assert [v.winner for v in verdicts] == ["a", "b"]
    assert flip_rate(verdicts) == 0.0
    assert {shown(body) for body in requests} == {(GOOD, BAD), (BAD, GOOD)}


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_judge_that_likes_a_place_says_tie_and_flips(side: str):
    verdicts, _ = compare(lambda body: winner(side), PAIRS)
    assert [(v.winner, v.flipped) for v in verdicts] == [("tie", True)] * 2
    assert flip_rate(verdicts) == 1.0


def test_two_ties_are_a_tie_without_a_flip():
    verdicts, _ = compare(lambda body: winner("tie"), PAIRS[:1])
    assert [(v.winner, v.flipped) for v in verdicts] == [("tie", False)]


def test_a_tie_in_one_order_is_a_flip():
    verdicts, _ = compare(lambda body: winner("A" if shown(body)[0] == GOOD else "tie"), PAIRS[:1])
    assert [(v.winner, v.flipped) for v in verdicts] == [("tie", True)]


def test_log_probabilities_of_the_letters():
    """P(A) = 0.7 of 1.0 with the good answer first, 0.4 with it second: both orders prefer the good one."""

    def script(body: Body) -> tuple[int, Body]:
        share = 0.7 if shown(body)[0] == GOOD else 0.4
        return said("A", {"A": log(share), "B": log(1 - share)})

    verdicts, _ = compare(script, PAIRS, use_logprobs=True)
    assert [v.winner for v in verdicts] == ["a", "b"]
    assert verdicts[0].parts["b_first"]["value"] == pytest.approx(0.4)


def test_one_unreadable_order_leaves_the_pair_unscored_and_out_of_the_flip_rate():
    verdicts, _ = compare(lambda body: winner("A") if shown(body)[0] == GOOD else said("?"), PAIRS[:1])
    assert [(v.winner, v.flipped) for v in verdicts] == [(None, False)]
    assert "no verdict" in verdicts[0].explanation
    assert flip_rate(verdicts) is None


def test_empty_answers_ask_nobody():
    pairs = [Pair("Q?", GOOD, " "), Pair("Q?", "", BAD), Pair("Q?", "", "\n"), PAIRS[0]]
    verdicts, requests = compare(lambda body: winner("A" if shown(body)[0] == GOOD else "B"), pairs)
    assert [v.winner for v in verdicts] == ["a", "b", "tie", "a"]
    assert len(requests) == 2


def test_a_rerun_is_free(tmp_path):
    """Both pairs are the same two requests, which the cache answers within one run already."""
    cache = {"cache": str(tmp_path), "identity": "m", "concurrency": 1}
    first, asked = compare(lambda body: winner("A"), PAIRS, **cache)
    again, free = compare(lambda body: winner("B"), PAIRS, **cache)
    assert (len(asked), len(free)) == (2, 0)
    assert again == first


def test_reference_and_criterion_are_in_the_request():
    pairs = [Pair("Q?", GOOD, BAD, "Start with the shortage line.")]
    _, requests = compare(lambda body: winner("A"), pairs, rubric="empathy,simplicity")
    system, user = (message["content"] for message in requests[0]["messages"])
    assert "Empathy:" in system
    assert "Simplicity:" in system
    assert "loses" in system
    assert "{" not in system.split("Criterion")[0]
    assert "> Start with the shortage line." in user
