"""The cleaning stages: each takes out what it should, and leaves a clean text as it was."""

import pytest

from domains.blocks import Block, blocks_of
from domains.cleaning import CleaningSettings, FileContext, boilerplate, language, pii, quality, unicode_repair
from domains.cleaning.chunks import Chunker
from domains.cleaning.duplicates import DuplicateIndex, mark_of
from domains.formats import Limits, Part, read_file
from tests.fakes_documents import FROST, GARDEN, SPANISH, handbook


def text(content, **changes):
    return Block("text", content, **changes)


def context(**settings):
    return FileContext(CleaningSettings(**settings))


def cleaned(stage, *blocks, **settings):
    return stage.clean(blocks, context(**settings))


@pytest.mark.parametrize("stage", [unicode_repair, boilerplate, language, quality, pii])
def test_a_clean_text_passes_every_stage_unchanged(stage):
    blocks = (Block("heading", "Beds", 1), text(GARDEN), text(FROST), Block("table", "| A |\n| --- |\n| 1b |"))
    result = stage.clean(blocks, context())
    assert result.blocks == blocks
    assert result.changes == ()


def test_markdown_becomes_blocks():
    part = Part(
        "# T\nintro\n\nUnder\n-----\n| a | b |\n| --- | --- |\nafter\n\n```\n# not a heading\n\nx\n```\n- one\n- two"
    )
    assert [(b.kind, b.level) for b in blocks_of(part)] == [
        ("heading", 1), ("text", 0), ("heading", 2), ("table", 0), ("text", 0), ("code", 0), ("text", 0),
    ]  # fmt: skip
    assert [b.text for b in blocks_of(part)][5:] == ["```\n# not a heading\n\nx\n```", "- one\n- two"]


def test_unicode_is_repaired_and_counted():
    result = cleaned(unicode_repair, text("The cafÃ©\u00a0is\u200b open \x07now: ﬁne"), text("\u200b\ufeff"))
    assert [b.text for b in result.blocks] == ["The café is open now: fine"]
    assert [(c.action, c.reason) for c in result.changes] == [("changed", "repaired"), ("removed", "nothing left")]


@pytest.mark.parametrize("word", ["می\u200cخواهم", "क्\u200dष", "👩\u200d🚒"])
def test_joiners_stay_where_a_script_needs_them(word):
    assert cleaned(unicode_repair, text(word)).blocks[0].text == word
    assert cleaned(unicode_repair, text("wo\u200drd")).blocks[0].text == "word"


