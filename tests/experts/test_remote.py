"""Answers from a scripted endpoint: what comes back, what fails, what stops the run."""

import json

import pytest

from domains.errors import UserError
from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding
from experts.remote import GIVE_UP_AFTER, RemoteModel
from judges.endpoint import Endpoint
from tests.fakes_judges import failed, said, scripted_endpoint

PROMPTS = [(Message("user", f"Question {i}?"),) for i in range(8)]
DECODING = Decoding(7, 4)


def answerer(url, folder, **settings):
    settings = {"retries": 0, "concurrency": 2, "timeout_seconds": 5.0} | settings
    return Answerer(RemoteModel(Endpoint(url, "m1", **settings)), AnswerStore.open(folder / "a.jsonl"))


def asked(body):
    return body["messages"][-1]["content"]


def test_every_prompt_is_asked_as_it_is_and_answered_in_order(tmp_path):
    with scripted_endpoint(lambda body: said(f" About {asked(body)} ")) as endpoint:
        answers = answerer(endpoint.url, tmp_path)(PROMPTS, DECODING)
    assert [answer.text for answer in answers] == [f"About Question {i}?" for i in range(8)]
    assert all(answer.finished for answer in answers)
    for body in endpoint.requests:
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("m1", 0, 7)
        assert [message["role"] for message in body["messages"]] == ["user"]


def test_a_row_that_is_refused_fails_and_only_it_is_asked_again(tmp_path):
    with scripted_endpoint(lambda body: failed(400, "too long") if "3" in asked(body) else said("Yes.")) as endpoint:
        answers = answerer(endpoint.url, tmp_path)(PROMPTS, DECODING)
    assert [bool(answer.failure) for answer in answers] == [i == 3 for i in range(8)]
    assert "too long" in answers[3].failure
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert sorted(row["status"] for row in rows) == ["failed", *["ok"] * 7]
    assert answerer(endpoint.url, tmp_path).num_missing(PROMPTS, DECODING) == 1


def test_retries_are_bounded(tmp_path):
    """Two retries: each of the two prompts is asked three times."""
    with scripted_endpoint(lambda body: failed(503, "busy")) as endpoint:
        answers = answerer(endpoint.url, tmp_path, retries=2)(PROMPTS[:2], DECODING)
    assert all("busy" in answer.failure for answer in answers)
    assert len(endpoint.requests) == 2 * 3


def test_a_retry_that_works_is_no_failure(tmp_path):
    seen = []

    def script(body):
        seen.append(asked(body))
        return failed(500, "once") if seen.count(asked(body)) == 1 else said("Yes.")

    with scripted_endpoint(script) as endpoint:
        answers = answerer(endpoint.url, tmp_path, retries=1)(PROMPTS[:2], DECODING)
    assert [answer.failure for answer in answers] == ["", ""]


def test_cut_and_filtered_answers(tmp_path):
    def script(body):
        status, reply = said("Some text")
        reply["choices"][0]["finish_reason"] = "length" if "0" in asked(body) else "content_filter"
        reply["usage"] = {"completion_tokens": 7, "prompt_tokens": 1, "total_tokens": 8}
        return status, reply

    with scripted_endpoint(script) as endpoint:
        cut, filtered = answerer(endpoint.url, tmp_path)(PROMPTS[:2], DECODING)
    assert (cut.text, cut.finished, cut.num_tokens, cut.failure) == ("Some text", False, 7, "")
    assert "filtered" in filtered.failure


def test_an_endpoint_that_never_answers_is_a_user_error(tmp_path):
    """Nothing listens on port 9 of this machine."""
    with pytest.raises(UserError, match="cannot be reached"):
        answerer("http://127.0.0.1:9/v1", tmp_path)(PROMPTS, DECODING)
    assert len(PROMPTS) > GIVE_UP_AFTER


def test_a_wrong_model_is_a_user_error(tmp_path):
    with scripted_endpoint(lambda body: failed(404, "no such model")) as endpoint, pytest.raises(UserError, match="m1"):
        answerer(endpoint.url, tmp_path)(PROMPTS, DECODING)


def test_the_digest_is_the_url_and_the_name():
    digests = {RemoteModel(Endpoint(url, model)).digest for url in ("u1", "u2") for model in ("a", "b")}
    assert len(digests) == 4
    assert RemoteModel(Endpoint("u1", "a", retries=7)).digest in digests
