"""The load generator finds what is lost and what is not, and the service under it loses nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import uvicorn

from router.assistant import Busy, Closing
from tests.fakes_assistant import ScriptedAssistant
from tests.ui.test_service import running, says
from ui.guard import Bounds
from ui.load import Plan, Tally, run_load
from ui.server import serve_and_drain
from ui.service import create_app


def test_a_mixed_load_loses_nothing() -> None:
    """Six clients with 12 requests each; the fake serves one at a time. All kinds of clients have an outcome."""
    with running(ScriptedAssistant(delay_seconds=0.001)) as up:
        tally = run_load(up.url, Plan(seconds=0, clients=6, at_least=12, seed=1))
        assert not up.assistant.speaking.locked()
    row = tally.row()
    assert (row["lost"], row["broken"], row["refused"], row["reported"]) == (0, 0, 0, 0)
    assert min(row["completed"], row["left"], row["malformed"]) > 0
    assert row["requests"] == row["completed"] + row["left"] + row["malformed"] == 72
    assert 0 < row["time_to_first_token_p50_ms"] <= row["time_to_first_token_p95_ms"]
    assert row["tokens_per_second"] > 0


def test_more_clients_than_places_are_refused_and_none_is_lost() -> None:
    with running(ScriptedAssistant(delay_seconds=0.002), bounds=Bounds(max_in_flight=2)) as up:
        row = run_load(up.url, Plan(seconds=0, clients=8, at_least=10)).row()
    assert row["lost"] == 0
    assert row["refused"] > 0
    assert row["completed"] > 0


def bad_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> ThreadingHTTPServer:
    """A server that answers every POST its own way."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    """A stream without its end, a plain answer that is no answer."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')


def fails(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(500)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@pytest.mark.parametrize(("answer", "found"), [(fails, "lost"), (hangs_up, "broken")])
def test_a_bad_server_is_found_out(answer: Callable[[BaseHTTPRequestHandler], None], found: str) -> None:
    server = bad_server(answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tally = run_load(f"http://127.0.0.1:{server.server_port}", Plan(seconds=0, clients=3, at_least=2))
    server.shutdown()
    server.server_close()
    assert tally.outcomes[found] == tally.outcomes.total() > 0


def test_a_stream_without_its_end_is_lost() -> None:
    server = bad_server(cut_short)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tally = run_load(f"http://127.0.0.1:{server.server_port}", Plan(seconds=0, clients=1, kinds={"stream": 1}))
    server.shutdown()
    server.server_close()
    assert tally.outcomes["lost"] == tally.outcomes.total() > 0


def test_numbers_by_hand() -> None:
    """Percentiles of 1..100 ms with linear interpolation: 50.5 and 95.05; 30 tokens in 2 seconds are 15 a second."""
    tally = Tally(first=[i / 1000 for i in range(1, 101)], tokens=30, seconds=2.0)
    tally.outcomes.update(completed=3, left=1)
    row = tally.row()
    assert (row["time_to_first_token_p50_ms"], row["time_to_first_token_p95_ms"]) == (50.5, 95.0)
    assert row["per_token_p50_ms"] is None
    assert (row["tokens_per_second"], row["requests_per_second"], row["requests"]) == (15.0, 2.0, 4)


def test_a_service_that_is_asked_to_end_finishes_what_it_accepted() -> None:
    """An answer of about 0.6 s is under way when the server is to end; it arrives whole, then the server has ended."""
    assistant = ScriptedAssistant(delay_seconds=0.05)
    app = create_app(assistant)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=lambda: asyncio.run(serve_and_drain(server, assistant, 7.0)), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/chat/completions"
    found: list[str] = []
    body = {"model": "general", "messages": says("Hi"), "stream": True}
    asking = threading.Thread(target=lambda: found.append(httpx.post(url, json=body, timeout=30).text))
    asking.start()
    while not assistant.speaking.locked():
        time.sleep(0.005)
    server.should_exit = True
    asking.join(30)
    thread.join(30)
    assert not thread.is_alive()
    assert assistant.closed_within == [7.0]
    events = [line for line in found[0].split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    text = "".join(json.loads(e[6:])["choices"][0]["delta"].get("content", "") for e in events[:-1])
    assert text.endswith("write it down.")


@pytest.mark.parametrize("error", [Busy("full"), Closing("closing")])
def test_refusals_are_waited_out(error: Exception) -> None:
    with running(ScriptedAssistant(busy=error)) as up:
        row = run_load(up.url, Plan(seconds=0, clients=2, kinds={"plain": 1, "stream": 1})).row()
    assert row["lost"] == 0
    assert row["refused"] > 0
