"""The service over real HTTP: the `openai` client and raw requests against uvicorn on a free loopback port."""

from __future__ import annotations

import json
import socket
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
from router.assistant import AUTO, Busy, Closing, Sampling, TimedOut
from tests.fakes_assistant import EXPERTS, OTHER_WORDS, ScriptedAssistant
from ui.guard import Bounds, is_loopback, key_number, same_key
from ui.schema import MAX_ANSWERS, MAX_BODY_BYTES, MAX_CHARACTERS, MAX_TOKENS
from ui.server import Address, check_bind, serve
from ui.service import create_app

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

    def chat_from(self, origin: str) -> httpx.Response:
        return self.post("/v1/chat/completions", {"model": AUTO, "messages": CARE}, headers={"Origin": origin})


@contextmanager
def running(assistant: ScriptedAssistant, key: str | None = None, **settings) -> Iterator[Running]:
    app = create_app(assistant, key, NOTICES, **settings)
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
            lines = response.iter_lines()  # without a name it is dropped at once, which closes the connection
            assert next(lines).startswith("data: ")
            wait_for(slow.assistant.speaking.locked)
        assert slow.assistant.speaking.acquire(timeout=10)
        slow.assistant.speaking.release()


def test_logprobs_of_every_token(service: Running) -> None:
    """Scripted: every token -0.1; A -0.1, B -2.3, C minus infinity (sent as -9999) in its place."""
    answer = service.client.chat.completions.create(
        model="general", messages=CARE, max_tokens=2, logprobs=True, top_logprobs=3
    )
    first, second = answer.choices[0].logprobs.content
    assert (first.token, first.logprob, second.token) == ("general says:", -0.1, "That")
    assert [(t.token, t.logprob) for t in first.top_logprobs] == [("A", -0.1), ("B", -2.3), ("C", -9999.0)]
    assert answer.model_extra["expertsmith"]["expert"] == "general"


