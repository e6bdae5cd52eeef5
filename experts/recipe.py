"""A recipe: what to do with a domain. Sparse TOML over vetted defaults; an unknown key names the nearest one."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domains.errors import UserError, unknown_name
from domains.overrides import apply_override

SHIPPED = Path(__file__).parent / "recipes"


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Foundation(Section):
    """The base model and its instruct sibling. `embedded` is the shipped 135M model, whose instruct sibling is
    `house`: the base after SFT on the house instruction set. Otherwise a folder or a hub id for both."""

    base: str = "embedded"
    instruct: str = "house"
    base_revision: str | None = None
    instruct_revision: str | None = None
    shipped_house: bool = True


class Training(Section):
    """Settings that every training stage has. `qlora`: LoRA over a base in 4 bits, on CUDA."""

    method: Literal["lora", "qlora"] = "lora"
    rank: int = Field(16, ge=1, le=512)
    learning_rate: float = Field(2e-4, gt=0, lt=1)
    epochs: float = Field(2.0, gt=0, le=100)
    row_tokens: int = Field(512, ge=16, le=131072)
    batch_rows: int = Field(1, ge=1)
    accumulation: int = Field(2, ge=1)
    warmup: float = Field(0.1, ge=0, lt=1)
    checkpoint_steps: int = Field(20, ge=1)
    gradient_checkpointing: bool = False
    compile: bool = Field(False, description="torch.compile every layer: pays in long runs on an accelerator")
    by_example: bool = False
    max_examples: int | None = Field(0, ge=0, description="train on the first so many rows or sections; 0 = all")


class Pretrain(Training):
    """Domain pretraining (DAPT) on the domain's documents; `full` trains all weights."""

    method: Literal["lora", "qlora", "full"] = "lora"  # type: ignore[assignment]
    epochs: float = Field(1.5, gt=0, le=100)
    learning_rate: float = Field(4e-4, gt=0, lt=1)


class Residual(Section):
    """The instruction residual: `scale * (instruct - base)` is added to the domain-pretrained weights."""

    scale: float = Field(1.0, ge=0, le=4)
    sweep: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    require_stop: bool = True


class Sft(Training):
    """Supervised fine-tuning with the prompt masked. `by_example` weighs examples equally instead of tokens."""

    accumulation: int = Field(1, ge=1)
    learning_rate: float = Field(5e-4, gt=0, lt=1)
    epochs: float = Field(3.0, gt=0, le=100)


class Align(Training):
    """Preference optimization. `references` are `start` (the model that is trained), an arm of the report, or a model
    folder or hub id; several are mixed. `rewards` are `given` (the rows' scores), `reward_model` (trained first, on the
    same rows), `judges:NAME,NAME` or `head:DOMAIN/EXPERT`, where the objective needs any. `full` trains all weights:
    the expert is then a model of its own, which shares no base with the others. `rows`: `preferences`, or
    `recommendations` (a history and titles, one of them right; S-DPO's task)."""

    method: Literal["lora", "qlora", "full"] = "lora"  # type: ignore[assignment]
    rows: Literal["preferences", "recommendations"] = "preferences"
    objective: str = "dpo"
    settings: dict[str, Any] = {}
    references: tuple[str, ...] = Field(("start",), min_length=1)
    mixing: dict[str, Any] = {}
    rewards: str = "given"
    votes: bool = Field(False, description="train on the votes of the chat page too (HOME/votes/DOMAIN.jsonl)")
    learning_rate: float = Field(2e-4, gt=0, lt=1)
    epochs: float = Field(1.0, gt=0, le=100)
    batch_rows: int = Field(2, ge=1)
    accumulation: int = Field(1, ge=1)
    by_example: Literal[False] = False


class Reward(Training):
    """The reward model; TRL's trainer, pairs weighed alike."""

    learning_rate: float = Field(5e-4, gt=0, lt=1)
    compile: Literal[False] = False
    by_example: Literal[False] = False


class Evaluation(Section):
    """What the report measures, and on how many held-out rows of each kind at most; 0 = all. `settings`: those of
    judges, by name, as in `evaluation.settings.bertscore.idf=true`. `memorisation_limit`: passages of training
    documents, and as many of held-out ones; 0 = no probe. `judge_limit`: questions that the LLM judge is asked about
    (not set: 3 for our own weak model, all for any other). `pairwise`: whether the LLM judge compares answers in pairs
    too (not set: where it is not our own weak model)."""

    judges: tuple[str, ...] = ("bertscore", "empathy", "politeness", "readability", "grounding", "safety")
    limit: int = Field(8, ge=0)
    label_limit: int = Field(0, ge=0)
    document_limit: int = Field(12, ge=0)
    preference_limit: int = Field(12, ge=0)
    judge_limit: int | None = Field(None, ge=0)
    instruction_limit: int = Field(16, ge=0)
    memorisation_limit: int = Field(12, ge=0)
    pairwise: bool | None = None
    max_new_tokens: int = Field(120, ge=1, le=2048)
    batch_size: int = Field(48, ge=1)
    settings: dict[str, dict[str, Any]] = {}