def test_headers_footers_and_page_numbers_go_and_cut_paragraphs_are_joined(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(handbook())
    (part,) = read_file(path, Limits())
    result = boilerplate.clean(tuple(blocks_of(part)), context())
    left = "\n".join(b.text for b in result.blocks)
    assert "Valley Garden Handbook" not in left
    assert "Page" not in left
    assert sorted({c.reason for c in result.changes}) == ["page number", "repeated header or footer"]
    assert len(result.changes) == 6
    assert GARDEN in left


@pytest.mark.parametrize(
    "line",
    [
        "Home | About | Contact | Help",
        "Page 3 of 12",
        "- 7 -",
        "© 2024 Example Inc.",
        "Back to top",
        "Skip to content",
        "(c) 2019-2024 Example Bank of the West",
        "Copyright Example Inc. All rights reserved.",
        "Copyright (c) 2024 Example",
        "Follow us",
        "Follow us on Facebook, X and YouTube",
        "Home | About us | Contact | Rates",
    ],
)
def test_a_line_of_boilerplate_goes(line):
    assert [b.text for b in cleaned(boilerplate, text(GARDEN), text(line)).blocks] == [GARDEN]


@pytest.mark.parametrize(
    "line",
    [
        "Sow 3/4 inch deep",
        "Page the nurse at night.",
        "1986",
        "Peas or beans / corn",
        "(c) The servicer must respond within 30 days.",
        "(c) A request of 2024 is answered by the servicer.",
        "(c) 2024 limits apply to each loan.",
        "Copyright law protects a work for seventy years.",
        "Copyright Act of 1976, title 17",
        "Follow us to the registration desk",
        "Follow us on the path to the garden",
        "Principal / Interest / Taxes / Insurance",
        "Apples • Pears • Plums • Figs",
        "- Bring: gloves · a spade · seeds · water",
    ],
)
def test_a_line_that_looks_like_boilerplate_stays(line):
    assert [b.text for b in cleaned(boilerplate, text(line)).blocks] == [line]


def test_lines_that_differ_in_a_number_are_no_repeated_line():
    """Five equal notes go; a rule for each of six rooms stays, and so does what only looks like the note."""
    note, rules = text("Rule 0 holds."), [text(f"Rule {n} holds.") for n in range(1, 7)]
    result = cleaned(boilerplate, *[note] * 5, *rules)
    assert result.blocks == tuple(rules)
    assert [c.text for c in result.changes] == ["Rule 0 holds."] * 5


def test_another_language_goes_unless_it_is_wanted():
    blocks = (text(GARDEN), text(SPANISH), text("¿Qué?"))
    assert [b.text for b in cleaned(language, *blocks).blocks] == [GARDEN, "¿Qué?"]
    assert [c.reason for c in cleaned(language, *blocks).changes] == ["language es"]
    assert [b.text for b in cleaned(language, *blocks, language="es").blocks] == [SPANISH, "¿Qué?"]
    assert cleaned(language, *blocks, language="").blocks == blocks


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1234 5678 --- 99.1 %% 17", "no letters"),
        ("x1 2 3 4 5 6 7 8 9 10 11 12 13 14 $$$", "under 40% letters"),
        ("Lorem ipsum dolor sit amet.", "placeholder"),
        ("a b c d e f g h i j", "mean word length"),
        ("# sowing # planting # beds watering # here", "symbols"),
        ("buy now and save " * 15, "repeated"),
        ("kettle window lantern pillow " + " ".join(f"w{n}ord" for n in range(45)), "function words"),
    ],
)
def test_each_quality_rule_finds_its_fault(bad, reason):
    result = cleaned(quality, text(bad), text(GARDEN))
    assert [b.text for b in result.blocks] == [GARDEN]
    assert reason in result.changes[0].reason


def test_personal_data_is_the_same_person_everywhere():
    first, second = context(salt="s"), context(salt="s")
    (one,) = pii.clean((text("Maria Lopez called. Ms. Lopez paid. LOPEZ, MARIA signed; Maria left."),), first).blocks
    (two,) = pii.clean((text("We wrote to Maria Lopez."),), second).blocks
    name = two.text.removeprefix("We wrote to ").removesuffix(".")
    given, family = name.split()
    assert one.text == (
        f"{given} {family} called. Ms. {family} paid. {family.upper()}, {given.upper()} signed; {given} left."
    )
    (other,) = pii.clean((text("We wrote to Maria Lopez."),), context(salt="t")).blocks
    assert other.text != two.text
    (kept,) = pii.clean((text("We wrote to Maria Lopez."),), context(keep=("Maria Lopez",))).blocks
    assert kept.text == "We wrote to Maria Lopez."


def test_a_cell_is_read_with_the_name_of_its_column():
    table = "| Borrower | Account number | Rate |\n| --- | --- | --- |\n| Zyx Qwopl | 33881920 | 33881920 |"
    result = cleaned(pii, Block("table", table), salt="s")
    row = result.blocks[0].text.split("\n")[2]
    assert "Qwopl" not in row
    assert row.count("33881920") == 1
    assert [change.reason for change in result.changes] == ["name", "account_number"]
    assert all(change.text == f"[{change.reason}]" for change in result.changes)


