"""A request is a text or a conversation. What it is about is followed from turn to turn, as in a hidden Markov model:
the subject usually stays, and a turn that clearly says otherwise changes it (forward algorithm, Rabiner 1989)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domains.errors import UserError
from domains.example import ROLES, Message

Request = str | Sequence[Message] | Sequence[Mapping[str, str]]

STAY = 0.7  # probability that a turn goes on with the subject of the one before it
MAX_TURNS = 4
MAX_CHARACTERS = 8000


def turns(request: Request) -> list[str]:
    """The user's last turns, oldest first, without blank ones; a system instruction is read with the last of them,
    because it may ask for a label. Nothing at all gives an empty list."""
    messages = as_messages(request)
    said = [m.content for m in messages if m.role == "user" and m.content.strip()][-MAX_TURNS:]
    system = [m.content for m in messages if m.role == "system" and m.content.strip()]
    last = " ".join([*system, *said[-1:]])
    return [shortened(text) for text in [*said[:-1], last] if text.strip()]


def as_messages(request: Request) -> list[Message]:
    """The request as messages; a text is one user turn."""
    if isinstance(request, str):
        return [Message("user", request)]
    return [item if isinstance(item, Message) else as_message(item) for item in request]


def as_message(item: object) -> Message:
    """A message from its JSON form."""
    role, content = (item.get("role"), item.get("content")) if isinstance(item, Mapping) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise UserError(
            f"A message to route is {str(item)[:80]!r}. Give a text, or a list of "
            f'{{"role": one of {", ".join(ROLES)}, "content": a text}}.'
        )
    return Message(role, content)


def shortened(text: str) -> str:
    """A long text without its middle: as many characters from the beginning as from the end."""
    half = MAX_CHARACTERS // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]} {text[-half:]}"


def belief(scored: Sequence[Mapping[str, float]], priors: Mapping[str, float]) -> dict[str, float]:
    """Probabilities after all turns. With e the scores of a turn, b the belief before it and q the prior, the new
    belief is proportional to e (1 - STAY + STAY b / q): one turn alone is its scores, and so is one after a turn that
    said no more than the prior. A label without a prior counts as one of equal ones."""
    found: dict[str, float] = {}
    for scores in scored:
        found = updated(found, scores, priors) if found else dict(scores)
    return found


def updated(before: Mapping[str, float], scores: Mapping[str, float], priors: Mapping[str, float]) -> dict[str, float]:
    """The belief after one more turn."""
    even = 1 / len(scores)
    stays = {name: 1 - STAY + STAY * before.get(name, 0.0) / (priors.get(name) or even) for name in scores}
    joint = {name: value * stays[name] for name, value in scores.items()}
    total = sum(joint.values())
    return {name: value / total for name, value in joint.items()} if total else dict(scores)
