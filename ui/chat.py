"""The chat page (`expertsmith chat`): the answer as it is written, who wrote it and why, a switch to choose the expert.

Thin over an Assistant: it shows, the assistant decides.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from domains.domain import GENERAL
from domains.errors import UserError
from domains.example import Message
from router.assistant import AUTO, Assistant
from router.route import Route
from ui.schema import MAX_CHARACTERS, MAX_MESSAGES, notice_for
from ui.service import is_loopback

STYLE = Path(__file__).parent / "templates" / "chat.css"
MAX_QUESTION_CHARACTERS = 4000
MAX_ANSWERING = 8
MAX_WAITING = 32
MAX_BARS = 6
TITLE = "expertsmith"
SENTENCE = "Ask in your own words. The right expert answers, and you see which one it is and why."
CAUTION = "Answers are written by a language model and can be wrong. Check what matters with a professional."
WAITING = "The answer appears here."
log = logging.getLogger(__name__)

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Conversation:
    """What was said; `open_question` waits for the first word of its answer."""

    turns: tuple[Message, ...] = ()
    open_question: str = ""


@dataclass(frozen=True)
class Parts:
    """The components of the page that change."""

    chat: gr.Chatbot
    panel: gr.HTML
    status: gr.HTML
    box: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    examples: gr.Column
    conversation: gr.State

    @property
    def all(self) -> list[Any]:
        """What an event may update."""
        return list(vars(self).values())

    def resting(self) -> Updates:
        """The buttons while nothing is being answered."""
        return {self.ask: gr.update(visible=True), self.stop: gr.update(visible=False)}

    def busy(self) -> Updates:
        """The buttons while an answer is being written; the examples have served."""
        hidden = gr.update(visible=False)
        return {self.ask: hidden, self.stop: gr.update(visible=True), self.examples: hidden}


@dataclass(frozen=True)
class Page:
    """What the page does: each method takes component values and returns or yields updates of components."""

    assistant: Assistant
    notices: Mapping[str, str]
    parts: Parts

    def answer(self, question: str, choice: str, conversation: Conversation) -> Iterator[Updates]:
        """Ask the assistant and show the answer as it is written; on failure the question returns to its box."""
        parts = self.parts
        turns = (*conversation.turns, Message("user", question.strip()))
        if problem := question_problem(turns):
            yield {parts.status: status_html(problem, "alert")}
            return
        yield {
            parts.chat: bubbles(turns),
            parts.status: status_html("Finding the expert for your question ..." if choice == AUTO else "Thinking ..."),
            parts.box: "",
            parts.conversation: Conversation(conversation.turns, question),
            **parts.busy(),
        }
        try:
            yield from self.written(turns, choice)
        except Exception as error:
            problem = failure_words(error)
            yield {
                parts.chat: bubbles(conversation.turns),
                parts.status: status_html(problem, "alert"),
                parts.box: question,
                parts.conversation: conversation,
                **parts.resting(),
            }

    def written(self, turns: tuple[Message, ...], choice: str) -> Iterator[Updates]:
        """The decision, then the growing answer."""
        parts = self.parts
        reply = self.assistant.reply(turns, choice)
        expert = reply.route.expert
        yield {
            parts.panel: panel_html(reply.route, choice != AUTO, notice_for(expert, self.notices)),
            parts.status: status_html(f"{expert_title(expert)} is writing ..."),
        }
        text, finish_reason = "", None
        for piece in reply.pieces:
            text, finish_reason = text + piece.text, piece.finish_reason
            said = (*turns, Message("assistant", text))
            yield {parts.chat: bubbles(said), parts.conversation: Conversation(said)}
        yield {parts.status: status_html(ending_words(reply.route, text, finish_reason)), **parts.resting()}

    def stopped(self, conversation: Conversation) -> Updates:
        """After Stop: what was written stays; a question without an answer returns to its box."""
        updates = {self.parts.status: status_html("Stopped."), **self.parts.resting()}
        if conversation.open_question:
            updates[self.parts.box] = conversation.open_question
            updates[self.parts.chat] = bubbles(conversation.turns)
            updates[self.parts.conversation] = Conversation(conversation.turns)
        return updates

    def cleared(self) -> Updates:
        """A new conversation."""
        return {
            self.parts.chat: [],
            self.parts.panel: EMPTY_PANEL,
            self.parts.status: "",
            self.parts.box: "",
            self.parts.examples: gr.update(visible=True),
            self.parts.conversation: Conversation(),
            **self.parts.resting(),
        }


def launch(
    assistant: Assistant,
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Sequence[str] = (),
    notices: Mapping[str, str] | None = None,
    block: bool = True,
) -> gr.Blocks:
    """Show the page until interrupted; with `block=False` return at once (`close()` ends it)."""
    if not is_loopback(host):
        raise UserError(
            f"The chat page has no login, so it is not opened to other machines (host '{host}'). Use 127.0.0.1, "
            "with an SSH tunnel from elsewhere, or 'expertsmith serve' with an API key."
        )
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    page = build_page(assistant, examples, notices)
    page.queue(max_size=MAX_WAITING, api_open=False)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=not block,
        quiet=True,
        share=False,
        ssr_mode=False,
        max_file_size="1kb",
        footer_links=[],
        theme=theme(),
        css_paths=STYLE,
    )
    return page


def theme() -> gr.themes.Base:
    """Fonts of the reader's own system (nothing is fetched); the colours are in the style sheet."""
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    mono = ("ui-monospace", "monospace")
    return gr.themes.Base(primary_hue="teal", neutral_hue="stone", radius_size="lg", font=fonts, font_mono=mono)


