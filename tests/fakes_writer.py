"""A writer behind a scripted endpoint: it answers what the builders ask by rule, with sentences of the passage."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes_judges import said

BODY = r"<{}>\n(.*?)\n</{}>"


def part(prompt: str, name: str) -> str:
    """A named text of a prompt, without its headings."""
    found = re.search(BODY.format(name, name), prompt, re.DOTALL)
    lines = (found.group(1) if found else "").splitlines()
    return " ".join(line for line in lines if line and line[0] not in "#|")


def sentences(prompt: str) -> list[str]:
    """The passage, sentence by sentence."""
    return re.split(r"(?<=[.?!]) ", part(prompt, "passage"))


def subject(prompt: str) -> str:
    """The last heading of the passage."""
    return re.findall(r"(?m)^#+ (.*)$", prompt)[-1].lower()


def write(body: dict[str, Any]) -> Any:
    """The reply to one request."""
    return said(reply(body["messages"][-1]["content"]))


def reply(prompt: str) -> str:
    """The reply to one prompt of a builder."""
    if "prescriptive" in prompt:
        return "Comply with the following. " + " ".join(f"{word}" for word in part(prompt, "answer").split()[::-1])
    if "QUESTION: ..." in prompt:
        return f"QUESTION: What should I know about {subject(prompt)}?\nANSWER: {' '.join(sentences(prompt)[:2])}"
    if "LABEL: ..." in prompt:
        labels = re.search(r"one of these labels that fits the passage best: (.*?)\. Then", prompt)
        assert labels
        names = labels.group(1).split(", ")
        label = names[len(prompt) % len(names)]
        return f"LABEL: {label}\nMESSAGE: I have a question about {subject(prompt)}. Who can help me?"
    if "Summarize" in prompt:
        return sentences(prompt)[0]
    return request(prompt)


def request(prompt: str) -> str:
    """A message for the router."""
    if "summarized" in prompt:
        return f"Sort this message about {subject(prompt)} into a category."
    if "nothing to do with" in prompt:
        topic = re.search(r"an assistant about (.*?)\\. It", prompt)
        return f"I would like to hear about {topic.group(1) if topic else 'nothing'}, in {len(prompt) % 90} lines."
    return f"I need help with {subject(prompt)}, what do I do?"