def test_logprobs_without_alternatives_and_streamed(service: Running) -> None:
    plain = service.chat(max_tokens=1, logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert [(entry["token"], entry["top_logprobs"]) for entry in plain] == [("caregiving/conversation says:", [])]
    stream = service.client.chat.completions.create(
        model=AUTO, messages=CARE, max_tokens=2, logprobs=True, top_logprobs=1, stream=True
    )
    found = [c.choices[0].logprobs.content[0] for c in stream if c.choices[0].logprobs]
    assert [(entry.token, entry.top_logprobs[0].token) for entry in found] == [
        ("caregiving/conversation says:", "A"),
        ("That", "A"),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers(service: Running, stream: bool) -> None:
    """The fake's second answer ends with its number: 12 + 13 tokens, and the prompt's 7 once."""
    given = service.client.chat.completions.create(
        model=AUTO, messages=CARE, n=2, stream=stream, stream_options={"include_usage": True} if stream else None
    )
    if stream:
        chunks = list(given)
        texts = ["".join(c.choices[0].delta.content or "" for c in chunks if c.choices and c.choices[0].index == i)
                 for i in range(2)]  # fmt: skip
        ends = [(c.choices[0].index, c.choices[0].finish_reason) for c in chunks if c.choices]
        assert [end for end in ends if end[1]] == [(0, "stop"), (1, "stop")]
        usage = chunks[-1].usage
    else:
        texts = [choice.message.content for choice in given.choices]
        assert [choice.index for choice in given.choices] == [0, 1]
        usage = given.usage
    assert texts == [CARE_ANSWER, f"{CARE_ANSWER} (1)"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 25)


def test_the_experts_head_chooses_among_answers(service: Running) -> None:
    """The fake's head likes the last of 4 best, then the third; they are sampled at temperature 1 unless said."""
    answer = service.client.chat.completions.create(model=AUTO, messages=CARE, n=2, extra_body={"best_of": 4})
    assert [choice.message.content[-3:] for choice in answer.choices] == ["(3)", "(2)"]
    assert answer.model_extra["expertsmith"]["rewards"] == [3.0, 2.0]
    assert answer.model_extra["expertsmith"]["confidence"] == 0.84
    assert answer.usage.completion_tokens == 12 + 3 * 13
    sampling = service.assistant.asked[-1][2]
    assert (sampling.num_answers, sampling.temperature) == (4, 1.0)


def test_an_expert_without_a_head_says_so_before_anything_is_generated(service: Running) -> None:
    before = len(service.assistant.asked)
    response = service.chat(model="mortgage/structured", best_of=2)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "user_error")
    assert "no preference head" in response.json()["error"]["message"]
    assert len(service.assistant.asked) == before


def test_a_schema_and_tools_reach_the_assistant(service: Running) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": schema, "strict": True}}
    tool = {"type": "function", "function": {"name": "rate", "parameters": {"type": "object"}}}
    assert service.chat(response_format=form, tools=[tool]).status_code == 200
    sampling = service.assistant.asked[-1][2]
    assert json.loads(sampling.json_schema) == schema
    assert json.loads(sampling.tools) == [tool]
    assert service.chat(response_format={"type": "json_object"}, tools=[tool], tool_choice="none").status_code == 200
    sampling = service.assistant.asked[-1][2]
    assert (json.loads(sampling.json_schema), sampling.tools) == ({"type": "object"}, None)


CALL = '<tool_call>{"name": "rate", "arguments": {"years": 30}}</tool_call>'


@pytest.mark.parametrize("stream", [False, True])
def test_function_calls_come_back_as_calls(stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "rate", "parameters": {"type": "object"}}}
    with running(ScriptedAssistant(words=[CALL])) as up:
        given = up.client.chat.completions.create(model="general", messages=CARE, tools=[tool], stream=stream)
        if stream:
            chunks = [chunk.choices[0] for chunk in given]
            call, *more = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
            assert (call.function.arguments, {piece.index for piece in more}) == ("", {0})
            call.function.arguments = "".join(piece.function.arguments for piece in more)
            assert chunks[-1].finish_reason == "tool_calls"
            assert "".join(chunk.delta.content or "" for chunk in chunks) == "general says:"
        else:
            (call,) = given.choices[0].message.tool_calls
            assert given.choices[0].finish_reason == "tool_calls"
            assert given.choices[0].message.content == "general says:"
        assert (call.function.name, json.loads(call.function.arguments)) == ("rate", {"years": 30})
        assert up.chat(model="general").json()["choices"][0]["message"]["content"] == f"general says: {CALL}"


def test_earlier_calls_and_their_results_are_read(service: Running) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "rate", "arguments": '{"years": 30}'}}
    messages = [*CARE, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "6.5"}]  # fmt: skip
    assert service.chat(messages=messages).status_code == 200
    _, calling, told = service.assistant.asked[-1][0]
    assert (calling.role, told.role, told.content) == ("assistant", "user", "<tool_response>\n6.5\n</tool_response>")
    assert '{"name": "rate", "arguments": {"years": 30}}' in calling.content


def test_models_are_auto_and_all_experts(service: Running) -> None:
    assert [model.id for model in service.client.models.list()] == [AUTO, *EXPERTS]
    found = service.client.models.retrieve("mortgage/structured")
    assert (found.id, found.model_extra) == ("mortgage/structured", {"digest": "weights of mortgage/structured"})
    with pytest.raises(openai.NotFoundError):
        service.client.models.retrieve("mortgage/nothing")


def test_route_by_text_and_by_messages(service: Running) -> None:
    by_text = service.post("/v1/route", {"text": "What is escrow?"}).json()
    assert by_text == service.post("/v1/route", {"messages": says("What is escrow?")}).json()
    assert by_text.keys() == {"expert", "confidence", "scores", "abstained", "strategy"}
    assert (by_text["expert"], by_text["confidence"]) == ("mortgage/conversation", 0.84)


