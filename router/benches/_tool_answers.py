"""Answers for the function calling bench from one running batch, each on disk as soon as it is there: a measurement
that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experts.digests import digest_of
from router.assistant import Answer, Sampling
from router.benches._tool_arms import Arm, ArmModels
from router.call_grammar import ToolUse
from router.grammar import Grammars
from router.scheduler import Limits, Row, Scheduler
from router.slots import SlotBatch
from router.writing import Writer

MAX_TOKENS = 256
MAX_CONTEXT = 4096
AT_ONCE = 64
NO_LIMITS = Limits(10**9, 10**9, 1e9)


@dataclass(frozen=True)
class Asked:
    """A prompt of an arm, and what its answer is bound to."""

    arm: Arm
    ids: tuple[int, ...]
    use: ToolUse | None = None


@dataclass
class Answers:
    """Greedy answers, by what they depend on."""

    path: Path
    models: ArmModels
    found: dict[str, str] = field(default_factory=dict)
    max_tokens: int = MAX_TOKENS
    max_context: int = MAX_CONTEXT

    def __post_init__(self) -> None:
        self.digests = {name: self.models.digest(name) for name in ("base", *self.models.experts)}
        self.grammars = Grammars(self.models.tokenizer, self.models.model.get_output_embeddings().weight.shape[0])
        self.scheduler = Scheduler(SlotBatch(self.models), NO_LIMITS)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.found |= {row["key"]: row["text"] for row in map(json.loads, whole_lines(self.path))}

    def key(self, asked: Asked) -> str:
        """What an answer depends on: the model, the prompt and the decoding."""
        return digest_of([self.digests[asked.arm.expert], asked.ids, repr(asked.use), self.max_tokens])

    def get(self, asked: Sequence[Asked]) -> list[str | None]:
        """The answers; None where the prompt is too long to be answered."""
        keys = [self.key(each) for each in asked]
        missing = {
            key: each
            for key, each in zip(keys, asked, strict=True)
            if key not in self.found and len(each.ids) + self.max_tokens <= self.max_context
        }
        order = sorted(missing, key=lambda key: len(missing[key].ids))
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            self.keep(part, self.generate([missing[key] for key in part]))
        return [self.found.get(key) for key in keys]

    def generate(self, asked: Sequence[Asked]) -> Iterator[str]:
        """New answers in order."""
        rows = [self.row(each) for each in asked]
        self.scheduler.submit(rows)
        for row in rows:
            yield "".join(piece.text for piece in row.answer)

    def row(self, asked: Asked) -> Row:
        """One answer to write."""
        grammar = self.grammars.of_calls(asked.use) if asked.use else None
        sampling = Sampling(max_tokens=self.max_tokens)
        writer = Writer(self.models.tokenizer, sampling, grammar=grammar)
        return Row(asked.ids, asked.arm.expert, writer, Answer())

    def keep(self, keys: Sequence[str], texts: Iterator[str]) -> None:
        """Write answers down as they come."""
        with self.path.open("a", encoding="utf-8") as file:
            for key, text in zip(keys, texts, strict=True):
                self.found[key] = text
                file.write(json.dumps({"key": key, "text": text}) + "\n")
                file.flush()


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; a last one that was not written to its end is cut off."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")[:-1]
    if not text.endswith("\n"):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return lines
