"""The arms of the function calling bench: a model, what the functions look like to it, and how it decodes.

`before` is the base model with its own tool template or, where it has none, with the bare declarations; `prompt` adds
the documented format of `domains.tool_calls`; `sft` and `sft+preference` are the home's tools experts in that format,
told apart by what their cards say of their training.
`+constrained` decodes a call that is begun to the schema of its function; `+required` decodes to nothing but calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.errors import UserError, unknown_name
from domains.example import Message
from domains.tool_calls import Function, render, text_of
from experts.checkpoint import Checkpoint, load_base, load_tokenizer, read_adapter
from experts.device import probe
from experts.encoding import prompt_ids
from experts.expert import Expert, built_experts
from experts.export import base_of
from router.adapters import share
from router.call_grammar import ToolUse

BASE = "base"
CONSTRAINED, REQUIRED = "+constrained", "+required"
SFT, PREFERENCE = "sft", "sft+preference"
STAGES = {SFT: ("calls_sft", "calls"), PREFERENCE: ("calls",)}  # tracks
FIRST_DOMAIN = "tools"
TRAINED_ON_PAIRS = "rows"  # the number that only preference optimization writes into a card
DEFAULT = ("before", "prompt", "constrained", "sft", "sft+preference")
BARE = "Functions:\n"
UNKNOWN_CONTEXT = 4096  # of a model whose configuration names no length


@dataclass(frozen=True)
class Arm:
    """`expert` answers (BASE: nobody's adapter); `format`: "bare", "native" or "documented"; `decoding`: "free",
    "constrained" or "required"."""

    name: str
    expert: str
    format: str
    decoding: str

    def use(self, functions: Sequence[Function]) -> ToolUse | None:
        """What the decoding is bound to."""
        if self.decoding == "free" or not functions:
            return None
        return ToolUse(tuple(functions), required=self.decoding == "required")


def expert_of(stage: str, experts: Mapping[str, Expert]) -> str | None:
    """The expert that ended with a stage of training, of the domain `tools` if there are several; None where none
    did."""
    wanted = stage == PREFERENCE
    names = sorted(experts, key=lambda name: (name.partition("/")[0] != FIRST_DOMAIN, name))
    built = [name for track in STAGES[stage] for name in names if name.rpartition("/")[2] == track]
    return next((name for name in built if (TRAINED_ON_PAIRS in experts[name].metrics) == wanted), None)


def parse_arm(name: str, experts: Mapping[str, Expert], native: bool) -> Arm | None:
    """An arm by its name, which may also be that of a built expert; None where its expert is not built."""
    plain = "prompt" if name == "constrained" else name
    decoding = "constrained" if name == "constrained" else "free"
    for ending in (CONSTRAINED, REQUIRED):
        if plain.endswith(ending):
            plain, decoding = plain.removesuffix(ending), ending[1:]
    if plain == "before":
        return Arm(name, BASE, "native" if native else "bare", decoding)
    if plain == "prompt":
        return Arm(name, BASE, "documented", decoding)
    if plain in STAGES:
        expert = expert_of(plain, experts)
        return Arm(name, expert, "documented", decoding) if expert else None
    if plain not in experts:
        raise unknown_name("arm", plain, [*DEFAULT, *experts])
    return Arm(name, plain, "documented", decoding)


class ArmModels:
    """The base and the adapters of the arms in one copy of the base, for a running batch."""

    def __init__(self, base: Path, experts: Mapping[str, Expert]) -> None:
        self.base, self.experts = base, experts
        self.tokenizer = load_tokenizer(base)
        device = probe()
        model = load_base(base, device.dtype, device.score_attention).to(device.name)
        self.model: Any = model.eval().requires_grad_(False)
        self.choice = share(self.model, {name: read_adapter(expert.folder) for name, expert in experts.items()})

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its answer together that the model was made for."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or UNKNOWN_CONTEXT)

    @property
    def has_template(self) -> bool:
        """Whether the model's own chat template shows functions."""
        return "tools" in (self.tokenizer.chat_template or "")

    def digest(self, expert: str) -> str:
        """What the answers of an arm depend on."""
        folder = self.experts[expert].folder if expert in self.experts else None
        return Checkpoint(self.base, folder).digest()

    @contextmanager
    def using(self, expert: str) -> Iterator[Any]:
        """The model as one arm's."""
        self.choice.one(None if expert == BASE else expert)
        yield self.model

    @contextmanager
    def mixing(self, experts: Sequence[str | None]) -> Iterator[Any]:
        """The model with an arm's per row."""
        names = [None if expert == BASE else expert for expert in experts]
        self.choice.mix(names, self.model.device, self.model.dtype)
        yield self.model

    def encode(self, arm: Arm, messages: Sequence[Message], functions: Sequence[Function]) -> list[int]:
        """The prompt of an arm."""
        if arm.format == "native":
            return prompt_ids(self.tokenizer, messages, [function.as_tool() for function in functions])
        bare = BARE + text_of([function.as_dict() for function in functions])
        told = render(functions) if arm.format == "documented" else bare
        system = [Message("system", told)] if functions else []
        return prompt_ids(self.tokenizer, [*system, *messages])


def load_models(home: Path, names: Sequence[str]) -> tuple[ArmModels, list[Arm], list[str]]:
    """The models of the arms, the arms that can be measured, and why others cannot. Without a home the foundation is
    measured alone."""
    built = built_experts(home) if home.is_dir() else {}
    tools = {
        name: expert for name, expert in built.items() if name.rpartition("/")[2] in STAGES[SFT] and expert.has_adapter
    }
    wanted = {name.removesuffix(CONSTRAINED).removesuffix(REQUIRED) for name in names}
    known = tools | {name: expert for name, expert in built.items() if name in wanted and expert.has_adapter}
    base = foundation_of(known)
    models = ArmModels(base, {name: expert for name, expert in known.items() if needed(name, wanted, known)})
    arms, notes = [], []
    for name in names:
        arm = parse_arm(name, models.experts, models.has_template)
        if arm is None:
            notes.append(f"{name} is left out: no tools expert that was trained so is built in {home}.")
        else:
            arms.append(arm)
    if not models.has_template:
        notes.append("The model's chat template has no place for tools: 'before' shows bare declarations.")
    return models, arms, notes


def needed(name: str, wanted: set[str], known: Mapping[str, Expert]) -> bool:
    """Whether an arm is answered by this expert."""
    return name in wanted or name in {expert_of(stage, known) for stage in wanted & STAGES.keys()}


def foundation_of(experts: Mapping[str, Expert]) -> Path:
    """The one base of the experts, or the embedded one."""
    from experts.embedded import foundation_folder

    bases = {base_of(expert) for expert in experts.values()}
    if len(bases) > 1:
        raise UserError("The experts to measure are over different base models. Name those of one with --arms.")
    return bases.pop() if bases else foundation_folder()
