"""The chat page (`expertsmith chat`): the answer as it is written, who wrote it and why, a second answer beside it,
votes, and what the documents say. Its looks and wiring; what it does is in `chat_page`, and the assistant decides.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from domains.errors import UserError
from router.assistant import AUTO, Assistant
from ui.answering import ALONE
from ui.chat_page import LEFT, RIGHT, SAME, Page
from ui.chat_panels import EMPTY_PANEL
from ui.chat_parts import Parts
from ui.chat_sources import Sources
from ui.chat_state import Conversation
from ui.chat_words import (
    CAUTION,
    KEPT,
    MAX_QUESTION_CHARACTERS,
    SENTENCE,
    TITLE,
    WAITING,
    consent_words,
    expert_title,
)
from ui.service import is_loopback
from ui.streams import MAX_IN_LINE

STYLE = Path(__file__).parent / "templates" / "chat.css"
MAX_WAITING = 64
MAX_CHECKS = 2
STORAGE = "expertsmith-chat"  # in the browser; every visitor gets it, so as a key it hides nothing and need not
FOCUS = "() => document.querySelector('#question textarea')?.focus()"
ANNOUNCE = """() => {
  document.querySelector('#status')?.setAttribute('aria-live', 'polite');
}"""
LOOK = "() => document.querySelector('#alert section')?.scrollIntoView({block: 'nearest'})"


@dataclass(frozen=True)
class Controls:
    """The components of the page that a reader uses and that do not change."""

    choice: gr.Dropdown
    rival: gr.Dropdown
    clear: gr.Button
    chips: tuple[gr.Button, ...]
    thumbs: tuple[gr.Button, gr.Button]
    verdicts: dict[str, gr.Button]


def launch(
    assistant: Assistant,
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Sequence[str] = (),
    sources: Sources | None = None,
    block: bool = True,
) -> gr.Blocks:
    """Show the page until interrupted; with `block=False` return at once (`close()` ends it)."""
    if not is_loopback(host):
        raise UserError(
            f"The chat page has no login, so it is not opened to other machines (host '{host}'). Use 127.0.0.1, "
            "with an SSH tunnel from elsewhere, or 'expertsmith serve' with an API key."
        )
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    page = build_page(assistant, examples, sources)
    page.queue(max_size=MAX_WAITING, api_open=False)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=not block,
        quiet=True,
        share=False,
        ssr_mode=False,
        max_file_size="1kb",
        max_threads=MAX_WAITING,
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


def build_page(assistant: Assistant, examples: Sequence[str] = (), sources: Sources | None = None) -> gr.Blocks:
    """The page; `examples` are questions to start with."""
    sources = sources or Sources()
    blocks: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    with blocks:
        gr.HTML(f"<header><h1>{TITLE}</h1><p>{SENTENCE}</p></header>", elem_id="head")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, min_width=280, elem_id="talk"):
                talk = talk_parts()
                controls, buttons = control_parts(assistant.experts, examples)
                gr.HTML(small_print(sources), elem_id="small-print")
            with gr.Column(scale=2, min_width=280, elem_id="side"):
                panel = gr.HTML(EMPTY_PANEL, elem_id="panel")
        gr.HTML(f"<footer>{CAUTION}</footer>", elem_id="foot")
        kept = gr.BrowserState(storage_key=STORAGE, secret=STORAGE)
        verdicts, thumbs = talk.pop("verdict_buttons"), talk.pop("thumb_buttons")
        parts = Parts(panel=panel, conversation=gr.State(Conversation()), kept=kept, **talk, **buttons)
        connect(blocks, Page(assistant, sources, parts), Controls(**controls, verdicts=verdicts, thumbs=thumbs))
    return blocks


def talk_parts() -> dict[str, Any]:
    """What is urgent, the conversation, two answers beside each other, and what can be done with an answer."""
    alert = gr.HTML(elem_id="alert")
    chat = chat_log()
    with gr.Column(visible=False, elem_id="duel") as duel:
        with gr.Row(elem_id="sides", equal_height=True):
            with gr.Column(min_width=240, elem_classes="side-column"):
                left_head, left = gr.HTML(), answer_text("left")
            with gr.Column(min_width=240, elem_classes="side-column"):
                right_head, right = gr.HTML(), answer_text("right")
        with gr.Row(visible=False, elem_id="verdicts") as verdicts:
            gr.HTML("<p>Which answer is better?</p>")
            titles = {LEFT: "Left is better", RIGHT: "Right is better", SAME: "About the same"}
            buttons = {name: gr.Button(title, min_width=120, elem_id=name) for name, title in titles.items()}
    status = gr.HTML(elem_id="status")
    with gr.Row(elem_id="after"):
        with gr.Row(visible=False, elem_id="thumbs") as thumbs:
            gr.HTML("<p>Was this answer helpful?</p>")
            up = gr.Button("Helpful", min_width=100, scale=0, elem_id="up")
            down = gr.Button("Not helpful", min_width=100, scale=0, elem_id="down")
        check = gr.Button("Check against the documents", visible=False, min_width=180, scale=0, elem_id="check")
    passages = gr.HTML(elem_id="passages")
    shown = {"alert": alert, "chat": chat, "status": status, "thumbs": thumbs, "check": check, "passages": passages}
    sides = {"duel": duel, "left_head": left_head, "left": left, "right_head": right_head, "right": right}
    return shown | sides | {"verdicts": verdicts, "verdict_buttons": buttons, "thumb_buttons": (up, down)}


def control_parts(experts: Sequence[str], examples: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The question, who answers it, and the buttons: those that do not change, and those that do."""
    box = question_box()
    with gr.Row(elem_id="controls"):
        choice, rival = expert_choice(experts), rival_choice(experts)
        clear = gr.Button("Clear", variant="secondary", elem_id="clear", min_width=80, scale=0)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=110, scale=0, visible=False)
        ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=110, scale=0)
    with gr.Column(visible=bool(examples), elem_id="examples") as shown_examples:
        gr.HTML("<h2>Or begin with one of these</h2>")
        chips = tuple(gr.Button(text, elem_classes="chip") for text in examples)
    changing = {"box": box, "ask": ask, "stop": stop, "examples": shown_examples}
    return {"choice": choice, "rival": rival, "clear": clear, "chips": chips}, changing


