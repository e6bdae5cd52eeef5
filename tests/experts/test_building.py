"""A run of a builder: every item has a line with a status and its source; a second run asks for what failed."""

import json

import pytest

from domains.domain import PARSERS, Domain
from domains.engine import Engine
from domains.errors import UserError
from domains.readers import read_jsonl
from domains.splits import split_of
from experts.builders._parts import Failed, Material, Writers
from experts.building import Job, builder_names, load_builder, make_rows, merge_rows
from experts.writers import ThereAsk, asked_there, endpoint_of, open_writers
from judges.endpoint import Endpoint
from tests.fakes import write_domain, write_jsonl
from tests.fakes_judges import failed, said, scripted_endpoint

QA = "QUESTION: What does part {n} say?\nANSWER: It says word."


@pytest.fixture
def domain(tmp_path):
    """A domain with six held-out sections that are long enough."""
    folder = write_domain(tmp_path / "toy")
    (folder / "questions.jsonl").unlink()
    held_out = [f"more{n}" for n in range(99) if split_of(f"more{n}#1") != "train"]
    for part, name in zip("abcdef", held_out, strict=False):
        (folder / "documents" / f"{name}.md").write_text(f"# More\n\n## Part {part}\n\n{'word ' * 40}\n")
    return Domain.load(folder)


class Writer:
    """Answers by section: the listed sections fail, or get a reply that cannot be used."""

    def __init__(self, failing="", useless=""):
        self.failing, self.useless, self.num_asked = failing, useless, 0

    def __call__(self, messages):
        self.num_asked += 1
        section = messages[-1].content.split("## Part ")[1][0]
        if section in self.failing:
            raise Failed("overloaded")
        return "What?" if section in self.useless else QA.format(n=section)


def job(domain, **options):
    return Job("question_answer", Material(domain), domain.folder, **options)


def run(domain, writer, **options):
    return make_rows(job(domain, **options), Writers(writer, writer), lambda line: None)


def lines(domain):
    return [json.loads(line) for line in (domain.folder / "made" / "question_answer.jsonl").read_text().splitlines()]


def test_every_item_has_a_line_and_only_what_failed_is_asked_again(domain):
    first = run(domain, Writer(failing="ab", useless="c"))
    assert first.statuses == {"ok": 3, "skipped": 1, "failed": 2}
    assert (first.num_added, len(lines(domain))) == (3, 6)
    assert {line["status"] for line in lines(domain)} == {"ok", "skipped", "failed"}
    assert all(line["source"]["passage"] and (line["reason"] or line["row"]) for line in lines(domain))
    again = Writer()
    second = run(domain, again)
    assert (second.statuses, second.num_added, again.num_asked) == ({"ok": 5, "skipped": 1}, 2, 2)
    third = Writer()
    assert run(domain, third).num_added == 0
    assert third.num_asked == 0


def test_rows_are_valid_and_keep_their_passage(domain):
    run(domain, Writer())
    path = domain.folder / "questions.jsonl"
    reading = read_jsonl(path, PARSERS["questions.jsonl"])
    assert (len(reading.records), reading.problems) == (6, ())
    assert all("word word" in json.loads(line)["source"]["passage"] for line in path.read_text().splitlines())


def test_a_run_that_was_cut_off_goes_on(domain):
    """The last line is half written, as after a kill: its item is made again, the others are not."""
    run(domain, Writer())
    path = domain.folder / "made" / "question_answer.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    writer = Writer()
    found = run(domain, writer)
    assert (writer.num_asked, found.statuses, found.num_added) == (1, {"ok": 6}, 0)


def test_another_writer_is_asked_for_everything(domain):
    run(domain, Writer(), identity="one")
    writer = Writer()
    found = run(domain, writer, identity="two")
    assert writer.num_asked == 6
    assert (found.num_added, found.num_replaced) == (0, 0)


def test_another_writers_rows_take_the_place_of_the_first_but_not_of_a_persons(domain):
    """Row 0 was changed by a person, row 1 deleted: both stay so; the other four are the second writer's."""
    run(domain, Writer(), identity="one")
    path = domain.folder / "questions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in [rows[0] | {"completion": "Mine."}, *rows[2:]]))

    def second(messages):
        return Writer()(messages).replace("It says word.", "It says word again.")

    found = run(domain, second, identity="two")
    assert (found.num_added, found.num_replaced) == (0, 4)
    reading = read_jsonl(path, PARSERS["questions.jsonl"])
    assert [record.id for record in reading.records] == [rows[0]["id"], *(row["id"] for row in rows[2:])]
    assert [record.completion for record in reading.records] == ["Mine.", *["It says word again."] * 4]
    again = run(domain, second, identity="two")
    assert (again.num_added, again.num_replaced) == (0, 0)


