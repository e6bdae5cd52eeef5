"""The held-out data of a domain for other tools: a task folder of lm-evaluation-harness, and plain JSONL.

Each task is a YAML file beside its JSONL file, in the harness's format for local data (`dataset_path: json`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from domains.atomic import write_text_atomically
from domains.domain import Domain
from domains.errors import UserError
from domains.example import Example, Message, Preference

VERSION = 1.0
MAX_TOKENS = {"questions": 200, "summarization": 120, "instructions": 200}
MEAN = {"aggregation": "mean", "higher_is_better": True}
TEXT_METRICS = [{"metric": name, "aggregation": name, "higher_is_better": True} for name in ("chrf", "bleu")]


@dataclass(frozen=True)
class Exported:
    """What was written, and how the harness runs it."""

    folder: str
    tasks: tuple[str, ...]
    command: str

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form."""
        return asdict(self)


@dataclass(frozen=True)
class HarnessTask:
    """One task of the harness: its rows and the settings that say how they are asked and scored."""

    name: str
    rows: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]


def export_domain(domain: Domain, out: Path) -> Exported:
    """Write every task that has test rows, a group over them, evaluation.jsonl and a README into a folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be a folder ({error.strerror}). Give another one with --out.") from None
    tasks = [task for task in tasks_of(domain) if task.rows]
    for task in tasks:
        _write_jsonl(out / f"{task.name}.jsonl", task.rows)
        _write_yaml(out / f"{task.name}.yaml", task_settings(task, out))
    group = task_name(domain, "all")
    names = [task.name for task in tasks]
    _write_yaml(out / f"{group}.yaml", {"group": group, "task": names, "metadata": {"version": VERSION}})
    _write_jsonl(out / "evaluation.jsonl", evaluation_rows(domain))
    command = f"lm_eval --model hf --model_args pretrained=MODEL --include_path {out} --tasks {group}"
    write_text_atomically(out / "README.md", readme(domain, names, f"{command} --apply_chat_template"))
    return Exported(str(out), tuple(names), f"{command} --apply_chat_template")


def tasks_of(domain: Domain) -> list[HarnessTask]:
    """The tasks of a domain, also those without rows."""
    return [
        label_task(domain),
        preference_task(domain),
        *(text_task(domain, task) for task in ("questions", "summarization", "instructions")),
    ]


def label_task(domain: Domain) -> HarnessTask:
    """Classification: the likeliest of the domain's labels."""
    rows = [
        {"id": row.id, "text": as_text(row.prompt), "target": domain.labels.index(row.completion)}
        for row in domain.examples("classification", "test")
        if row.completion in domain.labels
    ]
    metrics = [{"metric": "acc", **MEAN}]
    choice = {"output_type": "multiple_choice", "doc_to_choice": list(domain.labels), "metric_list": metrics}
    return HarnessTask(task_name(domain, "classification"), rows, choice)


def preference_task(domain: Domain) -> HarnessTask:
    """Preferences: whether the chosen answer is the likeliest one, also per character of the answer."""
    rows = [preference_row(row) for row in domain.preferences("test")]
    metrics = [{"metric": name, **MEAN} for name in ("acc", "acc_norm")]
    choice = {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": metrics}
    return HarnessTask(task_name(domain, "preferences"), rows, choice)


def preference_row(row: Preference) -> dict[str, Any]:
    """The chosen answer stands at a place that follows from the id, so that its place tells nothing."""
    place = sum(row.id.encode()) % len(row.candidates)
    choices = [*row.rejected[:place], row.chosen, *row.rejected[place:]]
    return {"id": row.id, "text": as_text(row.prompt), "choices": choices, "target": place}


def text_task(domain: Domain, task: Any) -> HarnessTask:
    """Free answers, compared with the reference by chrF and BLEU; `checks` stay in the rows for other scorers."""
    rows = [
        {"id": row.id, "text": as_text(row.prompt), "target": row.completion, "checks": json.dumps(row.checks)}
        for row in domain.examples(task, "test")
    ]
    generation = {"until": [], "max_gen_toks": MAX_TOKENS[task], "do_sample": False}
    settings = {"output_type": "generate_until", "generation_kwargs": generation, "metric_list": TEXT_METRICS}
    return HarnessTask(task_name(domain, task), rows, settings)


def task_settings(task: HarnessTask, out: Path) -> dict[str, Any]:
    """The content of a task's YAML file. Prompts and targets are columns by name: the harness reads what comes out of a
    template as a Python literal where it looks like one, so that a reference `["a", "b"]` would become two."""
    return {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(out / f"{task.name}.jsonl")}},
        "test_split": "test",
        "doc_to_text": "text",
        "doc_to_target": "target",
        "num_fewshot": 0,
        **task.settings,
        "metadata": {"version": VERSION},
    }


def evaluation_rows(domain: Domain) -> list[dict[str, Any]]:
    """Every test row as `expertsmith score` takes it, once it has an answer: {"task", "id", "question", ...}."""
    found = [
        {"task": task, **example_row(row)}
        for task in ("questions", "classification", "summarization", "instructions")
        for row in domain.examples(task, "test")
    ]
    for row in domain.preferences("test"):
        turns = [message.as_dict() for message in row.prompt]
        answers = {"reference": row.chosen, "rejected": list(row.rejected)}
        found.append({"task": "preferences", "id": row.id, "question": turns, **answers})
    return found


def example_row(row: Example) -> dict[str, Any]:
    """One prompt with its reference and what is known of it."""
    turns = [message.as_dict() for message in row.prompt]
    known = {"id": row.id, "question": turns, "reference": row.completion}
    return known | {key: value for key, value in (("kind", row.kind), ("checks", list(row.checks))) if value}


def as_text(prompt: Sequence[Message]) -> str:
    """A prompt as one user turn: a single message as it is, several with their roles named."""
    if len(prompt) == 1:
        return prompt[0].content
    if [message.role for message in prompt] == ["system", "user"]:
        return f"{prompt[0].content}\n\n{prompt[1].content}"
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in prompt)


def task_name(domain: Domain, task: str) -> str:
    """A name that is a file name and an option's value."""
    return re.sub(r"\W+", "_", f"{domain.name}_{task}").lower()


def readme(domain: Domain, names: Sequence[str], command: str) -> str:
    """How to run the tasks."""
    listed = "\n".join(f"* `{name}`" for name in names)
    return (
        f"# {domain.title}: held-out data\n\nLicence of the data: {domain.licence}. Test rows only.\n\n"
        "Tasks for lm-evaluation-harness (`pip install lm-eval`); the paths in the YAML files are as seen from where "
        "`expertsmith export-evaluation` ran, so run this from there, or export again with an absolute `--out`:\n\n"
        f"    {command}\n\n{listed}\n\n`evaluation.jsonl` has the same rows for any other tool: one JSON object a line "
        'with "task", "id", "question" (messages), "reference". Add an "answer" to each, and '
        "`expertsmith score` judges them.\n"
    )


def _write_yaml(path: Path, settings: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False, allow_unicode=True)
    write_text_atomically(path, text)


def _write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
