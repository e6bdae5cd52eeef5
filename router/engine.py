"""All experts as adapters over one base model in one process: one copy of the base in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domains.domain import GENERAL
from domains.errors import UserError, unknown_name
from domains.example import Message
from domains.tool_calls import render
from experts.checkpoint import load_base, load_tokenizer, read_adapter
from experts.device import probe
from experts.digests import digest_of, weights_digest
from experts.embedded import foundation_folder
from experts.encoding import prompt_ids, template_digest
from experts.expert import Expert, built_experts, is_offered
from experts.foundation import EMBEDDED, model_folder
from experts.head import WEIGHTS as HEAD_WEIGHTS
from experts.head import load_head
from experts.logprobs import HEAD
from experts.rerank import rewards
from router.adapters import share
from router.call_grammar import declared
from router.fair import FairLock
from router.tool_requests import is_tools_expert

MAX_CONTEXT = 4096


def servable(home: Path) -> dict[str, Expert]:
    """The experts that are offered: the tracks of each domain and the general model."""
    found = built_experts(home)
    names = [name for name in found if is_offered(name)]
    if GENERAL not in names or len(names) == 1 and not found[GENERAL].has_adapter:
        raise UserError(f"No experts are built in '{home}'. Run 'expertsmith build mortgage caregiving' first.")
    return {name: found[name] for name in sorted(names, key=lambda n: (n == GENERAL, n))}


class Engine:
    """The base model with every expert's adapter, and the tokenizer. Use a model only inside `using` or
    `mixing`; who waits gets it in the order of asking."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.experts = servable(home)
        self.device = probe()
        self.lock = FairLock()
        first = self.experts[GENERAL]
        base = foundation_folder() if first.base == EMBEDDED else model_folder(first.base, first.base_revision)
        self.base_digest = weights_digest(base)
        self.check_parents()
        self.digests = {name: self.digest_of_files(expert) for name, expert in self.experts.items()}
        self.tokenizer = load_tokenizer(base)
        if template_digest(self.tokenizer) != first.template:
            raise UserError(
                "The tokenizer's chat template is not the one the experts were trained with. Build them again."
            )
        model = load_base(base, self.device.dtype, self.device.score_attention).to(self.device.name)
        self.model: Any = model.eval().requires_grad_(False)
        self.choice = share(self.model, {n: read_adapter(e.folder) for n, e in self.experts.items() if e.has_adapter})

    def check_parents(self) -> None:
        """Every expert must have been trained over this base."""
        for name, expert in self.experts.items():
            if expert.base_digest != self.base_digest:
                raise UserError(
                    f"Expert '{name}' is over another base model than the general one; one process serves one base. "
                    "Build it again with the same foundation, with pretrain.method = lora, residual.scale = 1 and "
                    "align.method = lora."
                )

    def digest_of_files(self, expert: Expert) -> str:
        """What an expert's weights are, as they lie on disk now."""
        return digest_of([self.base_digest, weights_digest(expert.folder) if expert.has_adapter else ""])[:16]

    def digest(self, expert: str) -> str:
        """Which weights were loaded as an expert, or, for a name that leaves it open who answers, as all of them."""
        return self.digests.get(expert) or digest_of(self.digests)[:16]

    @contextmanager
    def using(self, expert: str) -> Iterator[Any]:
        """The model as one expert, for this caller alone. No weight requires gradients, so nothing here records any."""
        name = self.adapter(expert)
        with self.lock:
            self.choice.one(name)
            yield self.model

    @contextmanager
    def mixing(self, experts: Sequence[str | None]) -> Iterator[Any]:
        """The model with an expert per row of the batch (None: the bare base), for this caller alone."""
        names = [None if expert is None else self.adapter(expert) for expert in experts]
        with self.lock:
            self.choice.mix(names, self.model.device, self.model.dtype)
            yield self.model

    def adapter(self, expert: str) -> str | None:
        """The adapter of an expert, None for the bare base."""
        if expert not in self.experts:
            raise unknown_name("expert", expert, self.experts)
        return expert if self.experts[expert].has_adapter else None

    def encode(self, messages: Sequence[Message], tools: str | None = None, expert: str = GENERAL) -> list[int]:
        """Prompt tokens; a conversation that is too long is refused. `tools` are function declarations as JSON: the
        chat template shows them where it can, else a system message of our own format, which is what a tools expert
        was trained with and always gets."""
        native = json.loads(tools) if tools else None
        if tools and (is_tools_expert(expert) or "tools" not in self.tokenizer.chat_template):
            messages, native = [Message("system", render(declared(tools))), *messages], None
        ids = prompt_ids(self.tokenizer, messages, native)
        if len(ids) > MAX_CONTEXT:
            message = f"The conversation has {len(ids)} tokens; at most {MAX_CONTEXT} fit. Start a new one."
            raise UserError(message, "messages")
        return ids

    def has_head(self, expert: str) -> bool:
        """Whether an expert can say how good an answer is."""
        return (self.experts[expert].folder / HEAD_WEIGHTS).is_file()

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """The rewards of answers by the expert's preference head."""
        if not self.has_head(expert):
            raise UserError(
                f"Expert '{expert}' has no preference head to choose with. Leave best_of out, or build it with "
                "align.objective=dph.",
                "best_of",
            )
        head = load_head(self.experts[expert].folder)
        with self.using(expert) as model:
            setattr(model, HEAD, head.to(model.device))
            try:
                return [float(reward) for reward in rewards(model, self.tokenizer, messages, answers)]
            finally:
                delattr(model, HEAD)