def test_route_of_several_texts(service: Running) -> None:
    before = len(service.assistant.asked)
    found = service.post("/v1/route", {"texts": ["What is escrow?", "Hello"]}).json()
    assert [route["expert"] for route in found["data"]] == ["mortgage/conversation", "general"]
    assert len(service.assistant.asked) == before, "nothing is generated"


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
    ("fields", "param"), [({"n": MAX_ANSWERS + 1}, "n"), ({"messages": [{"role": "user"}]}, "messages[0].content")]
)
def test_bad_field_is_refused_by_name(service: Running, fields: dict[str, object], param: str) -> None:
    """All rules are in test_schema; here two of them arrive as 400 and never reach the assistant."""
    before = len(service.assistant.asked)
    response = service.chat(**fields)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert len(service.assistant.asked) == before


@pytest.mark.parametrize(
    "fields", [{"n": MAX_ANSWERS}, {"max_tokens": MAX_TOKENS}, {"messages": says("a" * MAX_CHARACTERS)}]
)
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
    "body", [{}, {"text": " "}, {"text": "a", "messages": CARE}, {"text": "a" * 32_001}, {"text": 5},
             {"texts": []}, {"texts": ["a"] * 65}, {"texts": ["a", " "]}, {"texts": ["a" * 20_000] * 2}]
)  # fmt: skip
def test_bad_route_request_is_refused(service: Running, body: dict[str, object]) -> None:
    response = service.post("/v1/route", body)
    field = "texts" if "texts" in body else "text"
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)


def test_large_body_is_refused_and_the_largest_is_read(service: Running) -> None:
    """A body of exactly the bound passes; with one byte more it is refused, declared or in pieces."""
    body = json.dumps({"model": AUTO, "messages": CARE}).encode()
    largest = body + b" " * (MAX_BODY_BYTES - len(body))
    assert service.post("/v1/chat/completions", largest).status_code == 200
    for too_large in (largest + b" ", iter([largest, b" "])):
        response = httpx.post(f"{service.url}/v1/chat/completions", content=too_large, timeout=20)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_is_announced_too_large_is_not_waited_for(service: Running) -> None:
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n")
        assert b" 413 " in client.recv(4096)


def test_a_client_that_leaves_within_its_body_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("ERROR"), running(ScriptedAssistant()) as up:
        port = int(up.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        wait_for(lambda: 'status="499"' in httpx.get(f"{up.url}/metrics", timeout=20).text)
    assert caplog.text == ""


def test_an_error_from_below_names_its_field() -> None:
    with running(ScriptedAssistant(busy=UserError("Too long. Start a new one.", "messages"))) as up:
        error = up.chat().json()["error"]
    assert (error["code"], error["param"]) == ("user_error", "messages")


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
    with running(ScriptedAssistant(), bounds=Bounds(max_in_flight=16)) as busy:
        with busy.assistant.speaking:
            threads = [threading.Thread(target=busy.chat, daemon=True) for _ in range(16)]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(busy.assistant.asked) == 16)
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
        ("GET", "/ready"),
        ("GET", "/metrics"),
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
        serve(create_app(ScriptedAssistant()), ScriptedAssistant(), Address("192.0.2.1"))


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


def test_any_of_several_keys_opens_and_each_is_a_client_of_its_own() -> None:
    with running(ScriptedAssistant(), "first-key second-key") as up:
        for key in ("second-key", "first-key"):
            body = json.dumps({"model": AUTO, "messages": CARE})
            assert up.post("/v1/chat/completions", body.encode(), headers={"Authorization": f"Bearer {key}"}).is_success
        assert up.assistant.clients == ["1@127.0.0.1", "0@127.0.0.1"]
        denied = up.post(
            "/v1/chat/completions", body.encode(), headers={"Authorization": "Bearer first-key second-key"}
        )
        assert denied.status_code == 401
    assert key_number("x", ("a", "b")) is None


def test_pages_of_other_sites_cannot_ask(service: Running) -> None:
    """A page may send a plain POST to this machine without asking first; the browser adds its origin."""
    for origin, status in (("https://evil.example", 403), ("null", 403), ("http://localhost:7860", 200)):
        assert service.chat_from(origin).status_code == status


