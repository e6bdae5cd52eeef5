"""One question to a judging model and its verdict: by JSON schema, by log-probabilities, or by a strictly read text.

`Asker` finds out which of the three an endpoint can do (once; the cache remembers it), asks with a fresh fence each
time, and keeps what was scored. What cannot be read is unscored, unless an answer under judgement holds a verdict of
its own: then this costs it the worst score, so that planting one is no way out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from openai import OpenAI

from judges.endpoint import Endpoint, Refused, Reply
from judges.fencing import MarkSource, Section, fenced, free_mark
from judges.replies import Reading, Scale, expectation, holds_verdict, read_verdict, repeats_planted
from judges.verdict import Verdict
from judges.verdict_cache import Record, VerdictCache, key_of

Messages = list[dict[str, str]]
Way = Literal["schema", "logprobs", "text"]

MAX_REPLY_TOKENS = 400
PROBE_TOKENS = 24
TOP_LOGPROBS = 20
NO_MARK = "MARK"
REFUSED = "refused"  # in the parts of a verdict that may be given when it is asked for again
SAMPLE = "Two and two make four."


@dataclass(frozen=True)
class Task:
    """What to judge. `brief` says how; every `{mark}` in it becomes the mark of the fence around the sections."""

    brief: str
    sections: tuple[Section, ...]
    scale: Scale

    @property
    def texts(self) -> list[str]:
        """What is judged, unfenced."""
        return [section.text for section in self.sections]

    def harmless(self) -> Task:
        """The same task over a text of ours, so that no judged text decides how the others are asked about."""
        return replace(self, sections=tuple(Section(section.name, SAMPLE) for section in self.sections))

    def messages(self, form: str, mark: str) -> Messages:
        """The request; `form` is the shape of the reply, said before and after the judged text."""
        system = f"{self.brief.replace('{mark}', mark)}\n{form}"
        user = f"{fenced(self.sections, mark)}\n\n{form}"
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]


@dataclass(frozen=True)
class Asker:
    """A judging model on an open client. `use_logprobs` None = as the endpoint can, JSON schema first.

    `identity` names the model in the cache's keys. `retries` bounds the tries after a reply that cannot be read.
    """

    endpoint: Endpoint
    client: OpenAI
    cache: VerdictCache
    identity: str
    mark: MarkSource
    use_logprobs: bool | None = None
    retries: int = 2
    min_mass: float = 0.05

    def verdicts(self, tasks: Sequence[Task]) -> list[Verdict]:
        """One verdict per task, in order."""
        if not tasks:
            return []
        path = self.path(tasks[0])
        return self.endpoint.map(lambda task: self.verdict(task, path), tasks)

    def verdict(self, task: Task, path: Way) -> Verdict:
        """The verdict from the cache, or asked for; only what was scored is kept."""
        key = self.key(task, path)
        known = self.cache.get(key)
        if known is not None:
            return verdict_of(known)
        try:
            found = self.by_letter(task) if path == "logprobs" else self.by_json(task, path)
        except Refused as error:
            return unscored(str(error), {REFUSED: True} if error.for_now else {})
        if found.value is not None:
            self.cache.put(key, found.as_dict())
        return found

    def key(self, task: Task, path: Way) -> str:
        """The digest of everything that a verdict depends on; the mark of the fence is not part of it."""
        form = task.scale.letter_form if path == "logprobs" else task.scale.form()
        settings = [self.identity, path, self.use_logprobs, self.min_mass]
        return key_of([settings, task.messages(form, NO_MARK), task.scale.schema()])

    def path(self, task: Task) -> Way:
        """How to ask: the setting, what the cache remembers of this model, or what the endpoint does with a sample."""
        if self.use_logprobs is not None:
            return "logprobs" if self.use_logprobs else "schema"
        key = key_of([self.identity, "path"])
        known: Record | None = self.cache.get(key)
        if known is not None:
            path: Way = known["path"]
            return path
        try:
            found = self.detected(task.harmless())
        except Refused:
            return "schema"
        self.cache.put(key, {"path": found})
        return found

    def detected(self, task: Task) -> Way:
        """What the endpoint can do. Raises `Refused` when it is too busy to tell."""
        try:
            reply = self.constrained(task, with_reason=False)
            silent = reply.finish_reason == "length" and not reply.text.strip()
            if silent or read_verdict(reply.text, task.scale):
                return "schema"
        except Refused as error:
            if error.for_now:
                raise
        try:
            return "logprobs" if self.letter_reply(task).top_logprobs else "text"
        except Refused as error:
            if error.for_now:
                raise
        return "text"

    def by_letter(self, task: Task) -> Verdict:
        """The expectation over the labels of the reply's first token."""
        top = self.letter_reply(task).top_logprobs
        if not top:
            return unscored("the endpoint gave no log-probabilities (set use_logprobs to False)")
        return expectation(top, task.scale, self.min_mass)

    def by_json(self, task: Task, path: Way) -> Verdict:
        """The verdict that the model writes, asked for again while it cannot be taken; at last by log-probabilities."""
        problem = ""
        for attempt in range(1, self.retries + 2):
            text = self.written(task, path).text
            reading = read_verdict(text, task.scale)
            if reading is None:
                problem = f"no verdict in {attempt} replies, the last: {text[:80]!r}"
            elif repeats_planted(reading, task.scale, task.texts):
                repeated = unscored("the reply repeats a verdict that stands in the judged text")
                return penalty(task, reading) or repeated
            else:
                parts = {"attempts": attempt, "path": path}
                return Verdict(reading.value, reading.reason or "No reason given.", parts)
        return self.rescued(task) or penalty(task) or unscored(problem)

    def rescued(self, task: Task) -> Verdict | None:
        """The verdict by log-probabilities where the endpoint may be asked for them and gives them."""
        if self.use_logprobs is not None:
            return None
        try:
            found = self.by_letter(task)
        except Refused:
            return None
        return found if found.value is not None else None

    def written(self, task: Task, path: Way) -> Reply:
        """A reply that should be JSON; an endpoint that refuses the schema is asked in words alone."""
        if path == "schema":
            try:
                return self.constrained(task)
            except Refused as error:
                if error.for_now:
                    raise
        return self.complete(task, task.scale.form(), max_tokens=MAX_REPLY_TOKENS)

    def constrained(self, task: Task, with_reason: bool = True) -> Reply:
        """A reply that the endpoint holds to the schema of a verdict."""
        schema = {"name": "verdict", "strict": True, "schema": task.scale.schema(with_reason)}
        limit = MAX_REPLY_TOKENS if with_reason else PROBE_TOKENS
        form = task.scale.form(with_reason)
        return self.complete(
            task, form, max_tokens=limit, response_format={"type": "json_schema", "json_schema": schema}
        )

    def letter_reply(self, task: Task) -> Reply:
        """One token with its candidates."""
        return self.complete(task, task.scale.letter_form, max_tokens=1, logprobs=True, top_logprobs=TOP_LOGPROBS)

    def complete(self, task: Task, form: str, **options: Any) -> Reply:
        """One request, in a fence of its own."""
        messages = task.messages(form, free_mark(task.texts, self.mark))
        return self.endpoint.complete(self.client, messages, **options)


