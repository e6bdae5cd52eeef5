"""From a folder of mixed files to a domain: every file has a row, the result is the same for any number of jobs, a
killed run goes on, memory does not grow with the corpus, and nothing of a person is left."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from domains.cleaning import CleaningSettings
from domains.domain import Domain
from domains.errors import UserError
from domains.formats import Limits
from domains.ingest import Plan, ingest_file, source_files
from domains.new_domain import MADE_BY, REPORT, Request, new_domain, summary
from domains.validate import validate
from tests.fakes_documents import GARDEN, PERSONAL, SPANISH, write_garden

STATUSES = {
    "bed.md": "ok", "broken.pdf": "corrupt", "empty.txt": "empty", "frost.html": "ok", "handbook.pdf": "ok",
    "huge.txt": "too_large", "letter.txt": "ok", "locked.pdf": "encrypted", "photo.png": "unsupported",
    "plots.csv": "ok", "questions.jsonl": "ok", "spacing.docx": "ok", "sub/copy of bed.md": "ok",
}  # fmt: skip
SETTINGS = CleaningSettings(salt="garden")
LIMITS = Limits(max_bytes=2_000_000)


def request(documents, folder, **changes):
    return Request("garden", documents, folder, **{"cleaning": SETTINGS, "limits": LIMITS, **changes})


def contents(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "documents").iterdir()}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_garden(tmp_path_factory.mktemp("source") / "files")


@pytest.fixture(scope="module")
def made(documents, tmp_path_factory):
    """The domain made once: (its folder, the report)."""
    folder = tmp_path_factory.mktemp("made") / "garden"
    return folder, new_domain(request(documents, folder))


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the domain that a test may change."""
    return Path(shutil.copytree(made[0], tmp_path / "garden"))


def everything(folder):
    return "\n".join(path.read_text() for path in sorted((folder / "documents").iterdir()))


def test_every_file_has_a_row_with_a_status_and_a_reason(made):
    _, report = made
    assert {row["file"]: row["status"] for row in report["files"]} == STATUSES
    assert all(row["reason"] for row in report["files"] if row["status"] != "ok")
    keys = {"file", "status", "reason", "num_pages", "characters", "bytes", "chunks"}
    assert all(row.keys() == keys for row in report["files"])
    pages = {row["file"]: row["num_pages"] for row in report["files"]}
    assert pages["handbook.pdf"] == 3
    notes = {row["file"]: row["reason"] for row in report["files"]}
    assert notes["questions.jsonl"] == "1 lines are not JSON objects, the first: line 2."
    assert notes["sub/copy of bed.md"] == "exact duplicate of bed.md."


def test_the_domain_loads_and_validates_and_names_its_sources(made):
    folder, report = made
    domain = Domain.load(folder)
    assert validate(str(folder)).ok
    assert domain.licence == "unknown: set it"
    assert len(domain.documents) == sum(row["chunks"] for row in report["files"]) > 6
    for name in report["documents"]:
        text = (folder / "documents" / name).read_text()
        assert text.startswith("# ")
        assert "\n## Sources\n\n- " in text
    assert all("Sources" not in section.text for section in domain.documents)


def test_nothing_of_a_person_is_left_anywhere(made):
    folder, report = made
    texts = [p.read_text() for p in folder.rglob("*") if p.is_file()]
    for original in PERSONAL:
        assert not any(original in text for text in texts)
    assert report["pii"]["found"]["name"] >= 3
    assert {"recall", "precision", "mentions"} <= report["pii"]["measured"].keys()


def test_a_person_is_the_same_person_in_two_files(made):
    text = everything(made[0])
    name = text.split("name: ")[1].split(";")[0]
    assert f"{name} asked about the community plots" in text


