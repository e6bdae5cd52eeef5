"""What the chat page does: each method takes component values and returns or yields updates of components."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from typing import Any

import gradio as gr

from domains.errors import UserError
from domains.example import Message
from domains.votes import Votes
from router.assistant import Assistant, Reply, Sampling
from router.route import Route
from router.tool_requests import is_tools_expert, tools_expert
from ui.answering import ALONE, Answering
from ui.chat_panels import EMPTY_PANEL, alert_html, bubbles, passages_html, restored_html, status_html
from ui.chat_parts import Parts, Updates
from ui.chat_sources import Sources
from ui.chat_state import Conversation, from_browser, to_browser
from ui.chat_tools import MAX_ROUNDS
from ui.chat_words import (
    NOTHING_TO_STORE,
    SAME_VOTE,
    THANKS,
    failure_words,
    question_problem,
    starting_words,
    voted_words,
    waiting_words,
)
from ui.openai_errors import log_bug
from ui.schema import notice_for
from ui.streams import TICK_SECONDS, Line, Streams

LEFT, RIGHT, SAME = "left", "right", "same"


@dataclass(frozen=True)
class Page:
    """The page over an assistant; one for all readers. `line` are the questions that are being answered."""

    assistant: Assistant
    sources: Sources
    parts: Parts
    line: Line = field(default_factory=Line)
    tick_seconds: float = TICK_SECONDS

    def answer(self, question: str, choice: str, rival: str, conversation: Conversation) -> Iterator[Updates]:
        """Ask the assistant and show the answer as it is written; on failure the question returns to its box."""
        before = conversation.settled()
        turns = (*before.turns, Message("user", question.strip()))
        if problem := question_problem(turns):
            yield {self.parts.status: status_html(problem, "alert")}
            return
        try:
            with self.line.place() as num_before, Streams(self.tick_seconds) as streams:
                yield self.asked(turns, replace(before, open_question=question), starting_words(choice))
                answering = Answering(self.parts, self.sources.notices, turns, choice, rival)
                yield from self.written(answering, streams, num_before)
        except Exception as error:
            yield {
                **self.view(before),
                self.parts.alert: alert_html(self.sources.red_flags(turns)),
                self.parts.status: status_html(failure_words(error), "alert"),
                self.parts.box: question,
                **self.parts.resting(),
            }

    def asked(self, turns: tuple[Message, ...], waiting: Conversation, words: str) -> Updates:
        """The question is on its way; what is urgent about it is said before any answer."""
        return {
            self.parts.chat: bubbles(turns),
            self.parts.alert: alert_html(self.sources.red_flags(turns)),
            self.parts.status: status_html(words),
            self.parts.box: "",
            self.parts.conversation: waiting,
            self.parts.kept: to_browser(waiting),
            **self.parts.busy(),
        }

    def written(self, answering: Answering, streams: Streams, num_before: Callable[[], int]) -> Iterator[Updates]:
        """The decision, then the growing answer or answers, then what can be done with them. What an answer of the
        tools expert calls is computed here and told to it."""
        yield from self.heard(answering, streams, num_before, None)
        for _ in range(MAX_ROUNDS):
            route, calls = answering.routes.get(0), answering.calls
            if self.sources.tools is None or route is None or not is_tools_expert(route.expert) or not calls:
                break
            going_on = answering.going_on(self.sources.tools.results(calls))
            if going_on is None:
                break
            yield {self.parts.chat: bubbles(going_on.turns), self.parts.conversation: answering.conversation}
            answering = going_on
            yield from self.heard(answering, streams, num_before, route)
        conversation, words = answering.ended()
        yield {**self.view(conversation), self.parts.status: status_html(words), **self.parts.resting()}

    def begin(self, answering: Answering, route: Route | None) -> Reply:
        """Begin an answer; the tools expert is told which functions it can call here. `route` is who answers so far."""
        tools, turns, choice = self.sources.tools, answering.turns, answering.choice
        if tools is None or answering.rival != ALONE or tools_expert(self.assistant.experts) is None:
            return self.assistant.reply(turns, choice)
        route = route or self.assistant.route(turns, choice)
        sampling = Sampling(tools=tools.declared(Conversation(turns).question))
        used = sampling if is_tools_expert(route.expert) else Sampling()
        return replace(self.assistant.reply(turns, route.expert, used), route=route)

    def heard(
        self, answering: Answering, streams: Streams, num_before: Callable[[], int], route: Route | None
    ) -> Iterator[Updates]:
        """The decision and the growing answer or answers."""
        streams.start(0, partial(self.begin, answering, route))
        started, said = monotonic(), ""
        for event in streams:
            if event is None:
                words = "" if answering.has_words else waiting_words(num_before(), monotonic() - started)
                if words and words != said:
                    yield {self.parts.status: status_html(words)}
                said = words or said
            elif event.route is not None and event.place == 0:
                yield answering.begun(event.route)
                if answering.rival != ALONE:
                    streams.start(1, partial(self.assistant.reply, answering.turns, answering.rival))
            elif event.piece is not None:
                yield answering.written(event)

    def view(self, conversation: Conversation) -> Updates:
        """A conversation at rest: what was said, and the buttons for its last answer or for two answers."""
        answer = conversation.answer
        can_rate = answer is not None and not conversation.rated and self.sources.votes is not None
        can_check = answer is not None and self.sources.passages is not None
        duel: Updates = {self.parts.duel: gr.update(visible=False)}
        if conversation.rivals:
            duel = self.parts.comparing(True)
            for place, rival in enumerate(conversation.rivals):
                duel |= self.parts.side(place, rival)
        return {
            self.parts.chat: bubbles(conversation.turns),
            self.parts.alert: alert_html(self.sources.red_flags(conversation.turns)),
            self.parts.thumbs: gr.update(visible=can_rate),
            self.parts.check: gr.update(visible=can_check),
            self.parts.conversation: conversation,
            self.parts.kept: to_browser(conversation),
            **duel,
        }

    def stopped(self, conversation: Conversation) -> Updates:
        """After Stop: what was written stays; a question without an answer returns to its box."""
        question = conversation.open_question
        if conversation.rivals and not conversation.rivals[0].text.strip():
            question = conversation.question
            conversation = Conversation(conversation.turns[:-1])
        conversation = conversation.settled().without_question()
        updates = {**self.view(conversation), self.parts.status: status_html("Stopped."), **self.parts.resting()}
        if not question:
            return updates
        flags = self.sources.red_flags((*conversation.turns, Message("user", question)))
        return updates | {self.parts.box: question, self.parts.alert: alert_html(flags)}

    def cleared(self) -> Updates:
        """A new conversation; the browser forgets the old one."""
        return {
            **self.view(Conversation()),
            self.parts.panel: EMPTY_PANEL,
            self.parts.status: "",
            self.parts.passages: "",
            self.parts.box: "",
            self.parts.examples: gr.update(visible=True),
            **self.parts.resting(),
        }

    def restored(self, kept: Any) -> Updates:
        """After a reload: the conversation that the browser kept; a question without an answer is in its box again."""
        found = from_browser(kept, self.assistant.experts)
        question, found = found.open_question, found.without_question()
        updates = self.view(found) | ({self.parts.box: question} if question else {})
        if not found.turns:
            return updates
        expert = found.expert or found.rivals[0].expert
        panel = restored_html(expert, notice_for(expert, self.sources.notices))
        words = status_html("Your last conversation is here again. Press Clear to begin a new one.")
        return {
            **updates,
            self.parts.panel: panel,
            self.parts.status: words,
            self.parts.examples: gr.update(visible=False),
        }

    def rated(self, good: bool, conversation: Conversation) -> Updates:
        """A thumb on the last answer."""
        answer, votes = conversation.answer, self.sources.votes
        if answer is None or votes is None or conversation.rated:
            return {self.parts.thumbs: gr.update(visible=False)}
        prompt = conversation.turns[:-1]
        return self.stored(lambda: voted_words(votes.rate(prompt, answer, good)), replace(conversation, rated=True))

    def judged(self, verdict: str, conversation: Conversation) -> Updates:
        """Which of two answers is better; the conversation goes on with it."""
        if not conversation.rivals:
            return {self.parts.duel: gr.update(visible=False)}
        place = 1 if verdict == RIGHT else 0
        return self.stored(lambda: self.compared(verdict, conversation), conversation.settled(place))

    def compared(self, verdict: str, conversation: Conversation) -> str:
        """Store a comparison, if votes are stored here; returns what to say."""
        left, right = conversation.rivals
        votes: Votes | None = self.sources.votes
        if votes is None:
            return "The conversation goes on with this answer."
        if left.text == right.text:
            return NOTHING_TO_STORE
        if verdict == SAME:
            new = votes.tie(conversation.turns, left, right)
        else:
            new = votes.prefer(conversation.turns, *((right, left) if verdict == RIGHT else (left, right)))
        return THANKS if new else SAME_VOTE

    def stored(self, store: Callable[[], str], after: Conversation) -> Updates:
        """Store a vote; when that fails, the buttons stay and a sentence says why."""
        try:
            words = store()
        except UserError as error:
            return {self.parts.status: status_html(str(error), "alert")}
        except Exception as error:
            log_bug(error)
            return {self.parts.status: status_html("Your vote could not be stored. You can try again.", "alert")}
        return {**self.view(after), self.parts.status: status_html(words)}

    def checked(self, conversation: Conversation) -> Iterator[Updates]:
        """What the documents say of the last answer."""
        answer, passages = conversation.answer, self.sources.passages
        if answer is None or passages is None:
            return
        yield {
            self.parts.passages: "",
            self.parts.check: gr.update(interactive=False),
            self.parts.status: status_html("Looking in the documents ..."),
        }
        try:
            found = passages(answer.expert, conversation.question, answer.text)
            shown = {self.parts.passages: passages_html(found), self.parts.status: status_html("Checked.")}
        except Exception as error:
            log_bug(error)
            shown = {self.parts.status: status_html("The documents could not be read just now.", "alert")}
        yield {**shown, self.parts.check: gr.update(interactive=True)}
