"""Which experts a domain can have: a track needs training rows, and a domain of documents alone has none. On how many
rows they train, and what a build says of that and of a finished stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from domains.domain import CALLS, SHIPPED, Domain
from domains.example import Example
from experts.foundation import HOUSE
from experts.journal import RECORD
from experts.recipe import Recipe, Training

if TYPE_CHECKING:
    from experts.build import Build

Record = TypeVar("Record")

DEMO_PREFERENCES = 32
ROWS = {"structured": "classification.jsonl or summarization.jsonl", "conversation": "preferences.jsonl"}


def structured_examples(domain: Domain) -> tuple[Example, ...]:
    """Training rows of the structured track."""
    return domain.examples("classification", "train") + domain.examples("summarization", "train")


def trainable(domain: Domain) -> tuple[str, ...]:
    """The tracks that a domain has training rows for; both together make the multi-task track."""
    tracks: tuple[str, ...] = ("structured",) if structured_examples(domain) else ()
    tracks += ("conversation",) if domain.preferences("train") else ()
    return (*tracks, "multi_task") if len(tracks) == 2 else tracks


def skipped(domain: Domain) -> list[str]:
    """Why tracks are left out, one line each."""
    missing = [track for track in ROWS if track in domain.tracks and track not in trainable(domain)]
    return [f"{domain.name}/{track}: skipped, there are no training rows in {ROWS[track]}." for track in missing]


def budgeted(recipe: Recipe, domain: Domain) -> Recipe:
    """The recipe for a domain: where it leaves open how many preference rows are trained on, that is the demo's budget
    for a domain of this package and all rows of any other."""
    if recipe.align.max_examples is not None:
        return recipe
    most = DEMO_PREFERENCES if domain.folder.resolve().parent == SHIPPED.resolve() else 0
    return recipe.model_copy(update={"align": recipe.align.model_copy(update={"max_examples": most})})


def notes(build: Build) -> Iterator[str]:
    """What a build says before it begins: tracks that are left out, rows that a cap cuts, the audit of the pairs."""
    yield from skipped(build.domain)
    if CALLS not in build.domain.tracks and build.domain.name != HOUSE:
        yield from cuts(build)
        if not (build.folder / "conversation" / RECORD).exists():
            yield from audited(build)


def cuts(build: Build) -> Iterator[str]:
    """One line for each section of the recipe whose cap leaves rows out."""
    recipe, domain = build.recipe, build.domain
    rows: dict[str, tuple[Training, Sequence[Any]]] = {
        "pretrain": (recipe.pretrain, domain.sections("train")),
        "sft": (recipe.sft, structured_examples(domain)),
        "align": (recipe.align, getattr(domain, recipe.align.rows)("train")),
    }
    for section, (settings, given) in rows.items():
        if len(capped(given, settings)) < len(given):
            yield (
                f"{domain.name}: {section} trains on the first {settings.max_examples} of {len(given)} rows; "
                f"--set {section}.max_examples=0 takes all."
            )


def audited(build: Build) -> Iterator[str]:
    """One line on the preference pairs that will be trained on."""
    from judges.pair_audit import audit_domain

    name = build.domain.name
    if "conversation" not in build.trainable or build.recipe.align.rows != "preferences":
        return
    found = audit_domain(build.domain, name)
    worst = dict.fromkeys(each.check for each in found.findings if each.level == found.level != "ok")
    why = f" ({', '.join(worst)}; 'expertsmith audit {name}' says more)" if worst else ""
    yield f"{name}: the audit of its {found.num_rows} preference rows says {found.level}{why}."


def summary(metrics: Mapping[str, Any]) -> str:
    """The numbers of a stage in brackets."""
    plain = {k: v for k, v in metrics.items() if isinstance(v, int | float | str) and k != "template"}
    return f"({', '.join(f'{k} {v}' for k, v in plain.items())})"


def calls_stages() -> Any:
    """The stages of a domain of function calls; they are made of the stages of a build."""
    from experts import calls

    return calls


def stage_names(build: Build) -> list[str]:
    """Names for the running list."""
    if build.domain.name == HOUSE:
        return ["house/instruct"]
    if CALLS in build.domain.tracks:
        return ["house/instruct", *calls_stages().names(build)]
    reward_model = ["reward_model"] if build.has_reward_model and "conversation" in build.trainable else []
    tracks = ["structured", *reward_model, "conversation", "multi_task"]
    kept = [name for name in tracks if name in (*build.trainable, "reward_model")]
    names = [f"{build.domain.name}/{name}" for name in ("pretrain", "residual", *kept, "sft_after_dapt")]
    return ["house/instruct", *names]


def capped(rows: Sequence[Record], settings: Training) -> Sequence[Record]:
    """The rows that a recipe trains on."""
    return rows[: settings.max_examples] if settings.max_examples else rows
