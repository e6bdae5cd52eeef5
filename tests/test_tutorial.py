"""The tutorial, executed: every command and every file of `docs/tutorial.md`, in its order, and what they make.

Its documents are the user-made domain of the tests: mixed formats, planted personal data, a duplicate, a corrupt and an
empty file. Two things differ from what a reader does: the endpoint is scripted, and the foundation is fake.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from domains.domain import Domain
from domains.validate import validate
from tests.fakes import write_base
from tests.fakes_judges import scripted_endpoint
from tests.fakes_writer import write
from ui.cli import main

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<kind>\S*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PERSONAL = ("Priya", "Raghunathan", "617-555-0172", "priya.raghunathan@example.org", "218 Walnut Street")
REFUSED_IS_FINE = {"audit"}


@dataclass(frozen=True)
class Done:
    """A command with what it printed."""

    command: str
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Followed:
    """The folder in which the tutorial was followed, its commands in order, and how often the endpoint was asked."""

    folder: Path
    done: tuple[Done, ...]
    num_asked: int

    def of(self, start: str) -> Done:
        """The command that begins so."""
        (found,) = [each for each in self.done if each.command.startswith(f"expertsmith {start}")]
        return found


def steps(text: str) -> Iterator[tuple[str, str]]:
    """(file name, content) to write and ("", command) to run, in the order of the page."""
    for block in BLOCK.finditer(text):
        if block["file"]:
            yield block["file"], block["text"]
        elif block["kind"] == "sh":
            yield from (("", line) for line in block["text"].splitlines())


def run(command: str, base: Path) -> Done:
    """One command, over the fake foundation."""
    program, *arguments = shlex.split(command)
    assert program == "expertsmith"
    if arguments[0] == "build":
        arguments += ["--set", f"foundation.base={base}"]
    if "--show" in arguments:
        arguments += ["--model", str(base)]
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Done(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Followed:
    """The tutorial, followed once."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(ROOT / "docs" / "tutorial", folder / "docs" / "tutorial")
    base = write_base(folder / "base")
    done: list[Done] = []
    with pytest.MonkeyPatch.context() as environment, chdir(folder), scripted_endpoint(write) as endpoint:
        environment.setenv("OPENAI_BASE_URL", endpoint.url)
        environment.setenv("EXPERTSMITH_JUDGE_MODEL", "writer")
        for file, text in steps(TUTORIAL):
            if file:
                Path(file).write_text(text, encoding="utf-8")
            else:
                done.append(run(text, base))
        return Followed(folder, tuple(done), len(endpoint.requests))


def test_every_command_ends_well(followed):
    assert len(followed.done) >= 12
    for each in followed.done:
        allowed = {0, 1} if each.command.split()[1] in REFUSED_IS_FINE else {0}
        assert each.code in allowed, (each.command, each.out, each.err)


def test_the_page_hides_no_command_from_this_test():
    """Blocks are commands that are run, files that are written, or what only a person does; no other kind."""
    kinds = {block["kind"] for block in BLOCK.finditer(TUTORIAL)}
    assert kinds == {"sh", "console", "toml", "jsonl"}
    assert len(BLOCK.findall(TUTORIAL)) == TUTORIAL.count("```") / 2
    by_hand = "\n".join(block["text"] for block in BLOCK.finditer(TUTORIAL) if block["kind"] == "console")
    assert re.findall(r"expertsmith (\w+)", by_hand) == ["evaluate"]


def test_every_file_has_its_row(followed):
    report = json.loads((followed.folder / "library" / "ingest_report.json").read_text())
    statuses = {row["file"]: row["status"] for row in report["files"]}
    assert len(statuses) == 10
    assert {name for name, status in statuses.items() if status != "ok"} == {"scan.pdf", "empty.txt"}
    assert (statuses["scan.pdf"], statuses["empty.txt"]) == ("corrupt", "empty")
    reasons = {row["file"]: row["reason"] for row in report["files"]}
    assert reasons["old/borrowing (copy).md"] == "exact duplicate of borrowing.md."
    made = {row["file"] for row in report["files"] if row["chunks"]}
    assert made == set(statuses) - {"scan.pdf", "empty.txt", "old/borrowing (copy).md"}


def test_tables_and_headings_are_kept_and_menus_are_not(followed):
    text = "\n".join(path.read_text() for path in (followed.folder / "library" / "documents").iterdir())
    for kept in (
        "| Color page | 25 cents |",
        "| Community room | 60 | 4 hours |",
        "Summer reading",
        "program: Story time",
    ):
        assert kept in text
    assert "Privacy" not in text
    assert "Catalog" not in text


def test_nobody_is_left_in_the_domain(followed):
    """The letter's person is one other person in the documents, and in no file, row, card or journal herself."""
    texts = [p.read_text(errors="ignore") for p in (followed.folder / "library").rglob("*") if p.is_file()]
    assert not [original for original in PERSONAL for text in texts if original in text]
    letter = (followed.folder / "library" / "documents" / "letter-txt.md").read_text()
    (name,) = set(re.findall(r"(?:Ms\. |time\. )([A-Z]\w+ [A-Z]\w+)", letter))
    assert letter.count(name) == 2


def test_the_rows_are_valid_and_keep_their_source(followed):
    library = followed.folder / "library"
    assert validate(str(library)).problems == ()
    for name in ("preferences", "classification", "summarization", "questions", "routing"):
        rows = [json.loads(line) for line in (library / f"{name}.jsonl").read_text().splitlines()]
        sections = {document.id for document in Domain.load(library).documents}
        assert rows
        for row in rows:
            made_from_rows = row["id"].startswith(("perturbation", "edits"))
            assert made_from_rows or row["source"]["item"] in sections
    kinds = {kind for row in Domain.load(library).records("preferences.jsonl") for kind in row.rejected_kinds}
    assert {"persona_contrast", "draft", "wrong_number"} <= kinds
    assert followed.num_asked >= 60


def test_the_example_is_shown_with_its_mask(followed):
    shown = followed.of("validate library --show").out
    assert "The end-of-turn token <|im_end|> is trained." in shown
    assert "All rows are good." in shown


def test_a_request_is_routed_to_an_expert_of_the_domain_and_answered(followed):
    route = json.loads(followed.of("route").out)
    assert route.keys() == {"expert", "confidence", "scores", "abstained", "strategy"}
    assert set(route["scores"]) == {"library/conversation", "library/structured", "general"}
    assert route["expert"] in route["scores"]
    assert sum(route["scores"].values()) == pytest.approx(1, abs=1e-3)
    answered = followed.of('ask "Can my daughter')
    assert answered.out.strip()
    built = {path.name for path in (followed.folder / ".expertsmith" / "library").iterdir() if path.is_dir()}
    assert {"pretrain", "residual", "conversation", "structured", "multi_task", "sft_after_dapt"} <= built
