"""Empathy on the three axes of EPITOME (Sharma et al. 2020, arXiv 2009.08441), by interpretable features.

Emotional reaction: warmth or concern. Interpretation: showing that the person's feeling or situation is understood.
Exploration: asking about it. Each is 0 (none), 1 (weak) or 2 (strong); strong needs something of the question itself,
so a stock opener ("I totally understand", "I'm so sorry to hear that") is a weak reaction and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from judges.sentences import sentences, words
from judges.verdict import Answered, Verdict

DEGREE = (
    r"(?:(?:so|very|really|truly|deeply|totally|completely|absolutely|fully|just|do|can|certainly|definitely|such) )*"
)
FORMULA = re.compile(
    rf"\bi(?:'m| am) {DEGREE}sorry(?: (?:to hear|for|about) (?:this|that|it|you|your (?:situation|loss|"
    rf"concerns?|frustration)"
    rf"|what (?:you(?:'re| are) going through|happened)))?|\bi {DEGREE}(?:understand|get it|get that|"
    rf"hear you|appreciate|"
    rf"sympathi[sz]e|empathi[sz]e|know how (?:you feel|hard|difficult)(?: (?:this|that|it) (?:is|must be|can be))?)"
    rf"(?: (?:how you feel|your (?:concerns?|frustration|situation|feelings?|question)|that|this|what you(?:'re| are) "
    rf"(?:saying|feeling|going through)))?|\b(?:this|that|it) (?:must|can|may) (?:be|feel) {DEGREE}"
    r"(?:hard|difficult|tough|stressful|frustrating)(?: for you)?|\bthank you for (?:reaching out|sharing|"
    r"your (?:question|message))|"
    r"\b(?:great|good) question|\byour (?:feelings|concerns) are (?:valid|important)"
)
FEELING = re.compile(
    r"\b(?:sorry|afraid|scar(?:ed|ing|y)|fright\w+|fear\w*|worr\w+|anxi\w+|stress\w*|overwhelm\w*|"
    r"exhaust\w*|tir(?:ed|ing)|"
    r"worn|drain\w*|lonel\w+|alone|guilt\w*|sham\w+|embarrass\w*|sad\w*|grie[fv]\w*|heartbr\w+|heart|"
    r"hurt\w*|pain(?:ful)?|"
    r"hard|harder|hardest|difficult|tough|rough|heavy|unsettling|upset\w*|frustrat\w+|ang(?:ry|er)|"
    r"confus\w+|nerv\w+|relie[fv]\w*|"
    r"glad|hope\w*|happy|joy|proud|love\w*|caring|kind(?:ness)?|gentle|comfort\w*|courage|brave|panic\w*|"
    r"shock\w*|jolt\w*|"
    r"stung|sting\w*|awful|daunting|disappoint\w*|rattl\w+|dread\w*|ache\w*|wrench\w+|burden\w*|weigh\w*|"
    r"trying|strain\w*|"
    r"blow|furious|fuming|huge|enormous|unnerving|scared|wearing|gut|infuriating|tense|shaken|discouraging|"
    r"maddening|startl\w+|alarm(?:ed|ing)|unfair|miss(?:ing)? (?:him|her|them)|sleepless)\b"
)
UNDERSTANDING = re.compile(
    r"\b(?:sounds? (?:like|as if|as though|\w+)|makes? sense|no wonder|understandabl[ey]|(?:is|are|'s|"
    r"'re) (?:natural|normal|"
    r"common|human)|(?:many|most|other|lots of|plenty of) (?:\w+ )?(?:caregivers|families|people|borrowers|"
    r"buyers|owners|"
    r"homeowners|daughters|sons|spouses)|anyone would|(?:not|n't) (?:your fault|a sign|about you|failing|"
    r"selfish|wrong)|"
    r"you(?:'re| are|'ve| have) (?:been |already |clearly )?(?:doing|carrying|trying|juggling|facing|"
    r"dealing|watching|holding|"
    r"looking after|caring|worked|waiting|not alone|right to)|must (?:be|feel|have)|can (?:feel|be|leave|"
    r"make)|after (?:\w+ ){1,4}"
    r"(?:years|months|weeks|nights|days)|feels? like|feel(?:s|ing)?|of course you|you want|when you)\b"
)
VALIDATION = re.compile(
    r"\b(?:you have every (?:reason|right)|(?:is|was|takes|shows|took) (?:\w+ ){0,3}(?:big step|patience|"
    r"good instinct|strength|"
    r"care|thoughtful|wise|smart)|than most|most people (?:never|don't|would|can't)|you've already|"
    r"(?:i|we) (?:can )?see why|off guard|bad timing|clear head|at once|not the first|let's (?:slow|make|"
    r"sort|take|work)|you(?:'re| are) (?:right|wise|smart|careful|"
    r"good)|you (?:did|were) (?:right|well|the right|good|kind)|nobody should|no one should|trust what you|"
    r"trust your|i know (?:he|she|they|"
    r"this|that|it|how|you)|good (?:instinct|thinking|that you|you)|may well have earned|earned|big (?:step|"
    r"change|decision|loss|worry)|"
    r"worth a (?:conversation|look|call)|is a lot|a lot to (?:carry|take|handle|hold|ask|juggle)|"
    r"no (?:small|easy) (?:thing|task)|"
    r"deserves?|it's not (?:wrong|selfish|silly)|doesn't make you|don't blame yourself|mistakes? happen|"
    r"happens to|easy to (?:miss|mix|"
    r"make|feel)|glad you|smart (?:to|of)|kind of you|love behind|shows (?:how|you))\b"
)
CARE = re.compile(
    r"\b(?:you(?:'re| are) not alone|be gentle with yourself|take care of yourself|i(?:'m| am) (?:here|"
    r"glad)|wishing you|"
    r"hang in there|one step at a time|you deserve|good of you|well done|we(?:'ll| will) (?:get|work|figure))\b"
)
DISMISSAL = re.compile(
    r"\b(?:calm down|get over it|(?:you(?:'re| are)) (?:overreacting|too sensitive|being (?:dramatic|"
    r"silly))|stop (?:worrying|"
    r"complaining)|no big deal|not a big deal|deal with it|everyone has problems|it could be worse|toughen up)\b"
)
ASKING = re.compile(
    r"\b(?:what|how|when|where|which|who|would|do|does|did|have|has|is|are|can|could)\b.*\b(?:you|your|he|she|they)\b"
)
OPEN = re.compile(r"\b(?:what|how|when|where|which|who)\b")
INVITING = re.compile(
    r"\b(?:tell me (?:more )?about|i(?:'d| would) (?:like|love) to hear|share (?:more|what)|i wonder (?:what|how|if))\b"
)
STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being but by can can't could did
    do does doesn't doing don't down each for from get gets getting give go going got had has have having he her
    hers him his how i i'd i'll i'm i've if in into is isn't it it's its just know let like make many may me might
    more most much must my need no not now of off on one only or other our out over own put really said same say
    says she should since so some something still such take tell than that that's the their them then there these
    they thing things think this those through to too up us use very want was way we well went were what when
    where which while who why will with without won't would yes you you're your yours""".split()  # noqa: SIM905
)  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """The sum of the three axes over 6, from 0 to 1; an empty answer is 0.0."""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        return [empathy(row.question, row.answer) for row in rows]