def build_page(
    assistant: Assistant, examples: Sequence[str] = (), notices: Mapping[str, str] | None = None
) -> gr.Blocks:
    """The page; `notices` are texts by domain name, `examples` are questions to start with."""
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        gr.HTML(f"<header><h1>{TITLE}</h1><p>{SENTENCE}</p></header>", elem_id="head")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, min_width=280, elem_id="talk"):
                chat = chat_log()
                status = gr.HTML(elem_id="status")
                box = question_box()
                with gr.Row(elem_id="controls"):
                    choice = expert_choice(assistant.experts)
                    clear = gr.Button("Clear", variant="secondary", elem_id="clear", min_width=80, scale=0)
                    stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=110, scale=0, visible=False)
                    ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=110, scale=0)
                with gr.Column(visible=bool(examples), elem_id="examples") as shown_examples:
                    gr.HTML("<h2>Or begin with one of these</h2>")
                    chips = [gr.Button(text, elem_classes="chip") for text in examples]
            with gr.Column(scale=2, min_width=280, elem_id="side"):
                panel = gr.HTML(EMPTY_PANEL, elem_id="panel")
        gr.HTML(f"<footer>{CAUTION}</footer>", elem_id="foot")
        parts = Parts(chat, panel, status, box, ask, stop, shown_examples, gr.State(Conversation()))
        connect(Page(assistant, notices or {}, parts), choice, clear, chips)
    return page


def chat_log() -> gr.Chatbot:
    """The conversation. Dollar signs stay dollar signs: no LaTeX."""
    return gr.Chatbot(
        show_label=False,
        container=False,
        height="auto",
        elem_id="chat",
        placeholder=WAITING,
        latex_delimiters=[],
        buttons=[],
        feedback_options=None,
        allow_tags=False,
    )


def question_box() -> gr.Textbox:
    """Where the question is typed: Enter asks, Shift+Enter begins a new line."""
    return gr.Textbox(
        label="Your question",
        show_label=True,
        placeholder="Type a question. Enter sends it.",
        lines=1,
        max_lines=6,
        max_length=MAX_QUESTION_CHARACTERS,
        autofocus=True,
        elem_id="question",
    )


def expert_choice(experts: Sequence[str]) -> gr.Dropdown:
    """The switch: the router's choice, or an expert by name."""
    choices = [("Choose for me", AUTO), *((expert_title(name), name) for name in experts)]
    return gr.Dropdown(
        choices, value=AUTO, label="Who should answer?", filterable=False, elem_id="choice", min_width=200
    )


def connect(page: Page, choice: gr.Dropdown, clear: gr.Button, chips: Sequence[gr.Button]) -> None:
    """Wire the events; a chip asks the question that it shows."""
    parts, conversation = page.parts, page.parts.conversation
    shared: dict[str, Any] = {"outputs": parts.all, "show_progress": "hidden", "api_visibility": "private"}
    asking: dict[str, Any] = shared | {"concurrency_limit": MAX_ANSWERING, "concurrency_id": "answers"}
    asked = [gr.on([parts.box.submit, parts.ask.click], page.answer, [parts.box, choice, conversation], **asking)]
    asked += [chip.click(page.answer, [chip, choice, conversation], **asking) for chip in chips]
    parts.stop.click(page.stopped, [conversation], cancels=asked, queue=False, **shared)
    clear.click(page.cleared, cancels=asked, queue=False, **shared)


