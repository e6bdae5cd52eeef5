"""Stages that are killed, run again, and whose inputs change."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from domains.atomic import write_text_atomically
from experts.journal import LOCK, RECORD, Stage, discard, read_record, run_stage


def stage(folder, inputs, runs, fail=False):
    """A stage that writes a file (and, as a trainer would, a checkpoint), and keeps count in `runs`."""

    def run(scratch):
        runs.append(sorted(p.name for p in scratch.iterdir()))
        (scratch / "checkpoints").mkdir(exist_ok=True)
        (scratch / "part").write_text("half")
        if fail:
            raise KeyboardInterrupt
        (scratch / "result").write_text(str(inputs))
        return {"loss": 1.5}

    return Stage("toy/work", folder / "work", inputs, run)


def test_a_finished_stage_is_reused(tmp_path):
    runs = []
    first = run_stage(stage(tmp_path, {"a": 1}, runs))
    second = run_stage(stage(tmp_path, {"a": 1}, runs))
    assert len(runs) == 1
    assert first == second
    assert first["metrics"] == {"loss": 1.5}
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOCK, "work"]
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["part", "result", RECORD]


def test_a_killed_stage_leaves_no_final_folder_and_goes_on_from_its_scratch(tmp_path):
    runs = []
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage(tmp_path, {"a": 1}, runs, fail=True))
    assert not (tmp_path / "work").exists()
    assert not stage(tmp_path, {"a": 1}, runs).done
    run_stage(stage(tmp_path, {"a": 1}, runs))
    assert runs == [[], ["checkpoints", "part"]]
    assert (tmp_path / "work" / "result").read_text() == "{'a': 1}"


def test_changed_inputs_run_again_and_replace_the_result(tmp_path):
    runs = []
    run_stage(stage(tmp_path, {"a": 1}, runs))
    run_stage(stage(tmp_path, {"a": 2}, runs))
    assert runs == [[], []]
    assert (tmp_path / "work" / "result").read_text() == "{'a': 2}"
    assert read_record(tmp_path / "work")["inputs"] == {"a": 2}


def test_a_killed_rerun_keeps_the_old_result(tmp_path):
    runs = []
    run_stage(stage(tmp_path, {"a": 1}, runs))
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage(tmp_path, {"a": 2}, runs, fail=True))
    assert (tmp_path / "work" / "result").read_text() == "{'a': 1}"
    assert stage(tmp_path, {"a": 1}, runs).done
    assert not stage(tmp_path, {"a": 2}, runs).done


def test_scratch_of_other_inputs_is_removed_and_that_of_other_stages_stays(tmp_path):
    runs = []
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage(tmp_path, {"a": 1}, runs, fail=True))
    (tmp_path / ".other-0123").mkdir()
    run_stage(stage(tmp_path, {"a": 2}, runs))
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOCK, ".other-0123", "work"]


def test_the_order_of_inputs_does_not_matter_and_the_name_does(tmp_path):
    one, two = Stage("s", tmp_path, {"a": 1, "b": 2}, dict), Stage("s", tmp_path, {"b": 2, "a": 1}, dict)
    assert one.digest == two.digest
    assert one.digest != Stage("t", tmp_path, {"a": 1, "b": 2}, dict).digest


def test_a_broken_record_is_no_record(tmp_path):
    (tmp_path / RECORD).write_text('{"digest": ')
    assert read_record(tmp_path) == {}


def test_discard_goes_by_rename_and_clears_an_earlier_try(tmp_path):
    (tmp_path / ".work-discarded").mkdir()
    (tmp_path / ".work-discarded" / "old").touch()
    (tmp_path / "work" / "deep").mkdir(parents=True)
    discard(tmp_path / "work")
    assert list(tmp_path.iterdir()) == []
    discard(tmp_path / "work")


def test_atomic_text_replaces_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_text_atomically(path, json.dumps({"a": 1}))
    write_text_atomically(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_a_stage_that_another_thread_is_at_is_waited_for(tmp_path):
    """Two runs of one stage at once: it is computed once, and both get the same record."""
    calls = []

    def work(folder):
        calls.append(folder)
        time.sleep(0.2)
        return {"n": len(calls)}

    stage = Stage("slow", tmp_path / "slow", {}, work)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run_stage, [stage, stage])
    assert len(calls) == 1
    assert first == second
