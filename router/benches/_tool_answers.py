"""Answers for the function calling bench from one running batch, each on disk as soon as it is there: a measurement
that was stopped goes on where it was.

A prompt may be as long as the model's own length and the memory allow. Where the schemas of a row cannot be followed,
the answer is free and says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from domains.errors import UserError
from domains.tool_calls import OPEN
from experts.digests import digest_of
from router.assistant import Answer, Sampling
from router.benches._tool_arms import Arm, ArmModels
from router.call_grammar import ToolUse
from router.grammar import Grammars, SchemaGrammar
from router.prompt_memory import PromptMemory
from router.scheduler import Limits, Row, Scheduler
from router.slots import CHUNK_TOKENS, SlotBatch
from router.writing import Writer

MAX_TOKENS = 256
AT_ONCE = 64
BROKEN = "\ufffd"  # bytes that are no letter
MAX_ROWS = 16
MEMORY_SHARE = 0.4  # of what is free may be keys and values: growing a layer holds it twice for a moment
NO_LIMITS = Limits(10**9, 10**9, 1e9)


@dataclass(frozen=True)
class Asked:
    """A prompt of an arm, and what its answer is bound to."""

    arm: Arm
    ids: tuple[int, ...]
    use: ToolUse | None = None


@dataclass(frozen=True)
class Kept:
    """A text, and whether it was written free although its arm is constrained."""

    text: str
    unbound: bool = False


@dataclass
class Answers:
    """Greedy answers, by what they depend on. `max_context` 0 is the model's own length, as far as memory allows;
    `unbound` and `asked` count the answers of each arm."""

    path: Path
    models: ArmModels
    found: dict[str, Kept] = field(default_factory=dict)
    max_tokens: int = MAX_TOKENS
    max_context: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    unbound: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.max_context = self.max_context or min(self.models.context, fitting_context(self.models.model))
        self.digests = {name: self.models.digest(name) for name in ("base", *self.models.experts)}
        self.grammars = Grammars(self.models.tokenizer, self.models.model.get_output_embeddings().weight.shape[0])
        memory = PromptMemory(MAX_ROWS * self.max_context // 2, CHUNK_TOKENS)  # each turn begins with those before it
        self.scheduler = Scheduler(SlotBatch(self.models, max_rows=MAX_ROWS, memory=memory), NO_LIMITS)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            rows = map(json.loads, whole_lines(self.path))
            self.found |= {row["key"]: Kept(row["text"], row.get("unbound", False)) for row in rows}

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
        said = {key: free for key in order if (free := self.free_without_a_call(missing[key]))}
        self.keep(list(said), iter(said.values()))
        order = [key for key in order if key not in said]
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            self.keep(part, self.generate([missing[key] for key in part]))
        self.count(keys, asked)
        return [self.found[key].text if key in self.found else None for key in keys]

    def free_without_a_call(self, asked: Asked) -> Kept | None:
        """The free answer to the same prompt, if it is kept and begins no call: a schema binds only what follows that,
        so the answer is the same. Text that is cut within a letter is left to the grammar."""
        if asked.use is None or asked.use.required:
            return None
        free = self.found.get(self.key(replace(asked, use=None)))
        if free is None or OPEN in free.text or BROKEN in free.text:
            return None
        return Kept(free.text, unbound=self.grammar(asked) is None)

    def count(self, keys: Sequence[str], asked: Sequence[Asked]) -> None:
        """How many answers each arm has given, and how many of them free against its will."""
        for key, each in zip(keys, asked, strict=True):
            if key in self.found:
                self.asked[each.arm.name] += 1
                self.unbound[each.arm.name] += self.found[key].unbound

    def generate(self, asked: Sequence[Asked]) -> Iterator[Kept]:
        """New answers in order."""
        grammars = [self.grammar(each) for each in asked]
        rows = [self.row(each, grammar) for each, grammar in zip(asked, grammars, strict=True)]
        self.scheduler.submit(rows)
        for row, each, grammar in zip(rows, asked, grammars, strict=True):
            yield self.heard(row, each, each.use is not None and grammar is None)

    def heard(self, row: Row, asked: Asked, unbound: bool) -> Kept:
        """The whole answer; written again, and free, where its grammar fails on the way."""
        try:
            return Kept("".join(piece.text for piece in row.answer), unbound)
        except (RuntimeError, ValueError):
            if asked.use is None:
                raise
            free = self.row(asked, None)
            self.scheduler.submit([free])
            return Kept("".join(piece.text for piece in free.answer), True)

    def grammar(self, asked: Asked) -> SchemaGrammar | None:
        """What an answer is bound to; None where it is free, also because its schemas cannot be followed."""
        try:
            return self.grammars.of_calls(asked.use) if asked.use else None
        except UserError:
            return None

    def row(self, asked: Asked, grammar: SchemaGrammar | None) -> Row:
        """One answer to write."""
        sampling = Sampling(max_tokens=self.max_tokens)
        writer = Writer(self.models.tokenizer, sampling, grammar=grammar)
        return Row(asked.ids, asked.arm.expert, writer, Answer())

    def keep(self, keys: Sequence[str], answers: Iterator[Kept]) -> None:
        """Write answers down as they come."""
        with self.path.open("a", encoding="utf-8") as file:
            for key, kept in zip(keys, answers, strict=True):
                self.found[key] = kept
                mark = {"unbound": True} if kept.unbound else {}
                file.write(json.dumps({"key": key, "text": kept.text, **mark}) + "\n")
                file.flush()


def fitting_context(model: Any) -> int:
    """How many tokens each of the rows that are answered together may have: their keys and values take a share of the
    memory that is free now."""
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = (getattr(config, "num_key_value_heads", None) or config.num_attention_heads) * size
    bytes_per_token = 2 * config.num_hidden_layers * width * model.dtype.itemsize
    free = torch.cuda.mem_get_info()[0] if model.device.type == "cuda" else psutil.virtual_memory().available
    return int(MEMORY_SHARE * free / (MAX_ROWS * bytes_per_token))


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; a last one that was not written to its end is cut off."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")[:-1]
    if not text.endswith("\n"):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return lines
