"""One question while it is being answered, by one expert or by two side by side: what the page shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from domains.domain import GENERAL
from domains.example import Message
from domains.tool_calls import ToolCall, parse
from domains.votes import Candidate
from router.assistant import AUTO, Piece
from router.route import Route
from ui.chat_panels import bubbles, panel_html, status_html
from ui.chat_parts import Parts, Updates
from ui.chat_state import Conversation
from ui.chat_words import COMPARE_WORDS, ending_words, expert_title
from ui.schema import notice_for
from ui.streams import Event

ALONE = ""


@dataclass
class Answering:
    """The turns with the open question at their end, who was chosen to answer (`auto`: the router chooses), and who
    else (`ALONE`: nobody). `answers` grow by place: 0 is the first or left one, 1 the right one."""

    parts: Parts
    notices: Mapping[str, str]
    turns: tuple[Message, ...]
    choice: str
    rival: str = ALONE
    routes: dict[int, Route] = field(default_factory=dict)
    answers: list[Candidate] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def has_words(self) -> bool:
        """Whether anything of an answer is there."""
        return any(answer.text for answer in self.answers)

    @property
    def conversation(self) -> Conversation:
        """What was said so far."""
        if self.rival != ALONE:
            return Conversation(self.turns, rivals=tuple(self.answers))
        (answer,) = self.answers
        return Conversation((*self.turns, Message("assistant", answer.text)), expert=answer.expert)

    def begun(self, route: Route) -> Updates:
        """The first routing decision: who answers, and who else."""
        self.routes[0] = route
        self.rival = other_expert(route, self.rival)
        self.answers = [Candidate(name, "") for name in (route.expert, self.rival) if name != ALONE]
        panel = panel_html(route, self.choice != AUTO, notice_for(route.expert, self.notices), self.rival)
        updates = {
            self.parts.panel: panel,
            self.parts.status: status_html(f"{expert_title(route.expert)} is writing ..."),
        }
        if self.rival == ALONE:
            return updates
        sides = [self.parts.side(place, answer) for place, answer in enumerate(self.answers)]
        titles = " and ".join(expert_title(answer.expert) for answer in self.answers)
        words = status_html(f"{titles} are writing ...")
        return updates | sides[0] | sides[1] | self.parts.comparing(False) | {self.parts.status: words}

    def written(self, event: Event) -> Updates:
        """A piece more of an answer."""
        piece = event.piece or Piece("")
        answer = self.answers[event.place]
        self.answers[event.place] = replace(answer, text=answer.text + piece.text)
        self.finish_reason = piece.finish_reason if event.place == 0 else self.finish_reason
        if self.rival != ALONE:
            shown = self.parts.side(event.place, self.answers[event.place])
        else:
            shown = {self.parts.chat: bubbles(self.conversation.turns)}
        return {**shown, self.parts.conversation: self.conversation}

    def going_on(self, results: str) -> Answering | None:
        """The same question with what the functions returned that the answer called; None where it called none."""
        if self.rival != ALONE or not results:
            return None
        turns = (*self.conversation.turns, Message("user", results))
        return Answering(self.parts, self.notices, turns, self.choice)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The functions that the one answer calls."""
        return parse(self.answers[0].text) or () if self.rival == ALONE and self.answers else ()

    def ended(self) -> tuple[Conversation, str]:
        """The conversation at the end, and what to say. Of two answers, one without words is no match for the other."""
        texts = [answer.text.strip() for answer in self.answers]
        if self.rival != ALONE and all(texts):
            return self.conversation, COMPARE_WORDS
        place = next((place for place, text in enumerate(texts) if text), 0)
        route = self.routes[0] if place == 0 else Route(self.rival, 1.0)
        finish_reason = self.finish_reason if place == 0 else None
        return self.conversation.settled(place), ending_words(route, texts[place], finish_reason)


def other_expert(route: Route, rival: str) -> str:
    """Who is compared: not the one who answers anyway, but then the general model, or what the router found next."""
    if rival != route.expert:
        return rival
    others = sorted(set(route.scores) - {route.expert}, key=lambda name: -route.scores[name])
    return next(iter(others), ALONE) if route.expert == GENERAL else GENERAL