def question_problem(turns: Sequence[Message]) -> str:
    """Why the last turn cannot be asked, in words for a person; empty when it can."""
    question = turns[-1].content
    if not question:
        return "Type a question first."
    if len(question) > MAX_QUESTION_CHARACTERS:
        return f"That question is too long. Please keep it under {MAX_QUESTION_CHARACTERS:,} characters."
    if len(turns) > MAX_MESSAGES or sum(len(turn.content) for turn in turns) > MAX_CHARACTERS:
        return "This conversation has become too long. Press Clear to begin a new one."
    return ""


def failure_words(error: Exception) -> str:
    """An error in words for a person; what is a bug goes to the log."""
    if isinstance(error, UserError):
        return str(error)
    log.error("an answer failed", exc_info=error)
    return "Something went wrong while answering. Your question is back in its box: you can ask again."


def ending_words(route: Route, text: str, finish_reason: str | None) -> str:
    """What to say when the answer has ended: who gave it, and whether it is whole."""
    if not text.strip():
        return "The expert gave no answer. Try other words, or choose another expert."
    cut = " The answer was cut off at its length limit." if finish_reason == "length" else ""
    return f"Answered by {expert_title(route.expert)}.{cut}"


def bubbles(turns: Sequence[Message]) -> list[dict[str, str]]:
    """The conversation for the chat log. Answers may use Markdown, but no HTML, and pictures are not fetched."""
    return [{"role": turn.role, "content": escape(turn.content, quote=False).replace("![", "!\\[")} for turn in turns]


def expert_title(name: str) -> str:
    """`mortgage/structured` as a person reads it."""
    domain, _, track = name.partition("/")
    return f"{domain_title(domain)} \u00b7 {track}" if track else domain_title(domain)


def domain_title(name: str) -> str:
    """The name of a domain as a person reads it."""
    return "General model" if name == GENERAL else name.replace("_", " ").replace("-", " ").capitalize()


def status_html(words: str, role: str = "status") -> str:
    """The line under the conversation; a screen reader announces it."""
    return f'<p role="{role}" class="{role}">{escape(words)}</p>' if words else ""


def panel_html(route: Route, forced: bool, notice: str) -> str:
    """Who answered, how sure the router was, why, and what else it considered."""
    sure = "Chosen by you" if forced else f"Confidence {route.confidence:.0%}"
    bars = "" if forced else bars_html(route)
    domain, _, track = route.expert.partition("/")
    line = f'<p class="track">{escape(track)} expert</p>' if track else ""
    note = f'<p class="notice">{escape(notice)}</p>' if notice else ""
    return (
        f'<section class="card" aria-label="Who answered"><h2>Answered by</h2>'
        f'<p class="who">{escape(domain_title(domain))}</p>{line}<p class="sure">{sure}</p>'
        f'<p class="why">{escape(why(route, forced))}</p>{bars}{note}</section>'
    )


def why(route: Route, forced: bool) -> str:
    """One plain sentence."""
    if forced:
        return "You chose this expert, so the router was not asked."
    best = max(route.scores, key=lambda name: route.scores[name], default=route.expert)
    if not route.abstained:
        return "The router read your question and found this expert the best match."
    if best == route.expert:
        return "The router found no special field in your question, so the general model answers."
    closest = f"{expert_title(best)}, reached only {route.scores[best]:.0%}"
    return f"The router was not sure enough: the closest expert, {closest}. So the general model answers."


def bars_html(route: Route) -> str:
    """The most likely experts with their probabilities as bars."""
    ranked = sorted(route.scores.items(), key=lambda item: -item[1])[:MAX_BARS]
    rows = "".join(
        f'<li class="{"picked" if name == route.expert else "other"}"><span>{escape(expert_title(name))}</span>'
        f'<b>{score:.0%}</b><i aria-hidden="true"><u style="width:{score:.1%}"></u></i></li>'
        for name, score in ranked
    )
    return f"<h3>What the router considered</h3><ol>{rows}</ol>" if rows else ""


EMPTY_PANEL = (
    '<section class="card" aria-label="Who answered"><h2>Answered by</h2><p class="why">'
    "After your question you see here which expert answers, how sure the router is, and what else it considered."
    "</p></section>"
)
