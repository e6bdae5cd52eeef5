"""Requests of several turns and of several subjects, from several threads, of any length and alphabet."""

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.errors import UserError
from domains.example import Message
from router import Route, Router
from router.parts import MAX_PARTS, may_span, parts
from router.route import decide
from router.turns import MAX_CHARACTERS, MAX_TURNS, STAY, belief, turns
from tests.fakes_router import Keywords

LABELS = ("home/conversation", "home/structured", "care/conversation", "general")
WORDS = {"escrow": LABELS[0], "classify": LABELS[1], "mother": LABELS[2], "capital": "general"}


def router(sure=0.9, threshold=0.5, words=WORDS):
    return Router(Keywords(words, LABELS, sure), "keywords", threshold)


def said(*contents):
    return [Message("user", text) for text in contents]


def test_a_follow_up_without_a_subject_stays_with_the_subject():
    """Alone it scores 1/4 for all, under the threshold. After a sure turn (0.9) the weight of that label is
    0.3 + 0.7 x 0.9 x 4 = 2.82, of each other 0.3 + 0.7 x 4 / 30 = 0.3933: 2.82 / (2.82 + 3 x 0.3933) = 0.705."""
    assert router()("And if it is late?").abstained
    found = router()(said("My escrow went up", "And if it is late?"))
    assert (found.expert, found.abstained) == (LABELS[0], False)
    assert found.confidence == pytest.approx(2.82 / (2.82 + 3 * (0.3 + 0.7 * 4 / 30)))


def test_a_clear_new_subject_wins():
    assert router()(said("My escrow went up", "My mother will not eat")).expert == LABELS[2]
    assert router()(said("My escrow went up", "The capital of France")).expert == "general"


def test_answers_and_blank_turns_are_not_what_the_user_asks():
    messages = [Message("user", "My escrow went up"), Message("assistant", "My mother"), Message("user", " ")]
    assert router()(messages).expert == LABELS[0]
    assert router().strategy(["x"])


def test_a_system_instruction_is_read_with_the_last_turn():
    messages = [Message("system", "Classify it."), *said("hello", "The text")]
    assert turns(messages) == ["hello", "Classify it. The text"]
    assert router()(messages).expert == LABELS[1]


def test_the_json_form_of_messages_is_taken():
    messages = [{"role": "user", "content": "My escrow went up"}]
    assert router()(messages) == router()("My escrow went up")


@pytest.mark.parametrize(
    "wrong",
    [{"role": "user"}, {"content": "x"}, {"role": "boss", "content": "x"}, {"role": "user", "content": None}, 3],
)
def test_wrong_messages_are_answered(wrong):
    with pytest.raises(UserError, match="A message to route"):
        router()([wrong])


def test_only_the_last_turns_are_read():
    assert turns(said(*map(str, range(9)))) == [str(i) for i in range(9 - MAX_TURNS, 9)]


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=5))
def test_one_turn_is_its_scores(values):
    scores = {str(i): value for i, value in enumerate(values)}
    assert belief([scores], {}) == scores


def test_a_turn_after_one_that_says_the_prior_is_its_scores():
    priors = {"a": 0.7, "b": 0.3}
    assert belief([priors, {"a": 0.2, "b": 0.8}], priors) == pytest.approx({"a": 0.2, "b": 0.8})