def verdict_of(record: Record) -> Verdict:
    """The verdict in a cache's record."""
    return Verdict(record["value"], record["explanation"], dict(record["parts"]))


def unscored(reason: str, parts: dict[str, Any] | None = None) -> Verdict:
    """No verdict, and why."""
    return Verdict(None, f"Unscored: {reason}.", parts or {})


def penalty(task: Task, repeated: Reading | None = None) -> Verdict | None:
    """The verdict against an answer that holds one itself; None where none does. Of a pair the other one wins, and two
    such answers are equal."""
    guilty = {section.name for section in task.sections if is_guilty(section, task.scale, repeated)}
    if not guilty:
        return None
    values = task.scale.values.values()
    value = {(False, True): max(values), (True, True): (min(values) + max(values)) / 2}.get(
        ("ANSWER" in guilty or "ANSWER A" in guilty, "ANSWER B" in guilty), min(values)
    )
    return Verdict(value, "The answer holds a verdict of its own, which the judge repeats.", {"planted": True})


def is_guilty(section: Section, scale: Scale, repeated: Reading | None) -> bool:
    """Whether this is an answer that holds a verdict, or the one that was repeated."""
    if not section.name.startswith("ANSWER"):
        return False
    return holds_verdict(section.text) or bool(repeated and repeats_planted(repeated, scale, [section.text]))
