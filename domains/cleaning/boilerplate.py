"""Boilerplate: repeated headers and footers, page numbers, navigation and notices; then lines of a page are joined.

A line counts as a repeated header or footer when the first or last lines of at least half of the pages (and of three)
are the same but for numbers, or, where there are no pages, when the same short paragraph occurs again and again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext

EDGE_LINES = 2
MIN_PAGES = 3
MIN_REPEATS = 5
SHORT = 100
PAGE_NUMBER = re.compile(
    r"(?i)^\W*(?:(?:page|pg\.?|p\.)\s*\d{1,5}(?:\s*(?:of|/)\s*\d{1,5})?|\d{1,5}\s*(?:of|/)\s*\d{1,5}|[-–—|]\s*\d{1,5}\s*[-–—|])\W*$"
)
BARE_NUMBER = re.compile(r"^\W*(?:\d{1,5}|[ivxl]{1,6})\W*$")
SOCIAL = "facebook|twitter|x|instagram|linkedin|youtube|tiktok|pinterest|threads|bluesky|mastodon|social media"
NOTICE = re.compile(
    r"(?i)^(?:skip to (?:main )?content|back to top|print this page|share this(?: page| article)?|"
    rf"follow us(?:\s*(?::|on)?\s*(?:(?:(?:{SOCIAL})\b|@\w+|and|or)[\s,/|]*)+)?|"
    r"(?:please )?(?:enable|turn on) javascript.{0,120}|"
    r"(?:we|this (?:web)?site) uses? cookies.{0,300}|accept(?: all)? cookies|"
    r"subscribe to our (?:newsletter|mailing list).{0,100}|all rights reserved\.?|"
    r"(?:read|learn) more(?: »| >)?|click here.{0,40}|this page (?:is )?intentionally left blank\.?|"
    r"privacy policy|terms (?:of use|of service|and conditions)|site ?map|contact us|log ?in|sign (?:in|up)|"
    r"advertisement|table of contents)\.?$"
)
YEARS = r"(?:19|20)\d\d(?:\s*[-–,]\s*(?:19|20)?\d\d)*"
OWNER = r"(?:[\s,|·-]+(?:by|the|of|and|&|[A-Z0-9][\w.'’&-]*)){0,12}"
COPYRIGHT = re.compile(
    r"^(?:(?:©|\([cC]\)|(?i:copyright)).{0,120}\b(?i:all rights reserved)\b.{0,40}|"
    rf"©.{{0,80}}\b{YEARS}.{{0,120}}|"
    rf"(?:\([cC]\)|(?i:copyright)(?:\s*(?:©|\([cC]\)))?)\s*{YEARS}{OWNER}\W*)$"
)
MENU_WORDS = frozenset({
    "home", "about", "contact", "help", "login", "logout", "search", "sitemap", "news", "blog", "faq", "faqs",
    "careers", "jobs", "press", "media", "products", "services", "support", "shop", "store", "events", "account",
    "subscribe", "privacy", "terms", "accessibility", "cookies", "feedback", "menu",
})  # fmt: skip
SEPARATED = re.compile(r"\s*(?:\||»|›|·|•|/)\s*")


@dataclass(frozen=True)
class Repeated:
    """What occurs again and again: edges of pages with any number as `0`, and paragraphs letter by letter."""

    edges: frozenset[str]
    paragraphs: frozenset[str]

    def has(self, line: str, paged: bool) -> bool:
        """Whether a line is one of them."""
        return normal(line) in self.edges if paged else line.strip() in self.paragraphs


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Remove boilerplate lines; blocks of pages are joined to paragraphs."""
    repeated = Repeated(repeated_edges(blocks), repeated_lines(blocks))
    changes: list[Change] = []
    kept = [left for block in blocks for left in without(block, repeated, changes)]
    return Cleaned(tuple(across_pages(kept)), tuple(changes))


