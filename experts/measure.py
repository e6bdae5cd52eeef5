"""Measures a model on held-out data: every number is a row (arm, metric, item, value), statistics come later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from domains.domain import Domain
from domains.example import Example, Message, Preference, Split
from experts.answers import Answerer, AnswerStore, Decoding
from experts.batch import collate, document_segments, pack
from experts.checkpoint import Checkpoint, add_adapter, load_base, load_tokenizer, read_adapter
from experts.device import Device, probe
from experts.encoding import document_ids
from experts.foundation import HOUSE
from experts.logprobs import score
from experts.preferences import candidate_logprobs, encode_preference
from experts.recipe import Evaluation
from judges.classification import label_in
from judges.metrics import Row
from judges.scorers import instructions
from judges.verdict import Answered, Judge

LABEL_TOKENS = 8
ROW_TOKENS = 1024


@dataclass
class Bench:
    """One base model in memory that takes the form of any checkpoint over it."""

    store: AnswerStore
    device: Device
    settings: Evaluation
    model: Any = None
    base: Path | None = None
    original: dict[str, torch.Tensor] | None = None

    @classmethod
    def open(cls, folder: Path, settings: Evaluation) -> Bench:
        """A bench with the answers kept in a folder."""
        return cls(AnswerStore(folder / "answers.jsonl"), probe(), settings)

    def subject(self, checkpoint: Checkpoint) -> Subject:
        """The checkpoint, ready to be measured. The one before it is gone."""
        if self.base != checkpoint.base:
            self.model = load_base(checkpoint.base, self.device.dtype, self.device.score_attention)
            self.model.to(self.device.name).eval().requires_grad_(False)
            self.original, self.base = {}, checkpoint.base
        for name, weight in (self.original or {}).items():
            self.model.get_parameter(name).copy_(weight)
        if checkpoint.adapter is not None:
            updates = read_adapter(checkpoint.adapter)
            self.original = {f"{n}.weight": self.model.get_parameter(f"{n}.weight").clone() for n in updates}
            add_adapter(self.model, updates)
        tokenizer = load_tokenizer(checkpoint.base)
        return Subject(Answerer(self.model, tokenizer, checkpoint.digest(), self.store), self.settings)


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    answer: Answerer
    settings: Evaluation

    @property
    def decoding(self) -> Decoding:
        """Greedy decoding at the recipe's length."""
        return Decoding(self.settings.max_new_tokens, self.settings.batch_size)

    @torch.no_grad()
    def document_nll(self, arm: str, domain: Domain, split: Split) -> list[Row]:
        """Negative log-likelihood (nats) of each held-out document section."""
        tokenizer = self.answer.tokenizer
        rows = []
        for document in limited(domain.sections(split), self.settings.document_limit):
            ids = document_ids(tokenizer, document.text)
            batch = collate(pack(document_segments(ids, ROW_TOKENS), ROW_TOKENS), tokenizer.pad_token_id)
            logprobs = score(self.answer.model, batch).token_logprobs_T
            rows.append(Row(arm, "domain_nll", document.id, -float(logprobs.sum()), {"tokens": logprobs.numel()}))
        return rows

    def preference_logprobs(self, rows: Sequence[Preference]) -> dict[str, PreferenceScores]:
        """Sums and means of log-probabilities (nats) of every candidate, by row id."""
        tokenizer = self.answer.tokenizer
        encoded = [encode_preference(tokenizer, row) for row in rows]
        batches = candidate_logprobs(self.answer.model, encoded, ROW_TOKENS, tokenizer.pad_token_id)
        return {
            row.id: PreferenceScores(
                tuple(b.policy_BC[0].tolist()), tuple((b.policy_BC[0] / b.num_tokens_BC[0]).tolist())
            )
            for row, b in zip(rows, batches, strict=True)
        }

    def follows(self, arm: str, metric: str, examples: Sequence[Example]) -> list[Row]:
        """Programmatic checks on answers to instructions, and whether each answer ended by itself."""
        answers = self.answer([e.prompt for e in examples], self.decoding)
        answered = [
            Answered(e.question, a.text, e.completion, e.checks, a.finished)
            for e, a in zip(examples, answers, strict=True)
        ]
        rows = []
        for example, answer, verdict in zip(examples, answers, instructions.Judge()(answered), strict=True):
            rows.append(Row(arm, metric, example.id, verdict.value, {"kind": example.kind}))
            rows.append(Row(arm, "stops_cleanly", example.id, float(answer.finished), {}))
        return rows

    def classifies(self, arm: str, examples: Sequence[Example], labels: Sequence[str]) -> list[Row]:
        """Free generation of a label; an answer that names none or several is wrong."""
        answers = self.answer([e.prompt for e in examples], Decoding(LABEL_TOKENS, 2 * self.settings.batch_size))
        rows = []
        for example, answer in zip(examples, answers, strict=True):
            found = label_in(answer.text, labels)
            parts = {"prediction": found, "label": example.completion}
            rows.append(Row(arm, "classification", example.id, float(found == example.completion), parts))
        return rows

    def judged(
        self, arm: str, examples: Sequence[Example], judges: dict[str, Judge], system: str | None = None
    ) -> list[Row]:
        """Answers to questions or texts under every judge; metric names are the judges' names."""
        answers = self.answers(examples, system)
        return [
            Row(arm, name, example.id, verdict.value, dict(verdict.parts))
            for name, judge in judges.items()
            for example, verdict in zip(examples, judge(answers), strict=True)
        ]

    def answers(self, examples: Sequence[Example], system: str | None = None) -> list[Answered]:
        """Answers with their questions and references, optionally under a system prompt."""
        prompts = [with_system(e.prompt, system) for e in examples]
        found = self.answer(prompts, self.decoding)
        return [
            Answered(e.question, a.text, e.completion, e.checks, a.finished)
            for e, a in zip(examples, found, strict=True)
        ]


