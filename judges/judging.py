"""Judging as a stage of its own: verdicts on disk, one row per judge and answer, so that a rerun judges what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from domains.errors import UserError
from judges.samples import FAILED, OK, SampleFile, code_digest, key_of
from judges.verdict import Answered, Judge, Verdict

CHUNK = 64


@dataclass(frozen=True)
class Judged:
    """A verdict; `failure` says why the judge gave none (an unscored verdict is no failure)."""

    verdict: Verdict
    failure: str = ""


@dataclass(frozen=True)
class VerdictStore:
    """Verdicts that were given before."""

    file: SampleFile

    @classmethod
    def open(cls, path: Path) -> VerdictStore:
        """The verdicts of a file, which need not be there yet."""
        return cls(SampleFile(path))

    def judge(self, name: str, judge: Judge, rows: Sequence[Answered]) -> list[Judged]:
        """A judge's verdict on each row; those that are not there are asked for, and kept as they come."""
        shared = key_of(*map(content, rows)) if needs_all_rows(judge) else ""
        identity = judge_digest(name, judge)
        keys = [key_of(identity, content(row), shared) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self.file.known}
        if missing and shared:
            self.keep(name, keys, attempt(judge, rows, one_by_one=False))
        else:
            for chunk in chunks(list(missing)):
                self.keep(name, chunk, attempt(judge, [missing[key] for key in chunk]))
        return [read(self.file.known[key]) for key in keys]

    def keep(self, name: str, keys: Sequence[str], found: Sequence[Judged]) -> None:
        """Append verdicts."""
        rows = zip(keys, found, strict=True)
        self.file.append([{"key": key, **written(each), "judge": name} for key, each in dict(rows).items()])


def needs_all_rows(judge: Judge) -> bool:
    """Whether a verdict depends on the other rows (as with inverse document frequencies)."""
    return bool(getattr(judge, "needs_all_rows", False))


def judge_digest(name: str, judge: Judge) -> str:
    """What a judge's verdicts depend on besides the row: its name, settings and code."""
    settings: Any = asdict(judge) if is_dataclass(judge) else repr(judge)
    return key_of(name, settings, code_digest())


def content(row: Answered) -> list[Any]:
    """A row as a JSON-like value."""
    return [row.question, row.answer, row.reference, list(row.checks), row.finished]


def chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    """Keys in portions that are kept together."""
    return [keys[first : first + CHUNK] for first in range(0, len(keys), CHUNK)]


def attempt(judge: Judge, rows: Sequence[Answered], one_by_one: bool = True) -> list[Judged]:
    """Verdicts; when rows cannot be judged together each is tried alone, and one that fails alone says why."""
    try:
        return [Judged(verdict) for verdict in judge(rows)]
    except UserError:
        raise
    except Exception as error:
        if one_by_one and len(rows) > 1:
            return [found for row in rows for found in attempt(judge, [row])]
        reason = f"{type(error).__name__}: {error}"
        return [Judged(Verdict(None, f"Failed: {reason}"), reason) for _ in rows]


def written(judged: Judged) -> dict[str, Any]:
    """A verdict as a row."""
    return {"status": FAILED if judged.failure else OK, "reason": judged.failure, **judged.verdict.as_dict()}


def read(row: dict[str, Any]) -> Judged:
    """A verdict from its row."""
    return Judged(Verdict(row["value"], row["explanation"], row["parts"]), row["reason"])