class Routing(Section):
    """When the router leaves a request to the general model (see `router.calibration.Abstention`)."""

    abstention: Literal["conformal", "coverage"] = "conformal"
    target: float = Field(0.95, gt=0, lt=1)


class Improve(Section):
    """Self-improvement of an expert (`expertsmith improve`, arXiv 2511.23436). `verifiers` teach, `judges` decide about
    promotion and must be others. `tasks`: conversation, calculations or structured, of the training split. N =
    `prompts` a round, K = `steps` a burst with `batch_rows` lessons each. `async` answers go on with weights that are
    at most `max_staleness` steps old while training runs. `workers` learn apart and are averaged."""

    verifiers: tuple[str, ...] = Field((), description="none: reading_level, and safety where the domain has probes")
    judges: tuple[str, ...] = Field(("plain_safe",), min_length=1)
    tasks: tuple[str, ...] = Field(("conversation",), min_length=1)
    max_tasks: int = Field(0, ge=0, description="answer so many prompts; 0 = all")
    held_out_limit: int = Field(0, ge=0, description="held-out prompts for the decision; 0 = all")
    votes: bool = Field(True, description="votes of the chat page are lessons with priority")
    max_attempts: int = Field(5, ge=1, le=20)
    accept: Literal["all", "mean", "share"] = "all"
    threshold: float = Field(0.8, ge=0, le=1)
    gap: float = Field(0.15, ge=0, lt=1)
    feedback: bool = Field(True, description="a retry sees its trace and the critique")
    mode: Literal["sync", "async"] = "sync"
    max_staleness: int = Field(8, ge=1, description="async: optimiser steps that answers may be behind")
    workers: int = Field(1, ge=1, le=64)
    prompts: int = Field(16, ge=1)
    steps: int = Field(8, ge=1)
    batch_rows: int = Field(2, ge=1)
    repeats: int = Field(4, ge=1, description="how often a lesson may come in one burst, on average")
    capacity: int = Field(512, ge=1)
    per_request: int = Field(4, ge=1)
    alpha: float = Field(0.6, ge=0, le=1)
    objective: str = "s_dpo"
    settings: dict[str, Any] = {"beta": 0.1}
    rank: int = Field(8, ge=1, le=512)
    max_rank: int = Field(128, ge=1, le=4096, description="rank of the expert with all that it has learnt")
    learning_rate: float = Field(1e-4, gt=0, lt=1)
    row_tokens: int = Field(512, ge=16, le=131072)
    max_new_tokens: int = Field(96, ge=1, le=2048)
    batch_size: int = Field(32, ge=1)
    temperature: float = Field(0.8, gt=0, le=5)
    context_tokens: int = Field(1024, ge=16)
    margin: float = Field(0.0, ge=0, description="how much a held-out measure may fall")
    probe_margin: float = Field(0.05, ge=0, description="how much a general probe may fall; safety: `margin`")


class Recipe(Section):
    """All settings of a build."""

    foundation: Foundation = Foundation()
    house: Sft = Sft(epochs=5.0)
    pretrain: Pretrain = Pretrain()
    residual: Residual = Residual()
    sft: Sft = Sft(epochs=3.0, learning_rate=8e-4, row_tokens=256, by_example=True)
    sft_after_dapt: Sft = Sft(epochs=1.0, row_tokens=256)
    align: Align = Align(max_examples=None)  # settled by domain: `tracks.budgeted`
    calls: Sft = Sft(epochs=1.5, learning_rate=5e-4)
    calls_align: Align = Align(objective="s_dpo", learning_rate=2e-4)
    reward_model: Reward = Reward()
    evaluation: Evaluation = Evaluation()
    router: Routing = Routing()
    improve: Improve = Improve()
    seed: int = 0


def load_recipe(name_or_path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or a TOML file, with `section.key=value` overrides; None is the default recipe."""
    values = read_toml(find_recipe(name_or_path)) if name_or_path else {}
    for override in overrides:
        apply_override(values, override)
    try:
        return Recipe.model_validate(merged(Recipe().model_dump(), values))
    except ValidationError as error:
        raise explain(error) from None


def merged(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them, section by section; a section's other defaults stay."""
    result = dict(defaults)
    for key, value in given.items():
        inside = isinstance(value, dict) and isinstance(defaults.get(key), dict) and key not in ("settings", "mixing")
        result[key] = merged(defaults[key], value) if inside else value
    return result


def recipe_names() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe."""
    for path in (Path(name_or_path), SHIPPED / f"{name_or_path}.toml"):
        if path.is_file():
            return path
    raise unknown_name("recipe (or TOML file)", name_or_path, recipe_names())


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is not valid TOML in UTF-8: {error}. Correct it.") from None


def explain(error: ValidationError) -> UserError:
    """The first validation error as one sentence."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return unknown_name(f"recipe key in [{'.'.join(path[:-1]) or 'top level'}]", path[-1], keys_at(path[:-1]))
    return UserError(f"Recipe key {'.'.join(path)} = {first['input']!r}: {first['msg']}. Correct it and run again.")


def keys_at(path: Sequence[str]) -> list[str]:
    """The keys of a section."""
    model: Any = Recipe
    for name in path:
        field = model.model_fields.get(name)
        model = getattr(field, "annotation", None)
    return list(getattr(model, "model_fields", {}))