def test_exact_and_near_duplicates_but_not_other_numbers(tmp_path):
    near = GARDEN.replace("dry out first", "dry first")
    other = GARDEN.replace("six hours", "6 hours")
    with DuplicateIndex(tmp_path / "index", {"paragraph": 0.6}) as index:
        seen = [
            index.seen("paragraph", mark_of(text(t)), name)
            for name, t in zip("abcde", (GARDEN, GARDEN.upper() + "!", near, other, FROST), strict=True)
        ]
    assert seen == [None, ("exact", "a"), ("near", "a"), None, None]


def test_chunks_stay_within_headings_and_size_and_keep_tables_whole():
    table = "| a | b |\n" + "| 1 | 2 |\n" * 60
    blocks = [Block("heading", "T", 1), text("Intro."), Block("heading", "One", 2), text(GARDEN), text(FROST)]
    blocks += [Block("table", table.strip()), Block("heading", "Two", 2), Block("heading", "Deep", 4), text("x " * 900)]
    chunks = list(Chunker("T", 400).chunks(blocks))
    assert {"T", "One", "Two > Deep"} == {c.heading for c in chunks}
    assert [c.text for c in chunks if "|" in c.text] == [table.strip()]
    assert all(len(c.text) <= 400 for c in chunks if "|" not in c.text)
    assert [c.text for c in chunks][:2] == [f"Intro.\n\n### One\n\n{GARDEN}", FROST]
    assert "".join(c.text for c in chunks if c.heading == "Two > Deep").replace(" ", "") == "x" * 900


def test_headings_without_text_are_counted():
    """`Empty` and `Deep end` have nothing under them; `One` has `Two` under it, and `Small` stays in its chunk."""
    heads = [("T", 1), ("Empty", 2), ("One", 2), ("Two", 3)]
    blocks = [*(Block("heading", name, level) for name, level in heads), text("Words.")]
    blocks += [Block("heading", "Small", 4), text("More."), Block("heading", "Deep end", 4)]
    chunker = Chunker("T", 400)
    assert [(c.heading, c.text) for c in chunker.chunks(blocks)] == [("One > Two", "Words.\n\n### Small\n\nMore.")]
    assert chunker.left_out == ["Empty", "Deep end"]


def test_a_line_of_text_cannot_pass_for_a_section():
    (chunk,) = Chunker("T", 400).chunks([text("first\n## Sources\nlast"), Block("heading", "Sources", 2)])
    assert chunk.text == "first\n### Sources\nlast"
    (chunk,) = Chunker("T", 400).chunks([Block("heading", "Sources", 2), text("a book")])
    assert chunk.heading == "List of sources"


def test_thousands_of_underlined_lines_are_headings():
    part = Part("\n".join(f"Rule {number}\n---" for number in range(3000)) + "\nThe end.")
    blocks = list(blocks_of(part))
    assert [b.kind for b in blocks] == ["heading"] * 3000 + ["text"]
    assert blocks[-1].text == "The end."


def test_the_first_row_of_a_form_is_read_with_its_label():
    """Word has no header rows, so the first row of a form becomes the header of a Markdown table."""
    rows = ["| **SSN:** | 4471 |", "| --- | --- |", "| Borrower | Zyx Qwopl |", "| Plot | 4471 |", "| MRN | Q4771Z88 |"]
    (block,) = cleaned(pii, Block("table", "\n".join(rows)), salt="s").blocks
    assert [line for line in block.text.split("\n") if line in rows] == ["| --- | --- |", "| Plot | 4471 |"]
    assert all(label in block.text for label in ("| **SSN:** |", "| Borrower |", "| MRN |"))
    (alone,) = cleaned(pii, Block("table", "| SSN | 123-45-6789 |\n| --- | --- |\n| Plot | 17 |"), salt="s").blocks
    assert "123-45-6789" not in alone.text
    assert alone.text.endswith("| Plot | 17 |")


def test_names_of_columns_are_not_taken_for_values():
    table = "| Patient | Medicine | Dose |\n| --- | --- | --- |\n| the first | Aspirin | 100 |"
    assert cleaned(pii, Block("table", table), salt="s").blocks[0].text == table
