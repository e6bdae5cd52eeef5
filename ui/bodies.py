"""Response bodies of the OpenAI chat protocol. The routing decision travels in the namespaced field `expertsmith`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from router.assistant import Piece, TokenLogprob
from router.route import Route
from ui.tool_calls import read_calls

Body = dict[str, Any]


@dataclass(frozen=True)
class Collected:
    """One whole answer."""

    text: str
    finish_reason: str
    logprobs: tuple[TokenLogprob, ...]


def collected(pieces: Sequence[Piece]) -> list[Collected]:
    """The answers in the pieces of a reply, in the order of their numbers."""
    found = []
    for choice in sorted({piece.choice for piece in pieces}):
        own = [piece for piece in pieces if piece.choice == choice]
        reason = own[-1].finish_reason or "stop"
        found.append(Collected("".join(p.text for p in own), reason, tuple(entry for p in own for entry in p.logprobs)))
    return found


def route_body(route: Route, notice: str = "") -> Body:
    """The namespaced field: the routing decision, with the domain's notice where there is one."""
    return route.as_dict() | ({"notice": notice} if notice else {})


def route_headers(route: Route) -> dict[str, str]:
    """The routing decision for clients that see only headers; names outside ASCII are percent-encoded."""
    return {
        "X-Expertsmith-Expert": quote(route.expert, safe="/"),
        "X-Expertsmith-Confidence": f"{route.confidence:.4f}",
    }


def model_body(name: str, created: int, digest: str) -> Body:
    """One entry of the model list; `digest` tells which weights answer (empty: not known)."""
    return {"id": name, "object": "model", "created": created, "owned_by": "expertsmith", "digest": digest}


def usage_body(pieces: Sequence[Piece]) -> Body:
    """Token counts, from the last pieces of the answers; the prompt counts once."""
    last = [piece for piece in pieces if piece.finish_reason]
    prompt = max((piece.prompt_tokens for piece in last), default=0)
    completion = sum(piece.completion_tokens for piece in last)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def completion_body(head: Body, answers: Sequence[Collected], with_tools: bool) -> Body:
    """Whole answers; `head` has id, created, model and expertsmith."""
    choices = [choice_body(index, answer, with_tools) for index, answer in enumerate(answers)]
    return head | {"object": "chat.completion", "choices": choices}


def choice_body(index: int, answer: Collected, with_tools: bool) -> Body:
    """One answer of several."""
    message: Body = {"role": "assistant", "content": answer.text, "refusal": None}
    reason = answer.finish_reason
    said = read_calls(answer.text) if with_tools else None
    if said and said.tool_calls:
        message |= {"content": said.content, "tool_calls": list(said.tool_calls)}
        reason = "tool_calls" if reason == "stop" else reason
    elif said:
        message["content"] = said.content or ""
    logprobs = logprobs_body(answer.logprobs) if answer.logprobs else None
    return {"index": index, "message": message, "finish_reason": reason, "logprobs": logprobs}


def chunk_body(head: Body, delta: Body, piece: Piece | None = None) -> Body:
    """A piece of a streamed answer."""
    choice = {
        "index": piece.choice if piece else 0,
        "delta": delta,
        "finish_reason": piece.finish_reason if piece and not delta else None,
        "logprobs": logprobs_body(piece.logprobs) if piece and piece.logprobs and delta else None,
    }
    return head | {"object": "chat.completion.chunk", "choices": [choice]}


def logprobs_body(entries: Sequence[TokenLogprob]) -> Body:
    """The log-probabilities of the tokens of an answer; minus infinity becomes -9999, as JSON has none."""
    content = [
        token_body(entry.token, entry.logprob) | {"top_logprobs": [token_body(*rival) for rival in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def token_body(token: str, logprob: float) -> Body:
    """One token with its log-probability."""
    value = logprob if math.isfinite(logprob) else -9999.0
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def route_list(routes: Sequence[Route]) -> Mapping[str, Any]:
    """Several routing decisions."""
    return {"object": "list", "data": [route.as_dict() for route in routes]}


def event(body: Body) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(body)}\n\n"