def test_content_is_kept_and_what_is_removed_is_counted(made):
    text = everything(made[0])
    assert GARDEN in text
    assert "| Radish | 25 |" in text
    assert "| Carrot | 2 inches |" in text
    assert "café" in text
    for gone in ("Valley Garden Handbook", "Home Beds", "Example Garden Club", SPANISH[:40], "Page 2 of 3", "hidden"):
        assert gone not in text
    stages = {stage["stage"]: stage for stage in made[1]["stages"]}
    assert list(stages) == ["unicode_repair", "boilerplate", "language", "quality", "pii", "duplicates", "chunks"]
    assert stages["language"]["reasons"] == {"language es": 2}
    assert stages["boilerplate"]["reasons"]["navigation"] == 2
    assert stages["duplicates"]["reasons"]["document, exact"] == 1
    assert all(stage["samples"] for name, stage in stages.items() if stage["reasons"])


def test_any_number_of_jobs_gives_the_same(made, documents, tmp_path):
    other = tmp_path / "garden"
    report = new_domain(request(documents, other, jobs=2))
    assert contents(other) == contents(made[0])
    assert {k: v for k, v in report.items() if k != "performance"} == {
        k: v for k, v in made[1].items() if k != "performance"
    }


def test_a_second_run_reads_nothing_and_keeps_what_a_person_set(copy, documents):
    before = contents(copy)
    settings = (copy / "domain.toml").read_text().replace('title = "Garden"', 'title = "My beds"')
    (copy / "domain.toml").write_text(settings)
    report = new_domain(request(documents, copy))
    assert report["performance"]["bytes_read"] == 0
    assert contents(copy) == before
    assert (copy / "domain.toml").read_text() == settings


def test_a_changed_and_a_lost_file(copy, documents, tmp_path):
    source = Path(shutil.copytree(documents, tmp_path / "files"))
    (source / "bed.md").write_text("# The bed\n\n" + GARDEN.replace("compost", "manure"))
    (source / "plots.csv").unlink()
    report = new_domain(request(source, copy))
    assert report["performance"]["bytes_read"] == (source / "bed.md").stat().st_size
    assert "manure" in everything(copy)
    assert not (copy / "documents" / "plots-csv.md").exists()


def test_a_killed_run_goes_on(documents, tmp_path):
    """A run that was killed has a journal with some results, a part of one, and no report."""
    folder = tmp_path / "garden"
    plan = Plan(documents.resolve(), folder / ".ingest", SETTINGS, LIMITS)
    plan.journal.mkdir(parents=True)
    ingest_file({"file": "handbook.pdf"}, plan)
    (plan.journal / f".{plan.key('bed.md')}.part").write_text('{"kind": "te')
    report = new_domain(request(documents, folder))
    total = sum(row["bytes"] for row in report["files"] if row["status"] not in {"too_large", "unsupported"})
    assert report["performance"]["bytes_read"] == total - (documents / "handbook.pdf").stat().st_size
    assert not list(plan.journal.glob(".*"))
    assert report["made_by"] == MADE_BY


def test_what_was_not_made_here_or_was_edited_is_not_overwritten(copy, documents, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "domain.toml").write_text("name = 'mine'")
    with pytest.raises(UserError, match="was not made by"):
        new_domain(request(documents, mine))
    assert (mine / "domain.toml").read_text() == "name = 'mine'"
    (copy / "documents" / "bed-md.md").write_text("# Mine\n")
    with pytest.raises(UserError, match=r"edited since.*bed-md.md"):
        new_domain(request(documents, copy))


