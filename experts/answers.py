"""Answers on disk: one append-only JSONL row per sample, keyed by model, prompt and decoding; reruns fill gaps.

Where answers come from is a `Source`: a local model in batches, or an endpoint (`experts/remote.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jinja2 import TemplateError

from domains.example import Message
from experts.digests import digest_of
from experts.encoding import prompt_ids
from experts.generate import Generated, Keep, generate
from experts.progress import bar
from judges.samples import FAILED, OK, SampleFile

Prompt = Sequence[Message]
ROW_ERRORS = (RuntimeError, ValueError, LookupError, TemplateError)


@dataclass(frozen=True)
class AnswerStore:
    """Answers that were generated before; those that failed in an earlier run are tried again."""

    file: SampleFile

    @classmethod
    def open(cls, path: Path) -> AnswerStore:
        """The answers of a file, which need not be there yet."""
        return cls(SampleFile(path))

    def add(self, key: str, answer: Generated) -> None:
        """Append a finished answer."""
        data = asdict(answer)
        reason = data.pop("failure")
        self.file.append([{"key": key, "status": FAILED if reason else OK, "reason": reason, **data}])

    def get(self, key: str) -> Generated:
        """An answer that is there."""
        row = self.file.known[key]
        return Generated(row["text"], row["finished"], row["num_tokens"], row.get("reason", ""))

    def __contains__(self, key: str) -> bool:
        return key in self.file.known


@dataclass(frozen=True)
class Decoding:
    """How answers are generated: greedily, at most `max_new_tokens`, in batches."""

    max_new_tokens: int
    batch_size: int


class Source(Protocol):
    """What answers prompts; `digest` changes whenever an answer could."""

    @property
    def digest(self) -> str:
        """The identity of the model."""
        ...

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
        """Give `keep` each place with its answer, in any order; a prompt that cannot be answered is a failure."""
        ...


@runtime_checkable
class Batched(Protocol):
    """A source whose answers depend, by rounding, on what else is in their batch."""

    def batches(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[int]]:
        """The places of prompts that are answered together."""
        ...


@dataclass(frozen=True)
class LocalModel:
    """A loaded model."""

    model: Any
    tokenizer: Any
    digest: str

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
        """Answer in batches sorted by length."""
        answer_locally(self.model, self.tokenizer, prompts, decoding, keep)

    def batches(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[int]]:
        """Those of `answer`."""
        return batches_by_length(self.tokenizer, prompts, decoding)


def batches_by_length(tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[int]]:
    """The batches that `generate` makes. Prompts that have no answer stand behind all others, so they change none."""

    def size(place: int) -> float:
        try:
            return len(prompt_ids(tokenizer, prompts[place]))
        except ROW_ERRORS:
            return float("inf")

    order = sorted(range(len(prompts)), key=size)
    return [order[start : start + decoding.batch_size] for start in range(0, len(order), decoding.batch_size)]


def answer_locally(model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
    """Batches sorted by length; when one cannot be computed, its prompts are tried one at a time."""
    fits = list(answerable(model.config, tokenizer, prompts, decoding, keep))
    done: set[int] = set()

    def keep_one(place: int, answer: Generated) -> None:
        keep(fits[place], answer)
        done.add(fits[place])

    size, limit = decoding.batch_size, decoding.max_new_tokens
    try:
        generate(model, tokenizer, [prompts[i] for i in fits], limit, size, keep_one)
    except ROW_ERRORS:
        for place in (i for i in fits if i not in done):
            keep(place, alone(model, tokenizer, prompts[place], limit))


def answerable(config: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> Iterator[int]:
    """The places of prompts that leave room for an answer; the others fail."""
    room = getattr(config, "max_position_embeddings", None) or 10**9
    for place, prompt in enumerate(prompts):
        try:
            size = len(prompt_ids(tokenizer, prompt))
        except ROW_ERRORS as error:
            keep(place, failed(f"the prompt cannot be encoded: {error}"))
            continue
        if size + decoding.max_new_tokens > room:
            new = decoding.max_new_tokens
            keep(place, failed(f"the prompt has {size} tokens, but with {new} new ones the model takes {room}"))
        else:
            yield place


def alone(model: Any, tokenizer: Any, prompt: Prompt, max_new_tokens: int) -> Generated:
    """One answer, or why there is none."""
    try:
        return generate(model, tokenizer, [prompt], max_new_tokens, 1)[0]
    except ROW_ERRORS as error:
        return failed(f"{type(error).__name__}: {error}")


def failed(reason: str) -> Generated:
    """No answer, and why."""
    return Generated("", False, 0, reason)


def answer_key(model_digest: str, prompt: Prompt, decoding: Decoding) -> str:
    """The key of one answer."""
    return digest_of([model_digest, [m.as_dict() for m in prompt], decoding.max_new_tokens])


@dataclass(frozen=True)
class Answerer:
    """A source behind a store."""

    source: Source
    store: AnswerStore

    def __call__(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Generated]:
        """Answers in the order of the prompts; what is not there is generated, each key once."""
        keys = self.keys(prompts, decoding)
        asked = dict(zip(keys, prompts, strict=True))
        names = self.to_answer(asked, decoding)

        def keep(place: int, answer: Generated) -> None:
            if names[place] not in self.store:
                self.store.add(names[place], answer)
            progress.update()

        if names:
            with bar(len(names), "Answering") as progress:
                self.source.answer([asked[name] for name in names], decoding, keep)
        return [self.store.get(key) for key in keys]

    def to_answer(self, asked: dict[str, Prompt], decoding: Decoding) -> list[str]:
        """The keys without an answer; of a source that answers in batches, all of each batch that is not complete, so
        that an interrupted run ends with the answers of one that was not."""
        names = list(asked)
        if not isinstance(self.source, Batched):
            return [name for name in names if name not in self.store]
        batches = self.source.batches(list(asked.values()), decoding)
        wanted = {i for batch in batches if any(names[i] not in self.store for i in batch) for i in batch}
        return [names[i] for i in sorted(wanted)]

    def keys(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[str]:
        """The prompts' keys."""
        digest = self.source.digest
        return [answer_key(digest, prompt, decoding) for prompt in prompts]

    def num_missing(self, prompts: Sequence[Prompt], decoding: Decoding) -> int:
        """How many prompts have no answer yet."""
        return sum(key not in self.store for key in set(self.keys(prompts, decoding)))
