"""From a folder of mixed files to a domain: every file has a row, the result is the same for any number of jobs, a
killed run goes on, memory does not grow with the corpus, and nothing of a person is left."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from domains.cleaning import CleaningSettings
from domains.domain import Domain
from domains.engine import Engine
from domains.errors import UserError
from domains.formats import Limits
from domains.ingest import Plan, ingest_file, journaled, source_files
from domains.made_documents import MADE_BY, REPORT
from domains.new_domain import Request, new_domain, read_all, summary
from domains.validate import validate
from tests.fakes_documents import FROST, GARDEN, PERSONAL, SPANISH, write_garden

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


def folder_of(path, **files):
    """A folder of Markdown files; double underlines in names stand for a hyphen."""
    path.mkdir()
    for name, content in files.items():
        (path / f"{name.replace('__', '-')}.md").write_text(content)
    return path


def rows_of(report):
    return {row["file"]: row for row in report["files"]}


def test_a_bad_file_is_a_row_and_the_others_go_on(tmp_path, monkeypatch):
    """A file that may not be opened (not even for its digest), a name that is no UTF-8, half of a surrogate pair in a
    row, thousands of headings in one block."""
    source = folder_of(tmp_path / "files", bed=GARDEN, secret=GARDEN, many="Rule\n---\n" * 3000 + FROST)
    (source / os.fsdecode(b"caf\xe9.txt")).write_text(FROST.replace("middle", "end"))
    (source / "rows.jsonl").write_text(json.dumps({"note": f"\ud83d {SPANISH} \ud83d", "name": "Ann\ud83d"}) + "\n")
    (source / "loop.md").symlink_to("loop.md")
    opened = Path.open

    def guarded(path, *arguments, **options):
        if path.name == "secret.md":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    report = new_domain(request(source, tmp_path / "garden", cleaning=CleaningSettings(salt="s", language="")))
    rows = rows_of(report)
    assert {name: row["status"] for name, row in rows.items()} == {
        "bed.md": "ok", "caf\\udce9.txt": "ok", "many.md": "ok", "rows.jsonl": "ok", "secret.md": "corrupt",
    }  # fmt: skip
    assert "allow this account to read it" in rows["secret.md"]["reason"]
    assert json.loads((tmp_path / "garden" / REPORT).read_text())["files"] == report["files"]
    assert "\n".join(summary(report, tmp_path)).encode()
    assert json.dumps(report, ensure_ascii=False).encode()
    monkeypatch.undo()
    again = new_domain(request(source, tmp_path / "garden", cleaning=CleaningSettings(salt="s", language="")))
    assert rows_of(again)["secret.md"]["status"] == "ok"


def test_a_file_that_goes_while_others_are_read_is_a_row(tmp_path):
    plan = Plan(folder_of(tmp_path / "files", bed=GARDEN), tmp_path, SETTINGS, LIMITS)
    bed, gone = (journaled(plan, found["key"]) for found in read_all(plan, ["bed.md", "gone.md"], Engine()))
    assert (bed["status"], gone["status"]) == ("ok", "corrupt")
    assert "FileNotFoundError" in gone["reason"]


def test_cleaning_counts_in_the_time_that_a_file_may_take(tmp_path):
    """Cleaning 2 MB takes seconds; the small file loads everything first."""
    source = folder_of(tmp_path / "files", small=GARDEN)
    (source / "large.txt").write_text("\n\n".join(f"{GARDEN} Bed {n}." for n in range(7_000)))
    plan = Plan(source, tmp_path, SETTINGS, LIMITS)
    assert journaled(plan, ingest_file({"file": "small.md"}, plan)["key"])["status"] == "ok"
    plan = replace(plan, limits=Limits(max_seconds=0.2))
    row = journaled(plan, ingest_file({"file": "large.txt"}, plan)["key"])
    assert (row["status"], row["reason"]) == ("too_large", "reading and cleaning took more than 0.2 s.")


def test_a_full_disk_is_no_fault_of_a_file(tmp_path):
    source = folder_of(tmp_path / "files", bed="\n\n".join(f"{GARDEN} Bed {n}." for n in range(200)))
    plan = Plan(source, tmp_path, SETTINGS, LIMITS)
    (tmp_path / f".{plan.key('bed.md')}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        ingest_file({"file": "bed.md"}, plan)
    assert not list(tmp_path.glob("*.json"))


def test_a_run_that_was_killed_while_it_wrote_documents_goes_on(copy, documents, tmp_path):
    """A folder in the place of a document ends the run at that document, after `bed.md` was written."""
    source = Path(shutil.copytree(documents, tmp_path / "files"))
    (source / "bed.md").write_text("# The bed\n\n" + GARDEN.replace("compost", "manure"))
    (source / "later.md").write_text(FROST.replace("four degrees", "some degrees of warmth"))
    (copy / "documents" / "later-md.md").mkdir()
    with pytest.raises(IsADirectoryError):
        new_domain(request(source, copy))
    assert "manure" in (copy / "documents" / "bed-md.md").read_text()
    (copy / "documents" / "later-md.md").rmdir()
    mine = (copy / "documents" / "letter-txt.md").read_text()
    (copy / "documents" / "letter-txt.md").write_text("# Mine\n")
    with pytest.raises(UserError, match=r"1 documents .* edited since.*letter-txt.md"):
        new_domain(request(source, copy))
    (copy / "documents" / "letter-txt.md").write_text(mine)
    report = new_domain(request(source, copy))
    assert contents(copy) == report["documents"]


def test_what_a_killed_first_run_wrote_of_a_file_that_is_gone_goes_too(tmp_path):
    source = folder_of(tmp_path / "files", bed=GARDEN, frost=FROST)
    blocked = tmp_path / "garden" / "documents" / "frost-md.md"
    blocked.mkdir(parents=True)
    (tmp_path / "garden" / ".ingest").mkdir()
    with pytest.raises(IsADirectoryError):
        new_domain(request(source, tmp_path / "garden"))
    assert (tmp_path / "garden" / "documents" / "bed-md.md").is_file()
    blocked.rmdir()
    (source / "bed.md").unlink()
    report = new_domain(request(source, tmp_path / "garden"))
    assert contents(tmp_path / "garden") == report["documents"]
    assert list(report["documents"]) == ["frost-md.md"]


def test_the_names_of_files_keep_nobody(tmp_path):
    source = tmp_path / "files"
    source.mkdir()
    for name in ("maria_lopez letter.txt", "copy of maria_lopez.txt"):
        (source / name).write_text(GARDEN)
    folder = tmp_path / "garden"
    report = new_domain(request(source, folder))
    assert report["documents"]
    texts = [path.name + path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in [*texts, *summary(report, folder)] if "lopez" in text.lower()]


def test_documents_that_differ_in_a_number_are_both_kept(tmp_path):
    rates = f"# Rates\n\n{GARDEN}\n\n{FROST} The rate of the plot is {{}} dollars a season for each member of the club."
    same = rates.format(40).replace("a season for each", "for each")
    source = folder_of(tmp_path / "files", rates__2024=rates.format(40), rates__2025=rates.format(45), same=same)
    settings = CleaningSettings(salt="s", near_document=0.7)
    rows = rows_of(new_domain(request(source, tmp_path / "garden", cleaning=settings)))
    assert rows["rates-2025.md"]["chunks"] == 1
    assert rows["same.md"]["reason"] == "near duplicate of rates-2024.md."
    assert "45 dollars" in everything(tmp_path / "garden")
