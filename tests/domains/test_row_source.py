"""Rows from JSONL, JSON lists, Parquet, both Arrow forms and a hub: the same rows with their numbers."""

import json

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from domains.errors import UserError
from domains.row_source import hub_rows, is_row_source, source_rows
from tests.fakes import turns, write_jsonl

ROWS = [{"messages": turns("a", "b"), "note": None}, {"messages": turns("c", "d"), "note": "x"}]
EXPECTED = [(1, {"messages": turns("a", "b")}), (2, {"messages": turns("c", "d"), "note": "x"})]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def written(folder, suffix):
    """The rows in one kind of file."""
    path, table = folder / f"rows{suffix}", pyarrow.Table.from_pylist(ROWS)
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".jsonl":
        write_jsonl(path, ROWS)
    else:
        new = pyarrow.ipc.new_file if suffix == ".file.arrow" else pyarrow.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".stream.arrow", ".file.arrow"])
def test_the_same_rows_from_every_kind_of_file(tmp_path, suffix):
    path = written(tmp_path, suffix)
    assert [(found.number, found.row) for found in source_rows(str(path))] == EXPECTED
    assert is_row_source(str(path))


def test_lines_that_are_no_objects_are_errors_of_their_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{oops\n[1]\n')
    found = list(source_rows(str(path)))
    assert [(each.number, each.error is None) for each in found] == [(1, True), (3, False), (4, False)]
    path = tmp_path / "rows.json"
    path.write_text('[{"a": 1}, 5]')
    assert [each.error is None for each in source_rows(str(path))] == [True, False]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.json"])
def test_a_broken_file_is_a_clear_error(tmp_path, name):
    path = tmp_path / name
    path.write_text("[ this is none")
    with pytest.raises(UserError, match=name):
        list(source_rows(str(path)))


def test_a_missing_file_and_a_domain(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        source_rows(str(tmp_path / "none.parquet"))
    assert not is_row_source("mortgage")


def test_a_hub_data_set_is_asked_for_at_its_commit():
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return ROWS

    assert list(hub_rows(f"hub:owner/set@{COMMIT}:test_prefs", load)) == ROWS
    assert asked == [("owner/set", {"revision": COMMIT, "split": "test_prefs", "streaming": True})]


def test_a_hub_data_set_may_have_a_configuration():
    asked = []

    def load(name, config, **options):
        asked.append((name, config, options["split"]))
        return ROWS

    assert list(hub_rows(f"hub:owner/set/clean@{COMMIT}", load)) == ROWS
    assert asked == [("owner/set", "clean", "train")]


def test_a_folder_of_parquet_files_is_read_in_the_order_of_their_names(tmp_path):
    for name, row in (("b-00001", ROWS[1]), ("a-00000", ROWS[0])):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / f"{name}.parquet")
    assert is_row_source(str(tmp_path))
    assert [(found.number, found.row) for found in source_rows(str(tmp_path))] == EXPECTED
    (tmp_path / "domain.toml").write_text("")
    assert not is_row_source(str(tmp_path))


@pytest.mark.parametrize("target", ["hub:owner/set", "hub:owner/set@main", f"hub:owner/set@{COMMIT[:8]}", "hub:"])
def test_a_hub_data_set_without_a_commit_is_refused(target):
    with pytest.raises(UserError, match="40 hexadecimal"):
        list(hub_rows(target, lambda *_, **__: ROWS))


def test_a_hub_that_is_not_reachable_is_a_clear_error():
    def load(name, **options):
        raise ConnectionError("no route")

    with pytest.raises(UserError, match=r"cannot be read from the hub \(ConnectionError: no route\)"):
        list(hub_rows(f"hub:owner/set@{COMMIT}", load))
