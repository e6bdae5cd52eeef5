"""Text to token ids, with the tokenizer's own chat template and nothing else.

A conversation is the rendered prompt (ending where the assistant begins) and a completion that ends with the
end-of-turn token, which is trained: a model that never sees it never stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from domains.errors import UserError
from domains.example import Message


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    chat_template: str | None
    eos_token_id: int
    eos_token: str

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render messages."""
        ...

    def encode(self, text: str, **options: Any) -> list[int]:
        """Token ids of a text."""
        ...


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> str:
    """The prompt as text, ending where the assistant's answer begins. `tools` are function declarations, for templates
    that show them to the model."""
    turns = [message.as_dict() for message in messages]
    options = {"tools": list(tools)} if tools else {}
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options))


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> list[int]:
    """Token ids of a rendered prompt."""
    return list(tokenizer.encode(render_prompt(tokenizer, messages, tools), add_special_tokens=False))


def completion_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of an answer with the end-of-turn token, exactly once."""
    body = text.strip().removesuffix(tokenizer.eos_token)
    return [*tokenizer.encode(body, add_special_tokens=False), tokenizer.eos_token_id]


def document_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of plain text with the end token."""
    return [*tokenizer.encode(text.strip(), add_special_tokens=False), tokenizer.eos_token_id]


def template_digest(tokenizer: Tokenizer) -> str:
    """The first 16 hex digits of the chat template's SHA-256; training and serving must agree on it."""
    if not tokenizer.chat_template:
        raise UserError(
            "The tokenizer has no chat template. Use an instruct model's tokenizer, or add a template to it."
        )
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16]
