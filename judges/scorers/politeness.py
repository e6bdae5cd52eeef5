"""Politeness by interpretable strategies, after Danescu-Niculescu-Mizil et al. 2013 (arXiv 1306.6078), and tone.

Each strategy that a text uses adds its weight once; the tone is the log odds of a small head on the text's embedding
(`python -m judges.heads.fit_politeness`, fitted on texts written for this project). The value is the logistic function
of the sum of both, 0.5 = neutral. The weights follow the order and the signs of the paper's table 3 (gratitude and
deference most polite, direct starts, second-person starts and blame least); they were set by hand on one half of the
human-rated requests of that paper, so this judge is not blind to that corpus. On the other half, top against bottom
quartile at 0.5, the strategies alone, without the tone, have a balanced accuracy of 0.81 (Wikipedia, 2,195 requests)
and 0.66 (Stack Exchange, 3,361): figures of a part of the value, not of the value that this judge gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import torch

from domains.domain import Domain
from judges.heads.head import FOLDER, load_heads
from judges.heads.vectors import text_vectors
from judges.sentences import sentences, words
from judges.verdict import Answered, Verdict

WEIGHTS = FOLDER / "politeness.safetensors"
BASE = 0.1
TERSE = -0.4
TERSE_WORDS = 6
IMPERATIVES = (
    r"(?:add|answer|ask|be|bring|buy|calm|call|change|check|clean|come|consider|correct|create|delete|do|edit|explain|"
    r"find|fix|follow|get|give|go|grow|help|just|keep|leave|learn|let|listen|look|make|move|never|notice|pay|post|"
    r"provide|put|quit|read|remove|respond|revert|rewrite|say|see|send|show|shut|start|stop|take|talk|tell|think|try|"
    r"turn|use|wait|watch|write)"
)
QUESTION_WORDS = r"(?:what|why|who|how|where|when|which)(?:'s|'re|'d)?"


@dataclass(frozen=True)
class Strategy:
    """Weight in the sum and a pattern over a lower-case text; `where` = where it is anchored."""

    weight: float
    pattern: str
    where: str = "anywhere"


STRATEGIES = {
    "gratitude": Strategy(1.3, r"\b(?:thank(?:s| you|ful)|thanx|thx|cheers|grateful|appreciat\w+|much obliged)\b"),
    "deference": Strategy(
        1.1,
        r"^(?:great|good|nice|excellent|interesting|awesome|wonderful|impressive|fantastic|well done|congrat\w+|fine) ?"
        r"|\b(?:nice|good|great|excellent|wonderful|amazing|fantastic|hard|terrific|superb) "
        r"(?:work|job|question|answer|point|find|idea|catch|effort\w*|article|contributions?|edits?|start|suggestion)\b"
        r"|\bwell done\b|\bcongrat\w+|\bkudos\b|\bif you (?:don't|do not|wouldn't) mind\b|\b(?:i|"
        r"we) (?:really )?admire\b",
        "start",
    ),
    "greeting": Strategy(
        0.6, r"^(?:hi|hello|hey|dear|greetings|good (?:morning|afternoon|evening|day)|welcome)\b", "start"
    ),
    "apology": Strategy(
        0.6, r"\b(?:sorry|apolog\w+|excuse me|forgive|pardon|my (?:bad|mistake|fault)|forgot to|oops|i was wrong)\b"
    ),
    "please": Strategy(0.6, r"(?<=\w)[ ,]+(?:please|pls|plz|kindly)\b"),
    "please_start": Strategy(-0.15, r"^(?:please|pls|plz)\b", "start"),
    "by_the_way": Strategy(0.6, r"\b(?:by the way|btw)\b"),
    "counterfactual_request": Strategy(0.6, r"\b(?:could|would|might|may) (?:you|i|we|someone|anyone|it)\b"),
    "indicative_request": Strategy(0.5, r"\b(?:can|will) (?:you|someone|anyone)\b"),
    "indirect_request": Strategy(
        0.7,
        r"\b(?:i was wondering|i wonder(?:ed)?|wondering if|would it be (?:possible|ok\w*)|is it possible|"
        r"do you (?:think|mind|know|have (?:any|time))|would you (?:mind|like|be)|if you (?:could|can|would|"
        r"have|like|want|"
        r"need|wish|get a chance|are interested)|let me know|feel free|when you (?:get|have)|perhaps you|"
        r"i(?:'d| would) (?:like|love|appreciate|be)|could i (?:ask|trouble)|any (?:chance|ideas?|thoughts|help))\b",
    ),
    "hedge": Strategy(
        0.3,
        r"\b(?:perhaps|maybe|possibly|probably|i (?:think|guess|suppose|believe|feel|hope|assume)|seems?|"
        r"might|somewhat|"
        r"sort of|kind of|usually|often|suggest\w*|in my (?:opinion|view|experience)|imo|not sure|unsure|"
        r"if possible)\b",
    ),
    "first_person_plural": Strategy(0.25, r"\b(?:we|our|us|together|let's|let us)\b"),
    "first_person_start": Strategy(0.25, r"^(?:i|my|i'm|i've|i'd)\b", "start"),
    "positive_words": Strategy(
        0.35,
        r"\b(?:help(?:ful|s|ing)?|happy|glad|love(?:ly)?|great|nice|good|best|interest(?:ed|ing)|welcome|enjoy\w*|hope|"
        r"useful|wonderful|excellent|kind(?:ly|ness)?|pleas(?:ed|ure)|improve\w*|awesome|care|support|"
        r"understandable)\b",
    ),
    "reassurance": Strategy(
        0.5,
        r"\b(?:no (?:rush|worries|problem|pressure)|take your time|it's ok(?:ay)?|that's ok(?:ay)?|"
        r"you(?:'re| are) not alone|"
        r"that (?:sounds|must be)|makes sense|understandabl[ey]|(?:i|we) (?:can )?(?:understand|hear|"
        r"see) (?:how|why|that)|"
        r"you (?:may|might|can|could) (?:want|wish|like|also|ask|try|call)|happy to help|whenever you)\b",
    ),
    "smile": Strategy(0.5, r"[:;]-?[)d]|\bhaha\b|🙂|😊"),
    "negative_words": Strategy(
        -0.4,
        r"\b(?:wrong|bad|fail\w*|ridiculous|nonsense|vandal\w*|delet\w+|block\w*|complain\w*|useless|terrible|"
        r"horrible|awful|hate\w*|attack\w*|accus\w+|disrupt\w*|bias\w*|dispute|lying|lie[sd]?|waste|"
        r"pointless|absurd|rubbish|crap|poor|annoy\w+|violat\w+|ignor\w+|bother)\b",
    ),
    "insult": Strategy(
        -1.6,
        r"\b(?:stupid|idiot\w*|moron\w*|dumb|lazy|clueless|incompetent|ignorant|pathetic|liar|fools?|"
        r"foolish|loser|silly|"
        r"damn|hell|wtf|fuck\w*|shit\w*|bullshit|ass|sucks?|shut up|childish|paranoid|hypocrit\w+|troll\w*|"
        r"crazy|insane)\b",
    ),
    "blame": Strategy(
        -0.8,
        r"\b(?:you (?:should|shouldn't|should not|must|need to|have to|had better|ought|fail\w*|never|always|clearly|"
        r"obviously|apparently|keep|refuse\w*|didn't (?:even|bother)|don't (?:even|seem|know|understand|"
        r"get)|don't care|"
        r"seem to|claim\w*|accuse\w*|can't (?:even|just))|your (?:fault|problem|own fault|so-called|failure|"
        r"claim\w*|opinion)|"
        r"why (?:did|didn't|don't|do|are|aren't|have|haven't|would|must|can't) you|how (?:dare|can you|could you)|"
        r"what (?:are you (?:doing|talking|trying)|were you|do you think you|makes you|gives you|"
        r"the (?:hell|heck))|who (?:are|do) you|"
        r"are you (?:even|really|seriously|serious|kidding|blind|saying|claiming|going to)|you (?:really|also seem)|"
        r"(?:do|did|have|can't|don't|didn't|haven't) you (?:even|really|actually|not|just|understand|read))\b",
    ),
    "insistence": Strategy(
        -0.6,
        r"\b(?:really|actually|honestly|obviously|clearly|surely|in fact|the fact|the point is|simply|"
        r"of course|once again|"
        r"whatever|so what|again|enough|at all|any(?:way|more)|stop|for (?:god's|goodness|christ's|heaven's) sake|"
        r"rtfm|google it|read the (?:manual|docs|faq|question|article)|do your (?:own )?(?:homework|research)|"
        r"not (?:my|our) (?:problem|job|concern)|deal with it|calm down|get over (?:it|yourself)|grow up)\b",
    ),
    "shouting": Strategy(-0.5, r"[!?]{2,}|\?!|!\?"),
    "direct_question": Strategy(-0.3, rf"^(?:and |but |so |also,? )?{QUESTION_WORDS}\b", "start"),
    "challenge": Strategy(
        -0.8,
        r"\bwhy\b(?! not)|\bwhat exactly\b|\b(?:what|how) do you mean\b|\bdo you mean\b|\bwhat'?s (?:the|"
        r"your) (?:point|problem)"
        r"|\bwhat is your (?:point|problem)|\b(?:don't|didn't|can't|haven't|aren't|isn't it|shouldn't|"
        r"wouldn't) you\b|\bhomework\b"
        r"|\bas opposed to\b|\bbig deal\b|\bso you(?:'re| are)\b|\bhuh\b|\bmakes? no sense\b|\bhow is (?:this|that)\b",
    ),
    "negation": Strategy(-0.2, r"\b(?:not|no|never|nothing|doesn't|don't|can't|isn't|won't)\b"),
    "open_question": Strategy(
        0.25,
        r"^(?:and |but |so |also,? )?(?:is|are|does|did|has|have) (?:there|it|this|that|the|you|your|any)\b",
        "start",
    ),
    "invitation": Strategy(
        0.45,
        r"\b(?:clarify|elaborate|describe|share|an example|more (?:details?|info\w*|context|specific)|"
        r"details?|point me|"
        r"take a look|have a look|out of curiosity|just curious|try(?:ing)? to understand|good luck|"
        r"have you (?:tried|considered)|"
        r"does (?:this|that|it) (?:help|work)|thought)\b",
    ),
    "second_person_start": Strategy(-0.45, r"^(?:and |but |so )?(?:you|your|you're|you've|you'd)\b", "start"),
    "abrupt_start": Strategy(-0.3, r"^(?:so|then|and|but|or|well|ok|no|not|nope|yeah|yes|huh|um+|er+)\b", "start"),
    "direct_imperative": Strategy(-0.5, rf"^(?:{IMPERATIVES}|don't|do not)\b(?! you)", "first"),
}


@dataclass(frozen=True)
class Judge:
    """Politeness from 0 (rude) to 1; None for an empty answer.

    Parts: the strategies found, with their weights, and the tone, all in log odds. Raises UserError where the encoder
    is not installed.
    """

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; only the answer counts, and equal answers are judged once."""
        texts = list(dict.fromkeys(row.answer for row in rows if row.answer.strip()))
        tones = tones_of(texts) if texts else []
        found = {text: verdict(strategies_in(text), tone) for text, tone in zip(texts, tones, strict=True)}
        return [found.get(row.answer) or Verdict(None, "Unscored: the answer is empty.") for row in rows]