def test_every_answer_has_the_security_headers(locked: Running) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        headers = httpx.get(f"{locked.url}{path}", timeout=20).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert len(headers["X-Request-Id"]) == 32


def test_ready_until_it_closes() -> None:
    with running(ScriptedAssistant()) as up:
        assert httpx.get(f"{up.url}/ready", timeout=20).json() == {"status": "ready"}
        up.assistant.busy = Closing("The service is shutting down.")
        response = httpx.get(f"{up.url}/ready", timeout=20)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert httpx.get(f"{up.url}/health", timeout=20).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (Busy("9 answers are waiting already.", 6.2), 429, "busy", "7"),
        (Closing("The service is shutting down."), 503, "shutting_down", "5"),
        (TimedOut("Not finished within 1 seconds."), 504, "timeout", None),
    ],
)
def test_a_full_or_late_or_closing_assistant(stream: bool, error: Exception, status: int, code: str, wait: str) -> None:
    with running(ScriptedAssistant(busy=error)) as up:
        response = up.chat(stream=stream)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert response.headers.get("Retry-After") == wait


def test_a_response_that_takes_too_long_is_given_up() -> None:
    """11 words, a second apart, against a bound of half a second."""
    with running(ScriptedAssistant(delay_seconds=1), bounds=Bounds(response_seconds=0.5)) as up:
        response = up.chat()
        assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")


def test_a_body_that_does_not_come_is_given_up() -> None:
    with running(ScriptedAssistant(), bounds=Bounds(body_seconds=0.2)) as up:
        port = int(up.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in client.recv(4096)


def test_a_plain_client_that_leaves_ends_its_answer() -> None:
    """The answer would take 50 s; the client gives up after half a second, and within 10 s the fake is free."""
    with running(ScriptedAssistant(delay_seconds=0.05, words=["word"] * 1000)) as slow:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{slow.url}/v1/chat/completions", json={"model": AUTO, "messages": CARE}, timeout=0.5)
        assert slow.assistant.speaking.acquire(timeout=10)
        slow.assistant.speaking.release()


def test_metrics_count_requests_tokens_and_routes() -> None:
    with running(ScriptedAssistant()) as up:
        assert up.chat().status_code == 200
        assert up.post("/v1/chat/completions", b"{").status_code == 400
        httpx.get(f"{up.url}/secret/{KEY}", timeout=20)
        text = httpx.get(f"{up.url}/metrics", timeout=20).text
    for line in (
        'expertsmith_requests_total{path="/v1/chat/completions",status="200"} 1.0',
        'expertsmith_requests_total{path="/v1/chat/completions",status="400"} 1.0',
        'expertsmith_requests_total{path="other",status="404"} 1.0',
        'expertsmith_tokens_total{kind="completion"} 12.0',
        'expertsmith_routed_total{abstained="false",expert="caregiving/conversation"} 1.0',
        "expertsmith_time_to_first_token_seconds_count 1.0",
        "expertsmith_backend_running 0.0",
    ):
        assert line in text
    assert KEY not in text


def test_neither_prompts_nor_keys_nor_messages_of_bugs_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The failure repeats the question, as a tokenizer's error may."""
    caplog.set_level("DEBUG")
    question = "My mother told me a secret"
    with running(ScriptedAssistant(failures={question: RuntimeError(f"cannot read {question}")}), KEY) as up:
        body = json.dumps({"model": AUTO, "messages": says(question)}).encode()
        response = up.post("/v1/chat/completions", body, headers={"Authorization": f"Bearer {KEY}"})
        assert response.status_code == 500
    ours = "".join(
        r.getMessage() + str(r.exc_info) for r in caplog.records if not r.name.startswith(("http", "openai"))
    )
    assert "failed with RuntimeError" in ours
    assert "secret" not in ours
    assert KEY not in ours


def test_prompts_are_logged_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running(ScriptedAssistant(), log_prompts=True) as up:
        assert up.chat().status_code == 200
    assert "wanders at night" in caplog.text