def test_belief_by_hand():
    """Priors 1/2, a sure turn for a, then 0.5 / 0.5: a has 1 - STAY + 2 STAY, b has 1 - STAY."""
    found = belief([{"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.5}], {})
    assert found["a"] == pytest.approx((1 + STAY) / 2)


@pytest.mark.parametrize("blank", ["", "  \n", [], [Message("user", " ")], [Message("assistant", "escrow")]])
def test_nothing_to_route_goes_to_the_general_model(blank):
    asked = router()
    found = asked(blank)
    assert (found.expert, found.abstained) == ("general", True)
    assert asked.strategy.asked == []


def test_a_long_text_is_read_at_both_ends():
    asked = router()
    asked("a" * 10**6 + " escrow")
    ((read,),) = asked.strategy.asked
    assert len(read) == MAX_CHARACTERS + 1
    assert (read[0], read[-6:]) == ("a", "escrow")


@pytest.mark.parametrize("text", ["\ud83d", "\x00", "Ипотека и мама 🏠", "抵押贷款", "e\u0301" * 50, "\u202eescrow"])
def test_any_characters(text):
    assert router()(text).strategy == "keywords"


def test_two_subjects_in_one_request():
    text = "My escrow payment went up again. My mother refuses to take a bath."
    found = router()(text)
    assert found.experts == (LABELS[0], LABELS[2])
    assert found.as_dict()["also"] == [LABELS[2]]
    assert not found.abstained


def test_two_clauses_of_one_sentence():
    found = router()("My escrow payment went up and my mother refuses to bathe")
    assert set(found.experts) == {LABELS[0], LABELS[2]}


@pytest.mark.parametrize(
    "text",
    [
        "My escrow payment went up again. Please classify the text below.",  # one domain
        "My escrow payment went up again. What is the capital of France?",  # the other part is for nobody
        "My escrow payment went up again. It was like that before too.",  # nobody is sure of the other part
        "Escrow. My mother said so.",  # parts too short to tell
    ],
)
def test_no_second_expert(text):
    found = router()(text)
    assert found.also == ()
    assert "also" not in found.as_dict()


def test_a_request_that_nobody_was_sure_of_goes_to_the_surer_of_two():
    """The whole scores 1/4 for all; the parts are sure. The two words meet in no single keyword."""
    split = {"escrow payment": LABELS[0], "mother refuses": LABELS[2]}

    class Parts(Keywords):
        """Unsure of anything with both."""

        def scored(self, text):
            both = "escrow payment" in text and "mother refuses" in text
            return dict.fromkeys(LABELS, 0.25) if both else super().scored(text)

    found = Router(Parts(split, LABELS), "parts", 0.5)("My escrow payment went up. My mother refuses to bathe.")
    assert set(found.experts) == {LABELS[0], LABELS[2]}
    assert (found.abstained, found.confidence) == (False, 0.9)


def test_parts():
    assert parts("One two three four. Five six seven eight!") == ["One two three four.", "Five six seven eight!"]
    assert parts("salt and pepper") == []
    assert len(parts("one two three four. " * 50)) == MAX_PARTS


def test_a_batch_is_its_requests_one_by_one():
    requests = ["My escrow went up", said("My mother", "and then?"), "", "Classify this"]
    assert router().batch(requests) == [router()(request) for request in requests]


def test_asynchronous():
    async def both():
        asked = router()
        return await asyncio.gather(asked.asynchronous("My escrow"), asked.asynchronous("My mother"))

    assert [route.expert for route in asyncio.run(both())] == [LABELS[0], LABELS[2]]


def test_threads_get_their_own_answers():
    asked, texts = router(), ["My escrow", "My mother", "Classify it", "The capital"] * 8
    expected, found = [router()(text) for text in texts], {}

    def ask(place):
        found[place] = asked(texts[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(texts))] == expected


def test_a_route_without_a_second_expert():
    assert decide({"a": 0.9, "general": 0.1}, 0.5, "s").experts == ("a",)
    assert Route("a", 1.0).experts == ("a",)
    assert np.isclose(sum(router()("My escrow").scores.values()), 1)


def test_parts_are_read_only_where_a_second_domain_has_a_share():
    """0.97 leaves each of the three others 0.01: under MIN_SHARE, so the strategy is asked once."""
    asked = router(sure=0.97)
    assert asked("My escrow payment went up again. My mother refuses to take a bath.").also == ()
    assert len(asked.strategy.asked) == 1
    assert may_span({"a/x": 0.01, "a/y": 0.015, "b/x": 0.5, "general": 0.4})
    assert not may_span({"a/x": 0.6, "a/y": 0.3, "general": 0.1})
