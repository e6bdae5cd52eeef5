"""The records of a domain. Valid once built; text enters through `readers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from domains.tool_calls import Function

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "dev", "test"]
Task = Literal["classification", "summarization", "questions", "instructions", "calls"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
TASKS: tuple[Task, ...] = ("classification", "summarization", "questions", "instructions", "calls")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        """The form that chat templates and the OpenAI protocol take."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Document:
    """A self-contained section of a domain document: `id` is `file#n`, `text` starts with its headings."""

    id: str
    text: str


@dataclass(frozen=True)
class Example:
    """A prompt with the completion that should follow it; `checks` are programmatic (see scorers/instructions), and
    `functions` are those that the prompt declares (they are part of its text too)."""

    id: str
    task: Task
    prompt: tuple[Message, ...]
    completion: str
    kind: str = ""
    checks: tuple[dict[str, Any], ...] = ()
    functions: tuple[Function, ...] = field(default=(), repr=False)

    @property
    def question(self) -> str:
        """The last user turn."""
        return last_user_turn(self.prompt)


@dataclass(frozen=True)
class Preference:
    """A prompt, the chosen answer and k >= 1 rejected ones; `scores` is None or 1 + k long, chosen first."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: tuple[str, ...]
    rejected_kinds: tuple[str, ...] = ()
    scores: tuple[float, ...] | None = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """All answers, the chosen one first: the column order of every training batch."""
        return (self.chosen, *self.rejected)


@dataclass(frozen=True)
class Utterance:
    """A labelled request for the router."""

    id: str
    text: str
    label: str


@dataclass(frozen=True)
class SafetyRule:
    """A rule on (question, answer): see `judges/scorers/safety.py`. Its patterns are regular expressions, any case."""

    id: str
    kind: str
    question_pattern: str
    explanation: str
    require_any: tuple[str, ...] = field(default=())
    forbid: tuple[str, ...] = field(default=())


def last_user_turn(messages: tuple[Message, ...]) -> str:
    """The text of the last user message, empty when there is none."""
    return next((m.content for m in reversed(messages) if m.role == "user"), "")
