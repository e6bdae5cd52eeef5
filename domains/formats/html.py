"""HTML through Beautiful Soup and markdownify; navigation, menus, banners and link lists are taken out first.

Link density as a sign of navigation: Kohlschuetter et al. 2010, doi 10.1145/1718487.1718542.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from domains.encodings import whole_text
from domains.formats import LeftOut, Limits, Part, Unreadable

MAX_BYTES = 20_000_000
NO_TEXT = (
    "script", "style", "noscript", "template", "iframe", "svg", "canvas", "object", "embed", "head", "button",
    "select", "input", "textarea", "dialog",
)  # fmt: skip
UNSEEN = frozenset({"script", "style", "template", "svg", "head"})
NAVIGATION = ("nav", "footer", "aside", "menu")
ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alert", "menu"})
NAMES = frozenset({
    "nav", "navbar", "navigation", "menu", "breadcrumb", "breadcrumbs", "footer", "sidebar", "cookie", "cookies",
    "consent", "advert", "adverts", "ad", "ads", "advertisement", "promo", "newsletter", "subscribe", "pagination",
    "pager", "skip", "skipnav", "masthead", "popup", "modal", "toolbar",
})  # fmt: skip
ONLY_ALONE = frozenset({"social", "share", "sharing", "related", "comment", "comments"})
BESIDE_NAMES = frozenset({
    "site", "main", "page", "global", "region", "usa", "top", "bottom", "left", "right", "first", "second", "primary",
    "secondary", "mobile", "desktop", "header", "inner", "outer", "banner", "bar", "box", "area", "block", "wrapper",
    "wrap", "container", "overlay", "notice", "signup", "slot", "widget", "toggle", "to", "link", "links",
    "list", "item", "items", "button", "buttons", "icons",
})  # fmt: skip
LINK_SHARE = 0.66
MIN_LINKS = 3
LINK_DEPTH = 4
MAX_DEPTH = 256
LISTS = frozenset({"ul", "ol", "div", "section", "p", "td"})


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """The content of a page; its title becomes the first heading when the page has none."""
    if path.stat().st_size > MAX_BYTES:
        raise Unreadable("too_large", f"an HTML page over {MAX_BYTES / 1e6:.0f} MB.")
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(whole_text(path), "html.parser")
    check_depth(soup)
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    removed = [*take_controls(soup), *take_navigation(soup)]
    content = content_of(soup)
    text = to_markdown(str(content))
    if content is not soup:
        content.extract()
        removed += outside(soup)
    if title and not re.search(r"(?m)^#{1,2} ", text) and text.strip():
        text = f"# {title}\n\n{text}"
    yield Part(text, removed=tuple(removed))


def check_depth(soup: Any) -> None:
    """Refuse a page that would take the square of its length, or the stack."""
    depths = {id(soup): 0}
    for element in soup.find_all(True):
        depth = depths[id(element)] = depths[id(element.parent)] + 1
        if depth > MAX_DEPTH:
            raise Unreadable("corrupt", f"its elements are nested more than {MAX_DEPTH} deep.")


def take_controls(soup: Any) -> Iterator[LeftOut]:
    """Take out what is no text, and controls and fallbacks; gives the texts of those that a reader may see."""
    for element in soup(NO_TEXT):
        if element.decomposed:
            continue
        text = "" if element.name in UNSEEN else element.get_text(" ", strip=True)
        element.decompose()
        if text:
            yield LeftOut("control or fallback", text)


def outside(soup: Any) -> Iterator[LeftOut]:
    """The paragraphs that are left when the main part is out."""
    for text in to_markdown(str(soup)).split("\n\n"):
        if text.strip():
            yield LeftOut("outside the main part", text.strip())


def take_navigation(soup: Any) -> Iterator[LeftOut]:
    """Take every navigation element out of the page; gives their texts. What holds more than half of the page's text is
    none, whatever its name says (a whole page may stand in a `nav`, or below a class such as `modal`)."""
    lists = link_lists(soup)
    most = num_own_characters(soup) / 2
    for element in soup.find_all(True):
        if element.decomposed or element.name in {"html", "body", "main", "article"}:
            continue
        if (id(element) in lists or is_navigation(element)) and num_own_characters(element) <= most:
            text = element.get_text(" ", strip=True)
            element.decompose()
            if text:
                yield LeftOut("navigation", text)


def num_own_characters(element: Any) -> int:
    """Characters of text outside links: a menu has none, however long it is."""
    links = sum(len(link.get_text(strip=True)) for link in element.find_all("a"))
    return len(element.get_text(strip=True)) - links


def is_navigation(element: Any) -> bool:
    """By tag, role, class or id, by being hidden, or as the label of a control in a form, where controls go."""
    if element.name in NAVIGATION or str(element.get("role", "")).lower() in ROLES:
        return True
    if element.has_attr("hidden") or str(element.get("aria-hidden", "")).lower() == "true":
        return True
    if "display:none" in str(element.get("style", "")).replace(" ", "").lower():
        return True
    if element.name == "header" and not element.find(["h1", "h2"]):
        return True
    if element.name == "label" and element.find_parent("form"):
        return True
    names = [*element.get("class", []), str(element.get("id", ""))]
    return any(map(names_navigation, names)) and not element.find(["h1", "article", "main"])


def names_navigation(name: str) -> bool:
    """Whether all of a class or id says so: `site-footer` does, `has-sidebar` and `social-security` do not."""
    words = {word for word in re.split(r"[-_]+", name.lower()) if word and not word.isdigit()}
    return words <= ONLY_ALONE and len(words) == 1 or bool(words & NAMES) and words <= NAMES | BESIDE_NAMES


def link_lists(soup: Any) -> set[int]:
    """Identities of the elements close above links that hold at least three links and little else."""
    links: dict[int, list[Any]] = defaultdict(list)
    above: dict[int, Any] = {}
    for link in soup.find_all("a"):
        for element in islice(link.parents, LINK_DEPTH):
            if element.name in LISTS:
                links[id(element)].append(link)
                above[id(element)] = element
    return {key for key, found in links.items() if len(found) >= MIN_LINKS and is_mostly(above[key], found)}


def is_mostly(element: Any, links: list[Any]) -> bool:
    """Whether the texts of the links make up most of an element's text."""
    size = len(element.get_text(" ", strip=True))
    return sum(len(link.get_text(" ", strip=True)) for link in links) > LINK_SHARE * size


def content_of(soup: Any) -> Any:
    """The main element or the only article when there is one with most of the text, else the whole page."""
    whole = len(soup.get_text(" ", strip=True))
    for found in (soup.find_all("main"), soup.find_all("article")):
        if len(found) == 1 and len(found[0].get_text(" ", strip=True)) >= 0.5 * whole:
            return found[0]
    return soup


def to_markdown(html: str) -> str:
    """HTML as Markdown with ATX headings; links and pictures give their text only."""
    from markdownify import markdownify

    text = markdownify(
        html,
        heading_style="ATX",
        bullets="-",
        strip=["a", "img"],
        table_infer_header=True,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", str(text)))