def without(block: Block, repeated: Repeated, changes: list[Change]) -> Iterator[Block]:
    """A block without its boilerplate lines; what was taken is added to `changes`."""
    if block.kind in {"table", "code", "row"}:
        yield block
        return
    lines = block.text.split("\n")
    left = []
    for line in lines:
        reason = reason_of(line, repeated, len(lines), block.page > 0)
        if reason:
            changes.append(Change("removed", reason, line))
        else:
            left.append(line)
    if any(line.strip() for line in left):
        yield block if len(left) == len(lines) else replace(block, text="\n".join(left))


def reason_of(line: str, repeated: Repeated, num_lines: int, paged: bool) -> str:
    """Why a line is boilerplate, empty when it is not."""
    if PAGE_NUMBER.match(line) or paged and num_lines == 1 and BARE_NUMBER.match(line):
        return "page number"
    if repeated.has(line, paged):
        return "repeated header or footer"
    text = line.strip(" -*#\t")
    if NOTICE.match(text) or COPYRIGHT.match(text):
        return "notice"
    return "navigation" if is_menu(text) else ""


def is_menu(text: str) -> bool:
    """At least four short entries with separators between them, half of them with a word of menus, such as
    `Home | About us | Contact | Rates`."""
    entries = [entry.lower().split() for entry in SEPARATED.split(text)]
    if len(text) > 200 or len(entries) < 4 or not all(0 < len(words) <= 3 for words in entries):
        return False
    return 2 * sum(not MENU_WORDS.isdisjoint(words) for words in entries) >= len(entries)


def normal(line: str) -> str:
    """A line for comparison: lower case, any number as `0`, single spaces."""
    return " ".join(re.sub(r"\d+", "0", line.lower()).split())


def repeated_edges(blocks: Sequence[Block]) -> frozenset[str]:
    """Lines that the first or last lines of most pages share."""
    pages: dict[int, list[str]] = defaultdict(list)
    for block in blocks:
        if block.page and block.kind in {"text", "heading"}:
            pages[block.page] += [normal(line) for line in block.text.split("\n") if line.strip()]
    edges = Counter(line for lines in pages.values() for line in {*lines[:EDGE_LINES], *lines[-EDGE_LINES:]})
    needed = max(MIN_PAGES, len(pages) / 2)
    return frozenset(line for line, count in edges.items() if count >= needed)


def repeated_lines(blocks: Iterable[Block]) -> frozenset[str]:
    """Short single-line paragraphs that occur again and again, letter by letter, where there are no pages."""
    alone = Counter(b.text.strip() for b in blocks if b.kind == "text" and not b.page and "\n" not in b.text)
    return frozenset(
        t for t, count in alone.items() if count >= MIN_REPEATS and len(t) <= SHORT and not t.startswith(("-", "*"))
    )


def across_pages(blocks: Sequence[Block]) -> Iterator[Block]:
    """Paragraphs whose lines were cut by the page: joined, also over a page break in the middle of a sentence."""
    waiting: Block | None = None
    for block in blocks:
        if block.kind != "text" or not block.page:
            if waiting:
                yield waiting
            waiting = None
            yield block
            continue
        text = reflowed(block.text)
        if waiting and waiting.page + 1 == block.page and goes_on(waiting.text, text):
            waiting = replace(waiting, text=reflowed(f"{waiting.text}\n{text}"), page=block.page)
            continue
        if waiting:
            yield waiting
        waiting = replace(block, text=text)
    if waiting:
        yield waiting


def goes_on(before: str, after: str) -> bool:
    """Whether a paragraph continues: no end of sentence before, no capital after."""
    return before[-1:] not in ".!?:;|" and after[:1].islower()


def reflowed(text: str) -> str:
    """Lines of a paragraph in one line, words cut at line ends put together; list items stay apart."""
    out = ""
    for line in (line.strip() for line in text.split("\n")):
        if not out:
            out = line
        elif re.match(r"(?:[-*•▪◦]|\(?[0-9a-z]{1,2}[.)])\s", line):
            out += "\n" + line
        elif re.search(r"[a-z]-$", out) and line[:1].islower():
            out = out[:-1] + line
        else:
            out += " " + line
    return out
