"""The verbs about training rows: what they print and write, and their exit codes."""

import json

import pytest

from tests.fakes import END, byte_tokenizer, turns, write_base, write_domain, write_jsonl
from tests.fakes_judges import said, scripted_endpoint
from ui.cli import main

SHAREGPT = {"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]}


def run(capsys, *arguments):
    """Exit code, standard output and standard error."""
    code = main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_convert_writes_good_rows_and_reports_bad_ones(capsys, tmp_path):
    path = write_jsonl(tmp_path / "chats.jsonl", [SHAREGPT, {"conversations": []}])
    out = tmp_path / "rows.jsonl"
    code, text, _ = run(capsys, "convert", path, "--out", out, "--json")
    found = json.loads(text)
    assert (code, found["format"], found["rows"], found["written"]) == (1, "sharegpt", 2, 1)
    assert found["problems"][0]["line"] == 2
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["prompt"], row["completion"]) == (turns("Q?"), [{"role": "assistant", "content": "A."}])
    assert run(capsys, "validate", out)[0] == 0
    assert run(capsys, "convert", out, "--out", tmp_path / "again.jsonl")[0] == 0
    assert (tmp_path / "again.jsonl").read_text() == out.read_text()


def test_convert_of_nothing_good_writes_no_file(capsys, tmp_path):
    path = write_jsonl(tmp_path / "pairs.jsonl", [{"prompt": "Q", "chosen": "A", "rejected": ""}])
    code, text, _ = run(capsys, "convert", path, "--out", tmp_path / "out.jsonl")
    assert code == 1
    assert "0 written" in text
    assert not (tmp_path / "out.jsonl").exists()


def test_convert_with_one_row_per_rejected_answer(capsys, tmp_path):
    row = {"prompt": "Q", "chosen": "A", "rejected": ["B", "C"]}
    path = write_jsonl(tmp_path / "pairs.jsonl", [row])
    assert run(capsys, "convert", path, "--out", tmp_path / "out.jsonl", "--pairs")[0] == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_validate_names_the_format_and_shows_an_example_with_its_mask(capsys, tmp_path):
    base = write_base(tmp_path / "base")
    path = write_jsonl(tmp_path / "chats.jsonl", [SHAREGPT])
    code, text, _ = run(capsys, "validate", path, "--show", "--model", base)
    assert code == 0
    assert "format: sharegpt" in text
    assert f"trained | A.{END}" in text
    assert f"The end-of-turn token {END} is trained." in text


