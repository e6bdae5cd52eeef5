"""Opening a domain: by name, by folder, with wrong keys, and its rows by split."""

import pytest

from domains.domain import Domain, shipped_names
from domains.errors import UserError
from domains.splits import split_of
from tests.fakes import TOPICS, write_domain


@pytest.fixture
def folder(tmp_path):
    return write_domain(tmp_path / "toy")


def test_shipped_names():
    assert shipped_names() == ("caregiving", "house", "mortgage", "tools")


def test_a_folder_is_a_domain(folder):
    domain = Domain.load(folder)
    assert (domain.name, domain.labels, domain.held_out) == ("toy", ("inside", "outside"), ("questions",))
    assert domain.experts == ("toy/conversation", "toy/structured")
    assert len(domain.safety_rules()) == 1


@pytest.mark.parametrize("task", ["classification", "summarization"])
def test_splits_are_disjoint_and_complete(folder, task):
    domain = Domain.load(folder)
    ids = [example.id for split in ("train", "dev", "test") for example in domain.examples(task, split)]
    assert sorted(ids) == sorted(f"{task[0]}{i}" for i in range(len(TOPICS)))
    assert all(split_of(example.id) == "train" for example in domain.examples(task, "train"))


def test_held_out_tasks_are_never_trained_on(folder):
    domain = Domain.load(folder)
    assert domain.examples("questions", "train") == domain.examples("questions", "dev") == ()
    assert len(domain.examples("questions", "test")) == len(TOPICS)


def test_other_kinds_of_rows(folder):
    domain = Domain.load(folder)
    for rows, total in [
        (domain.preferences, len(TOPICS)),
        (domain.utterances, 3 * len(TOPICS)),
        (domain.sections, len(TOPICS) + 1),
    ]:
        parts = [rows(split) for split in ("train", "dev", "test")]
        assert sum(map(len, parts)) == total
        assert all(parts)


def test_missing_files_are_empty(folder):
    (folder / "safety.jsonl").unlink()
    assert Domain.load(folder).safety_rules() == ()


def test_a_file_with_problems_is_refused(folder):
    with (folder / "routing.jsonl").open("a") as handle:
        handle.write('{"id": "x"}\n')
    with pytest.raises(UserError, match=r"1 bad rows in toy, the first: routing.jsonl:61: text: missing.*validate toy"):
        Domain.load(folder).utterances("train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('labelz = ["a"]', "no domain.toml key 'labelz'. Did you mean 'labels'"),
        ("labels = [", "not valid TOML"),
        ('labels = "inside"', "labels must be a list of texts"),
        ("labels = [1]", "labels must be a list of texts"),
        ("title = 5", "title must be a text"),
        ("name = 5", "name must be a text"),
        ('name = "../up"', "name '../up' is not usable"),
        ('name = "a/b"', "name 'a/b' is not usable"),
        ('name = ""', "name '' is not usable"),
    ],
)
def test_bad_settings(tmp_path, line, message):
    folder = write_domain(tmp_path / "bad")
    path = folder / "domain.toml"
    key = line.partition(" =")[0]
    kept = [kept for kept in path.read_text().splitlines() if not kept.startswith(f"{key} =")]
    path.write_text("\n".join([*kept, line]) + "\n")
    with pytest.raises(UserError, match=message):
        Domain.load(folder)


def test_missing_settings_are_named(folder):
    (folder / "domain.toml").write_text('name = "toy"\ntitle = "t"\n')
    with pytest.raises(UserError, match="lacks about, licence, system_prompt"):
        Domain.load(folder)


@pytest.mark.parametrize("name", ["mortage", "no/such/folder", "", "..", "../domains/mortgage/documents"])
def test_a_wrong_name(name):
    with pytest.raises(UserError, match="Available: caregiving, house, mortgage"):
        Domain.load(name)
