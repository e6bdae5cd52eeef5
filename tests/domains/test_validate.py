"""Validation: nothing bad passes, nothing good is refused, and overlap between splits is seen."""

import json

import pytest

from domains.domain import Domain, shipped_names
from domains.errors import UserError
from domains.splits import split_of
from domains.validate import split_counts, validate
from tests.domains.test_readers import BAD, GOOD, changed
from tests.fakes import TOPICS, domain_rows, turns, write_domain, write_jsonl


@pytest.fixture
def folder(tmp_path):
    return write_domain(tmp_path / "toy")


def test_a_good_domain(folder):
    found = validate(str(folder))
    assert found.ok
    assert found.warnings == ()
    assert found.counts == {
        "preferences.jsonl": 20,
        "routing.jsonl": 60,
        "safety.jsonl": 1,
        "classification.jsonl": 20,
        "summarization.jsonl": 20,
        "questions.jsonl": 20,
        "documents": 21,
    }


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_domain_validates(name):
    found = validate(name)
    assert found.problems == ()
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("stray", "near"),
    [
        ("preference.jsonl", "preferences.jsonl"),
        ("Routing.JSONL", "routing.jsonl"),
        ("preferences.json", "preferences.jsonl"),
        ("classifications.csv", "classification.jsonl"),
        ("domain.tml", "domain.toml"),
        ("document/a.md", "documents"),
        ("zebra.jsonl", ""),
        ("documents/guide.pdf", "domain new NAME --documents DIR"),
        ("documents/more/Guide.DOCX", "domain new NAME --documents DIR"),
    ],
)
def test_a_file_that_nothing_reads_is_a_warning(folder, stray, near):
    (folder / stray).parent.mkdir(exist_ok=True)
    (folder / stray).write_bytes(b"?")
    found = validate(str(folder))
    assert found.ok
    (warning,) = found.warnings
    assert warning.startswith(f"{stray.removesuffix('/a.md')} is not read: ")
    assert near in warning
    assert ("Did you mean" in warning) == bool(near and "NAME" not in near)


def test_files_beside_the_data_are_no_strays(folder):
    for name in ("README.md", "LICENSE", "notes.txt", ".hidden.jsonl", "documents/.DS_Store"):
        (folder / name).write_text("x")
    assert validate(str(folder)).warnings == ()


def test_an_empty_domain_says_which_files_were_not_read(folder):
    for path in [*folder.glob("*.jsonl"), *folder.glob("documents/*")]:
        path.unlink()
    (folder / "preference.jsonl").write_text("{}")
    with pytest.raises(UserError, match="neither rows nor documents.* preference.jsonl is not read"):
        validate(str(folder))


@pytest.mark.parametrize(("file_name", "change", "field", "reason"), BAD)
def test_each_kind_of_bad_row_is_reported_in_its_domain(folder, file_name, change, field, reason):
    rows = domain_rows("toy").get(file_name, [])
    write_jsonl(folder / file_name, [*rows, changed(file_name, change)])
    (problem,) = validate(str(folder)).problems
    assert (problem.file, problem.line, problem.field) == (file_name, len(rows) + 1, field)
    assert reason in problem.reason
    assert str(problem) == f"{file_name}:{problem.line}: {field}: {problem.reason} Fix: {problem.fix}"


def test_all_problems_are_returned_not_the_first(folder):
    write_jsonl(folder / "routing.jsonl", [{"id": "a"}, {"text": "x"}, {"id": "b", "text": "y", "label": "nobody"}])
    problems = validate(str(folder)).problems
    assert [(p.line, p.field) for p in problems] == [(1, "text"), (2, "id"), (3, "label")]


@pytest.mark.parametrize(
    ("file_name", "row", "near"),
    [
        ("classification.jsonl", {"id": "z", "prompt": turns("x"), "completion": "insid"}, "inside"),
        ("routing.jsonl", {"id": "z", "text": "x", "label": "toy/structure"}, "toy/structured"),
    ],
)
def test_labels_that_nobody_listed(folder, file_name, row, near):
    write_jsonl(folder / file_name, [*domain_rows("toy")[file_name], row])
    (problem,) = validate(str(folder)).problems
    assert problem.field == "label"
    assert f"Did you mean '{near}'" in problem.fix


def test_near_duplicates_across_splits_are_warned_of_and_within_a_split_are_not(folder):
    ids = {split: [f"d{i}" for i in range(99) if split_of(f"d{i}") == split] for split in ("train", "test")}
    text = "this very sentence stands in two rows of the file"
    for first, second, count in [("train", "test", 1), ("train", "train", 0)]:
        pair = (ids[first][0], ids[second][-1])
        extra = [{"id": row_id, "text": text, "label": "general"} for row_id in pair]
        write_jsonl(folder / "routing.jsonl", [*domain_rows("toy")["routing.jsonl"], *extra])
        found = validate(str(folder))
        assert found.ok
        assert len(found.warnings) == count
    assert pair[0] != pair[1]


def test_a_single_file_by_its_name_or_by_its_keys(tmp_path):
    for name, row in [("preferences.jsonl", GOOD["preferences.jsonl"]), ("mine.jsonl", GOOD["preferences.jsonl"])]:
        bad = row | {"id": "b", "rejected": []}
        found = validate(str(write_jsonl(tmp_path / name, [row, bad])))
        assert found.counts == {name: 1}
        assert [p.field for p in found.problems] == ["rejected"]
    found = validate(str(write_jsonl(tmp_path / "asks.jsonl", [GOOD["routing.jsonl"], {"id": "b", "text": "x"}])))
    assert [p.field for p in found.problems] == ["label"]


def test_a_first_line_that_is_broken_does_not_hide_the_kind_of_file(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("{\n" + json.dumps(GOOD["preferences.jsonl"]) + "\n")
    found = validate(str(path))
    assert [(p.line, p.field) for p in found.problems] == [(1, "row")]
    assert found.counts == {"mine.jsonl": 1}


def test_files_and_folders_with_nothing_in_them(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no readable row"):
        validate(str(tmp_path / "empty.jsonl"))
    with pytest.raises(UserError, match="does not exist"):
        validate(str(tmp_path / "none.jsonl"))
    folder = write_domain(tmp_path / "bare")
    for path in [*folder.glob("*.jsonl"), *folder.glob("documents/*")]:
        path.unlink()
    with pytest.raises(UserError, match="neither rows nor documents"):
        validate(str(folder))


def test_split_counts_add_up(folder):
    table = split_counts(Domain.load(folder))
    assert sum(table["preferences"].values()) == len(TOPICS)
    assert table["questions"] == {"train": 0, "dev": 0, "test": len(TOPICS)}
    assert "safety" not in table
