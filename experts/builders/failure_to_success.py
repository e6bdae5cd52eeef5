"""A learner's failed attempts (rejected) and the attempt with which it succeeded (chosen), as a verifier sees them.

Source: arXiv 2511.23436. The verifier has the passage, the learner has its criticism. A first attempt that is good
gives no row, nor does a learner that never succeeds. For rows of function calls a check of the calls is the verifier.
"""

from __future__ import annotations

from typing import Any

from domains.example import Message
from experts.builders._calls import CHOSEN, answered, call_items, criticism, is_right, prompt_of
from experts.builders._parts import Item, Material, Skipped, Writers, asked, labelled, passages, preference_row
from experts.builders.question_answer import INSTRUCTION

TARGET = "preferences.jsonl"
USES_MODEL = True
ATTEMPTS = 4
VERIFY = """
Does the answer say what the passage says about the question, without a fact that contradicts it, and is it complete and
clear? Be strict. Write exactly:
VERDICT: PASS or FAIL
CRITICISM: what is missing or wrong, in one or two sentences (for a PASS: none)
"""
AGAIN = "Answer the question again, better: the criticism says what to change. Write the answer only."


def items(material: Material) -> list[Item]:
    """One per section, and per row of calls."""
    return [*passages(material.domain.documents), *call_items(material.domain)]


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The attempts until the verifier is content."""
    if CHOSEN in item.data:
        return corrected_call(item, writers)
    question = labelled(asked(writers.strong, INSTRUCTION, item.passage), "question", "answer")["question"]
    attempts: list[str] = [asked(writers.weak, question)]
    while (criticism := verdict(item, question, attempts[-1], writers)) is not None:
        if len(attempts) == ATTEMPTS:
            raise Skipped(f"no attempt of {ATTEMPTS} passed.")
        attempts.append(asked(writers.weak, AGAIN, question=question, answer=attempts[-1], criticism=criticism))
    *failed, chosen = attempts
    rejected = {f"failed_attempt#{place}": text for place, text in enumerate(dict.fromkeys(failed)) if text != chosen}
    if not rejected:
        raise Skipped("the first attempt passed.")
    return preference_row([Message("user", question)], chosen, rejected)


def corrected_call(item: Item, writers: Writers) -> dict[str, Any]:
    """The right calls, and the attempts before the one that made them."""
    prompt, failed = prompt_of(item), []
    while not is_right(item, attempt := answered(writers.weak, prompt)):
        failed.append(attempt)
        if len(failed) == ATTEMPTS:
            raise Skipped(f"no attempt of {ATTEMPTS} passed.")
        again = f"That was wrong. {criticism(item, attempt)} Answer the request again."
        prompt = [*prompt, Message("assistant", attempt), Message("user", again)]
    if not failed:
        raise Skipped("the first attempt passed.")
    rejected = {f"failed_attempt#{place}": text for place, text in enumerate(dict.fromkeys(failed))}
    return preference_row(prompt_of(item), item.data[CHOSEN], rejected)


def verdict(item: Item, question: str, attempt: str, writers: Writers) -> str | None:
    """The criticism of an attempt; None when it passes."""
    reply = asked(writers.strong, VERIFY, item.passage, question=question, answer=attempt)
    found = labelled(reply, "verdict", "criticism")
    word = found["verdict"].strip(" .*").upper()
    if word not in {"PASS", "FAIL"}:
        raise Skipped("the verdict is neither PASS nor FAIL.")
    return None if word == "PASS" else found["criticism"]