def small_print(sources: Sources) -> str:
    """What is kept and stored, and where."""
    folder = sources.votes.folder if sources.votes else None
    consent = f'<p id="consent">{escape(consent_words(folder.as_posix()))}</p>' if folder else ""
    return f'{consent}<p id="kept">{KEPT}</p>'


def chat_log() -> gr.Chatbot:
    """The conversation. Dollar signs stay dollar signs: no LaTeX."""
    return gr.Chatbot(
        label="Conversation",
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


def answer_text(name: str) -> gr.Markdown:
    """One of two answers; like in the conversation, no LaTeX."""
    return gr.Markdown(elem_id=f"answer-{name}", latex_delimiters=[], line_breaks=True)


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
        choices, value=AUTO, label="Who should answer?", filterable=False, elem_id="choice", min_width=170
    )


def rival_choice(experts: Sequence[str]) -> gr.Dropdown:
    """The second expert, whose answer stands beside the first."""
    choices = [("Nobody: one answer", ALONE), *((expert_title(name), name) for name in experts)]
    return gr.Dropdown(choices, value=ALONE, label="Compare with", filterable=False, elem_id="rival", min_width=170)


def connect(blocks: gr.Blocks, page: Page, controls: Controls) -> None:
    """Wire the events; a chip asks the question that it shows."""
    parts, conversation = page.parts, page.parts.conversation
    shared: dict[str, Any] = {"outputs": parts.all, "show_progress": "hidden", "api_visibility": "private"}
    asking: dict[str, Any] = shared | {"concurrency_limit": MAX_IN_LINE + 1, "concurrency_id": "answers"}
    chosen = [controls.choice, controls.rival, conversation]
    asked = [gr.on([parts.box.submit, parts.ask.click], page.answer, [parts.box, *chosen], **asking)]
    asked += [chip.click(page.answer, [chip, *chosen], **asking) for chip in controls.chips]
    parts.stop.click(page.stopped, [conversation], cancels=asked, queue=False, **shared)
    controls.clear.click(page.cleared, cancels=asked, queue=False, **shared)
    for good, thumb in zip((True, False), controls.thumbs, strict=True):
        thumb.click(partial(page.rated, good), [conversation], **shared).then(None, js=FOCUS)
    for name, button in controls.verdicts.items():
        button.click(partial(page.judged, name), [conversation], **shared).then(None, js=FOCUS)
    parts.check.click(page.checked, [conversation], concurrency_limit=MAX_CHECKS, **shared)
    blocks.load(page.restored, [parts.kept], **shared)
    parts.alert.change(None, js=LOOK)
    blocks.load(None, js=ANNOUNCE)