def test_validate_fails_when_the_template_would_not_teach_to_stop(capsys, tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    base = write_base(tmp_path / "base")
    tokenizer.save_pretrained(base)
    path = write_jsonl(tmp_path / "chats.jsonl", [SHAREGPT])
    code, text, _ = run(capsys, "validate", path, "--show", "--model", base, "--json")
    assert code == 1
    assert json.loads(text)["ok"] is True
    assert json.loads(text)["template"]["ok"] is False


def test_audit_of_a_set_that_one_word_tells_apart(capsys, tmp_path):
    rows = [{"prompt": f"Q{i}?", "chosen": f"Yes, do {i}.", "rejected": f"Never do {i}."} for i in range(40)]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    code, text, _ = run(capsys, "audit", path)
    assert code == 1
    assert "trivially separable" in text
    code, text, _ = run(capsys, "audit", path, "--json")
    assert (code, json.loads(text)["level"]) == (1, "refuse")


def test_data_without_a_model_adds_valid_rows(capsys, tmp_path):
    folder = write_domain(tmp_path / "toy")
    edits = write_jsonl(tmp_path / "edits.jsonl", [{"prompt": "Q?", "draft": "a", "edited": "b"}, {"draft": "x"}])
    code, text, _ = run(capsys, "data", folder, "--kind", "edits", "--edits", edits, "--json")
    (made,) = json.loads(text)["made"]
    assert (code, made["statuses"], made["added"]) == (0, {"ok": 1, "skipped": 1}, 1)
    assert run(capsys, "validate", folder)[0] == 0
    assert len((folder / "made" / "edits.jsonl").read_text().splitlines()) == 2


def test_data_uses_the_good_rows_of_a_file_and_reports_the_bad_ones(capsys, tmp_path):
    folder = write_domain(tmp_path / "toy")
    good = {"prompt": "Q?", "completion": "Wait 30 days. Then call."}
    rows = write_jsonl(tmp_path / "rows.jsonl", [good, {"prompt": "Q?", "completion": ""}])
    edits = tmp_path / "edits.jsonl"
    edits.write_text(json.dumps({"prompt": "Q?", "draft": "a", "edited": "b"}) + "\n{\n")
    given = ("--kind", "perturbation,edits", "--rows", rows, "--edits", edits)
    code, text, _ = run(capsys, "data", folder, *given, "--json")
    found = json.loads(text)
    assert (code, [made["added"] for made in found["made"]]) == (1, [1, 1])
    places = [(problem["file"], problem["line"]) for problem in found["problems"]]
    assert places == [
        ("rows.jsonl", 2),
        ("edits.jsonl", 2),
    ]
    code, text, _ = run(capsys, "data", folder, *given)
    assert code == 1
    assert "rows.jsonl:2: " in text
    assert "2 bad rows were given." in text
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"prompt": "Q?", "completion": ""}])
    code, _, error = run(capsys, "data", folder, "--kind", "perturbation", "--rows", bad)
    assert code == 1
    assert "bad.jsonl has no good row. The first: bad.jsonl:1: " in error


def test_data_by_an_endpoint(capsys, tmp_path):
    folder = write_domain(tmp_path / "toy")
    (folder / "documents" / "more.md").write_text("# More\n\n## Words\n\n" + "word " * 40)
    with scripted_endpoint(lambda body: said("QUESTION: What is there?\nANSWER: Only words.")) as server:
        arguments = ("--kind", "question_answer", "--endpoint", server.url, "--model", "m")
        code, text, err = run(capsys, "data", folder, *arguments)
        assert run(capsys, "data", folder, *arguments)[0] == 0
    assert (code, len(server.requests)) == (0, 1)
    assert "1 ok; 1 rows added" in text
    assert "1 items" in err
    assert "weaker model" not in err
    assert run(capsys, "validate", folder)[0] == 0


def test_a_weaker_model_that_is_the_writer_is_told(capsys, tmp_path):
    folder = write_domain(tmp_path / "toy")
    with scripted_endpoint(lambda body: said("QUESTION: What is there?\nANSWER: Only words.")) as server:
        arguments = ("--kind", "weak_model_rejected", "--endpoint", server.url, "--model", "m")
        told = [run(capsys, "data", folder, *arguments, *weak)[2] for weak in ((), ("--weak-model", "m"))]
        assert "the weaker model is the default model of the endpoint" in told[0]
        assert "the weaker model is the writer itself" in told[1]
        assert "the weaker model is" not in run(capsys, "data", folder, *arguments, "--weak-model", "w")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "mortgage", "--kind", "perturbation"), "--out DIR"),
        (("data", "mortgage", "--kind", "pertubation"), "Did you mean 'perturbation'"),
        (("data", "mortgage", "--kind", ","), "--kind names nothing"),
        (("data", "mortgage", "--kind", "edits", "--limit", "0"), "--limit is 0"),
        (("convert", "x.jsonl", "--out", "."), "is a folder"),
        (("convert", "nowhere.parquet", "--out", "x.jsonl"), "does not exist"),
        (("convert", "hub:a/b@main", "--out", "x.jsonl"), "40 hexadecimal"),
        (("audit", "nowhere.jsonl"), "does not exist"),
        (("validate", "mortgage", "--format", "alpaca"), "--format is for files"),
    ],
)
def test_what_a_user_can_fix_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err
