"""The chat page: the answer as it is written, who wrote it and why, and a switch to choose the expert: `expertsmith chat`.

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
SENTENCE = "Ask in your own words. Your question goes to the expert that knows its field best, and you see which one and why."
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
    choice: gr.Dropdown
    ask: gr.Button
    stop: gr.Button
    clear: gr.Button
    examples: gr.Row
    conversation: gr.State

    @property
    def outputs(self) -> list[Any]:
        """All that an event may update."""
        return [self.chat, self.panel, self.status, self.box, self.ask, self.stop, self.examples, self.conversation]

    def resting(self) -> Updates:
        """The buttons while nothing is being answered."""
        return {self.ask: gr.update(visible=True), self.stop: gr.update(visible=False)}

    def busy(self) -> Updates:
        """The buttons while an answer is being written; the examples have served."""
        hidden = gr.update(visible=False)
        return {self.ask: hidden, self.stop: gr.update(visible=True), self.examples: hidden}


def launch(  # noqa: PLR0913
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
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(f"<header><h1>{TITLE}</h1><p>{SENTENCE}</p></header>", elem_id="head")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, min_width=280, elem_id="talk"):
                chat = gr.Chatbot(
                    show_label=False,
                    container=False,
                    height=None,
                    elem_id="chat",
                    placeholder=WAITING,
                    latex_delimiters=[],
                    buttons=["copy"],
                    feedback_options=None,
                    layout="bubble",
                )
                status = gr.HTML(elem_id="status")
                parts = composer(assistant, examples, chat, status)
            with gr.Column(scale=2, min_width=240, elem_id="side"):
                pass
        gr.HTML(f"<footer>{CAUTION}</footer>", elem_id="foot")
    return page
