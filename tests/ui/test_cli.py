"""The command line: what each verb prints, its exit codes, and one clear line for what a user can fix."""

from __future__ import annotations

import argparse
import json

import pytest

from tests.fakes_judges import said, scripted_endpoint
from ui.cli import main
from ui.commands import say
from ui.failure_limit import exit_code


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_names_what_is_shipped(capsys, tmp_path):
    code, out, _ = run(capsys, "list", "--json", "--home", str(tmp_path))
    found = json.loads(out)
    assert code == 0
    assert {"mortgage", "caregiving", "house"} <= set(found["domains"])
    assert "dpo" in found["objectives"]
    assert {"bertscore", "llm_judge"} <= set(found["judges"])
    assert found["experts"] == []


def test_validate_a_good_domain(capsys):
    code, out, _ = run(capsys, "validate", "mortgage", "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_validate_a_bad_file_names_line_field_reason_and_fix(capsys, tmp_path):
    """Line 1 is good, line 2 has no rejected answer, line 3 is not JSON: two problems, exit code 1."""
    good = {"id": "a", "prompt": [{"role": "user", "content": "Q"}], "chosen": "yes", "rejected": "no"}
    bad = {**good, "id": "b", "rejected": []}
    path = tmp_path / "preferences.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n{{oops\n")
    code, out, _ = run(capsys, "validate", str(path))
    assert code == 1
    assert "preferences.jsonl:2: rejected:" in out
    assert "preferences.jsonl:3: row: not JSON" in out
    assert out.count("Fix:") == 2
    assert "2 bad rows" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "mortgag"), "Did you mean 'mortgage'?"),
        (("build", "mortgage", "--recipe", "nothing"), "There is no recipe"),
        (("build", "mortgage", "--set", "pretrain.epoch=1"), "Did you mean 'epochs'?"),
        (("build", "mortgage", "--set", "pretrain.epochs=-1"), "pretrain.epochs"),
        (("build", "mortgage", "--set", "seed"), "--set takes section.key=value"),
        (("validate", "nowhere.jsonl"), "does not exist"),
        (("evaluate", "mortgage"), "expertsmith build"),
        (("evaluate", "mortgage", "--endpoint", "http://127.0.0.1:9/v1"), "--endpoint and --model belong together"),
        (("evaluate", "mortgage", "--failure-limit", "7"), "a share from 0 to 1"),
        (("evaluate", "mortgage", "--labels", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("evaluate", "mortgage", "caregiving", "--labels", "nowhere.jsonl"), "Evaluate that domain alone"),
        (("score", "x.jsonl", "--judges", "exact", "--out", "y", "--failure-limit", "-1"), "a share from 0 to 1"),
        (("route", "hello"), "expertsmith build"),
        (("ask", "  "), "The request is empty"),
        (("score", "nowhere.jsonl", "--judges", "readability", "--out", "out.jsonl"), "nowhere.jsonl"),
        (("compare", "a", "b"), "report.json"),
    ],
)
def test_what_a_user_can_fix_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments, "--home", str(tmp_path / "home"))
    assert code == 1
    assert out == ""
    assert err.startswith("expertsmith: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_wrong_judge_is_named_before_anything_is_read(capsys, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n')
    code, _, err = run(capsys, "score", str(path), "--judges", "readibility", "--out", str(tmp_path / "out.jsonl"))
    assert code == 1
    assert "Did you mean 'readability'?" in err
    assert not (tmp_path / "out.jsonl").exists()


def test_score_keeps_the_row_and_adds_verdicts(capsys, tmp_path):
    path, out_path = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"question": "q", "answer": "The cat sat on the mat.", "extra": 7}\n')
    code, _, _ = run(capsys, "score", str(path), "--judges", "readability,exact", "--out", str(out_path))
    (row,) = [json.loads(line) for line in out_path.read_text().splitlines()]
    assert code == 0
    assert row["extra"] == 7
    assert set(row["verdicts"]) == {"readability", "exact"}
    assert set(row["verdicts"]["exact"]) == {"value", "explanation", "parts"}
    assert row["verdicts"]["exact"]["value"] is None


def test_a_dry_run_writes_nothing(capsys, tmp_path):
    home = tmp_path / "home"
    code, out, _ = run(capsys, "build", "mortgage", "--dry-run", "--json", "--home", str(home))
    stages = [row["stage"] for row in json.loads(out)]
    assert code == 0
    assert stages[:3] == ["house/instruct", "mortgage/pretrain", "mortgage/residual"]
    assert not home.exists()


def test_wrong_usage_ends_with_2():
    with pytest.raises(SystemExit) as ended:
        main(["bake", "mortgage"])
    assert ended.value.code == 2


@pytest.mark.parametrize(("share", "limit", "code"), [(0.0, 0.0, 0), (0.02, 0.02, 0), (0.03, 0.02, 3), (1.0, 1.0, 0)])
def test_more_failed_rows_than_the_limit_end_with_3(capsys, share, limit, code):
    found = {"share": share, "worst_arm": "endpoint:m", "worst_metric": "empathy", "reasons": {"refused: busy": 3}}
    options = argparse.Namespace(failure_limit=limit)
    assert exit_code(options, [{"domain": "toy", "failures": found}], say) == code
    err = capsys.readouterr().err
    assert ("3 x refused: busy" in err) == ("endpoint:m" in err) == bool(code)


@pytest.mark.parametrize(("limit", "code"), [("0.02", 3), ("0.49", 3), ("0.5", 0)])
def test_score_ends_as_evaluate_does(capsys, tmp_path, monkeypatch, limit, code):
    """The endpoint can be read about one of two answers: half of the rows of llm_judge are unscored. What the judge
    `exact` leaves unscored, without references, does not count."""
    path, out_path = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"question": "q", "answer": "good"}\n{"question": "q", "answer": "bad"}\n')
    monkeypatch.setenv("EXPERTSMITH_JUDGE_CACHE", "")

    def script(body):
        return said('{"reason": "r", "score": 4}' if "> good" in body["messages"][1]["content"] else "?")

    with scripted_endpoint(script) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        given = ("--judges", "exact,llm_judge", "--out", str(out_path), "--failure-limit", limit, "--json")
        settings = ("--set", "llm_judge.use_logprobs=false", "--set", "llm_judge.retries=0")
        found, out, err = run(capsys, "score", str(path), *given, *settings)
    assert found == code
    assert json.loads(out)["failures"]["share"] == 0.5
    assert len(out_path.read_text().splitlines()) == 2
    assert ("rows.jsonl: 50.0% of 'llm_judge' of 'answers' failed" in err) == bool(code)
    assert err.count("\n") == bool(code)


def test_settings_of_a_judge(capsys, tmp_path):
    path, out_path = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"question": "q", "answer": "Put the kettle away.", "reference": "Store the kettle."}\n' * 2)
    score = ("score", str(path), "--judges", "bertscore", "--out", str(out_path), "--set")
    for wrong, words in (
        ("bertscore.idff=true", "Did you mean 'idf'?"),
        ("bertscore.num_layers=many", "bertscore.num_layers"),
        ("bertscor.idf=true", "Did you mean 'bertscore'?"),
        ("bertscore=3", "bertscore.KEY=VALUE"),
    ):
        code, _, err = run(capsys, *score, wrong)
        assert code == 1
        assert words in err
    assert run(capsys, *score, "bertscore.baseline=en")[0] == 0
    rescaled = json.loads(out_path.read_text().splitlines()[0])["verdicts"]["bertscore"]
    assert "rescaled" in rescaled["explanation"]
