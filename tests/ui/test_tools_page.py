"""The page of the function calling bench."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from ui.tools_page import OVERALL, render, text_lines, write_tools_page

SCORE = {"value": 0.25, "low": 0.2, "high": 0.3125, "never_calling": 0.1976}


def found(arm: str = "prompt") -> dict[str, object]:
    def row(category: str, accuracy: float) -> dict[str, object]:
        return {"arm": arm, "category": category, "accuracy": accuracy, "low": 0.1, "high": None, "n": 15, "of": 240}

    return {
        "rows": [row("irrelevance", 1.0), row("multiple", 0.5)],
        "overall": [{"arm": arm, **dict.fromkeys(OVERALL, SCORE), "too_long": 2}],
        "arms": [{"name": arm, "answers": 30, "unbound": 3}], "max_context": 8192, "max_tokens": 256,
        "comparisons": [{"arm": arm, "against": "before", "kind": kind, "difference": 0.1, "low": 0.0, "high": 0.2,
                         "p": None} for kind in ("calls", "irrelevance")],
        "package": "bfcl-eval 1, data BFCL_v4", "num_rows": 30, "notes": ["A <note>."],
    }  # fmt: skip


class Cells(HTMLParser):
    """The texts of the lines of all tables."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.lines.append([])

    def handle_data(self, data: str) -> None:
        if self.lines and data.strip():
            self.lines[-1].append(data.strip())


def test_every_score_has_its_interval_and_its_floor_and_irrelevance_is_beside_calls() -> None:
    cells = Cells()
    cells.feed(render(found()))
    titles = [line[0] for line in cells.lines]
    assert ["Calls right", "19.8%", "25.0% [20.0%, 31.2%]"] in cells.lines
    assert titles.index("Irrelevant requests left alone") == titles.index("Calls right") + 1
    assert ["multiple", "15 of 240", "0%", "50.0%"] in cells.lines
    silent = titles.index("irrelevance (no call is right)")
    assert cells.lines[silent][2] == "100%"
    assert silent == titles.index("multiple") + 1
    against = [line[1:] for line in cells.lines if line[0] == "prompt against before"]
    assert against == [[words, "10.0% [0.0%, 20.0%]", "–"] for words in ("a call is right", "no call is right")]


def test_nothing_is_fetched_and_names_are_escaped(tmp_path: Path) -> None:
    text = write_tools_page(found("<img src=x>"), tmp_path).read_text()
    assert "<img" not in text
    assert "A &lt;note&gt;." in text
    assert "http://" not in text
    assert "https://" not in text


def test_what_was_too_long_or_not_bound_is_said() -> None:
    text = render(found())
    assert "prompt: 2 of 30 rows had a prompt that was too long (more than 8192 tokens" in text
    assert "prompt: 3 of 30 answers were free" in text
    assert "the v3 formula on v4 data is no published v3 score" in text


def test_as_text_every_score_is_beside_its_floor_and_irrelevance_beside_calls() -> None:
    first, *rest = text_lines(found())
    assert first.startswith("prompt: Calls right 25.0% [20.0%, 31.2%] (never calling: 19.8%); Irrelevant requests left")
    assert first.count("never calling") == len(OVERALL)
    assert rest[0] == "A <note>."
    assert len(rest) == 3
