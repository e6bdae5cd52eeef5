"""`calibrate` and `label` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from judges.labels import Session
from judges.probes import load_probes
from judges.report import Report
from tests.fakes import write_domain, write_jsonl
from tests.fakes_judges import Body, said, scripted_endpoint
from ui.cli import main, parser
from ui.judge_commands import session_of


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_calibrate_prints_the_record(capsys, tmp_path):
    code, out, _ = run(capsys, "calibrate", "readability", "--json", "--home", str(tmp_path))
    found = json.loads(out)
    assert code == 0
    numbers = ["agreement", "low", "high", "n", "position_flip_rate", "length_bias", "longer_wins"]
    ends = [f"{name}_{end}" for name in ("position_flip", "length_bias") for end in ("low", "high")]
    assert list(found) == ["judge", *numbers, "trusted", "reason", *ends]
    assert (found["judge"], found["n"], found["trusted"]) == ("readability", 14, True)


def test_calibrate_says_it_in_words(capsys):
    code, out, _ = run(capsys, "calibrate", "readability", "--limit", "5")
    assert code == 0
    assert out.startswith("readability: ")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("readibility",), "Did you mean 'readability'?"),
        (("exact",), "No probe applies"),
        (("safety",), "--domain mortgage"),
        (("empathy", "--pairwise"), "--pairwise is for llm_judge"),
        (("empathy", "--labels", "nowhere.jsonl"), "does not exist"),
        (("empathy", "--labels", "empty.jsonl"), "has no labels"),
        (("safety", "--domain", "mortage"), "mortgage"),
    ],
)
def test_what_a_user_can_fix_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    code, out, err = run(capsys, "calibrate", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_a_limit_is_a_count(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", "readability", "--limit", "-1"])
    assert "'-1' is no count" in capsys.readouterr().err


def knowing(body: Body) -> tuple[int, Body]:
    """A scripted judge that knows the better answers of the probes."""
    user = body["messages"][1]["content"]
    lines = {f"> {probe.better.splitlines()[0]}" for probe in load_probes()}
    if "[ANSWER A " in user:
        first = user.split("[ANSWER A ", 1)[1].split("[END", 1)[0]
        return said(f'{{"reason": "r", "winner": "{"A" if lines & set(first.splitlines()) else "B"}"}}')
    return said(f'{{"reason": "r", "score": {5 if lines & set(user.splitlines()) else 1}}}')


@pytest.mark.parametrize("form", [(), ("--pairwise",)])
def test_the_llm_judge_is_the_endpoint_s(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form):
    with scripted_endpoint(knowing) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        home = ("--home", str(tmp_path), "--limit", "12", "--json")
        code, out, _ = run(capsys, "calibrate", "llm_judge", *form, *home)
        asked = len(endpoint.requests)
        assert run(capsys, "calibrate", "llm_judge", *form, *home)[1] == out
        assert len(endpoint.requests) == asked
    found = json.loads(out)
    assert code == 0
    assert (found["agreement"], found["n"], found["trusted"]) == (1.0, 12, True)
    assert found["position_flip_rate"] == (0.0 if form else None)
    assert (tmp_path / "judge_cache" / "judgements.jsonl").is_file()


def test_calibrate_against_people(capsys, tmp_path: Path):
    """Ten pairs; a person who always prefers the plain answer and the readability judge agree on all of them."""
    pairs = tmp_path / "pairs.jsonl"
    plain, hard = "We pay it. You get a note.", "Remuneration necessitates documentation notwithstanding regulation."
    rows = [{"id": str(n), "question": "Q?", "a": [plain, hard][n % 2], "b": [hard, plain][n % 2]} for n in range(10)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    session = Session.open(pairs, tmp_path / "labels.jsonl", "kim")
    while (showing := session.next()) is not None:
        session.choose(showing, "first" if showing.first == plain else "second")
    labels = str(tmp_path / "labels.jsonl")
    code, out, _ = run(capsys, "calibrate", "readability", "--labels", labels, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["agreement"], found["kappa"]["value"], found["kappa"]["n"]) == (1.0, pytest.approx(1.0), 10)
    assert found["kappa"].keys() == {"value", "low", "high", "n"}
    assert (found["people"], found["num_labels"]) == ([], 10)
    assert "Kappa with people 1.00 (n=10" in run(capsys, "calibrate", "readability", "--labels", labels)[1]


def test_label_refuses_what_it_cannot_use(capsys, tmp_path: Path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"question": "Q?", "a": "x", "b": "y"}\n')
    out = str(tmp_path / "out.jsonl")
    assert "does not exist" in run(capsys, "label", str(tmp_path / "no.jsonl"), "--out", out)[2]
    assert "is the input" in run(capsys, "label", str(pairs), "--out", str(pairs))[2]
    assert "no login" in run(capsys, "label", str(pairs), "--out", out, "--host", "0.0.0.0")[2]


def test_label_takes_two_arms_of_a_report(capsys, tmp_path: Path):
    """Two questions; the labels lie in the report's folder unless --out says otherwise, and are gone on with."""
    folder = tmp_path / "report"
    answers = [{"instruct": f"a{n}", "endpoint:org/m": f"b{n}"} for n in range(2)]
    samples = [{"id": f"q{n}", "question": f"Q{n}?", "answers": found} for n, found in enumerate(answers)]
    Report("d", "D", {"instruct": "i", "endpoint:org/m": "e"}, (), samples=samples).write(folder)
    arms = ("--arms", "instruct,endpoint:org/m")
    for given in (folder, folder / "report.json"):
        session = session_of(parser().parse_args(["label", str(given), *arms, "--labeller", "kim"]))
        assert session.out == folder / "labels-instruct-endpoint_org_m.jsonl"
        assert [(pair.a, pair.b) for pair in session.pairs] == [("a0", "b0"), ("a1", "b1")]
    session.choose(session.next(), "tie")
    assert len(session_of(parser().parse_args(["label", str(folder), *arms, "--labeller", "kim"])).done) == 1
    assert "needed, got 1" in run(capsys, "label", str(folder), "--arms", "instruct")[2]
    assert "Did you mean 'instruct'?" in run(capsys, "label", str(folder), "--arms", "instuct,instruct")[2]


def test_label_of_a_file_needs_a_place_and_no_arms(capsys, tmp_path: Path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"question": "Q?", "a": "x", "b": "y"}\n')
    assert "--out labels.jsonl" in run(capsys, "label", str(pairs))[2]
    assert "--arms is for the folder" in run(capsys, "label", str(pairs), "--arms", "a,b", "--out", "x.jsonl")[2]


def test_calibrate_takes_a_domain_s_own_probes(capsys, tmp_path: Path):
    """Safety of a domain without shipped probes: its one rule wants "911" where there is fire; 6 of 6 right."""
    folder = write_domain(tmp_path / "toy")
    about = {"applies_to": ["safety"], "worse": "Fetch some water."}
    rows = [about | {"id": f"o{n}", "question": f"Fire in room {n}!", "better": f"Call 911{'.' * n}"} for n in range(6)]
    assert "No probe applies" in run(capsys, "calibrate", "safety", "--domain", str(folder))[2]
    write_jsonl(folder / "probes.jsonl", rows)
    code, out, _ = run(capsys, "calibrate", "safety", "--domain", str(folder), "--json")
    found = json.loads(out)
    assert (code, found["n"], found["agreement"], found["own"]["n"]) == (0, 6, 1.0, 6)