def test_a_row_that_is_made_from_another_has_its_passage(domain):
    folder = domain.folder
    parent = {
        "id": "p1",
        "prompt": "Q",
        "chosen": "Wait 30 days for it. Then call.",
        "rejected": "No.",
        "source": {"passage": "The passage."},
    }
    write_jsonl(folder / "preferences.jsonl", [parent])
    rows = Domain.load(folder).records("preferences.jsonl")
    nobody = Writers(Writer(), Writer())
    make_rows(Job("perturbation", Material(domain, rows), folder), nobody, lambda line: None)
    made = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()][1:]
    assert made
    assert {row["source"]["passage"] for row in made} == {"The passage."}


def test_a_limit_and_several_at_a_time(domain):
    assert run(domain, Writer(), limit=2).statuses == {"ok": 2}
    assert run(domain, Writer(), concurrency=4).statuses == {"ok": 6}
    assert len({line["key"] for line in lines(domain)}) == 6


def test_what_the_user_must_fix_stops_the_run(domain):
    def broken(messages):
        raise UserError("no endpoint")

    with pytest.raises(UserError, match="no endpoint"):
        run(domain, broken)


def test_nothing_is_added_to_a_file_with_bad_rows(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("{\n")
    with pytest.raises(UserError, match="1 bad rows"):
        merge_rows(path, [{"id": "a"}], [])
    assert path.read_text() == "{\n"


def test_rows_are_appended_also_where_the_last_line_has_no_end(tmp_path):
    good = {"id": "a", "prompt": "Q", "completion": "A"}
    path = write_jsonl(tmp_path / "questions.jsonl", [good])
    path.write_text(path.read_text().rstrip("\n"))
    assert merge_rows(path, [good, good | {"id": "b"}], []).num_added == 1
    assert [record.id for record in read_jsonl(path, PARSERS[path.name]).records] == ["a", "b"]


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'perturbation'"):
        load_builder("pertubation")
    assert {"edits", "persona_contrast", "weak_model_rejected", "failure_to_success"} <= set(builder_names())


def test_an_endpoint_writes_and_one_that_refuses_a_request_is_asked_again_later(domain):
    """HTTP 400 for one section: that item failed, the others are rows."""

    def script(body):
        section = body["messages"][-1]["content"].split("## Part ")[1][0]
        return failed(400, "too long") if section == "a" else said(QA.format(n=section))

    with scripted_endpoint(script) as server:
        endpoint = Endpoint(server.url, "m", retries=0)
        with open_writers(endpoint, endpoint) as writers:
            found = make_rows(job(domain), writers, lambda line: None)
    assert found.statuses == {"ok": 5, "failed": 1}
    assert server.requests[0]["model"] == "m"


def test_the_local_model_has_no_name():
    assert endpoint_of("local", "", "KEY") is None
    assert endpoint_of("http://x/v1", "m", "KEY").model_name == "m"
    with pytest.raises(UserError, match="--model"):
        endpoint_of("local", "m", "KEY")


def test_what_workers_elsewhere_ask_is_settled_here(monkeypatch):
    """Their environment has neither the URL nor the model of this one."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://x/v1")
    monkeypatch.setenv("EXPERTSMITH_JUDGE_MODEL", "big")
    given = [asked_there(endpoint_of(url, model, "KEY"), url, "KEY") for url, model in (("", ""), ("http://y/v1", "m"))]
    assert given == [ThereAsk("http://x/v1", "big", "KEY"), ThereAsk("http://y/v1", "m", "KEY")]
    several = "http://x/v1,http://y/v1"
    assert asked_there(endpoint_of(several, "", "KEY"), several, "KEY") == ThereAsk(several, "big", "KEY")
    assert asked_there(endpoint_of("local", "", "KEY"), "local", "KEY") == ThereAsk("local", "", "KEY")


def test_the_variables_of_a_job_go_to_ray(domain):
    assert job(domain, on_ray=True, variables=("KEY",)).engine == Engine("ray", 0, variables=("KEY",))
