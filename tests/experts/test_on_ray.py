"""Pairs and answers on Ray: the rows are those of one process, also when a worker is killed in the middle."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from domains.domain import Domain
from domains.engine import Engine
from domains.example import Message
from domains.splits import split_of
from experts.answers import Answerer, AnswerStore, Decoding, LocalModel
from experts.builders._parts import Material, Writers
from experts.building import Job, make_rows
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.measure import Bench, CheckpointModel
from experts.recipe import Evaluation
from experts.spread import SpreadModel
from experts.writers import ThereAsk
from tests.fakes import write_base, write_domain
from tests.fakes_judges import said, scripted_endpoint

PROMPTS = [(Message("user", "Say " + "more " * (number % 7) + f"about number {number}."),) for number in range(23)]
DECODING = Decoding(max_new_tokens=6, batch_size=4)
QA = "QUESTION: What does part {n} say?\nANSWER: It says word."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "model")


def rows_of(path):
    """Kept rows by key."""
    return {row["key"]: row for row in map(json.loads, path.read_text().splitlines())}


def answered(source, folder):
    """Answers in the order of the prompts, and the rows that were kept."""
    found = Answerer(source, AnswerStore.open(folder / "answers.jsonl"))(PROMPTS, DECODING)
    return found, rows_of(folder / "answers.jsonl")


def test_batches_of_a_spread_model_are_those_of_one_process(base, tmp_path):
    """In this process, and in the report's own way of loading: the same texts, kept under the same keys. One prompt is
    too long for the model and fails in both."""
    checkpoint = Checkpoint(base)
    bench = Bench.open(tmp_path / "bench", Evaluation())
    here = answered(CheckpointModel(bench, checkpoint), tmp_path / "here")
    there = answered(SpreadModel(checkpoint, Engine()), tmp_path / "there")
    assert here == there
    long = [(Message("user", "x" * 9000),), PROMPTS[0]]
    model, tokenizer = bench.load(checkpoint), load_tokenizer(base)
    for source in (LocalModel(model, tokenizer, "m"), SpreadModel(checkpoint, Engine())):
        found = Answerer(source, AnswerStore.open(tmp_path / f"{type(source).__name__}.jsonl"))(long, DECODING)
        assert "the prompt has" in found[0].failure
        assert found[1].failure == ""


@dataclass(frozen=True)
class Writer:
    """Answers by section. The worker that is asked about part c dies the first time."""

    folder: Path

    def __call__(self, messages):
        section = messages[-1].content.split("## Part ")[1][0]
        mark = self.folder / "killed"
        if section == "c" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return QA.format(n=section)


@pytest.fixture
def domain(tmp_path):
    """A domain with six sections that are long enough."""
    folder = write_domain(tmp_path / "toy")
    (folder / "questions.jsonl").unlink()
    parts = "\n".join(f"## Part {'abcdef'[n]}\n\n{'word ' * 40}\n" for n in range(6))
    (folder / "documents" / "more.md").write_text(f"# More\n\n{parts}")
    return Domain.load(folder)


def made(domain, folder, writers, on_ray):
    """The outcome, the lines of all items by key, and the domain's file."""
    found = make_rows(
        Job("question_answer", Material(domain), folder, "w", None, 2, on_ray), writers, lambda line: None
    )
    return found, rows_of(folder / "made" / "question_answer.jsonl"), (folder / "questions.jsonl").read_bytes()


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine with two workers."""
    library = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield library
    library.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pairs_on_ray_are_those_of_this_process(ray, domain, tmp_path):
    """Questions of held-out sections. A worker dies in the middle and no row is lost; then the same over an endpoint
    that each worker opens."""
    (tmp_path / "killed").touch()
    here = made(domain, tmp_path / "here", Writers(Writer(tmp_path), Writer(tmp_path)), False)
    (tmp_path / "killed").unlink()
    there = made(domain, tmp_path / "there", Writers(Writer(tmp_path), Writer(tmp_path)), True)
    assert (tmp_path / "killed").exists()
    assert here == there
    held_out = [d for d in domain.documents if d.id.startswith("more#") and split_of(d.id) != "train"]
    assert here[0].statuses == {"ok": len(held_out)}

    def script(body):
        return said(QA.format(n=body["messages"][-1]["content"].split("## Part ")[1][0]))

    with scripted_endpoint(script) as first, scripted_endpoint(script) as second:
        asked = ThereAsk(f"{first.url},{second.url}", "m1", "KEY")
        assert made(domain, tmp_path / "endpoint", Writers(asked, asked), True) == here
        assert len(first.requests) + len(second.requests) == len(held_out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_answers_on_ray_are_those_of_this_process(ray, base, tmp_path):
    here = answered(SpreadModel(Checkpoint(base), Engine()), tmp_path / "here")
    there = answered(SpreadModel(Checkpoint(base), Engine("ray", 2)), tmp_path / "there")
    assert here == there
