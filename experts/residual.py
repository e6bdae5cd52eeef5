"""The instruction residual: `expert = dapt + scale * (instruct - base)`, tensor by tensor.

Jindal et al. 2024, arXiv 2410.10739. Arithmetic in fp32, in blocks, shard by shard; a run that was killed goes on with
the shards that are missing, and the index is written last. Vocabulary rows are aligned by token string, never by id.
Applying it again with the negative scale takes it away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from domains.atomic import write_text_atomically
from domains.errors import UserError
from experts.digests import digest_of
from experts.residual_blocks import Counts, Term, merge_shard
from experts.vocabularies import VOCABULARY_TENSORS, VocabularyPlan, has_tokenizer, plan_for, plan_vocabulary
from experts.weight_files import DTYPES, INDEX, Place, Weights, read_metadata

__all__ = ["MergeSummary", "Parents", "VocabularyPlan", "Weights", "apply", "plan_vocabulary", "special_tokens"]

HEAD = "lm_head.weight"
BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")
PROGRESS = ".residual.json"
VERSION = 1
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Parents:
    """The three models of the sum, as folders of safetensors."""

    dapt: Path
    base: Path
    instruct: Path


@dataclass
class MergeSummary:
    """What a merge did. `resumed`: shards that an interrupted run had written. `untied`: models whose output matrix was
    their embedding, while the result has one of its own. `skipped`: stored tensors that are no weights."""

    num_tensors: int = 0
    num_weights: int = 0
    num_changed: int = 0
    num_lost_to_rounding: int = 0
    only_instruct_tokens: tuple[str, ...] = ()
    shards: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    untied: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def add(self, file: str, counts: Counts) -> None:
        """Add a shard."""
        self.shards.append(file)
        self.num_tensors += counts.num_tensors
        self.num_weights += counts.num_weights
        self.num_changed += counts.num_changed
        self.num_lost_to_rounding += counts.num_lost_to_rounding


class Model:
    """One of the three: its weights under the names of the sum, with an output matrix of its own or not."""

    def __init__(self, role: str, folder: Path) -> None:
        self.role, self.folder, self.weights = role, folder, Weights(folder)
        stored = self.weights.places
        config = folder / "config.json"
        tied = json.loads(config.read_text(encoding="utf-8")).get("tie_word_embeddings") if config.is_file() else None
        self.tied = bool(tied) if tied is not None else HEAD not in stored
        if not self.tied and HEAD not in stored and embedding_of(stored):
            raise UserError(
                f"{folder} has no '{HEAD}', but its config.json says that it is not tied to the embedding. "
                "Get the model again, or correct tie_word_embeddings."
            )
        self.skipped = sorted(n for n in stored if n.endswith(BUFFERS) or self.tied and n == HEAD)
        self.places = {name: place for name, place in stored.items() if name not in self.skipped}
        self.check_types()

    def check_types(self) -> None:
        """Refuse quantised weights."""
        for name, place in self.places.items():
            if place.kind not in DTYPES:
                raise UserError(
                    f"Tensor '{name}' of the {self.role} model is stored as {place.kind}. The residual needs floating "
                    f"point ({', '.join(DTYPES)}): take the model before it was quantised."
                )

    def untie(self) -> None:
        """Give the output matrix a name of its own: the embedding's values."""
        embedding = embedding_of(self.places)
        if HEAD not in self.places and embedding:
            self.places[HEAD] = self.places[embedding]


def embedding_of(names: Mapping[str, Place]) -> str | None:
    """The name of the input embedding."""
    return next((name for name in names if name.endswith(VOCABULARY_TENSORS) and name != HEAD), None)


