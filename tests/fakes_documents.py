"""A small user-made folder of mixed formats, built here byte by byte: planted personal data, duplicates, one corrupt
file, one encrypted, one empty. PDF and DOCX are written by hand, so that nothing but the readers is tested."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

GARDEN = (
    "A vegetable bed needs about six hours of sun on most days, and a soil that drains well after rain. Mix two inches "
    "of compost into the top eight inches of soil in the spring, before anything is planted. Water deeply and rarely, "
    "because shallow watering keeps the roots near the surface where they dry out first."
)
FROST = (
    "Tender plants such as tomatoes and peppers are set out after the last frost, which in this valley falls near the "
    "middle of May. A row cover buys about four degrees and can be left on for the first two weeks of the season."
)
SPANISH = (
    "Las plantas tiernas como los tomates y los pimientos se plantan después de la última helada, que en este valle "
    "suele caer a mediados de mayo. Una cubierta protege las hileras durante las primeras dos semanas de la temporada."
)
PERSON = "Maria Lopez"
PERSONAL = (PERSON, "617-555-0143", "maria.lopez@gmail.com", "412-55-8831", "42 Oak Street")


def pdf_bytes(pages: Sequence[Sequence[tuple[int, int, int, str]]], rules: Sequence[str] = ()) -> bytes:
    """A PDF of (x, y, font size, text) lines per page in Helvetica; `rules` are drawn on the last page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, lines in enumerate(pages):
        drawn = "\n".join(rules) if number == len(pages) - 1 else ""
        shown = "\n".join(f"BT /F1 {size} Tf {x} {y} Td ({escaped(text)}) Tj ET" for x, y, size, text in lines)
        content = f"{drawn}\n{shown}"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    return assembled(objects)


def assembled(objects: Sequence[str]) -> bytes:
    """Numbered objects with the cross-reference table."""
    body, places = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    start = len(body)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return (body + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF").encode("latin-1")


def escaped(text: str) -> str:
    """A PDF string."""
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def handbook() -> bytes:
    """Three pages with the same header and footer, a heading, a paragraph cut by the page, and a ruled table."""
    head, foot = (72, 760, 9, "Valley Garden Handbook"), "Page {} of 3"
    words = GARDEN.split()
    lines = [" ".join(words[n : n + 12]) for n in range(0, len(words), 12)]
    first = [head, (72, 700, 18, "Preparing the bed")]
    first += [(72, 670 - 14 * n, 11, line) for n, line in enumerate(lines[:3])]
    second = [head, *((72, 700 - 14 * n, 11, line) for n, line in enumerate(lines[3:]))]
    third = [head, (72, 700, 18, "Frost"), (72, 670, 11, "A late frost can come at the end of April in a cold year.")]
    third += [(78, 505, 11, "Crop"), (208, 505, 11, "Days"), (78, 485, 11, "Radish"), (208, 485, 11, "25")]
    pages = [[*page, (72, 30, 9, foot.format(n))] for n, page in enumerate((first, second, third), 1)]
    rules = [f"{x} 480 m {x} 520 l S" for x in (72, 200, 320)] + [f"72 {y} m 320 {y} l S" for y in (480, 500, 520)]
    return pdf_bytes(pages, rules)


def encrypted_pdf() -> bytes:
    """A PDF whose standard security handler (revision 2) knows no empty user password."""
    plain = pdf_bytes([[(72, 700, 11, "secret")]]).decode("latin-1")
    keys = f"/V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4"
    entry = f"/Encrypt << /Filter /Standard {keys} >> /ID [<{'43' * 16}> <{'43' * 16}>]"
    return plain.replace("/Root 1 0 R", f"/Root 1 0 R {entry}").encode("latin-1")


def write_docx(path: Path, body: str) -> Path:
    """A Word document with a body of WordprocessingML."""
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        )
        container.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}" '
            'Target="word/document.xml"/></Relationships>',
        )
        container.writestr("word/document.xml", f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>')
    return path


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of WordprocessingML."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def word_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of WordprocessingML."""
    cells = ["".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows]
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def write_garden(folder: Path) -> Path:
    """The folder: nine readable files (one of them a copy), and five that are not."""
    folder.mkdir(parents=True)
    (folder / "handbook.pdf").write_bytes(handbook())
    rows = [["Crop", "Spacing"], ["Carrot", "2 inches"]]
    write_docx(folder / "spacing.docx", paragraph("Spacing", "Heading1") + paragraph(FROST) + word_table(rows))
    (folder / "frost.html").write_text(
        "<html><head><title>Frost dates</title></head><body><nav><a href='/'>Home</a> <a href='/b'>Beds</a></nav>"
        f"<main><h1>Frost dates</h1><p>{GARDEN.replace('six', 'seven')}</p></main>"
        "<footer>Example Garden Club</footer></body></html>"
    )
    (folder / "bed.md").write_text(f"# The bed\n\n## Sun and soil\n\n{GARDEN}\n\n{SPANISH}\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "copy of bed.md").write_text(f"# The bed\n\n## Sun and soil\n\n{GARDEN}\n\n{SPANISH}\n")
    (folder / "letter.txt").write_bytes(
        f"{PERSON} asked about the community plots. Call her at 617-555-0143 or write to maria.lopez@gmail.com. Her "
        "number on the form was 412-55-8831. Ms. Lopez lives at 42 Oak Street, and the café is open on Sundays.".encode(
            "cp1252"
        )
    )
    (folder / "plots.csv").write_text(f"name,plot,fee\n{PERSON},17,$40\nJun Takahashi,18,$45\n")
    (folder / "questions.jsonl").write_text(
        '{"question": "When is frost over?", "answer": "After the middle of May in this valley."}\nnot json\n'
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\nthis is not a pdf")
    (folder / "locked.pdf").write_bytes(encrypted_pdf())
    (folder / "empty.txt").write_bytes(b"")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n")
    (folder / "huge.txt").write_bytes(b"word " * 500_000)
    (folder / ".hidden.txt").write_text("Nobody may read this hidden text.")
    return folder
