"""A conversation on the chat page, and its form in the reader's own browser, where it outlives a reload."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from domains.example import Message
from domains.readers import RowError, message
from domains.votes import Candidate
from ui.chat_tools import is_result
from ui.schema import MAX_CHARACTERS, MAX_MESSAGES

VERSION = 1


@dataclass(frozen=True)
class Conversation:
    """What was said. `open_question` waits for the first word of its answer; `expert` gave the last answer, which was
    `rated` or not. While two answers to the last turn are compared, they are in `rivals` (left, right)."""

    turns: tuple[Message, ...] = ()
    open_question: str = ""
    expert: str = ""
    rated: bool = False
    rivals: tuple[Candidate, ...] = ()

    @property
    def answer(self) -> Candidate | None:
        """The last answer, if the conversation ends with one."""
        if self.turns and self.turns[-1].role == "assistant":
            return Candidate(self.expert, self.turns[-1].content)
        return None

    @property
    def question(self) -> str:
        """The last thing that the person said."""
        said = (turn.content for turn in reversed(self.turns) if turn.role == "user" and not is_result(turn))
        return next(said, "")

    def settled(self, place: int = 0) -> Conversation:
        """The conversation after a comparison: it goes on with the answer of one side, the left without a vote."""
        if not self.rivals:
            return self
        kept = self.rivals[place]
        return Conversation((*self.turns, Message("assistant", kept.text)), expert=kept.expert, rated=True)

    def without_question(self) -> Conversation:
        """The conversation before its open question."""
        return replace(self, open_question="")


def to_browser(conversation: Conversation) -> dict[str, Any]:
    """The form in the browser."""
    return {
        "version": VERSION,
        "turns": [turn.as_dict() for turn in conversation.turns],
        "open_question": conversation.open_question,
        "expert": conversation.expert,
        "rated": conversation.rated,
        "rivals": [[each.expert, each.text] for each in conversation.rivals],
    }


def from_browser(kept: Any, experts: Collection[str]) -> Conversation:
    """What the browser kept. It may hold anything: what this page would not have written is an empty conversation."""
    if not isinstance(kept, dict) or kept.get("version") != VERSION or not isinstance(kept.get("turns"), list):
        return Conversation()
    try:
        turns = tuple(message(turn, "turn") for turn in kept["turns"][: MAX_MESSAGES + 1])
    except RowError:
        return Conversation()
    found = Conversation(turns, kept_text(kept.get("open_question")), kept_text(kept.get("expert")))
    rivals = kept_rivals(kept.get("rivals"), experts)
    if not fits(found, rivals, experts):
        return Conversation()
    return replace(found, rated=bool(kept.get("rated")), rivals=rivals)


def fits(found: Conversation, rivals: tuple[Candidate, ...], experts: Collection[str]) -> bool:
    """Whether roles alternate from the person's first turn, and nothing is longer than the page allows."""
    roles = [turn.role for turn in found.turns]
    alternate = all(role == ("user", "assistant")[number % 2] for number, role in enumerate(roles))
    ends_well = (found.expert in experts) if roles and roles[-1] == "assistant" else bool(rivals) or not roles
    texts = [turn.content for turn in found.turns] + [each.text for each in rivals] + [found.open_question]
    small = len(roles) <= MAX_MESSAGES and sum(len(text) for text in texts) <= 2 * MAX_CHARACTERS
    return alternate and ends_well and small and not (rivals and roles[-1:] != ["user"])


def kept_text(value: Any) -> str:
    """A text, or nothing."""
    return value if isinstance(value, str) else ""


def kept_rivals(value: Any, experts: Collection[str]) -> tuple[Candidate, ...]:
    """Two answers of known experts, or none."""
    pairs = value if isinstance(value, list) and len(value) == 2 else []
    found = [
        Candidate(*pair) for pair in pairs if isinstance(pair, list) and [type(each) for each in pair] == [str, str]
    ]
    return tuple(found) if len(found) == 2 and all(each.expert in experts for each in found) else ()
