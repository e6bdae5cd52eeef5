"""The components of the chat page that change, and how they look while it rests, answers, or compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from domains.votes import Candidate
from ui.chat_panels import plain, side_html

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components of the page that change. `thumbs` are shown after an answer; `duel` are two answers with
    `verdicts`, the buttons that say which is better; `kept` is what the browser keeps."""

    chat: gr.Chatbot
    panel: gr.HTML
    alert: gr.HTML
    status: gr.HTML
    box: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    examples: gr.Column
    thumbs: gr.Row
    check: gr.Button
    passages: gr.HTML
    duel: gr.Column
    left_head: gr.HTML
    left: gr.Markdown
    right_head: gr.HTML
    right: gr.Markdown
    verdicts: gr.Row
    conversation: gr.State
    kept: gr.BrowserState

    @property
    def all(self) -> list[Any]:
        """What an event may update."""
        return list(vars(self).values())

    def resting(self) -> Updates:
        """The buttons while nothing is being answered."""
        return {self.ask: gr.update(visible=True), self.stop: gr.update(visible=False)}

    def busy(self) -> Updates:
        """While an answer is being written: what belongs to the last one is gone; the examples have served."""
        hidden = (self.ask, self.examples, self.thumbs, self.check, self.duel)
        gone = {part: gr.update(visible=False) for part in hidden}
        return {**gone, self.stop: gr.update(visible=True), self.passages: ""}

    def side(self, place: int, answer: Candidate) -> Updates:
        """One of two answers, as far as it is written."""
        head, body = ((self.left_head, self.left), (self.right_head, self.right))[place]
        return {head: side_html(place, answer.expert), body: plain(answer.text) or "..."}

    def comparing(self, voting: bool) -> Updates:
        """Two columns, with the buttons once both answers are whole."""
        return {self.duel: gr.update(visible=True), self.verdicts: gr.update(visible=voting)}
