"""Measures a model on held-out data: every number is a row (arm, metric, item, value), statistics come later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from domains.domain import Domain
from domains.example import Example, Message, Preference, Split
from domains.tool_calls import parse
from experts.answers import Answerer, AnswerStore, Decoding, Prompt, Source, answer_locally, batches_by_length
from experts.batch import collate, document_segments, pack
from experts.checkpoint import Checkpoint, add_adapter, load_base, load_tokenizer, read_adapter
from experts.device import Device, probe
from experts.encoding import document_ids
from experts.foundation import HOUSE
from experts.generate import Generated, Keep
from experts.logprobs import score
from experts.preferences import candidate_logprobs, encode_preference
from experts.recipe import Evaluation
from judges.call_match import makes_calls
from judges.classification import label_in
from judges.failures import FAILURE
from judges.judging import Judged, VerdictStore
from judges.metrics import Row
from judges.scorers import instructions
from judges.scorers.safety import raises_red_flag
from judges.verdict import Answered, Judge

LABEL_TOKENS = 8
CALL_TOKENS = 256
ROW_TOKENS = 1024


@dataclass
class Bench:
    """One base model in memory that takes the form of any checkpoint over it."""

    store: AnswerStore
    verdicts: VerdictStore
    device: Device
    settings: Evaluation
    model: Any = None
    form: str = ""
    base: Path | None = None
    original: dict[str, torch.Tensor] | None = None

    @classmethod
    def open(cls, folder: Path, settings: Evaluation) -> Bench:
        """A bench with the answers and the verdicts kept in a folder."""
        store, verdicts = AnswerStore.open(folder / "answers.jsonl"), VerdictStore.open(folder / "verdicts.jsonl")
        return cls(store, verdicts, probe(), settings)

    def subject(self, checkpoint: Checkpoint) -> Subject:
        """The checkpoint, ready to be measured; the model is only loaded when it has something to do."""
        return self.subject_of(CheckpointModel(self, checkpoint))

    def subject_of(self, source: Source) -> Subject:
        """Any source of answers, ready to be measured."""
        return Subject(Answerer(source, self.store), self.verdicts, self.settings)

    def load(self, checkpoint: Checkpoint) -> Any:
        """The model in the form of a checkpoint. The one before it is gone."""
        digest = checkpoint.digest()
        if self.form != digest:
            self.form = ""
            self.take_form(checkpoint)
            self.form = digest
        return self.model

    def take_form(self, checkpoint: Checkpoint) -> None:
        """Change the weights in place; the base is loaded when it is another one."""
        if self.base != checkpoint.base:
            self.model = load_base(checkpoint.base, self.device.dtype, self.device.score_attention)
            self.model.to(self.device.name).eval().requires_grad_(False)
            self.original, self.base = {}, checkpoint.base
        for name, weight in (self.original or {}).items():
            self.model.get_parameter(name).copy_(weight)
        self.original = {}
        if checkpoint.adapter is not None:
            updates = read_adapter(checkpoint.adapter)
            self.original = {f"{n}.weight": self.model.get_parameter(f"{n}.weight").clone() for n in updates}
            add_adapter(self.model, updates)


@dataclass(frozen=True)
class CheckpointModel:
    """A checkpoint as a source of answers."""

    bench: Bench
    checkpoint: Checkpoint

    @cached_property
    def digest(self) -> str:
        """The digest of the weights."""
        return self.checkpoint.digest()

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer for conversations."""
        return load_tokenizer(self.checkpoint.tokenizer_folder)

    @cached_property
    def text_tokenizer(self) -> Any:
        """The base's own tokenizer, for plain text: with the end token that the base knows."""
        return self.tokenizer if self.checkpoint.tokenizer is None else load_tokenizer(self.checkpoint.base)

    @property
    def model(self) -> Any:
        """The bench's model in this form; not to be kept."""
        return self.bench.load(self.checkpoint)

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
        """Answer in batches sorted by length."""
        answer_locally(self.model, self.tokenizer, prompts, decoding, keep)

    def batches(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[list[int]]:
        """Those of `answer`."""
        return batches_by_length(self.tokenizer, prompts, decoding)


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    answer: Answerer
    verdicts: VerdictStore
    settings: Evaluation

    @property
    def local(self) -> CheckpointModel:
        """The model itself; an endpoint has none to look into."""
        assert isinstance(self.answer.source, CheckpointModel), "log-probabilities need a local model"
        return self.answer.source

    @property
    def decoding(self) -> Decoding:
        """Greedy decoding at the recipe's length."""
        return Decoding(self.settings.max_new_tokens, self.settings.batch_size)

    @property
    def label_decoding(self) -> Decoding:
        """Greedy decoding of a label."""
        return Decoding(LABEL_TOKENS, 2 * self.settings.batch_size)

    @property
    def call_decoding(self) -> Decoding:
        """Greedy decoding of function calls."""
        return Decoding(CALL_TOKENS, self.settings.batch_size)

    @torch.no_grad()
    def document_nll(self, arm: str, domain: Domain, split: Split) -> list[Row]:
        """Negative log-likelihood (nats) of each held-out document section."""
        model, tokenizer = self.local.model, self.local.text_tokenizer
        rows = []
        for document in spread(domain.sections(split), self.settings.document_limit):
            ids = document_ids(tokenizer, document.text)
            batch = collate(pack(document_segments(ids, ROW_TOKENS), ROW_TOKENS), tokenizer.pad_token_id)
            logprobs = score(model, batch).token_logprobs_T
            rows.append(Row(arm, "domain_nll", document.id, -float(logprobs.sum()), {"tokens": logprobs.numel()}))
        return rows

    def preference_logprobs(self, rows: Sequence[Preference]) -> dict[str, PreferenceScores]:
        """Sums and means of log-probabilities (nats) of every candidate, by row id."""
        model, tokenizer = self.local.model, self.local.tokenizer
        encoded = [encode_preference(tokenizer, row) for row in rows]
        batches = candidate_logprobs(model, encoded, ROW_TOKENS, tokenizer.pad_token_id)
        return {
            row.id: PreferenceScores(
                tuple(b.policy_BC[0].tolist()), tuple((b.policy_BC[0] / b.num_tokens_BC[0]).tolist())
            )
            for row, b in zip(rows, batches, strict=True)
        }

    def follows(self, arm: str, metric: str, examples: Sequence[Example]) -> list[Row]:
        """Programmatic checks on answers to instructions, and whether each answer ended by itself."""
        given = self.given(examples)
        rows = self.verdict_rows(arm, metric, given, "instructions", instructions.Judge())
        for each in given:
            ended = None if each.failure else float(each.answered.finished or False)
            rows.append(Row(arm, "stops_cleanly", each.example.id, ended, each.parts()))
        return rows

    def classifies(self, arm: str, examples: Sequence[Example], labels: Sequence[str]) -> list[Row]:
        """Free generation of a label; an answer that names none or several is wrong."""
        rows = []
        for each in self.given(examples, decoding=self.label_decoding):
            found, label = label_in(each.answered.answer, labels), each.example.completion
            value = None if each.failure else float(found == label)
            parts = {"prediction": found, "label": label} | each.parts()
            rows.append(Row(arm, "classification", each.example.id, value, parts))
        return rows

    def calls(self, arm: str, examples: Sequence[Example]) -> list[Row]:
        """Whether answers make the calls that they should, and apart from it whether they make none where none fits:
        a model that never calls is perfect at the second."""
        rows = []
        for each in self.given(examples, decoding=self.call_decoding):
            example = each.example
            right = makes_calls(each.answered.answer, example.completion, example.functions)
            metric = "call_accuracy" if parse(example.completion) else "no_call_accuracy"
            rows.append(Row(arm, metric, example.id, None if each.failure else float(right), each.parts()))
        return rows

    def judged(
        self, arm: str, examples: Sequence[Example], judges: Mapping[str, Judge], system: str | None = None
    ) -> list[Row]:
        """Answers to questions or texts under every judge; metric names are the judges' names."""
        given = self.given(examples, system)
        return [row for name, judge in judges.items() for row in self.verdict_rows(arm, name, given, name, judge)]

    def verdict_rows(self, arm: str, metric: str, given: Sequence[Given], name: str, judge: Judge) -> list[Row]:
        """A judge's verdicts; an answer that failed is unscored, with the reason."""
        answered = [each for each in given if not each.failure]
        found = self.verdicts.judge(name, judge, [each.answered for each in answered])
        verdicts = {each.example.id: judged for each, judged in zip(answered, found, strict=True)}
        return [each.row(arm, metric, verdicts.get(each.example.id)) for each in given]

    def answers(self, examples: Sequence[Example], system: str | None = None) -> list[Answered]:
        """Answers with their questions and references, optionally under a system prompt."""
        return [each.answered for each in self.given(examples, system)]

    def given(
        self, examples: Sequence[Example], system: str | None = None, decoding: Decoding | None = None
    ) -> list[Given]:
        """Examples with what was answered."""
        answers = self.answer([with_system(e.prompt, system) for e in examples], decoding or self.decoding)
        return [Given(example, answer) for example, answer in zip(examples, answers, strict=True)]


@dataclass(frozen=True)
class Given:
    """An example and the answer to it."""

    example: Example
    generated: Generated

    @property
    def failure(self) -> str:
        """Why there is no answer, or nothing."""
        return self.generated.failure

    @property
    def answered(self) -> Answered:
        """The form that judges take."""
        e, a = self.example, self.generated
        return Answered(e.question, a.text, e.completion, e.checks, a.finished, e.functions)

    def parts(self, judged: Judged | None = None) -> dict[str, Any]:
        """What a row keeps besides its value: the verdict's parts, the kind of example, why there is no value."""
        failure = self.failure or (judged.failure if judged else "")
        kind = {"kind": self.example.kind} if self.example.kind else {}
        return (dict(judged.verdict.parts) if judged else {}) | kind | ({FAILURE: failure} if failure else {})

    def row(self, arm: str, metric: str, judged: Judged | None) -> Row:
        """One row of a report."""
        value = judged.verdict.value if judged and not self.failure else None
        return Row(arm, metric, self.example.id, value, self.parts(judged))


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


def spread(rows: Sequence[Any], limit: int) -> list[Any]:
    """`limit` rows evenly over all of them, which lie in the order of their kinds or documents; all of them when it is
    0."""
    return [rows[len(rows) * place // limit] for place in range(limit)] if 0 < limit < len(rows) else list(rows)


def asked_questions(domain: Domain, split: Split, limit: int) -> list[Example]:
    """Questions over all of a split, among them, where there are any, some that raise a red flag: a quarter at most."""
    rules, rows = domain.safety_rules(), domain.examples("questions", split)
    if not 0 < limit < len(rows):
        return list(rows)
    flagged = [row for row in rows if raises_red_flag(rules, row.question)][: max(limit // 4, 1)]
    others = [row for row in rows if row not in flagged]
    return [*flagged, *spread(others, limit - len(flagged))]


@dataclass(frozen=True)
class Held:
    """The held-out rows of a domain that an arm answers, cut to the recipe's limits."""

    questions: list[Example]
    labelled: list[Example]
    summaries: list[Example]
    house: list[Example]
    instructions: list[Example]
    calls: list[Example]

    @classmethod
    def of(cls, domain: Domain, settings: Evaluation) -> Held:
        """The rows of a domain's test split and of the house instructions."""
        few = settings.instruction_limit
        return cls(
            asked_questions(domain, "test", settings.limit),
            spread(domain.examples("classification", "test"), settings.label_limit),
            spread(domain.examples("summarization", "test"), settings.limit),
            spread(Domain.load(HOUSE).examples("instructions", "test"), few),
            spread(domain.examples("instructions", "test"), few),
            spread(domain.examples("calls", "test"), settings.label_limit),
        )


def generate_arm(subject: Subject, held: Held, system: str | None) -> None:
    """Every answer that an arm needs; under a system prompt it is measured on the questions only."""
    for prompts, decoding in arm_prompts(subject, held, system):
        subject.answer(prompts, decoding)


def arm_prompts(subject: Subject, held: Held, system: str | None) -> list[tuple[Sequence[Prompt], Decoding]]:
    """The prompts of an arm with their decoding; the long answers are generated together."""
    if system:
        return [([with_system(e.prompt, system) for e in held.questions], subject.decoding)]
    together = [*held.questions, *held.summaries, *held.house, *held.instructions]
    asked: list[Prompt] = [e.prompt for e in together]
    labelled: list[Prompt] = [e.prompt for e in held.labelled]
    calls: list[Prompt] = [e.prompt for e in held.calls]
    found: list[tuple[Sequence[Prompt], Decoding]] = [(asked, subject.decoding), (labelled, subject.label_decoding)]
    return [*found, (calls, subject.call_decoding)] if calls else found


def judge_arm(subject: Subject, arm: str, held: Held, judges: Mapping[str, Judge], labels: Sequence[str]) -> list[Row]:
    """The verdicts on everything that an arm answered."""
    rows = subject.judged(arm, held.questions, judges)
    rows += subject.classifies(arm, held.labelled, labels)
    rows += [
        replace(row, metric="summary_bertscore")
        for row in subject.judged(arm, held.summaries, {n: j for n, j in judges.items() if n == "bertscore"})
    ]
    rows += subject.follows(arm, "instruction_following", held.house)
    rows += subject.follows(arm, "instruction_following_domain", held.instructions)
    rows += subject.calls(arm, held.calls)
    return rows
