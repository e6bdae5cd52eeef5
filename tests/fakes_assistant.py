"""An Assistant without a model: keywords route, the answer is scripted, one request is served at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domains.domain import GENERAL
from domains.errors import UserError, unknown_name
from domains.example import Message, last_user_turn
from router.assistant import AUTO, Piece, Reply, Sampling, TokenLogprob
from router.route import Route, decide, tool_route
from router.tool_requests import asks_for_calculation, tools_expert

EXPERTS = (
    "mortgage/conversation",
    "mortgage/structured",
    "caregiving/conversation",
    "caregiving/structured",
    GENERAL,
)
KEYWORDS = {
    "mother": "caregiving/conversation",
    "escrow": "mortgage/conversation",
    "classify": "mortgage/structured",
    "capital": GENERAL,
}
BEST_SCORE = 0.84
UNSURE_SCORE = 0.36
THRESHOLD = 0.5
OTHER_WORDS = ("That", "sounds", "hard.", "Call", "the", "servicer", "first,", "then", "write", "it", "down.")


@dataclass
class ScriptedAssistant:
    """Answers `"{expert} says: That sounds hard. ..."` word by word, `delay_seconds` apart.

    The best expert of a request with a keyword gets 0.84, the four others 0.04 each; without a keyword
    `mortgage/structured` gets 0.36 and the others 0.16 each, which is under the threshold: the router abstains.
    A question in `failures` raises that error instead of its third piece; one in `refusals` before its first.
    With `extra` experts, a tools expert among them gets what is tool-shaped, as the real router does. Answers take
    their words from `scripts` while there are some, each once. `asked` keeps (messages, expert, sampling) of every call
    and `clients` who called; while `busy` is set, every call raises it; `speaking` is held while an answer is spoken.
    """

    delay_seconds: float = 0.0
    words: Sequence[str] = OTHER_WORDS
    failures: Mapping[str, Exception] = field(default_factory=dict)
    refusals: Mapping[str, Exception] = field(default_factory=dict)
    asked: list[tuple[tuple[Message, ...], str, Sampling | None]] = field(default_factory=list)
    speaking: threading.Lock = field(default_factory=threading.Lock)
    busy: Exception | None = None
    clients: list[str] = field(default_factory=list)
    closed_within: list[float] = field(default_factory=list)
    extra: tuple[str, ...] = ()
    scripts: list[Sequence[str]] = field(default_factory=list)

    @property
    def experts(self) -> tuple[str, ...]:
        return (*EXPERTS, *self.extra)

    def check_room(self, client: str, num_answers: int) -> None:
        """Busy where that is scripted."""
        if self.busy is not None:
            raise self.busy

    def route(self, messages: Sequence[Message], expert: str = AUTO) -> Route:
        if expert not in (AUTO, *self.experts):
            raise unknown_name("expert", expert, (AUTO, *self.experts))
        tools = tools_expert(self.experts)
        if expert == AUTO and tools and asks_for_calculation(messages):
            return tool_route(tools, "calculation")
        question = last_user_turn(tuple(messages))
        return scripted_route(question) if expert == AUTO else Route(expert, 1.0, {expert: 1.0})

    def routes(self, conversations: Sequence[Sequence[Message]]) -> list[Route]:
        return [self.route(messages) for messages in conversations]

    def answering(self, messages: Sequence[Message], expert: str, sampling: Sampling) -> Route:
        tools = tools_expert(self.experts)
        if expert == AUTO and tools and sampling.tools:
            return tool_route(tools, "tools")
        return scripted_route(last_user_turn(tuple(messages))) if expert == AUTO else self.route(messages, expert)

    def reply(
        self, messages: Sequence[Message], expert: str = AUTO, sampling: Sampling | None = None, client: str = ""
    ) -> Reply:
        if self.busy is not None:
            raise self.busy
        route = self.answering(messages, expert, sampling or Sampling())
        self.asked.append((tuple(messages), expert, sampling))
        self.clients.append(client)
        return Reply(route, self.pieces(route, last_user_turn(tuple(messages)), sampling or Sampling()))

    def pieces(self, route: Route, question: str, sampling: Sampling) -> Iterator[Piece]:
        """The answers one after the other; those after the first end with their number."""
        with self.speaking:
            if question in self.refusals:
                raise self.refusals[question]
            spoken_words = self.scripts.pop(0) if self.scripts else [f"{route.expert} says:", *self.words]
            for choice in range(sampling.num_answers):
                words = [*spoken_words, *([f"({choice})"] if choice else [])]
                spoken = words[: sampling.max_tokens]
                for number, word in enumerate(spoken):
                    if number == 2 and question in self.failures:
                        raise self.failures[question]
                    time.sleep(self.delay_seconds)
                    found = () if sampling.logprobs is None else (scripted_logprob(word, sampling.logprobs),)
                    yield Piece(word if number == 0 else f" {word}", choice=choice, logprobs=found)
                yield Piece("", "stop" if len(spoken) == len(words) else "length", 7, len(spoken), choice)

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """The caregiving experts have a head: it likes late answers, which end with their number."""
        if not expert.startswith("caregiving"):
            raise UserError(f"Expert '{expert}' has no preference head.")
        return [float(answer[-2]) if answer.endswith(")") else 0.0 for answer in answers]

    def digest(self, expert: str) -> str:
        return f"weights of {expert}"

    def gauges(self) -> dict[str, float]:
        return {"running": float(self.speaking.locked())}

    def is_ready(self) -> bool:
        return self.busy is None

    def close(self, seconds: float) -> int:
        self.closed_within.append(seconds)
        return 0


def scripted_logprob(word: str, top: int) -> TokenLogprob:
    """Every token has A -0.1, B -2.3 and C minus infinity at its place, and -0.1 itself."""
    return TokenLogprob(word, -0.1, (("A", -0.1), ("B", -2.3), ("C", float("-inf")))[:top])


def scripted_route(question: str) -> Route:
    """The route by the first keyword in the question."""
    named = next((expert for word, expert in KEYWORDS.items() if word in question.lower()), None)
    if named:
        scores = {name: BEST_SCORE if name == named else (1 - BEST_SCORE) / 4 for name in EXPERTS}
    else:
        best = "mortgage/structured"
        scores = {name: UNSURE_SCORE if name == best else (1 - UNSURE_SCORE) / 4 for name in EXPERTS}
    return decide(scores, THRESHOLD, "few_shot")
