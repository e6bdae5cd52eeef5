"""The page: complete, escaped, self-contained, accessible, and readable on a phone."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from judges.report import Report, Row
from tests.fakes_report import HOSTILE, PROVENANCE, fake_report, fake_rows, full_report
from ui.plots import Effect, Point, axis, forest, trade_off
from ui.report_page import TEMPLATES, render, write_page

SCRIPT = (TEMPLATES / "report.js").read_text(encoding="utf-8")
VOID = {"meta", "br", "img", "link", "input", "hr"}
SVG_VOID = {"line", "circle", "path", "polyline", "rect"}
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """Collects elements and text, and fails on a tag that is closed in the wrong place."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report() -> Report:
    return fake_report()


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(render(report))


@pytest.fixture(scope="module")
def full_data() -> Report:
    return full_report()


@pytest.fixture(scope="module")
def full(full_data) -> Page:
    return Page(render(full_data))


def test_headlines_come_before_the_table(report, page):
    places = [page.text.index(headline.claim) for headline in report.headlines]
    assert places == sorted(places)
    assert places[-1] < page.text.index("All arms, all metrics")
    assert all(headline.evidence in page.text for headline in report.headlines)


def test_everything_in_the_report_is_on_the_page(report, page):
    assert all(note in page.text for note in report.notes)
    assert all(about in page.text for about in report.arms.values())
    assert all(digest in page.text for digest in PROVENANCE["digests"].values())
    assert PROVENANCE["command"] in page.text
    assert "The router sends 83% of requests to the right expert (95% CI 75–89, n=110)." in page.text
    assert report.samples[0]["answers"]["conversation"] in page.text
    assert "n=56, 8 unscored" in page.text
    assert "oracle" in page.text


def test_the_decision_comes_first(full):
    """Is it better, for whom, how sure: before any table; with what this many items could have shown."""
    places = [full.text.index(part) for part in ("claims that every report makes", "For whom?", "How sure are we?")]
    assert places == sorted(places)
    assert places[-1] < full.text.index("All arms, all metrics")
    assert "shows differences from" in full.text
    assert "Not trusted, so their numbers decide nothing: llm_judge." in full.text
    assert "1 of 28 test rows share text with training rows." in full.text
    assert "better known than held-out ones of the same field in: DAPT only." in full.text


def test_every_section_is_there(full, full_data):
    captions = ["All comparisons", "The claims within groups of items", "Share of items on which the first arm",
                "General probes before and after", "Regret: the oracle", "Test rows by file", "Memorisation:",
                "Judges on the probe set"]  # fmt: skip
    assert all(caption in full.text for caption in captions)
    labels = [svg["aria-label"] for svg in full.all("svg") if svg.get("role") == "img"]
    assert sum(label.startswith("Words per answer of") for label in labels) == len(full_data.lengths)
    assert sum(label.startswith("Confidence against accuracy") for label in labels) == 1
    assert "not better than chance" in full.text
    assert "the servicer must send an escrow analysis once a year" in full.text


def test_pairs_are_shown_apart_and_one_of_an_untrusted_judge_says_so():
    """3 wins, 1 tie by a flip: 88% (Wilson 40 to 99), 25% flipped (5 to 70)."""
    verdicts = enumerate([1.0, 1.0, 0.5, 1.0])
    pairs = [Row("conversation", "llm_judge_pairwise.instruct", f"q{i}", v, {"flipped": v == 0.5}) for i, v in verdicts]
    judges = [{"judge": "llm_judge", "trusted": False, "reason": "r"}]
    shown = Page(render(fake_report(rows=[*fake_rows(), *pairs], judges=judges)))
    assert "Which answer is better, side by side" in shown.text
    for part in ("Conversation over Instruct", "3 / 1 / 0", "88%", "25%", "5–70%", "not trusted, decides nothing"):
        assert part in shown.text
    assert "LLM judge in pairs" not in shown.text
    assert "Which answer is better, side by side" not in Page(render(fake_report())).text


