"""Requests made from the service's own OpenAPI document, good and bad, by schemathesis, over real HTTP.

No answer is a server error, every status and body is one that the document declares, and what the document forbids is
refused. Then bytes that are no requests at all.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes_assistant import ScriptedAssistant
from tests.ui.test_service import CARE, KEY, Running, running
from ui.openapi import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
HEADERS = {"Authorization": f"Bearer {KEY}"}
OPERATIONS = [
    ("/health", "GET"),
    ("/ready", "GET"),
    ("/metrics", "GET"),
    ("/v1/models", "GET"),
    ("/v1/models/{name}", "GET"),
    ("/v1/route", "POST"),
    ("/v1/chat/completions", "POST"),
]


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    with running(ScriptedAssistant(words=["yes"]), KEY) as service:
        yield service


@pytest.fixture(scope="module")
def api(up: Running) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{up.url}/openapi.json", headers=HEADERS)


GOOD = [(path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS]
BAD = [(path, method, GenerationMode.NEGATIVE) for path, method in OPERATIONS if method == "POST"]


@pytest.mark.parametrize(("path", "method", "mode"), GOOD + BAD)
def test_no_request_breaks_the_service(
    api: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = api[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        response = case.call(headers=HEADERS)
        case.validate_response(response, checks=CHECKS, headers=HEADERS)

    check()


def test_the_document_names_every_route(up: Running) -> None:
    named = {(path, method.upper()) for path, item in document()["paths"].items() for method in item}
    assert named == set(OPERATIONS)
    assert httpx.get(f"{up.url}/openapi.json", headers=HEADERS, timeout=20).json() == document()


@pytest.mark.parametrize("seed", range(3))
def test_bodies_with_random_damage_are_answered(up: Running, seed: int) -> None:
    """A good request with some of its bytes changed, cut or doubled: an answer or a refusal, never a 5xx."""
    chance = random.Random(seed)
    good = json.dumps({"model": "auto", "messages": CARE, "n": 1, "stop": ["x"], "stream": False}).encode()
    with httpx.Client(headers=HEADERS, timeout=20) as client:
        for _ in range(60):
            body = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                place = chance.randrange(len(body))
                body[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 4))
            response = client.post(f"{up.url}/v1/chat/completions", content=bytes(body))
            assert response.status_code < 500
            assert response.status_code == 200 or response.json()["error"]["message"]


def test_deeply_nested_json_is_refused(up: Running) -> None:
    for body in (b'{"model":' * 2000, b"[" * 100_000, b'{"messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}"):
        response = httpx.post(f"{up.url}/v1/chat/completions", content=body, headers=HEADERS, timeout=20)
        assert response.status_code == 400


@pytest.mark.parametrize(
    "raw", [b"\x00" * 200, b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/route HTTP/1.1\r\nContent-Length: -5\r\n\r\n"]
)
def test_what_is_no_http_does_not_stop_the_service(up: Running, raw: bytes) -> None:
    port = int(up.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(raw)
        client.settimeout(5)
        client.recv(4096)
    assert httpx.get(f"{up.url}/health", timeout=20).status_code == 200
