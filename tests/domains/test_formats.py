"""Readers: text, tables and headings come through; whatever is wrong with a file is a status and a reason."""

import zipfile
from types import SimpleNamespace

import psutil
import pytest

from domains.formats import Limits, Unreadable, bounded, memory_in_use, read_file
from tests.fakes_documents import encrypted_pdf, handbook, paragraph, pdf_bytes, word_table, write_docx


def text_of(path, **limits):
    return "\n\n".join(part.text for part in read_file(path, Limits(**limits)))


def status_of(path, **limits):
    with pytest.raises(Unreadable) as refused:
        list(read_file(path, Limits(**limits)))
    assert refused.value.reason
    return refused.value.status


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_pdf_keeps_headings_tables_and_pages(tmp_path):
    (part,) = read_file(write(tmp_path / "a.pdf", handbook()), Limits())
    assert part.num_pages == 3
    assert "# Preparing the bed" in part.text
    assert "| Crop | Days |\n| --- | --- |\n| Radish | 25 |" in part.text
    assert part.text.count("Radish") == 1
    assert part.text.count("\f") == 2


def test_docx_keeps_headings_and_tables(tmp_path):
    body = paragraph("Rules", "Heading1") + paragraph("One rule.") + word_table([["A", "B"], ["1", "2"]])
    text = text_of(write_docx(tmp_path / "a.docx", body))
    assert text.splitlines()[0] == "# Rules"
    assert "| A | B |\n| --- | --- |\n| 1 | 2 |" in text


def test_html_loses_navigation_and_nothing_else(tmp_path):
    page = """<html><head><title>T</title><script>var x=1</script></head><body><nav>Home Menu</nav>
    <div class="cookie-banner">We use cookies</div><ul><li><a>One</a><li><a>Two</a><li><a>Three</a></ul>
    <main><h1>Beds</h1><p>Dig <a href="#">deep</a> holes.</p><ul><li>first</li><li>second</li></ul>
    <table><tr><th>A</th></tr><tr><td>1</td></tr></table></main><footer>Foot</footer></body></html>"""
    (part,) = read_file(write(tmp_path / "a.html", page), Limits())
    assert "# Beds" in part.text
    assert "Dig deep holes." in part.text
    assert "- second" in part.text
    assert "| A |\n| --- |\n| 1 |" in part.text
    for word in ("Menu", "cookies", "Foot", "Three", "var x"):
        assert word not in part.text
    assert {"Home Menu", "We use cookies", "Foot", "One Two Three"} == {left.text for left in part.removed}


def test_everything_that_a_page_loses_is_told(tmp_path):
    page = """<body><p>A word before.</p><main><h1>Beds</h1><p>Dig deep holes in the spring.</p>
    <button>Order now</button><noscript>Turn scripts on</noscript><script>var x</script></main>
    <p>A word after.</p></body>"""
    (part,) = read_file(write(tmp_path / "a.html", page), Limits())
    assert part.text.split("\n\n")[:2] == ["# Beds", "Dig deep holes in the spring."]
    assert {(left.reason, left.text) for left in part.removed} == {
        ("control or fallback", "Order now"), ("control or fallback", "Turn scripts on"),
        ("outside the main part", "A word before."), ("outside the main part", "A word after."),
    }  # fmt: skip


def test_memory_is_told_where_the_platform_has_no_data_segment(monkeypatch):
    """On macOS `memory_info` has no field `data`."""
    assert memory_in_use() > 0
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _self: SimpleNamespace(rss=7))
    assert memory_in_use() == 7


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_the_encoding_of_a_text_is_found(tmp_path, encoding):
    text = "The café in Zürich serves crème brûlée, and the naïve visitor says: “déjà vu”. " * 5
    assert text_of(write(tmp_path / "a.txt", text.encode(encoding))) == text


def test_a_cut_character_in_a_long_utf8_file_is_not_another_encoding(tmp_path):
    """262,143 one-byte characters put the two bytes of the next one on both sides of the first chunk's end."""
    text = "a" * 262_143 + "é" + "b" * 10
    assert text_of(write(tmp_path / "a.txt", text)) == text


