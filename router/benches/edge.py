"""What an expert costs on this machine in each form that it can be exported to, and what the form does to its calls.

For bf16, int8 (torch, dynamic, from a file of its own), GGUF q8_0 and q4_0: size of the file, seconds to the first
token of a prompt of about 200 tokens, tokens a second after it (best of the rounds), peak memory of a process that does
only this, and what is right, with the number of rows, a 95% interval and the score of a model that never calls: on the
development rows of the domain `tools`, apart for rows that need calls (all of them and no others) and rows that need
none, and the leaderboard's accuracy of calls (AST categories, a fixed random subset; left out without its package).
Answers may be as long as in `expertsmith bench tools`. `measured` takes any other scores. A form that cannot run here
has a row that says why. Rows are kept in HOME/bench, so that a stopped run goes on.
Run: `expertsmith bench edge --json`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import parse
from experts.benches._kept import Kept
from experts.checkpoint import load, load_tokenizer
from experts.device import probe
from experts.digests import digest_of
from experts.encoding import prompt_ids
from experts.expert import Expert, built_experts, versions
from experts.export import base_of, write
from experts.measure import spread
from judges.call_match import makes_calls
from judges.stats import wilson_interval
from router.benches._int8 import save_int8
from router.benches._tool_answers import MAX_TOKENS
from router.benches._tool_score import call_accuracy
from router.tool_requests import is_tools_expert

DOMAIN = "tools"
NO_LLAMA = "llama-cpp-python is not installed; pip install 'expertsmith[llama]' compiles it"
Prompts = Sequence[Sequence[Message]]
Ask = Callable[[Prompts], list[str]]
Score = Callable[[Ask], float | Mapping[str, Any]]
Scores = Mapping[str, Score]


@dataclass(frozen=True)
class Form:
    """A form of an expert: how it is written (`kind`, `number_format`) and what runs it."""

    name: str
    kind: str
    number_format: str
    runner: str


FORMS = (
    Form("bf16", "safetensors", "bf16", "bf16"),
    Form("int8", "safetensors", "bf16", "int8"),
    Form("gguf q8_0", "gguf", "q8_0", "gguf"),
    Form("gguf q4_0", "gguf", "q4_0", "gguf"),
)


@dataclass(frozen=True)
class Size:
    """How much is measured; 0 rows: all of the development split; `leaderboard`: about so many of its rows."""

    tokens: int
    rounds: int
    rows: int
    leaderboard: int


FULL, QUICK = Size(64, 3, 0, 64), Size(32, 2, 12, 16)


class NoRun(Exception):
    """A form cannot run here: the text says why."""


@dataclass
class Child:
    """An export in a process of its own."""

    process: subprocess.Popen[str]
    errors: IO[str]
    tokenizer: Any

    def say(self, prompts: Prompts, max_tokens: int, timed: bool = False) -> dict[str, Any]:
        """Ask, and read the reply."""
        ids = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        assert self.process.stdin
        print(
            json.dumps({"prompts": ids, "max_tokens": max_tokens, "timed": timed}), file=self.process.stdin, flush=True
        )
        return self.heard()

    def heard(self) -> dict[str, Any]:
        """One line of output; a process that ended says why with its last line of errors."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise NoRun(self.last_words())
        found: dict[str, Any] = json.loads(line)
        return found

    def last_words(self) -> str:
        """The last line of errors."""
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or [f"it ended with code {code}"]
        return lines[-1][:200]

    def ask(self, prompts: Prompts) -> list[str]:
        """Whole answers as text."""
        answers = self.say(prompts, MAX_TOKENS)["answers"]
        return [str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip() for tokens in answers]

    def end(self) -> dict[str, Any]:
        """Its last line, after which it is gone."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.heard()


def run(quick: bool = False, home: Path = Path(".expertsmith")) -> dict[str, Any]:
    """One row a form."""
    return measured(chosen_expert(home), QUICK if quick else FULL, kept=Kept(home / "bench" / "edge.jsonl"))


def chosen_expert(home: Path) -> Expert:
    """The expert of function calls, of the domain `tools` if there are several."""
    found = built_experts(home) if home.is_dir() else {}
    names = sorted(filter(is_tools_expert, found), key=lambda name: (name.partition("/")[0] != DOMAIN, name))
    if not names:
        raise UserError(
            f"No expert of function calls is built in '{home}', and this measures one. Run 'expertsmith build tools' "
            "first."
        )
    return found[names[0]]


def measured(
    expert: Expert,
    size: Size,
    scores: Scores | None = None,
    forms: Sequence[Form] = FORMS,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """The table. A score takes a function that answers prompts and gives a number from 0 to 1, or several by
    name. With `kept`, rows that are there already are read."""
    wanted = scores or default_scores(size)
    rows = [row_of(expert, form, size, wanted, kept) for form in forms]
    return {"expert": expert.name, "threads": torch.get_num_threads(), "rows": rows}


def row_of(expert: Expert, form: Form, size: Size, scores: Scores, kept: Kept | None) -> dict[str, Any]:
    """The row of a form; one that could not run is tried again."""
    parts = [expert.checkpoint(base_of(expert)).digest(), repr(form), repr(size), sorted(scores), versions()]
    key = digest_of([*parts, torch.get_num_threads(), str(probe().dtype)])
    known = kept.known() if kept else {}
    if key in known:
        return known[key]
    print(f"{form.name}: written and measured", file=sys.stderr, flush=True)
    row = form_row(expert, form, size, scores)
    if kept and "not_run" not in row:
        kept.add(key, row)
    return row


def default_scores(size: Size) -> Scores:
    """The domain's development rows, and the leaderboard's where its package is installed."""
    scores: dict[str, Score] = {"development": development_score(size.rows)}
    if importlib.util.find_spec("bfcl_eval"):
        scores["leaderboard_call_accuracy"] = partial(call_accuracy, num_rows=size.leaderboard)
    return scores


def form_row(expert: Expert, form: Form, size: Size, scores: Scores) -> dict[str, Any]:
    """A form is made, measured and thrown away."""
    checkpoint = expert.checkpoint(base_of(expert))
    tokenizer = load_tokenizer(checkpoint.base)
    with tempfile.TemporaryDirectory() as folder:
        merged = load(checkpoint, torch.float32, "sdpa")
        path = write(merged, tokenizer, form.kind, form.number_format, Path(folder) / "expert")  # type: ignore[arg-type]
        del merged
        path = save_int8(path, Path(folder) / "int8") if form.runner == "int8" else path
        row: dict[str, Any] = {"form": form.name, "file_mib": round(size_mib(path), 1)}
        try:
            return row | costs(form, path, tokenizer, size) | scored(form, path, tokenizer, scores)
        except NoRun as reason:
            return row | {"not_run": str(reason)}


def size_mib(path: Path) -> float:
    """The size of the weights on disk."""
    files = [path] if path.is_file() else path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files) / 2**20


def costs(form: Form, path: Path, tokenizer: Any, size: Size) -> dict[str, Any]:
    """What a form costs."""
    if form.runner == "gguf" and importlib.util.find_spec("llama_cpp") is None:
        raise NoRun(NO_LLAMA)
    with child(form.runner, path, tokenizer) as process:
        load_seconds = process.heard()["load_seconds"]
        prompt = [timed_prompt()]
        process.say(prompt, 2, timed=True)  # the first use of every kernel is slower
        rounds = [process.say(prompt, size.tokens, timed=True) for _ in range(size.rounds)]
        peak = process.end()["peak_mib"]
    return {
        "load_seconds": round(load_seconds, 2),
        "first_token_seconds": best(rounds, "first_seconds", min),
        "tokens_per_second": best(rounds, "tokens_per_second", max),
        "peak_memory_mib": round(peak),
    }


def scored(form: Form, path: Path, tokenizer: Any, scores: Scores) -> dict[str, Any]:
    """How right its answers are; from another process, since long prompts take memory of their own."""
    with child(form.runner, path, tokenizer) as process:
        process.heard()
        values = {name: score(process.ask) for name, score in scores.items()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def best(rounds: Sequence[dict[str, Any]], key: str, chosen: Callable[[list[float]], float]) -> float | None:
    """The best value of the rounds; None where an answer was too short to have one."""
    values = [each[key] for each in rounds if each[key] is not None]
    return round(chosen(values), 3) if values else None


@contextmanager
def child(runner: str, path: Path, tokenizer: Any) -> Iterator[Child]:
    """A process that holds an export; it is gone afterwards."""
    command = [sys.executable, "-m", "router.benches._edge_child", runner, str(path)]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
    ):
        try:
            yield Child(process, errors, tokenizer)
        finally:
            process.kill()


def timed_prompt() -> tuple[Message, ...]:
    """A request with a few functions: about 200 tokens."""
    return next(e.prompt for e in Domain.load(DOMAIN).examples("calls", "dev") if e.kind == "multiple")


def development_score(num_rows: int) -> Score:
    """What is right of the development rows of the domain, apart for rows that need calls and rows that need none;
    `num_rows` spread over them, 0 = all."""
    kept = spread(Domain.load(DOMAIN).examples("calls", "dev"), num_rows)
    kinds = {
        "calls": [row for row in kept if parse(row.completion)],
        "no_calls": [row for row in kept if not parse(row.completion)],
    }

    def score(ask: Ask) -> dict[str, Any]:
        answers = dict(zip((row.id for row in kept), ask([row.prompt for row in kept]), strict=True))
        return {
            kind: shares([makes_calls(answers[row.id], row.completion, row.functions) for row in rows])
            | {"never_calling": float(kind == "no_calls")}
            for kind, rows in kinds.items()
        }

    return score


def shares(right: Sequence[bool]) -> dict[str, Any]:
    """A share with its interval and the number of rows; None without any."""
    ends = wilson_interval(sum(right), len(right))
    value = round(sum(right) / len(right), 4) if right else None
    return {"value": value, "low": ends.low, "high": ends.high, "n": len(right)}