def test_every_table_has_a_caption_and_every_number_its_place_in_the_json(full, full_data):
    tags = [tag for tag, _ in full.elements]
    assert tags.count("caption") == tags.count("table")
    content = full_data.as_dict()
    for key in ("summary", "subgroups", "length_controlled", "forgetting", "leakage", "judges", "items", "lengths"):
        assert content[key]
    assert content["routing"]["regret"][0].keys() >= {"policy", "regret", "low", "high", "n"}


def test_evidence_is_marked_and_flags_are_shown(full):
    titles = [mark["title"] for mark in full.all("mark")]
    assert titles[:2] == ["safety", "safety: number"]
    assert "safety: advice" in full.text
    assert "1 flagged" in full.text


def test_lines_carry_what_the_filters_need(full):
    lines = [attributes for tag, attributes in full.elements if tag == "tr" and "data-verdict" in attributes]
    assert {line["data-verdict"] for line in lines} == {"better", "worse", "not enough evidence"}
    arms = {arm for line in lines for arm in (line.get("data-arms") or "").split("\n")}
    offered = {option["value"] for option in full.all("option") if option.get("value")}
    assert arms - {""} <= offered
    assert [form.get("hidden", "no") for form in full.all("form")] == [None]


def test_one_plot_a_metric_and_one_for_the_sweep(page):
    labels = [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"]
    labels = [label for label in labels if not label.startswith("Confidence")]
    assert len(labels) == 15 + 1
    assert "Instructions, general: difference to Instruct." in labels[0]
    assert "n=64: worse." in labels[0]
    assert "scale 1.0: perplexity 11.90" in labels[-1]


def test_hostile_text_is_text(page):
    assert page.text.count(HOSTILE) == 3
    assert page.scripts == [SCRIPT]
    assert page.all("img") == []
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]


def test_hostile_names_are_text():
    """Arms, metrics, titles, labels and provenance come from files too, and arms also go into the SVG."""
    rows = [Row(arm, HOSTILE, str(i), i + len(arm)) for arm in ("instruct", HOSTILE) for i in range(3)]
    routing = {
        "confusion": {"labels": [HOSTILE], "counts": [[1]]},
        "end_to_end": [{"routing": HOSTILE, HOSTILE: HOSTILE}],
    }
    page = Page(
        render(
            Report(
                HOSTILE, HOSTILE, {"instruct": HOSTILE, HOSTILE: HOSTILE}, rows, {HOSTILE: [HOSTILE]},
                routing=routing, notes=[HOSTILE],
                sweep=[{"scale": HOSTILE, "perplexity": 2.0, "instruction_following": 0.5}],
            )
        )
    )  # fmt: skip
    assert page.scripts == [SCRIPT]
    assert page.all("img") == []


def test_nothing_is_fetched(report, page):
    html = render(report)
    targets = [a.get(name) for _, a in page.elements for name in ("src", "href", "srcset", "data") if a.get(name)]
    assert [target for target in targets if not target.startswith("#")] == ["report.json", "rows.jsonl"]
    assert "url(" not in html
    assert "@import" not in html
    assert page.all("link") == []
    assert "default-src 'none'" in page.all("meta")[-1]["content"]


def test_only_our_own_script_may_run(page):
    """The policy names the digest of the one script; a script from an answer has another one."""
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.all("meta")[-1]["content"]
    assert page.scripts == [SCRIPT]


def test_links_inside_the_page_lead_somewhere(page, full):
    for found in (page, full):
        ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
        links = {a["href"][1:] for a in found.all("a") if (a.get("href") or "").startswith("#")}
        labels = {a["aria-labelledby"] for a in found.all("section") if "aria-labelledby" in a}
        assert links | labels <= ids
        assert labels <= links


def test_accessible_structure(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") == "true" for svg in page.all("svg"))
    assert all(a["aria-label"] for _, a in page.elements if a.get("class") == "scroll")


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back"),
    [("text", "card"), ("text", "heat"), ("text", "warn"), ("soft", "card"), ("soft", "page"), ("accent", "card"),
     ("better", "card"), ("worse", "card"), ("text", "mark"), ("text", "page")],
)  # fmt: skip
def test_contrast(mode, front, back):
    """WCAG AA for text: (lighter + .05) / (darker + .05) >= 4.5; black on white is 21."""
    colours = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)]
    darker, lighter = sorted(luminance(colours[mode][name]) for name in (front, back))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