def test_csv_names_columns_and_jsonl_keeps_fields(tmp_path):
    table = write(tmp_path / "a.csv", 'crop;note\nradish;"fast; red"\n\nleek;\n')
    assert text_of(table) == "crop: radish; note: fast; red.\n\ncrop: leek."
    headless = write(tmp_path / "b.csv", "1,2\n3,4\n")
    assert text_of(headless) == "column 1: 1; column 2: 2.\n\ncolumn 1: 3; column 2: 4."
    lines = write(tmp_path / "c.jsonl", '{"q": "Why?", "n": 3}\n[1]\n{"text": "%s"}\n' % ("long " * 30))
    (part,) = read_file(lines, Limits())
    assert part.text == "q: Why?; n: 3.\n\n" + ("long " * 30).strip()
    assert part.notes == ("1 lines are not JSON objects, the first: line 2.",)


def test_markdown_front_matter_is_a_title_only(tmp_path):
    text = text_of(write(tmp_path / "a.md", "---\ntitle: Beds\ntags: x\n---\nDig.\n<!-- no -->\n"))
    assert text.split() == ["#", "Beds", "Dig."]


def test_a_long_text_comes_in_parts_and_loses_nothing(tmp_path):
    text = "\n\n".join(f"Paragraph {n} has some words." for n in range(90_000))
    parts = list(read_file(write(tmp_path / "a.txt", text), Limits()))
    assert len(parts) > 2
    assert max(len(part.text) for part in parts) <= 400_000
    assert "".join(part.text for part in parts) == text


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\n", "empty"),
        ("a.txt", b"\x00\x01\x02\xff" * 99, "corrupt"),
        ("a.pdf", b"%PDF-1.4 cut", "corrupt"),
        ("a.pdf", b"<html></html>", "corrupt"),
        ("a.pdf", pdf_bytes([[]]), "empty"),
        ("a.pdf", encrypted_pdf(), "encrypted"),
        ("a.docx", b"PK\x03\x04 broken", "corrupt"),
        ("a.docx", bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 99, "encrypted"),
        ("a.jsonl", b"nope\n[]\n", "corrupt"),
        ("a.html", b"<div hidden>" * 3, "empty"),
        ("a.html", b"<div>" * 20_000 + b"deep", "corrupt"),
        ("a.exe", b"MZ", "unsupported"),
        ("noextension", b"text", "unsupported"),
    ],
)
def test_what_cannot_be_read_is_a_status(tmp_path, name, content, status):
    assert status_of(write(tmp_path / name, content)) == status


def test_limits_on_size_pages_and_characters(tmp_path):
    assert status_of(write(tmp_path / "a.txt", b"x" * 1001), max_bytes=1000) == "too_large"
    assert status_of(write(tmp_path / "a.pdf", handbook()), max_pages=2) == "too_large"
    assert status_of(write(tmp_path / "b.pdf", handbook()), max_characters=20) == "too_large"
    assert status_of(write(tmp_path / "b.txt", b"x " * 600), max_characters=1000) == "too_large"


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    """50 MB of zeros are 50 kB in the zip."""
    path = write_docx(tmp_path / "a.docx", paragraph("x"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as container:
        container.writestr("word/media/bomb.bin", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    assert status_of(path, max_bytes=10_000_000) == "too_large"


def test_a_reader_that_hangs_is_stopped(tmp_path):
    page, limits = write(tmp_path / "a.html", "<p>x" * 200_000), Limits(max_seconds=0.05)
    with bounded(limits), pytest.raises(Unreadable, match="more than 0.05 s"):
        list(read_file(page, limits))


@pytest.mark.parametrize(
    "around",
    [
        '<form id="aspnetForm">{}<label>Search</label><input></form>',
        '<section id="social-security-benefits">{}</section>',
        '<div class="cost-share">{}</div>',
        '<div class="page has-sidebar">{}</div>',
        '<div class="modal">{}</div>',
        "<nav>{}</nav>",
    ],
)
def test_a_page_in_an_element_that_sounds_like_navigation_stays(tmp_path, around):
    page = around.format("<p>Benefits begin in the month after the form arrives.</p>") + '<p class="share">Share</p>'
    (part,) = read_file(write(tmp_path / "a.html", page), Limits())
    assert part.text.strip() == "Benefits begin in the month after the form arrives."
    assert part.removed[-1].text == "Share"


def test_a_section_that_sounds_like_navigation_stays_and_a_long_menu_goes(tmp_path):
    """The menu is most of the page, but none of its text outside links."""
    menu = "".join(f"<li><a>Entry {number} of the menu</a></li>" for number in range(30))
    section = '<div id="cost-share">You pay a share.</div>'
    page = f'<ul class="site-nav">{menu}</ul>{section}<p>{"A rule of the plan. " * 4}</p>'
    (part,) = read_file(write(tmp_path / "a.html", page), Limits())
    assert "You pay a share." in part.text
    assert "Entry" not in part.text
