"""The service over real HTTP: the `openai` client and raw requests against uvicorn on a free loopback port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import openai
import pytest
import uvicorn

from domains.errors import UserError
from router.assistant import AUTO, Sampling
from tests.fakes_assistant import EXPERTS, OTHER_WORDS, ScriptedAssistant
from ui.schema import MAX_BODY_BYTES, MAX_CHARACTERS, MAX_TOKENS
from ui.service import MAX_IN_FLIGHT, check_bind, create_app, is_loopback, same_key, serve

KEY = "a-key-for-tests"
NOTICES = {"mortgage": "Not legal advice.", "caregiving": "In an emergency call 911."}
CARE = [{"role": "user", "content": "My mother wanders at night."}]
CARE_ANSWER = " ".join(["caregiving/conversation says:", *OTHER_WORDS])
BROKEN, REFUSED = "My mother broke it", "My mother refused"


@dataclass(frozen=True)
class Running:
    """A service that is up: its address and the assistant behind it."""

    url: str
    assistant: ScriptedAssistant
    key: str | None = None
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def client(self) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key or "unused", max_retries=0, timeout=20)
        self.clients.append(client)
        return client

    def post(self, path: str, body: object = None, **options) -> httpx.Response:
        if body is not None:
            options["content"] = body if isinstance(body, bytes) else json.dumps(body)
        return httpx.post(f"{self.url}{path}", timeout=20, **options)

    def chat(self, **fields) -> httpx.Response:
        return self.post("/v1/chat/completions", {"model": AUTO, "messages": CARE} | fields)


@contextmanager
def running(assistant: ScriptedAssistant, key: str | None = None) -> Iterator[Running]:
    app = create_app(assistant, key, NOTICES)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    service = Running(f"http://127.0.0.1:{port}", assistant, key)
    try:
        yield service
    finally:
        for client in service.clients:
            client.close()
        server.should_exit = True
        thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    failures = {BROKEN: RuntimeError("secret detail")}
    refusals = {REFUSED: UserError("The question is too long. Ask a shorter one.")}
    with running(ScriptedAssistant(failures=failures, refusals=refusals)) as up:
        yield up


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    with running(ScriptedAssistant(), KEY) as up:
        yield up


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_plain_answer_is_routed_and_the_decision_returned(service: Running) -> None:
    """12 pieces: the expert's name and 11 words; the fake counts 7 prompt tokens, so 19 in all."""
    raw = service.client.chat.completions.with_raw_response.create(model=AUTO, messages=CARE)
    answer = raw.parse()
    assert answer.choices[0].message.content == CARE_ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 12, 19)
    assert raw.headers["X-Expertsmith-Expert"] == "caregiving/conversation"
    assert raw.headers["X-Expertsmith-Confidence"] == "0.8400"
    route = answer.model_extra["expertsmith"]
    assert route["expert"] == "caregiving/conversation"
    assert route["scores"]["general"] == 0.04
    assert route["strategy"] == "few_shot"
    assert route["notice"] == NOTICES["caregiving"]


def test_named_expert_is_taken_and_settings_arrive(service: Running) -> None:
    answer = service.client.chat.completions.create(
        model="mortgage/structured", messages=CARE, max_tokens=3, temperature=0.5, top_p=0.9, seed=4, stop=["END"]
    )
    assert answer.choices[0].message.content == "mortgage/structured says: That sounds"
    assert answer.choices[0].finish_reason == "length"
    assert service.assistant.asked[-1][1:] == ("mortgage/structured", Sampling(3, 0.5, 0.9, 4, ("END",)))


def test_defaults_are_those_of_sampling(service: Running) -> None:
    assert service.chat(temperature=None, n=None, stream=None).status_code == 200
    assert service.assistant.asked[-1][2] == Sampling()