@dataclass(frozen=True)
class Plan:
    """All that is decided before a weight is read."""

    dapt: Model
    base: Model
    instruct: Model
    base_rows: VocabularyPlan
    dapt_rows: VocabularyPlan
    untied: tuple[str, ...]

    def shards(self) -> dict[str, list[str]]:
        """Tensor names of the result by file: the domain model's; a new output matrix lies with the embedding."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.dapt.places):
            found.setdefault(self.dapt.places[name].path.name, []).append(name)
        return dict(sorted(found.items()))

    def term(self, name: str) -> Term:
        """One tensor of the sum."""
        dapt, base, instruct = (model.places[name] for model in (self.dapt, self.base, self.instruct))
        places = (dapt, base, instruct)
        if name.endswith(VOCABULARY_TENSORS) and not self.lines_up(places):
            if not dapt.shape[1:] == base.shape[1:] == instruct.shape[1:]:
                raise different_shapes(name, places)
            size = instruct.shape[0]
            rows = known_rows(self.base_rows, base, size), known_rows(self.dapt_rows, dapt, size)
            return Term(dapt, base, instruct, *rows)
        if not dapt.shape == base.shape == instruct.shape:
            raise different_shapes(name, places)
        return Term(dapt, base, instruct)

    def lines_up(self, places: Sequence[Place]) -> bool:
        """Whether the rows of all three are of the same tokens."""
        return self.base_rows.identical and self.dapt_rows.identical and len({place.shape for place in places}) == 1


def known_rows(plan: VocabularyPlan, place: Place, num_rows: int) -> torch.Tensor:
    """The row of a model for each row of the instruct model, -1 where it has none."""
    rows = plan.base_rows[:num_rows]
    return torch.where(rows < place.shape[0], rows, -1)


def different_shapes(name: str, places: Sequence[Place]) -> UserError:
    """What to say about models of different sizes."""
    shapes = ", ".join(str(place.shape) for place in places)
    return UserError(
        f"Tensor '{name}' has shapes {shapes} in the domain, base and instruct model. "
        "The residual needs one architecture."
    )


def plan_of(parents: Parents) -> Plan:
    """Decide what is added to what; refuse models that are not the same architecture."""
    dapt = Model("domain", parents.dapt)
    base, instruct = Model("base", parents.base), Model("instruct", parents.instruct)
    models = (dapt, base, instruct)
    untied = tuple(model.role for model in models if model.tied)
    if len(untied) < len(models):
        for model in models:
            model.untie()
    check_same_tensors(dapt, base, instruct)
    embedding = embedding_of(instruct.places)
    num_rows = instruct.places[embedding].shape[0] if embedding else 0
    base_rows = plan_for("base", parents.base, parents.instruct, num_rows)
    dapt_rows = (
        plan_for("domain", parents.dapt, parents.instruct, num_rows) if has_tokenizer(parents.dapt) else base_rows
    )
    return Plan(*models, base_rows, dapt_rows, untied if len(untied) < len(models) else ())


def check_same_tensors(dapt: Model, base: Model, instruct: Model) -> None:
    """Refuse models that do not have the same tensors, naming some of the differences."""
    for other in (base, instruct):
        missing = sorted(dapt.places.keys() - other.places.keys())
        extra = sorted(other.places.keys() - dapt.places.keys())
        if missing or extra:
            parts = [f"only in the domain model: {listed(missing)}"] if missing else []
            parts += [f"only in the {other.role} model: {listed(extra)}"] if extra else []
            raise UserError(
                f"The {other.role} model and the domain-pretrained model differ in {len(missing) + len(extra)} tensors "
                f"({'; '.join(parts)}). All three must be one architecture."
            )


def listed(names: Sequence[str]) -> str:
    """A few names."""
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def check_pair(base: Path, instruct: Path) -> tuple[str, ...]:
    """Refuse a base and an instruct model that cannot be subtracted, by what their files declare and without reading
    a weight: other tensors, other shapes, tokens that the instruct model lacks. Returns the tokens that it alone has.
    """
    plan = plan_of(Parents(base, base, instruct))
    terms_of(plan)
    return plan.base_rows.only_instruct


def terms_of(plan: Plan) -> dict[str, dict[str, Term]]:
    """The tensors of the sum by the file that they will lie in."""
    return {file: {name: plan.term(name) for name in names} for file, names in plan.shards().items()}


def apply(
    parents: Parents, scale: float, target: Path, dtype: torch.dtype = torch.float32, tell: Tell | None = None
) -> MergeSummary:
    """Write `dapt + scale * (instruct - base)` to a folder, shard by shard, each by atomic rename.

    Shards that an interrupted run with the same inputs has written stay as they are. `tell` hears of each new one.
    """
    if target.resolve() in {folder.resolve() for folder in (parents.dapt, parents.base, parents.instruct)}:
        raise UserError(f"{target} is one of the models that are added. Write the result to another folder.")
    plan = plan_of(parents)
    shards = terms_of(plan)
    summary = MergeSummary(
        only_instruct_tokens=plan.base_rows.only_instruct,
        untied=plan.untied,
        skipped=tuple(f"{m.role}: {n}" for m in (plan.dapt, plan.base, plan.instruct) for n in m.skipped),
    )
    begin(target, key_of(plan, scale, dtype))
    for file, terms in shards.items():
        if (target / file).is_file():
            summary.resumed.append(file)
        else:
            merge_shard(target / file, terms, scale, dtype)
            if tell:
                tell(f"{file}: {len(terms)} tensors.")
        summary.add(file, Counts.from_text(read_metadata(target / file)["notes"]))
    copy_configuration(parents.instruct, target, dtype, tied=not plan.untied and plan.instruct.tied)
    write_index(target, shards, dtype)
    (target / PROGRESS).unlink()
    return summary


def key_of(plan: Plan, scale: float, dtype: torch.dtype) -> str:
    """The digest of all that the shards depend on."""
    stamps = [model.weights.stamp() for model in (plan.dapt, plan.base, plan.instruct)]
    rows = [[p.base_rows.tolist(), p.only_instruct] for p in (plan.base_rows, plan.dapt_rows) if not p.identical]
    return digest_of([VERSION, stamps, rows, plan.untied, scale, str(dtype)])


def begin(target: Path, key: str) -> None:
    """Make the folder ready: what an interrupted run with the same key wrote stays, any other result goes."""
    target.mkdir(parents=True, exist_ok=True)
    progress = target / PROGRESS
    if progress.is_file() and progress.read_text(encoding="utf-8") == key:
        return
    for path in (target / INDEX, *target.glob("*.safetensors"), *target.glob(".*.partial")):
        path.unlink(missing_ok=True)
    write_text_atomically(progress, key)


def write_index(target: Path, shards: Mapping[str, Mapping[str, Term]], dtype: torch.dtype) -> None:
    """The file of every tensor; a model in one file needs none."""
    if len(shards) == 1 and "model.safetensors" in shards:
        return
    size = sum(term.num_weights for terms in shards.values() for term in terms.values()) * dtype.itemsize
    files = {name: file for file, terms in shards.items() for name in terms}
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items()))}
    write_text_atomically(target / INDEX, json.dumps(index, indent=2) + "\n")


def copy_configuration(instruct: Path, target: Path, dtype: torch.dtype, tied: bool) -> None:
    """The instruct model's configuration, tokenizer and template."""
    for path in sorted(instruct.iterdir()):
        if path.suffix in {".json", ".jinja", ".model", ".txt"} and not path.name.endswith(".index.json"):
            shutil.copy(path, target / path.name)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    if not tied:
        config["tie_word_embeddings"] = False
    write_text_atomically(target / "config.json", json.dumps(config, indent=2))


def probe_prompts() -> Sequence[str]:
    """Short questions for the after-merge check that generation stops."""
    return ("Name one fruit.", "What color is the sky on a clear day?", "Say hello.", "How many days are in a week?")


def special_tokens(tokenizer: Any) -> Iterator[str]:
    """Special tokens that do not survive encoding and decoding: there should be none."""
    for token in sorted(set(getattr(tokenizer, "all_special_tokens", []))):
        ids = tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.decode(ids) != token:
            yield token
