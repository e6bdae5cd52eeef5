"""The arithmetic verifier: right results in many forms pass; wrong, hedged and badly worked ones do not."""

import pytest

from domains.errors import UserError
from domains.example import Message
from judges.verifier import Task
from judges.verifiers.arithmetic import Verifier


def task(kind: str, **given: object) -> Task:
    return Task("t", (Message("user", "?"),), {"calculation": {"kind": kind, "given": given}})


INTEREST = task("first_interest", loan=320000, rate_percent=6.75)  # 320,000 x 0.0675 / 12 = 1,800
PAYMENT = task("payment", loan=240000, rate_percent=6.5, years=30)  # 1,516.963...
RATIO = task("debt_to_income", debts=[1720, 385, 210], monthly_income=6400)  # 2,315 / 6,400 = 36.171875%
MONTHS = task("break_even", costs=5000, old_payment=1500, new_payment=1340)  # 31.25


def scores(given: Task, answer: str) -> tuple[float, ...]:
    verifier = Verifier()
    return verifier.judge(given, verifier.conditions(given), answer).scores


GOOD = [
    (INTEREST, "Answer: $1,800.00"),
    (INTEREST, "**Answer:** $1,800 per month"),
    (INTEREST, "The final answer is $1800."),
    (INTEREST, "answer = 1,800 dollars"),
    (INTEREST, "320,000 x 6.75% / 12 = $1,800"),
    (INTEREST, "Step 1: 320,000 × 0.0675 = 21,600\nStep 2: 21,600 ÷ 12 = 1,800\nAnswer: $1,800.00"),
    (INTEREST, "1. 320,000 * 6.75% = 21,600\n2. 21,600 / 12 = 1,800\nAnswer: $1,800.00"),
    (INTEREST, "In month 1 of your 30-year loan the interest is $1,800."),
    (INTEREST, "It is $1,800. That is a lot of money, I know."),
    (PAYMENT, "Answer: $1,516.96"),
    (PAYMENT, "Answer: $1,517"),
    (PAYMENT, "Answer: $1,516.90"),
    (RATIO, "Answer: 36.17%"),
    (RATIO, "(1,720 + 385 + 210) / 6,400 = 36.2%"),
    (RATIO, "Debts come to $2,315 and income to $6,400, so the ratio is 36.17 percent."),
    (MONTHS, "Answer: 31.25 months"),
    (MONTHS, "5,000 / (1,500 - 1,340) = 31.25\nAnswer: 32 months"),
]
BAD = [
    (INTEREST, "", (0, 0, 0, 0)),
    (INTEREST, "Ask your lender.", (0, 0, 0, 0)),
    (INTEREST, "Answer: $21,600.00", (0, 1, 1, 1)),
    (INTEREST, "Answer: -$1,800.00", (0, 1, 1, 1)),
    (INTEREST, "Answer: $1,801", (0, 1, 1, 1)),
    (INTEREST, "Answer: 1,800", (1, 0, 1, 1)),
    (INTEREST, "Answer: 1,800%", (0, 0, 0, 0)),
    (INTEREST, "Answer: $1,800 or $1,900", (1, 1, 0, 1)),
    (INTEREST, "Answer: $1,800\nAnswer: $1,900", (1, 1, 0, 1)),
    (INTEREST, "It could be $1,700, $1,800 or $1,900.", (0, 1, 0, 1)),
    (INTEREST, "320,000 x 6.75% = 20,000\n21,600 / 12 = 1,800\nAnswer: $1,800.00", (1, 1, 1, 0.5)),
    (PAYMENT, "Answer: $1,500", (0, 1, 1, 1)),
    (RATIO, "Answer: 36%", (1, 1, 1, 1)),
    (RATIO, "Answer: 0.36", (0, 0, 1, 1)),
    (RATIO, "Answer: 40%", (0, 1, 1, 1)),
    (MONTHS, "Answer: 31 months", (1, 1, 1, 1)),
    (MONTHS, "Answer: 33 months", (0, 1, 1, 1)),
]


@pytest.mark.parametrize(("given", "answer"), GOOD)
def test_planted_good_answers_pass(given, answer):
    assert scores(given, answer) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(("given", "answer", "expected"), BAD)
def test_planted_bad_answers(given, answer, expected):
    assert scores(given, answer) == expected


def test_rounding_to_nothing_is_not_right():
    """0.4 rounds to 0, and 45% to 50% at one digit; a result must be within 1%."""
    small = task("late_charge", payment=60, percent=0.7)  # 0.42
    assert scores(small, "Answer: $0")[0] == 0.0
    assert scores(small, "Answer: $0.42")[0] == 1.0


@pytest.mark.parametrize(
    ("hint", "told"), [("none", ()), ("formula", ("loan x yearly rate / 12",)), ("numbers", ("320,000", "6.75"))]
)
def test_advice_tells_as_much_as_it_may_and_never_the_result(hint, told):
    verifier = Verifier(hint=hint)
    advice = verifier.judge(INTEREST, verifier.conditions(INTEREST), "Answer: $1,700").advice
    assert all(text in advice for text in told)
    assert ("loan x" in advice) == (hint != "none")
    assert "1,800" not in advice
    assert "1800" not in advice
    assert "1,8" not in " ".join(condition.question for condition in verifier.conditions(INTEREST))


def test_advice_names_the_wrong_step():
    verifier = Verifier()
    advice = verifier.judge(INTEREST, verifier.conditions(INTEREST), "1,800 + 200 = 2,100. Answer: $1,800.").advice
    assert "1800 + 200 is not 2100" in advice


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "has no calculation"),
        ({"calculation": {"kind": "paymnt", "given": {}}}, "payment"),
        ({"calculation": {"kind": "payment", "given": {"loan": 1}}}, "must have"),
        ({"calculation": {"kind": "payment", "given": {"loan": -1, "rate_percent": 5, "years": 30}}}, "number from"),
    ],
)
def test_a_task_without_usable_numbers_is_refused(facts, reason):
    with pytest.raises(UserError, match=reason):
        Verifier().conditions(Task("t", (Message("user", "?"),), facts))