def test_newer_names_and_forms_of_the_protocol(service: Running) -> None:
    parts = [{"type": "text", "text": "My "}, {"type": "text", "text": "mother"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert service.chat(messages=messages, max_completion_tokens=2, max_tokens=9, stop="x").status_code == 200
    given, _, sampling = service.assistant.asked[-1]
    assert [(m.role, m.content) for m in given] == [("system", "Be brief."), ("user", "My mother")]
    assert sampling == Sampling(max_tokens=2, stop=("x",))


def test_stream_has_route_pieces_finish_and_usage(service: Running) -> None:
    stream = service.client.chat.completions.create(
        model=AUTO, messages=CARE, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].model_extra["expertsmith"]["expert"] == "caregiving/conversation"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all("expertsmith" not in chunk.model_extra for chunk in chunks[1:])
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == CARE_ANSWER
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-2:] == [None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 19
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_on_the_wire_ends_with_done(service: Running) -> None:
    response = service.chat(stream=True)
    events = response.text.strip().split("\n\n")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["X-Expertsmith-Expert"] == "caregiving/conversation"
    assert events[-1] == "data: [DONE]"
    assert all("usage" not in json.loads(e.removeprefix("data: ")) for e in events[:-1])


def test_stream_arrives_while_the_answer_is_made() -> None:
    """12 pieces 100 ms apart: when the first text is here, the fake still holds its lock for the other 11."""
    with running(ScriptedAssistant(delay_seconds=0.1)) as slow:
        stream = slow.client.chat.completions.create(model=AUTO, messages=CARE, stream=True)
        first = next(c for c in stream if c.choices[0].delta.content)
        assert slow.assistant.speaking.locked()
        assert first.choices[0].delta.content == "caregiving/conversation says:"
        assert len(list(stream)) >= 11


def test_hanging_up_frees_the_assistant() -> None:
    """The answer would take 50 s and holds the assistant; after the client leaves, the lock is free within 10 s."""
    with running(ScriptedAssistant(delay_seconds=0.05, words=["word"] * 1000)) as slow:
        body = {"model": AUTO, "messages": CARE, "stream": True, "max_tokens": MAX_TOKENS}
        with httpx.stream("POST", f"{slow.url}/v1/chat/completions", json=body, timeout=20) as response:
            assert next(response.iter_lines()).startswith("data: ")
            assert slow.assistant.speaking.locked()
        assert slow.assistant.speaking.acquire(timeout=10)
        slow.assistant.speaking.release()


def test_label_logprobs(service: Running) -> None:
    """Scripted: A -0.1, B -2.3, C minus infinity (sent as -9999); `top_logprobs` = 3 asks for all of them."""
    answer = service.client.chat.completions.create(
        model="general", messages=CARE, max_tokens=1, logprobs=True, top_logprobs=3
    )
    first = answer.choices[0].logprobs.content[0]
    assert answer.choices[0].message.content == first.token == "A"
    assert [(t.token, t.logprob) for t in first.top_logprobs] == [("A", -0.1), ("B", -2.3), ("C", -9999.0)]
    assert answer.model_extra["expertsmith"]["expert"] == "general"


def test_label_logprobs_of_auto_are_those_of_the_routed_expert(service: Running) -> None:
    assert (
        service.chat(max_tokens=1, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    )
    assert service.assistant.asked[-1][1] == "caregiving/conversation"


def test_models_are_auto_and_all_experts(service: Running) -> None:
    assert [model.id for model in service.client.models.list()] == [AUTO, *EXPERTS]
    assert service.client.models.retrieve("mortgage/structured").id == "mortgage/structured"
    with pytest.raises(openai.NotFoundError):
        service.client.models.retrieve("mortgage/nothing")


def test_route_by_text_and_by_messages(service: Running) -> None:
    by_text = service.post("/v1/route", {"text": "What is escrow?"}).json()
    assert by_text == service.post("/v1/route", {"messages": says("What is escrow?")}).json()
    assert by_text.keys() == {"expert", "confidence", "scores", "abstained", "strategy"}
    assert (by_text["expert"], by_text["confidence"]) == ("mortgage/conversation", 0.84)


def test_route_abstains_under_the_threshold(service: Running) -> None:
    """Without a keyword the best score is 0.36, under the fake's threshold of 0.5."""
    route = service.post("/v1/route", {"text": "Hello"}).json()
    assert (route["expert"], route["abstained"], route["confidence"]) == ("general", True, 0.36)


def test_unknown_model_is_404_and_suggests_the_nearest(service: Running) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        service.client.chat.completions.create(model="mortgage/structure", messages=CARE)
    error = caught.value.body
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "Did you mean 'mortgage/structured'?" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"), [({"n": 2}, "n"), ({"messages": [{"role": "user"}]}, "messages[0].content")]
)
def test_bad_field_is_refused_by_name(service: Running, fields: dict[str, object], param: str) -> None:
    """All rules are in test_schema; here two of them arrive as 400 and never reach the assistant."""
    before = len(service.assistant.asked)
    response = service.chat(**fields)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert len(service.assistant.asked) == before


@pytest.mark.parametrize("fields", [{"n": 1}, {"max_tokens": MAX_TOKENS}, {"messages": says("a" * MAX_CHARACTERS)}])
def test_the_bounds_themselves_are_allowed(service: Running, fields: dict[str, object]) -> None:
    assert service.chat(**fields).status_code == 200


def test_unknown_fields_are_ignored(service: Running) -> None:
    assert service.chat(frequency_penalty=0.5, user="someone", colour="blue").status_code == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"text"', b"", b"\xff\xfe", b'{"model": "auto", "messages": "\\ud800"}']
)
def test_body_that_is_no_request_is_refused(service: Running, body: bytes) -> None:
    response = service.post("/v1/chat/completions", body)
    assert response.status_code == 400
    assert response.json()["error"].keys() == {"message", "type", "code", "param"}


@pytest.mark.parametrize(
    "body", [{}, {"text": " "}, {"text": "a", "messages": CARE}, {"text": "a" * 32_001}, {"text": 5}]
)
def test_bad_route_request_is_refused(service: Running, body: dict[str, object]) -> None:
    response = service.post("/v1/route", body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "text")


def test_large_body_is_refused_and_the_largest_is_read(service: Running) -> None:
    """A body of exactly the bound passes; with one byte more it is refused, declared or in pieces."""
    body = json.dumps({"model": AUTO, "messages": CARE}).encode()
    largest = body + b" " * (MAX_BODY_BYTES - len(body))
    assert service.post("/v1/chat/completions", largest).status_code == 200
    for too_large in (largest + b" ", iter([largest, b" "])):
        response = httpx.post(f"{service.url}/v1/chat/completions", content=too_large, timeout=20)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("stream", [False, True])
def test_user_error_before_the_first_piece_is_400(service: Running, stream: bool) -> None:
    response = service.chat(messages=says(REFUSED), stream=stream)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "The question is too long. Ask a shorter one."


def test_bug_is_500_and_tells_nothing(service: Running) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        service.client.chat.completions.create(model=AUTO, messages=says(BROKEN))
    assert caught.value.status_code == 500
    assert caught.value.body["type"] == "server_error"
    assert "secret" not in str(caught.value)
    assert not service.assistant.speaking.locked()


def test_bug_within_a_stream_ends_it_with_an_error_event(service: Running) -> None:
    response = service.chat(messages=says(BROKEN), stream=True)
    events = response.text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    with pytest.raises(openai.APIError, match="failed on this request"):
        list(service.client.chat.completions.create(model=AUTO, messages=says(BROKEN), stream=True))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/route", 405)])
def test_wrong_address_has_the_error_body(service: Running, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{service.url}{path}", timeout=20)
    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "code", "param"}


def test_one_request_too_many_is_told_to_wait() -> None:
    """The assistant is held, so 16 requests wait; the next is refused at once, and /health still answers."""
    with running(ScriptedAssistant()) as busy:
        with busy.assistant.speaking:
            threads = [threading.Thread(target=busy.chat, daemon=True) for _ in range(MAX_IN_FLIGHT)]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(busy.assistant.asked) == MAX_IN_FLIGHT)
            response = busy.chat()
            assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
            assert response.json()["error"]["type"] == "rate_limit_error"
            assert httpx.get(f"{busy.url}/health", timeout=5).json() == {"status": "ok"}
        for thread in threads:
            thread.join()
        assert busy.chat().status_code == 200


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/auto"),
        ("POST", "/v1/route"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/health/../v1/models"),
        ("GET", "/anything"),
    ],
)
@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
def test_every_route_but_health_asks_for_the_key(locked: Running, method: str, path: str, given: str | None) -> None:
    headers = {"Authorization": given} if given else {}
    response = httpx.request(method, f"{locked.url}{path}", headers=headers, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_health_is_open_and_the_right_key_opens_the_rest(locked: Running) -> None:
    assert httpx.get(f"{locked.url}/health", timeout=20).status_code == 200
    assert len(list(locked.client.models.list())) == 1 + len(EXPERTS)
    assert locked.client.chat.completions.create(model=AUTO, messages=CARE).choices[0].message.content == CARE_ANSWER


def test_no_documentation_pages_and_no_cors(service: Running) -> None:
    assert httpx.get(f"{service.url}/docs", timeout=20).status_code == 404
    response = service.chat(messages=CARE)
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("host", "status"), [("evil.example:8000", 403), ("localhost:1", 200), ("[::1]:8000", 200)])
def test_without_a_key_other_host_names_are_refused(service: Running, host: str, status: int) -> None:
    assert httpx.get(f"{service.url}/v1/models", headers={"Host": host}, timeout=20).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_serving_other_machines_needs_a_key(host: str) -> None:
    with pytest.raises(UserError, match="API key"):
        check_bind(host, None)
    check_bind(host, KEY)


def test_serve_checks_before_it_binds() -> None:
    """192.0.2.1 is for documentation (RFC 5737): no machine has it, so a missing check cannot open a port."""
    with pytest.raises(UserError, match="API key"):
        serve(ScriptedAssistant(), "192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_bind(host, None)


def test_blank_key_is_refused_even_here() -> None:
    with pytest.raises(UserError, match="blank"):
        check_bind("127.0.0.1", " ")


def test_keys_of_any_text_compare() -> None:
    assert same_key("clé", "clé")
    assert not same_key("", KEY)
