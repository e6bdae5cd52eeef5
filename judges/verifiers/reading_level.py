"""Plain language: the school grade of the words, the length, and whether the answer ends and does not repeat itself.

Grade: Flesch-Kincaid (Kincaid et al. 1975), as in judges/scorers/readability.py. It has a lower bound as well, because
broken fragments get the lowest grades of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from judges.scorers.readability import readability
from judges.sentences import sentences, words
from judges.verifier import Condition, Critique, Task
from judges.verifiers._findings import Finding, critique, graded, passed

GRADE_FALL = 6.0
LOW_GRADE_FALL = 3.0
LENGTH_FALL = 60.0
ENDS = (".", "!", "?", "…")
CLOSING = "\"'”’)]*_ "


@dataclass(frozen=True)
class Verifier:
    """Grades from `min_grade` to `max_grade` and `min_words` to `max_words` words score 1. The score falls to 0 at 6
    grades too many or 3 too few, at no words, and at 60 words too many."""

    max_grade: float = 8.0
    min_grade: float = 0.0
    min_words: int = 25
    max_words: int = 110
    name: str = "reading_level"

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """The same for every domain."""
        return cls()

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """The same for every task."""
        return (
            Condition("grade", f"Are the words and sentences plain enough for school grade {self.max_grade:g}?"),
            Condition("length", f"Does the answer have {self.min_words} to {self.max_words} words?"),
            Condition("ends", "Does the answer end with a whole sentence?"),
            Condition("says_it_once", "Is every sentence a new one?"),
        )

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        """Every condition on one answer; without words all fail."""
        count = len(words(answer))
        grade = readability(answer).value
        told = [sentence.casefold() for sentence in sentences(answer)]
        findings = {
            "grade": self.grade(grade),
            "length": self.length(count),
            "ends": passed(bool(count) and answer.rstrip(CLOSING + "\n").endswith(ENDS), "Finish the last sentence."),
            "says_it_once": Finding(len(set(told)) / len(told) if told else 0.0, "Leave out what was said before."),
        }
        return critique(conditions, findings)

    def length(self, count: int) -> Finding:
        """The number of words: in proportion below, less and less above."""
        score = min(1.0, count / self.min_words, graded(count, 0, self.max_words, LENGTH_FALL))
        return Finding(score, f"It has {count}.")

    def grade(self, grade: float | None) -> Finding:
        """The reading grade of an answer (None: no words)."""
        if grade is None:
            return Finding(0.0, "Write an answer.")
        advice = "Use shorter sentences and everyday words." if grade > self.max_grade else "Write whole sentences."
        fall = GRADE_FALL if grade > self.max_grade else LOW_GRADE_FALL
        return Finding(graded(grade, self.min_grade, self.max_grade, fall), f"Its grade is {grade:.1f}. {advice}")
