"""Answers on disk: one append-only JSONL row per sample, keyed by model, prompt and decoding; reruns fill gaps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from domains.example import Message
from experts.digests import digest_of
from experts.generate import Generated, generate


@dataclass
class AnswerStore:
    """Answers that were generated before."""

    path: Path
    known: dict[str, Generated] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the file; a line that a kill cut short is left out and generated again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                self.path.write_bytes(whole)
            for line in whole.splitlines():
                row = json.loads(line)
                key = row.pop("key")
                self.known[key] = Generated(**row)

    def add(self, keys: Sequence[str], answers: Sequence[Generated]) -> None:
        """Append finished answers."""
        with self.path.open("a", encoding="utf-8") as handle:
            for key, answer in zip(keys, answers, strict=True):
                self.known[key] = answer
                handle.write(json.dumps({"key": key, **asdict(answer)}, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Decoding:
    """How answers are generated: greedily, at most `max_new_tokens`, in batches."""

    max_new_tokens: int
    batch_size: int


def answer_key(model_digest: str, prompt: Sequence[Message], decoding: Decoding) -> str:
    """The key of one answer."""
    return digest_of([model_digest, [m.as_dict() for m in prompt], decoding.max_new_tokens])


@dataclass(frozen=True)
class Answerer:
    """A loaded model that answers through a store."""

    model: Any
    tokenizer: Any
    digest: str
    store: AnswerStore

    def __call__(self, prompts: Sequence[Sequence[Message]], decoding: Decoding) -> list[Generated]:
        """Answers in the order of the prompts."""
        keys = [answer_key(self.digest, prompt, decoding) for prompt in prompts]
        missing = [i for i, key in enumerate(keys) if key not in self.store.known]

        def keep(places: list[int], answers: list[Generated]) -> None:
            self.store.add([keys[missing[place]] for place in places], answers)

        if missing:
            todo = [prompts[i] for i in missing]
            generate(self.model, self.tokenizer, todo, decoding.max_new_tokens, decoding.batch_size, keep)
        return [self.store.known[key] for key in keys]