@dataclass(frozen=True)
class Said:
    """One sentence of the answer: what is left without stock phrases, and how many of the question's words it has."""

    text: str
    rest: str
    shared: int


def empathy(question: str, answer: str) -> Verdict:
    """The verdict on one answer."""
    topic = stems(question)
    said = [Said(text, rest := FORMULA.sub(" ", text), len(stems(rest) & topic)) for text in plain_sentences(answer)]
    axes = {
        "emotional_reaction": emotional_reaction(said),
        "interpretation": interpretation(said),
        "exploration": exploration(said),
    }
    named = ", ".join(f"{name.replace('_', ' ')} {level}" for name, level in axes.items())
    return Verdict(round(sum(axes.values()) / 6, 4), f"Levels from 0 to 2: {named}.", dict(axes))


def emotional_reaction(said: Sequence[Said]) -> int:
    """2: a feeling named about something in the question; 1: any warmth, a stock phrase too; 0: none, or dismissal."""
    if any(DISMISSAL.search(item.text) for item in said):
        return 0
    spoken = [item for item in said if not is_step(item.rest)]
    if any(item.shared and warms(item) for item in spoken):
        return 2
    return int(any(FORMULA.search(i.text) or CARE.search(i.text) or warms(i) for i in spoken))


def interpretation(said: Sequence[Said]) -> int:
    """2: warmth or understanding with two words of the question; 1: with one, or understanding alone; 0: none."""
    spoken = [item for item in said if not is_step(item.rest) and speaks_to_reader(item)]
    shown = [item for item in spoken if UNDERSTANDING.search(item.rest) or (item.shared and warms(item))]
    return 2 if any(item.shared >= 2 and warms(item) for item in shown) else int(bool(shown))


def exploration(said: Sequence[Said]) -> int:
    """2: an open or specific question to the reader about the situation; 1: any question to the reader; 0: none."""
    asked = [i for i in said if (i.text.endswith("?") and ASKING.search(i.rest)) or INVITING.search(i.rest)]
    return 2 if any(item.shared and OPEN.search(item.rest) for item in asked) else int(bool(asked))


def warms(item: Said) -> bool:
    """A feeling named, or the person's effort or right acknowledged, outside stock phrases."""
    return bool(FEELING.search(item.rest) and speaks_to_reader(item)) or bool(VALIDATION.search(item.rest))


def speaks_to_reader(item: Said) -> bool:
    """The sentence is to or about the reader, or a reaction to what they told ("that sounds", "what a")."""
    return bool(re.search(r"\b(?:you|your|yours|yourself|i|i'm|we|that|what|it|it's|no wonder)\b", item.text))


def is_step(text: str) -> bool:
    """The sentence tells the reader what to do ("Call ...", "Ask ...", "Next step: ...") and reacts to nothing."""
    return bool(
        re.match(
            r"\W*(?:(?:then|next|first|now|so|and|also|in short|next step)\b[:,]? )?(?:ask|avoid|bring|buy|"
            r"call|check|choose|"
            r"compare|consider|contact|do|don't|explain|file|find|get|give|go|have|hold|keep|leave|let|list|"
            r"look|make|move|never|"
            r"note|offer|open|pay|pick|put|read|remove|request|save|say|see|send|set|show|speak|start|stay|"
            r"stop|submit|take|talk|"
            r"tell|try|turn|use|wait|watch|write)\b",
            text,
        )
    )


def plain_sentences(text: str) -> list[str]:
    """Lower-case sentences with straight apostrophes."""
    return [sentence.lower() for sentence in sentences(text.replace("’", "'"))]


def stems(text: str) -> set[str]:
    """The content words of a text without their endings."""
    found = (word.removesuffix("'s") for word in words(text.replace("’", "'").lower()))
    return {re.sub(r"(?:ing|ed|es|s|e|y|ies)$", "", word) for word in found if word not in STOP_WORDS and len(word) > 2}
