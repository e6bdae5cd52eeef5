"""Answers made wrong by rule: one thing is changed, the same way each time, and only what may be."""

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message, Preference
from domains.splits import split_of
from experts.builders._parts import Material, Skipped, Writers
from experts.builders.perturbation import build, dropped_condition, items, unsupported_claim, wrong_number
from experts.building import Job, make_rows, row_id
from tests.fakes import write_domain

ANSWER = "Call within 30 days. If the letter is late, ask for another one. Keep a copy."
OTHER = "The county office sends the tax bill in March. Pay the bill before the first fee is added."


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("Wait 30 days.", {"Wait 60 days.", "Wait 90 days.", "Wait 15 days."}),
        ("Pay $1,500 now.", {"Pay $3,000 now.", "Pay $4,500 now.", "Pay $750 now."}),
        ("It is 3.5 points.", {"It is 7.0 points.", "It is 10.5 points."}),
        ("Take 15%.", {"Take 30%.", "Take 45%."}),
    ],
)
def test_an_amount_is_doubled_tripled_or_halved_in_its_form(text, allowed):
    assert wrong_number(text) in allowed
    assert wrong_number(text) == wrong_number(text)


def test_a_number_in_words():
    found = wrong_number("Bathe her two times a week.")
    assert found.startswith("Bathe her ")
    assert found.endswith(" times a week.")
    assert "two" not in found


@pytest.mark.parametrize(
    "text",
    [
        "Call 800-569-4287.", "Call 911 or 988.", "It began in 2019.", "At 10:30 it ends.", "Form 1/2.", "Code 60601.",
        "Nothing to count.", "", "Option #3.", "0 fees.",
    ],
)  # fmt: skip
def test_telephone_numbers_years_times_and_codes_are_left_alone(text):
    assert wrong_number(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rest. If she falls, call a nurse. Wait.", "Rest. Call a nurse. Wait."),
        ("Unless it rains, go out.", "Go out."),
        ("Call a nurse if she falls. Wait.", "Call a nurse. Wait."),
        ("It stays, but only if you pay; ask.", "It stays; ask."),
        ("Call a nurse.", None),
        ("Gift it.", None),
        ("", None),
    ],
)
def test_a_condition_is_dropped(text, expected):
    assert dropped_condition(text) == expected


def test_a_claim_of_another_answer_stands_after_the_second_sentence():
    found = unsupported_claim(ANSWER, OTHER)
    assert found.startswith("Call within 30 days. If the letter is late, ask for another one. ")
    assert found.endswith(" Keep a copy.")
    assert any(claim in found for claim in OTHER.split(". "))


@pytest.mark.parametrize(("text", "other"), [(ANSWER, ""), (ANSWER, ANSWER), ("One only.", OTHER), ("", OTHER)])
def test_no_claim_to_take_or_no_place_for_it(text, other):
    assert unsupported_claim(text, other) is None


def some_rows(n):
    return tuple(
        Preference(f"r{i}", (Message("user", f"Q{i}?"),), f"{ANSWER} Bring {i + 2} letters.", ("No.",))
        for i in range(n)
    )


@pytest.fixture
def domain(tmp_path):
    return Domain.load(write_domain(tmp_path / "toy"))


def nobody(messages):
    raise AssertionError("not to be asked")


def test_rows_keep_the_prompt_the_chosen_answer_and_the_split(domain):
    rows = some_rows(20)
    for row, item in zip(rows, items(Material(domain, rows)), strict=True):
        made = build(item, Writers(nobody, nobody))
        assert made["chosen"][0]["content"] == row.chosen
        assert {"wrong_number", "dropped_condition"} <= set(made["rejected_kinds"])
        assert row.chosen not in [each[0]["content"] for each in made["rejected"]]
        assert split_of(row_id("perturbation", item)) == split_of(row.id)


def test_rows_made_here_are_not_changed_again_and_lend_no_claims(domain):
    before = {item.id: item for item in items(Material(domain, some_rows(20)))}
    made = Preference("perturbation-1-0", (Message("user", "Q?"),), ANSWER, ("No.",))
    after = {item.id: item for item in items(Material(domain, (*some_rows(20), made)))}
    assert before == after


def test_claims_come_from_the_same_split(domain):
    rows = some_rows(40)
    by_answer = {row.chosen: row.id for row in rows}
    for item in items(Material(domain, rows)):
        assert split_of(by_answer[item.lent]) == split_of(item.id)


def test_an_answer_that_no_rule_changes_and_no_answers_at_all(domain):
    row = Preference("a", (Message("user", "Q?"),), "Rest.", ("No.",))
    (item,) = items(Material(domain, (row,)))
    with pytest.raises(Skipped):
        build(item, Writers(nobody, nobody))
    with pytest.raises(UserError, match="--rows"):
        items(Material(domain))


def test_rows_that_are_added_make_no_second_copies(domain, tmp_path):
    """Five rows, then twenty: most of the five find another partner, and each still has one row; only those of the new
    ones are added."""
    few, many = (Material(domain, some_rows(n)) for n in (5, 20))
    before, after = ({item.id: item for item in items(material)} for material in (few, many))
    assert any(item.lent != after[name].lent for name, item in before.items())
    writers = Writers(nobody, nobody)
    first, second, again = (
        make_rows(Job("perturbation", material, tmp_path), writers, lambda line: None) for material in (few, many, many)
    )
    assert (first.num_added, second.num_added, again.num_added) == (5, 15, 0)
    assert len((tmp_path / "preferences.jsonl").read_text().splitlines()) == 20
