"""From the recipe's [improve] section to the parts of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domains.domain import Domain
from domains.errors import UserError
from experts.checkpoint import Checkpoint
from experts.improvement.learners.federated import FederatedLearner
from experts.improvement.learners.text import Manner, Study, TextLearner
from experts.improvement.loop import Pace
from experts.improvement.promotion import Limits
from experts.improvement.thread import Acceptance, Rules
from experts.measure import Bench
from experts.preferences import load_objective
from experts.recipe import Evaluation, Improve, Training
from experts.settings import section
from judges.verifier import Verifier, load_verifier
from judges.verifier_calibration import probes_of


def verifier_names(settings: Improve, domain: Domain) -> tuple[str, ...]:
    """The verifiers of the recipe; without any, plain language, and the domain's safety rules where there are planted
    answers that show whether these can be trusted."""
    rules = ("safety",) if domain.safety_rules() and probes_of("safety", domain) else ()
    return settings.verifiers or (*rules, "reading_level")


def verifier_of(settings: Improve, domain: Domain) -> Verifier[Any]:
    """The verifier with a domain's rules; several are a panel."""
    return load_verifier("+".join(verifier_names(settings, domain)), domain)


def rules_of(settings: Improve) -> Rules:
    """How threads go."""
    return Rules(settings.max_attempts, Acceptance(settings.accept, settings.threshold), settings.gap)


def check_objective(settings: Improve) -> None:
    """Refuse an objective, or settings of it, that no burst could train with."""
    with section("improve"):
        needs = load_objective(settings.objective, dict(settings.settings)).needs
    if "head" in needs:
        raise UserError(
            f"improve.objective is '{settings.objective}', which trains a preference head; what improves is an adapter "
            f"alone. Take s_dpo or dpo."
        )


def pace_of(settings: Improve, seed: int) -> Pace:
    """How answers and bursts take turns."""
    staleness = settings.max_staleness if settings.mode == "async" else 0
    return Pace(settings.prompts, settings.steps, settings.batch_rows, staleness, seed, settings.repeats)


def limits_of(settings: Improve) -> Limits:
    """What may fall by how much."""
    return Limits(settings.margin, settings.probe_margin)


def training_of(settings: Improve) -> Training:
    """A burst as training settings; a checkpoint in the middle, so that a kill loses half a burst at most."""
    return Training(
        rank=settings.rank,
        learning_rate=settings.learning_rate,
        epochs=1.0,
        row_tokens=settings.row_tokens,
        batch_rows=settings.batch_rows,
        accumulation=1,
        checkpoint_steps=max(1, settings.steps // 2),
    )


def evaluation_of(settings: Improve) -> Evaluation:
    """Answers are measured as they are practised: as long, in batches of the same size."""
    return Evaluation(max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)


def learner_of(settings: Improve, start: Checkpoint, bench: Bench, work: Path) -> TextLearner | FederatedLearner:
    """The text learner, or several that are averaged."""
    manner = Manner(
        settings.max_new_tokens,
        settings.batch_size,
        settings.temperature,
        settings.context_tokens,
        settings.feedback,
    )
    study = Study(settings.objective, dict(settings.settings), training_of(settings), settings.max_rank)
    learner = TextLearner(start, bench, work, manner, study)
    return FederatedLearner.of(learner, settings.workers) if settings.workers > 1 else learner
