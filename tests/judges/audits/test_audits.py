"""Each check of pairs on planted sets: the clean one passes, each fault is found by its own check, at its own level."""

import json

import pytest

from domains.errors import UserError
from domains.example import Message, Preference
from domains.plugins import plugin_names
from domains.splits import split_of
from judges.audits import facts, leaks, length, lexicons, openings, reading_level, separability
from judges.audits._pairs import LEVELS, Limits, Pairs, worst
from judges.pair_audit import audit, check_pairs
from tests.fakes import TOPICS, reply, turns, write_jsonl

VERBS = ("Wash", "Store", "Mend", "Sell")
NUM_ROWS = 40


def answer_of(place, word):
    """Answers with different openings; `word` is where a fault is planted."""
    topic = TOPICS[place % 20]
    return f"{VERBS[place % 4]} that {topic} {'today' if place % 3 else 'tonight'} {word} and rest the {topic} {place}."


def rows(chosen, rejected, kind=""):
    """Forty rows from two functions of a place."""
    kinds = (kind,) if kind else ()
    return tuple(
        Preference(f"r{i}", (Message("user", f"Number {i * 7919}?"),), chosen(i), (rejected(i),), kinds)
        for i in range(NUM_ROWS)
    )


def pairs(found):
    return Pairs(tuple(found), {row.id: split_of(row.id) for row in found})


def first(check, found):
    return check(pairs(found))[0]


def same(word):
    return lambda place: answer_of(place, word)


@pytest.mark.parametrize(("times", "level"), [(1, "ok"), (2, "refuse"), (4, "refuse")])
def test_length(times, level):
    """A rejected answer that repeats the chosen one has so many times its words."""
    found = first(length.check, rows(same("x"), lambda i: " ".join([answer_of(i, "y")] * times)))
    assert found.value == pytest.approx(times)
    assert found.level == level


def test_length_that_always_leans_one_way_is_refused_at_any_ratio():
    """One word more in every pair: the ratio is small, and yet it always tells."""
    found = first(length.check, rows(same("x"), same("x y")))
    assert found.value < 1.33
    assert found.level == "refuse"


def test_a_kind_among_several_is_never_more_than_warned_of():
    mixed = [
        Preference(row.id, row.prompt, row.chosen, (answer_of(i, "y"), row.chosen * 4), ("near", "long"))
        for i, row in enumerate(rows(same("x"), same("y")))
    ]
    levels = {each.kind: each.level for each in length.check(pairs(mixed))}
    assert levels["near"] == "ok"
    assert levels["long"] == "warn"


def test_reading_level():
    """The same words in one long sentence or in short ones: only the grade differs."""
    hard = "Consideration of institutional documentation requirements necessitates administrative verification."
    found = first(reading_level.check, rows(lambda i: f"Go home {i}. Sit down. Rest.", lambda i: f"{hard} {i}."))
    assert found.value > 6
    assert found.level == "refuse"
    assert first(reading_level.check, rows(same("x"), same("y"))).level == "ok"


@pytest.mark.parametrize(("every", "level"), [(99, "ok"), (10, "warn"), (1, "refuse")])
def test_insults(every, level):
    """Row 0 is skipped, so that `every = 99` plants none; 10 plants three of forty, 1 thirty-nine."""
    planted = rows(same("x"), lambda i: answer_of(i, "you incompetent fool" if i and i % every == 0 else "y"))
    assert first(lexicons.check, planted).level == level


def test_an_insult_in_a_chosen_answer_is_found():
    found = lexicons.check(pairs(rows(lambda i: answer_of(i, "how stupid" if i == 5 else "x"), same("y"))))
    (chosen,) = [each for each in found if (each.check, each.kind) == ("insults", "chosen")]
    assert chosen.value == pytest.approx(1 / NUM_ROWS)
    assert chosen.level == "warn"


@pytest.mark.parametrize("text", ["A foolproof lock", "Incompetence of the valve? Say insufficiency", "a lazybones"])
def test_parts_of_words_are_no_insults(text):
    assert lexicons.insults(text) == ("incompetence" in text.lower())


def test_formulas():
    found = lexicons.check(pairs(rows(lambda i: f"I'm so sorry to hear that. {answer_of(i, 'x')}", same("y"))))
    (formulas,) = [each for each in found if each.check == "formulas"]
    assert (formulas.value, formulas.level) == (1.0, "refuse")


def test_openings():
    """All chosen answers open alike: the chance that two open differently is 0."""
    found = first(openings.check, rows(lambda i: f"I hear you. {answer_of(i, 'x')}", same("y")))
    assert (found.value, found.level) == (0.0, "refuse")
    assert first(openings.check, rows(same("x"), same("y"))).level == "ok"


def test_function_calls_have_no_opening():
    """Half of the chosen answers are calls, which begin alike; the others open differently."""
    call = '<tool_call>\n{{"name": "find", "arguments": {{"place": {}}}}}\n</tool_call>'
    found = first(openings.check, rows(lambda i: call.format(i) if i % 2 else answer_of(i, "x"), call.format))
    assert (found.n, found.level) == (NUM_ROWS // 2, "ok")


def test_facts_of_a_change_of_tone_and_of_a_wrong_number():
    """Days against other days contradict; the same days in other words do not."""

    def days(number):
        return lambda i: f"Wait {number} days for {TOPICS[i % 20]}."

    assert first(facts.check, rows(days(30), days(60), "cold")).level == "warn"
    assert first(facts.check, rows(days(30), days(30), "cold")).level == "ok"
    assert first(facts.check, rows(days(30), days(60), "wrong_number")).level == "ok"
    assert first(facts.check, rows(days(30), days(30), "wrong_number")).level == "warn"
    assert first(facts.check, rows(days(30), days(60), "other")).level == "ok"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Call 800-555-0100.", "Call 800-555-0199.", True),
        ("Wait two weeks.", "Wait 14 days.", False),
        ("Wait 30 days.", "Pay 60 dollars.", False),
        ("Wait.", "Rest.", False),
    ],
)
def test_contradictions(one, other, expected):
    assert facts.contradict(one, other) is expected


