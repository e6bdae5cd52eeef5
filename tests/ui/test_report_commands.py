"""compare, contamination and export-evaluation as commands: what they print, and what they refuse."""

from __future__ import annotations

import json

import pytest

from tests.fakes import write_domain
from tests.fakes_report import fake_report
from ui.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("reports") / "mortgage"
    fake_report().write(path)
    return path


def test_two_arms_of_one_report(folder, capsys):
    assert main(["compare", str(folder), "--arms", "dapt_residual,dapt", "--json"]) == 0
    found = {c["metric"]: c for c in json.loads(capsys.readouterr().out)}
    planted = found["instruction_following"]
    assert planted["verdict"] == "better"
    assert planted.keys() >= {"difference", "low", "high", "p", "p_holm", "n", "mde", "effect", "effect_kind"}


def test_a_report_against_itself_is_never_better(folder, capsys):
    assert main(["compare", str(folder), str(folder / "report.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 9
    assert all("not enough evidence" in line and "n=" in line and "MDE" in line for line in lines)


@pytest.mark.parametrize("more", [[], ["--arms", "dapt"], ["--arms", "dapt,nobody"], ["--arms", "a,b,c"]])
def test_what_cannot_be_compared_is_said_in_one_line(folder, capsys, more):
    assert main(["compare", str(folder), *more]) == 1
    assert capsys.readouterr().err.startswith("expertsmith: ")


def test_contamination_and_export_of_any_domain(tmp_path, capsys):
    domain = str(write_domain(tmp_path / "toy"))
    assert main(["contamination", domain, "--json"]) == 0
    assert {"rule", "files", "rows", "num_train"} <= json.loads(capsys.readouterr().out).keys()
    assert main(["export-evaluation", domain, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert "toy_classification" in json.loads(capsys.readouterr().out)["tasks"]
    assert (tmp_path / "out" / "toy_all.yaml").is_file()