@dataclass(frozen=True)
class PreferenceScores:
    """Log-probabilities of one row's candidates, chosen first."""

    sums: tuple[float, ...]
    means: tuple[float, ...]


def with_system(prompt: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """A prompt under a system message, unless it has one."""
    if not system or prompt[0].role == "system":
        return tuple(prompt)
    return (Message("system", system), *prompt)


def preference_rows(
    arm: str, found: dict[str, PreferenceScores], reference: dict[str, PreferenceScores] | None
) -> Iterable[Row]:
    """Per preference row: the share of rejected answers that score lower than the chosen one, and the mean margin.

    By mean log-probability per token for every arm; by implicit reward (log p - log p_ref, summed) where there is a
    reference that is not the arm itself.
    """
    for row_id, scores in found.items():
        means = scores.means
        margins = [means[0] - other for other in means[1:]]
        yield Row(arm, "preference_accuracy", row_id, mean(m > 0 for m in margins), {})
        yield Row(arm, "preference_margin", row_id, mean(margins), {})
        if reference is not None:
            rewards = [a - b for a, b in zip(scores.sums, reference[row_id].sums, strict=True)]
            gaps = [rewards[0] - other for other in rewards[1:]]
            yield Row(arm, "reward_accuracy", row_id, mean(g > 0 for g in gaps), {})
            yield Row(arm, "reward_margin", row_id, mean(gaps), {})


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean."""
    numbers = [float(v) for v in values]
    return sum(numbers) / len(numbers)


def limited(rows: Sequence[Any], limit: int) -> list[Any]:
    """The first `limit` rows, all of them when it is 0."""
    return list(rows[:limit] if limit else rows)


@dataclass(frozen=True)
class Held:
    """The held-out rows of a domain that an arm answers, cut to the recipe's limits."""

    questions: list[Example]
    labelled: list[Example]
    summaries: list[Example]
    house: list[Example]
    instructions: list[Example]

    @classmethod
    def of(cls, domain: Domain, settings: Evaluation) -> Held:
        """The rows of a domain's test split and of the house instructions."""
        few = settings.instruction_limit
        return cls(
            limited(domain.examples("questions", "test"), settings.limit),
            limited(domain.examples("classification", "test"), settings.label_limit),
            limited(domain.examples("summarization", "test"), settings.limit),
            limited(Domain.load(HOUSE).examples("instructions", "test"), few),
            limited(domain.examples("instructions", "test"), few),
        )


def measure_arm(
    subject: Subject, arm: str, domain: Domain, judges: dict[str, Judge], report: Callable[[str], None]
) -> list[Row]:
    """All single-model measurements of an arm on a domain's test data (preferences apart)."""
    held = Held.of(domain, subject.settings)
    report(f"  {arm}: answers")
    if arm.endswith("_prompted"):
        return subject.judged(arm, held.questions, judges, domain.system_prompt)
    together = [*held.questions, *held.summaries, *held.house, *held.instructions]
    subject.answer([e.prompt for e in together], subject.decoding)
    report(f"  {arm}: labels, text, checks")
    rows = subject.judged(arm, held.questions, judges)
    rows += subject.document_nll(arm, domain, "test")
    rows += subject.classifies(arm, held.labelled, domain.labels)
    rows += [
        Row(arm, "summary_bertscore", row.item, row.value, row.parts)
        for row in subject.judged(arm, held.summaries, {n: j for n, j in judges.items() if n == "bertscore"})
    ]
    rows += subject.follows(arm, "instruction_following", held.house)
    rows += subject.follows(arm, "instruction_following_domain", held.instructions)
    return rows
