"""What the chat page says, in words for a person."""

from __future__ import annotations

from collections.abc import Sequence

from domains.domain import GENERAL
from domains.errors import UserError
from domains.example import Message
from router.assistant import AUTO
from router.route import Route
from ui.openai_errors import log_bug
from ui.schema import MAX_CHARACTERS, MAX_MESSAGES

MAX_QUESTION_CHARACTERS = 4000
SLOW_SECONDS = 10
TITLE = "expertsmith"
SENTENCE = "Ask in your own words. The right expert answers, and you see which one it is and why."
CAUTION = "Answers are written by a language model and can be wrong. Check what matters with a professional."
WAITING = "The answer appears here."
KEPT = "This conversation is kept in your browser, on this device only, until you press Clear."
THANKS = "Thank you. Your vote is stored."
SAME_VOTE = "Thank you. This vote was stored already."
NOTHING_TO_STORE = "Both answers are the same, so there is no vote to store."
COMPARE_WORDS = "Read both answers, then say which is better."
FAILURES = {
    "Busy": "Too many questions are waiting just now. Your question is back in its box: please ask again in a minute.",
    "TimedOut": "The answer took too long. Your question is back in its box: you can ask again, or ask a shorter one.",
    "Closing": "The page is being shut down, so the answer was not finished. Your question is back in its box.",
    "BackendFailed": "The server that writes the answers cannot be reached. Your question is back in its box.",
}


def consent_words(folder: str) -> str:
    """What is stored of a vote, where, and what for."""
    return (
        "If you vote, your question, the conversation before it and the answers are stored on this computer, in "
        f"{folder}, and can be used to train the experts. Without a vote nothing is stored there. "
        "Leave out names and private details."
    )


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
    """An error in words for a person; what is a bug goes to the log. The assistant's own refusals go by their names."""
    if isinstance(error, UserError):
        return str(error)
    if words := FAILURES.get(type(error).__name__):
        return words
    log_bug(error)
    return "Something went wrong while answering. Your question is back in its box: you can ask again."


def ending_words(route: Route, text: str, finish_reason: str | None) -> str:
    """What to say when the answer has ended: who gave it, and whether it is whole."""
    if not text.strip():
        return "The expert gave no answer. Try other words, or choose another expert."
    cut = " The answer was cut off at its length limit." if finish_reason == "length" else ""
    return f"Answered by {expert_title(route.expert)}.{cut}"


def starting_words(choice: str) -> str:
    """What happens first."""
    return "Finding the expert for your question ..." if choice == AUTO else "Thinking ..."


def waiting_words(num_before: int, seconds: float) -> str:
    """What to say while nothing comes; empty when there is nothing new to say."""
    if num_before:
        questions = "1 question" if num_before == 1 else f"{num_before} questions"
        return f"Please wait: {questions} of others came before yours. You can press Stop at any time."
    return (
        "Still working on it. This can take a minute; you can press Stop at any time." if seconds > SLOW_SECONDS else ""
    )


def voted_words(num_pairs: int) -> str:
    """Thanks for a thumb."""
    return THANKS + (" With an earlier vote on this question it makes a pair to learn from." if num_pairs else "")


def expert_title(name: str) -> str:
    """`mortgage/structured` as a person reads it."""
    domain, _, track = name.partition("/")
    return f"{domain_title(domain)} \u00b7 {track}" if track else domain_title(domain)


def domain_title(name: str) -> str:
    """The name of a domain as a person reads it."""
    return "General model" if name == GENERAL else name.replace("_", " ").replace("-", " ").capitalize()


def why(route: Route, forced: bool) -> str:
    """One plain sentence."""
    if forced:
        return "You chose this expert, so the router was not asked."
    if route.strategy == "calculation":
        return "Your question asks for a calculation, so the expert answers that can call functions."
    best = max(route.scores, key=lambda name: route.scores[name], default=route.expert)
    if not route.abstained:
        return "The router read your question and found this expert the best match."
    if best == route.expert:
        return "The router found no special field in your question, so the general model answers."
    closest = f"{expert_title(best)}, reached only {route.scores[best]:.0%}"
    return f"The router was not sure enough: the closest expert, {closest}. So the general model answers."
