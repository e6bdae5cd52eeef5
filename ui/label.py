"""The labelling page (`expertsmith label`): two answers side by side in a hidden order; a person says which is better.

Thin over a Session (`judges/labels.py`), which decides what is next and keeps the choices.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr

from domains.errors import UserError
from judges.labels import Session, Showing, Shown
from ui.chat import theme
from ui.service import is_loopback

STYLE = Path(__file__).parent / "templates" / "label.css"
TITLE = "Which answer is better?"
HELP = "Read the question and both answers, then choose. You do not see where an answer comes from."
ALL_DONE = "All pairs are labelled. Thank you! You can close this page."
BUTTONS: tuple[tuple[str, Shown], ...] = (
    ("First is better", "first"),
    ("About the same", "tie"),
    ("Second is better", "second"),
)


@dataclass(frozen=True)
class LabelPage:
    """What the page does with a session that several tabs may share."""

    session: Session
    lock: Lock

    def shown(self) -> list[Any]:
        """The next pair for the page: id, pair as HTML, progress as HTML, and whether there is something to choose."""
        with self.lock:
            showing = self.session.next()
        more = showing is not None
        state = showing.pair.id if showing else ""
        return [state, pair_html(showing), progress_html(self.session), *(gr.update(interactive=more) for _ in BUTTONS)]

    def chosen(self, choice: Shown, pair_id: str) -> list[Any]:
        """Keep a choice for the pair that the page shows, then the next pair; a page that is behind only moves on."""
        with self.lock:
            showing = self.session.next()
            if showing is not None and showing.pair.id == pair_id:
                self.session.choose(showing, choice)
        return self.shown()


def pair_html(showing: Showing | None) -> str:
    """The question and both answers as plain text: markup in them is not markup here."""
    if showing is None:
        return f'<p role="status" class="done">{ALL_DONE}</p>'
    question, reference = showing.pair.question, showing.pair.reference or ""
    answers = part("First answer", showing.first) + part("Second answer", showing.second)
    known = f'<details><summary>A known good answer</summary><p class="text">{escape(reference)}</p></details>'
    return f'{part("Question", question)}{known if reference else ""}<div class="answers">{answers}</div>'


def part(title: str, text: str) -> str:
    """A titled text."""
    return f'<section aria-label="{title}"><h2>{title}</h2><p class="text">{escape(text) or "(no text)"}</p></section>'


def progress_html(session: Session) -> str:
    """How many are done."""
    done = len({pair.id for pair in session.pairs} & session.done)
    return (
        f'<p class="progress" role="status">{done} of {len(session.pairs)} labelled by {escape(session.labeller)}</p>'
    )


def build_page(session: Session) -> gr.Blocks:
    """The page."""
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    acts = LabelPage(session, Lock())
    with page:
        gr.HTML(f"<header><h1>{TITLE}</h1><p>{HELP}</p></header>", elem_id="head")
        current = gr.State("")
        pair = gr.HTML(elem_id="pair")
        with gr.Row(elem_id="choices"):
            buttons = [gr.Button(text, elem_id=choice, min_width=110) for text, choice in BUTTONS]
        progress = gr.HTML(elem_id="progress")
        outputs = [current, pair, progress, *buttons]
        page.load(acts.shown, outputs=outputs, api_visibility="private", show_progress="hidden")
        for button, (_, choice) in zip(buttons, BUTTONS, strict=True):
            button.click(
                partial(acts.chosen, choice), [current], outputs, api_visibility="private", show_progress="hidden"
            )
    return page


def launch(session: Session, host: str = "127.0.0.1", port: int = 7861, block: bool = True) -> gr.Blocks:
    """Show the page until interrupted; with `block=False` return at once (`close()` ends it)."""
    if not is_loopback(host):
        raise UserError(
            f"The labelling page has no login, so it is not opened to other machines (host '{host}'). Use 127.0.0.1, "
            "with an SSH tunnel from elsewhere."
        )
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    page = build_page(session)
    page.queue(api_open=False)
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