def test_names_are_inside_sentences_and_no_pronouns():
    assert facts.names("Then Medicare pays. Rest, and I call the Health Insurance Office.") == {
        "Medicare", "Health Insurance Office",
    }  # fmt: skip


def test_near_duplicates_across_splits_and_not_within_one():
    clean = rows(lambda i: f"{TOPICS[i % 20]} {i}", same("y"))
    assert first(leaks.check, clean).level == "ok"
    by_split = {split: [row for row in clean if split_of(row.id) == split] for split in ("train", "test")}
    text = "this very answer stands in two rows of one set"

    def planted(one, other):
        changed = {row.id: Preference(row.id, row.prompt, text, row.rejected) for row in (one, other)}
        return [changed.get(row.id, row) for row in clean]

    assert first(leaks.check, planted(by_split["train"][0], by_split["test"][0])).level == "warn"
    assert first(leaks.check, planted(*by_split["train"][:2])).level == "ok"


def test_a_set_that_one_word_tells_apart_is_called_trivially_separable():
    found = first(separability.check, rows(same("gladly"), same("never")))
    assert (found.value, found.level) == (1.0, "refuse")
    assert "trivially separable" in found.text


def test_answers_that_words_do_not_tell_apart():
    """Chosen and rejected have the same words in another order: every score ties, which is 0.5."""
    found = first(separability.check, rows(same("x"), lambda i: " ".join(reversed(answer_of(i, "x")[:-1].split()))))
    assert found.value == pytest.approx(0.5)
    assert found.level == "ok"


def test_one_hard_kind_saves_a_set_from_being_refused():
    mixed = [
        Preference(
            row.id, row.prompt, row.chosen,
            (answer_of(i, "never"), " ".join(reversed(row.chosen[:-1].split()))), ("easy", "hard"),
        )
        for i, row in enumerate(rows(same("gladly"), same("never")))
    ]  # fmt: skip
    found = {each.kind: each for each in separability.check(pairs(mixed))}
    assert found["all"].level == "warn"
    assert found["all"].text.endswith("Trivially separable kinds: easy.")
    assert "trivially separable" in found["easy"].text
    assert found["hard"].value == pytest.approx(0.5)


@pytest.mark.parametrize("name", plugin_names("judges.audits"))
def test_hostile_answers_are_judged_without_an_error(name):
    odd = ("!!!", "\u200b", "🙂", "a" * 5000, "1", "$", "\n\n", "é" * 40)
    found = rows(lambda i: f"{odd[i % 8]} {i}", lambda i: odd[(i + 1) % 8] + " -")
    for size in (0, 1, 5, NUM_ROWS):
        for each in check_one(name, found[:size]):
            assert each.level in LEVELS
            json.dumps(each.as_dict())


def check_one(name, found):
    from domains.plugins import load_plugin

    return load_plugin("judges.audits", name, "check").check(pairs(found))


def test_levels():
    assert [Limits(1, 2).level(value) for value in (0.5, 1, 2)] == ["ok", "warn", "refuse"]
    assert [Limits(2, 1, low=True).level(value) for value in (3, 2, 1)] == ["ok", "warn", "refuse"]
    assert (Limits(1, 2).level(2, "cold"), Limits(1, 2).level(None)) == ("warn", "ok")
    assert (worst(["warn", "ok"]), worst([])) == ("warn", "ok")


def test_an_audit_of_a_file_runs_all_checks_and_counts_bad_rows(tmp_path):
    data = [
        {"prompt": turns(f"Where is {i}?"), "chosen": reply(answer_of(i, "x")), "rejected": reply(answer_of(i, "y"))}
        for i in range(30)
    ]
    found = audit(str(write_jsonl(tmp_path / "pairs.jsonl", [*data, {"prompt": "Q", "chosen": "A"}])))
    assert {each.check for each in found.findings} == {*plugin_names("judges.audits")} - {"lexicons"} | {
        "insults", "formulas",
    }  # fmt: skip
    assert (found.num_rows, len(found.problems)) == (30, 1)
    assert "1 bad rows" in "\n".join(found.lines())
    assert json.loads(json.dumps(found.as_dict()))["level"] in LEVELS


def test_kinds_that_are_too_few_share_a_line(tmp_path):
    """Thirty pairs of one kind and two of another: about the other one no check says anything."""
    data = [{"prompt": f"Where is {i}?", "chosen": answer_of(i, "x"), "rejected": answer_of(i, "y")} for i in range(32)]
    data = [row | {"rejected_kinds": ["rare" if i < 2 else "usual"]} for i, row in enumerate(data)]
    found = audit(str(write_jsonl(tmp_path / "pairs.jsonl", data)))
    assert found.kinds_too_few() == ("rare",)
    lines = list(found.lines())
    assert "Too few to look at alone: rare." in lines
    assert not [line for line in lines if " rare " in line]
    assert [line for line in lines if " usual " in line]
    assert "rare" in {each["kind"] for each in found.as_dict()["findings"]}


def test_a_set_without_pairs_is_the_users_to_fix(tmp_path):
    with pytest.raises(UserError, match="no good preference row"):
        audit(str(write_jsonl(tmp_path / "sft.jsonl", [{"prompt": "Q", "completion": "A"}])))
    with pytest.raises(UserError, match="no good preference row"):
        check_pairs("x", pairs([]))
