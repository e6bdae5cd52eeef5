"""The functions that the chat page runs itself: pure computations from a fixed list, on this computer. A call is text
of a model, so anything else in it is answered with a sentence and never run.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import (
    OPEN,
    RESPONSE_CLOSE,
    RESPONSE_OPEN,
    Function,
    ToolCall,
    call_blocks,
    response_text,
    text_of,
)

MAX_ROUNDS = 3
MAX_CALLS = 8
MAX_SHOWN = 8
MAX_RESULT_CHARACTERS = 2000
WORD = re.compile(r"[a-z]{4,}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChatTools:
    """The functions that may run, and what runs a call of one: its result, or a UserError that says what is wrong."""

    functions: tuple[Function, ...]
    run: Callable[[ToolCall], Mapping[str, Any]]

    def declared(self, question: str) -> str:
        """The functions nearest to a question in their words, in the form of the OpenAI protocol as JSON text."""
        asked = stems(question)
        near = sorted(self.functions, key=lambda f: -len(asked & stems(f"{f.name} {f.description}")))[:MAX_SHOWN]
        return json.dumps([f.as_tool() for f in self.functions if f in near])

    def results(self, calls: Sequence[ToolCall]) -> str:
        """What calls return, as one text for the model."""
        return "\n".join(response_text(self.result(call)) for call in calls[:MAX_CALLS])

    def result(self, call: ToolCall) -> str:
        """What one call returns as JSON, or why it was not run."""
        if call.name not in {function.name for function in self.functions}:
            return text_of({"error": f"There is no function '{call.name[:80]}' here."})
        try:
            return text_of(self.run(call))[:MAX_RESULT_CHARACTERS]
        except UserError as error:
            return text_of({"error": str(error)[:MAX_RESULT_CHARACTERS]})
        except Exception as error:
            log.error("the function %s failed", call.name, exc_info=error)
            return text_of({"error": "It could not be computed."})


def stems(text: str) -> set[str]:
    """The beginnings of the longer words of a text."""
    return {word[:5] for word in WORD.findall(text.lower().replace("_", " "))}


def is_result(turn: Message) -> bool:
    """Whether a turn tells what functions returned."""
    return turn.role == "user" and turn.content.startswith(RESPONSE_OPEN)


def result_texts(turn: Message) -> list[str]:
    """What each function returned."""
    pieces = turn.content.split(RESPONSE_OPEN)[1:]
    return [piece.partition(RESPONSE_CLOSE)[0].strip() for piece in pieces]


def said_words(text: str) -> str:
    """An answer without its calls, also without one that is being written."""
    blocks = call_blocks(text)
    for block in reversed(blocks):
        text = text[: block.start] + text[block.end :]
    return text.partition(OPEN)[0].strip()


def call_words(call: ToolCall) -> str:
    """A call as a person reads it."""
    return f"{call.name}({', '.join(f'{name} = {text_of(value)}' for name, value in call.arguments.items())})"
