"""The decision: best, abstained, and the contract of its JSON form."""

import json

import pytest

from domains.errors import UserError
from router import Route, Router
from router.route import decide
from router.strategies.fixed import Strategy as Fixed

SCORES = {"toy/conversation": 0.6, "toy/structured": 0.3, "general": 0.1}


@pytest.mark.parametrize(
    ("scores", "threshold", "expert", "confidence", "abstained"),
    [
        (SCORES, 0.5, "toy/conversation", 0.6, False),
        (SCORES, 0.6, "toy/conversation", 0.6, False),
        (SCORES, 0.61, "general", 0.6, True),
        (SCORES | {"general": 0.9}, 0.5, "general", 0.9, True),
        ({"general": 1.0}, 0.0, "general", 1.0, True),
    ],
)
def test_decide(scores, threshold, expert, confidence, abstained):
    assert decide(scores, threshold, "s") == Route(expert, confidence, scores, abstained, "s")


def test_json_contract():
    found = json.loads(json.dumps(decide(SCORES, 0.5, "few_shot").as_dict()))
    assert list(found) == ["expert", "confidence", "scores", "abstained", "strategy"]
    assert found == {
        "expert": "toy/conversation",
        "confidence": 0.6,
        "scores": SCORES,
        "abstained": False,
        "strategy": "few_shot",
    }


def test_a_router_is_a_strategy_and_a_threshold():
    class ByLength:
        """Long requests are tasks."""

        def __call__(self, texts):
            return [{"a": 0.8, "general": 0.2} if len(t) > 3 else {"a": 0.4, "general": 0.3} for t in texts]

    router = Router(ByLength(), "length", 0.5)
    assert router("long one") == Route("a", 0.8, {"a": 0.8, "general": 0.2}, False, "length")
    assert [route.expert for route in router.batch(["x", "long one", "y"])] == ["general", "a", "general"]
    assert router.batch([]) == []


def test_fixed(tmp_path):
    assert Router(Fixed("a"), "fixed", 0.0)("anything").expert == "a"
    assert Router.load(tmp_path, "fixed")("anything").expert == "general"


def test_wrong_strategies_and_empty_homes_are_answered(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'few_shot'"):
        Router.load(tmp_path, "fewshot")
    with pytest.raises(UserError, match="No experts are built"):
        Router.load(tmp_path)