def politeness(text: str) -> Verdict:
    """The verdict on one text."""
    return Judge()([Answered("", text)])[0]


def tones_of(texts: Sequence[str]) -> list[float]:
    """The log odds of a polite tone of each text."""
    probabilities = load_heads(WEIGHTS)["tone"].probabilities(torch.zeros(len(texts), 0), text_vectors(texts))
    return [float(logit) for logit in torch.logit(probabilities[:, 1])]


def verdict(used: dict[str, float], tone: float) -> Verdict:
    """The verdict from the strategies and the tone."""
    value = 1 / (1 + exp(-BASE - sum(used.values()) - tone))
    named = ", ".join(sorted(used, key=lambda name: -abs(used[name]))[:4]) or "none"
    explanation = f"Politeness {value:.2f}; main strategies: {named}; tone {tone:+.1f}."
    return Verdict(round(value, 4), explanation, {"strategies": used, "tone": round(tone, 4)})


def strategies_in(text: str) -> dict[str, float]:
    """The strategies that a text uses, each with its weight."""
    lines = [sentence.lower().replace("’", "'") for sentence in sentences(text)] or [text.lower()]
    used = {name: strategy.weight for name, strategy in STRATEGIES.items() if uses(strategy, lines)}
    return used | ({"terse": TERSE} if len(words(text)) <= TERSE_WORDS else {})


def uses(strategy: Strategy, lines: Sequence[str]) -> bool:
    """Whether the strategy is found in any of the sentences it looks at."""
    looked_at = lines[:1] if strategy.where == "first" else lines
    return any(re.search(strategy.pattern, line) for line in looked_at)