@pytest.mark.parametrize(
    ("name", "words"), [("../x", "not usable"), ("mortgage", "part of this package"), ("a b", "not usable")]
)
def test_names_that_cannot_be(documents, tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        new_domain(Request(name, documents, tmp_path / "x", SETTINGS))


def test_folders_that_cannot_be(documents, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no file"):
        new_domain(request(tmp_path / "none", tmp_path / "x"))
    with pytest.raises(UserError, match="not a folder"):
        new_domain(request(tmp_path / "nowhere", tmp_path / "x"))
    with pytest.raises(UserError, match="would lie inside"):
        new_domain(request(documents, documents / "garden"))
    (tmp_path / "none" / "a.txt").write_bytes(b"")
    with pytest.raises(UserError, match="Nothing is left"):
        new_domain(request(tmp_path / "none", tmp_path / "x"))


def test_hidden_files_and_links_out_of_the_folder_are_not_followed(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside, inside / ".git", inside / "a"):
        folder.mkdir()
        (folder / "x.txt").write_text("x")
    (inside / ".h.txt").write_text("x")
    (inside / "link.txt").symlink_to(outside / "x.txt")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "same.txt").symlink_to(inside / "x.txt")
    assert source_files(inside) == ["a/x.txt", "same.txt", "x.txt"]


def test_names_of_documents_are_plain_and_never_meet(tmp_path):
    source = tmp_path / "files"
    source.mkdir()
    for number, name in enumerate(("A b.txt", "a-b.txt", "ü \u202e.txt", "日本.txt")):
        (source / name).write_text(f"{GARDEN.replace('six', 'number')} Note {'abcd'[number]} is long enough to count.")
    report = new_domain(
        request(source, tmp_path / "x", cleaning=CleaningSettings(near_duplicate=1.1, near_document=1.1))
    )
    assert sorted(report["documents"]) == ["a-b-txt-2.md", "a-b-txt.md", "txt-2.md", "txt.md"]


def test_the_summary_says_what_to_do_next(made):
    lines = summary(made[1], Path("garden"))
    verbs = [line.split()[:3] for line in lines[-3:]]
    assert verbs == [["expertsmith", verb, "garden"] for verb in ("validate", "data", "build")]
    assert any(line.startswith("encrypted") and "locked.pdf" in line for line in lines)
    assert any("MB/s" in line for line in lines)


MEMORY = """
import resource, sys
from pathlib import Path
from domains.cleaning import CleaningSettings
from domains.formats import Limits
from domains.ingest import Plan, journaled_blocks
from domains.new_domain import Request, new_domain

def run(name):
    folder = Path(sys.argv[1])
    new_domain(Request("big", folder / name, folder / f"{name}-out", CleaningSettings(salt="x")))
    return int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024

used = run("small")
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]), resource.RLIM_INFINITY))
run("large")
journal = Path(sys.argv[1], "large-out", ".ingest")
plan = Plan(journal, journal, CleaningSettings(), Limits())
try:
    held = [list(journaled_blocks(plan, path.stem)) for path in journal.glob("*.jsonl")]
except MemoryError:
    print("all blocks at once do not fit")
"""


def write_corpus(folder, num_files, file_bytes):
    """Files of paragraphs that are not duplicates of each other."""
    folder.mkdir()
    for number in range(num_files):
        words = GARDEN.split()
        with (folder / f"{number}.txt").open("w") as handle:
            for line in range(file_bytes // len(GARDEN)):
                turned = words[line % 50 :] + words[: line % 50]
                handle.write(" ".join(f"{w}{number}x{line}" if n % 4 else w for n, w in enumerate(turned)) + "\n\n")


def run_with_cap(tmp_path, num_files, file_bytes, cap_bytes):
    """A corpus after a first one has loaded everything: from then on, only `cap_bytes` more memory may be taken. The
    program ends with holding all blocks, for which that is too little: a run that did so would have failed."""
    write_corpus(tmp_path / "small", 1, file_bytes)
    write_corpus(tmp_path / "large", num_files, file_bytes)
    program = [sys.executable, "-c", MEMORY, str(tmp_path), str(cap_bytes)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "all blocks at once do not fit\n"
    report = json.loads((tmp_path / "large-out" / REPORT).read_text())
    assert sum(row["bytes"] for row in report["files"]) > 0.9 * num_files * file_bytes
    assert {row["status"] for row in report["files"]} == {"ok"}
    assert all(row["chunks"] > file_bytes / 5000 for row in report["files"])


@pytest.mark.slow
def test_a_corpus_three_times_the_memory_that_may_be_taken(tmp_path):
    run_with_cap(tmp_path, num_files=16, file_bytes=1_000_000, cap_bytes=5_000_000)