CSS = (TEMPLATES / "report.css").read_text()


def test_a_bare_report_still_renders():
    """No baseline, no routing, no sweep, no samples, an unscored arm, an unknown metric, another arm without rows."""
    rows = [Row("mine", "brevity", "1", 0.5), Row("mine", "brevity", "2", 0.7), Row("yours", "brevity", "1", None)]
    page = Page(render(Report("d", "D", {"mine": "", "yours": "", "absent": ""}, rows)))
    assert "Brevity" in page.text
    assert "n=0, 1 unscored" in page.text
    assert "Routing" not in page.text
    assert "How much residual" not in page.text


def test_an_empty_report_says_so():
    page = Page(render(Report("d", "D", {}, ())))
    assert "This report has no rows." in page.text
    assert "nothing can be claimed" in page.text


def test_a_metric_that_an_arm_lacks_is_not_measured():
    rows = [Row("instruct", "safety", "1", 1.0), Row("dapt", "empathy", "1", 1.0)]
    assert Page(render(Report("d", "D", {"instruct": "", "dapt": ""}, rows))).text.count("not measured") == 2


def test_write_page_leaves_one_whole_file(report, tmp_path):
    path = write_page(report, tmp_path / "out")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == render(report)


def positions(svg, tag, attribute):
    return [float(e.get(attribute)) for e in ElementTree.fromstring(str(svg)).iter(tag) if e.get(attribute)]


def test_forest_geometry():
    """Equal and opposite effects lie mirrored about the zero line, and a bar spans its interval around the mark."""
    svg = forest(
        [Effect("up", 2.0, 1.0, 3.0, "+2", "better"), Effect("down", -2.0, -3.0, -1.0, "−2", "not enough evidence")],
        "c",
        str,
    )
    root = ElementTree.fromstring(str(svg))
    zero = float(next(e for e in root.iter("line") if e.get("class") == "zero").get("x1"))
    up, down = positions(svg, "circle", "cx")
    assert up - zero == pytest.approx(zero - down, abs=0.2)
    bar = next(e for e in root.iter("line") if e.get("class") == "bar")
    assert (float(bar.get("x1")) + float(bar.get("x2"))) / 2 == pytest.approx(up, abs=0.2)
    assert {e.get("class") for e in root.iter("g")} == {"better", "not-enough-evidence"}


def test_plots_stay_inside_their_frame():
    wild = [Point(11.7, 0.0, "0.0"), Point(11.7, 0.0, "0.5"), Point(13.0, 1.0, "1.0", 0.2, 1.0)]
    for svg in (
        trade_off(wild, "c", "x", "y"),
        forest([Effect("x" * 80, -1e-4, -1e3, 1e3, "0", "worse")], "c", "{:+.3g}".format),
    ):
        width, height = (float(n) for n in ElementTree.fromstring(str(svg)).get("viewBox").split()[2:])
        xs = [
            x
            for tag, name in (("line", "x1"), ("line", "x2"), ("circle", "cx"), ("text", "x"))
            for x in positions(svg, tag, name)
        ]
        ys = [
            y
            for tag, name in (("line", "y1"), ("line", "y2"), ("circle", "cy"), ("text", "y"))
            for y in positions(svg, tag, name)
        ]
        assert 0 <= min(xs) <= max(xs) <= width
        assert 0 <= min(ys) <= max(ys) <= height


def test_labels_of_equal_points_do_not_cover_each_other():
    svg = trade_off([Point(2.0, 0.5, "a"), Point(2.0, 0.5, "b")], "c", "x", "y")
    labels = [e for e in ElementTree.fromstring(str(svg)).iter("text") if "halo" in (e.get("class") or "")]
    assert abs(float(labels[0].get("y")) - float(labels[1].get("y"))) >= 12


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-1e-7, 1e-7], [0, 1e6], [-78.0, 8.0], [11.68, 12.6]])
def test_axis_shows_all_values_with_a_few_ticks(values):
    found = axis(values, 10, 100)
    assert 2 <= len(found.ticks) <= 8
    assert all(10 <= found.pixel(value) <= 100 for value in [*values, *found.ticks])
