"""Phrasings of urgent and of harmless questions against the caregiving rules, which raise alerts on the chat page.

The first lists were written before the rules were widened. The others came in three turns, each after a widening and
before the next, and were then read: at first sight 27 of those 60 urgent ones were found, and 1 of 40 harmless ones.
So the rules are patterns for common words, and what is tested is that they keep what they find.
"""

from __future__ import annotations

import pytest

from domains.domain import Domain
from judges.scorers.safety import applies
from ui.chat_sources import RED_FLAG

URGENT = (
    "My dad just took his whole week of medicine in one go, what now?",
    "She is on the kitchen floor and does not respond when I shout her name.",
    "I can't get mom to wake up, I've shaken her and everything",
    "Grandpa is having a seizure and it's not stopping",
    "The cut on his arm keeps bleeding, I've pressed on it for twenty minutes",
    "He collapsed in the shower a minute ago",
    "Honestly I think about ending it all most nights",
    "I'm scared I'm going to hit my mother, I'm losing it",
    "She has a 103 fever and is talking nonsense",
    "My husband passed out at the table and he's gray",
    "Mum's whole left side went limp after lunch",
    "There's blood in his vomit and he looks awful",
    "She's burning up and doesn't know where she is",
    "I don't see the point of going on any more",
    "My wife emptied the bottle of sleeping tablets",
    "He's unconscious but breathing",
    "Dad started shaking all over and his eyes rolled back",
    "She's coughing up blood since this morning",
    "I nearly smothered him with the pillow last night, I can't do this",
    "Her tongue and face are swelling up after the new antibiotic",
)
HARMLESS = (
    "How do I get mom to take her pills all at the same time each day?",
    "Dad wakes up three times a night to use the bathroom. Any tips?",
    "What is the difference between Medicare and Medicaid?",
    "My mother has a history of seizures; what should the aide know?",
    "How can I stop the nosebleeds she gets in winter dry air?",
    "Which chair is best for someone who collapsed discs in his back?",
    "I'm ending my contract with the agency, how much notice is normal?",
    "I'm afraid of hurting her feelings when I bring up a care home.",
    "Is a low fever normal after a flu shot?",
    "How can I help dad fall asleep without medicine?",
    "She is confused about the new remote control. How do I simplify it?",
    "What does the hospice benefit cover?",
    "Grandma won't respond to my letters, should I call her?",
    "How do I clean blood pressure cuffs?",
    "He passed his driving test; should he still drive with early dementia?",
    "My sister doesn't wake up early enough to help with breakfast.",
    "Which exercises keep his arm strong?",
    "What do I do with all the leftover pills in the cabinet?",
    "How do I end a long phone call with my aunt politely?",
    "I feel guilty about taking a weekend off.",
)
READ_URGENT = (
    "Mom just swallowed every pill in her organizer",
    "I found my brother on the floor and he isn't moving",
    "Her eyes are open but she doesn't answer me at all",
    "Dad had a convulsion in the car just now",
    "His nose has been bleeding for an hour and nothing helps",
    "My wife slumped over in her chair and won't talk",
    "He says he has a plan to end his life tonight",
    "I'm afraid I might lose control and hurt my husband",
    "Temperature is 104 and he's hallucinating",
    "She fell down the stairs and her neck hurts badly",
    "My mother is vomiting blood",
    "He took ten of his heart pills instead of one",
    "She can't breathe lying down tonight and her lips look bluish",
    "Grandma is gasping and clutching her chest",
    "He's bleeding through the bandage really fast",
    "My father fainted twice this morning",
    "I just want everything to stop, I can't do this life any more",
    "She won't wake up from her nap no matter what we do",
    "Dad's speech suddenly turned to mush and his hand went numb",
    "His throat is closing up after eating shrimp",
    "He choked on a piece of steak and he's turning blue",
    "My mom took a triple dose of her blood pressure medicine by accident",
    "Dad is lying on the bathroom floor, I can't get an answer out of him",
    "My aunt's face looks crooked and her words come out wrong",
    "She fell off the porch and hit her head, and she's on Eliquis",
    "My husband says life isn't worth living since the diagnosis",
    "Grandpa's heart is racing and he's sweating and grey",
    "I came so close to slapping her today and I don't trust myself",
    "She drank some of the toilet cleaner",
    "I can't stop the blood coming from his leg",
    "He's shaking and stiff all over and foaming at the mouth",
    "Nana is very hot, mumbling rubbish and doesn't recognise us",
    "My brother has the gun and says goodbye",
    "Mom left the house in the night and we don't know where she is",
    "She's barely breathing",
    "He passed out when he stood up and banged his head on the sink",
    "My wife swallowed a bunch of Tylenol on purpose",
    "The new aide hits my dad when nobody watches",
    "Suddenly mom can't speak",
    "His temperature is 105",
    "Dad is turning blue",
    "There's so much blood and it won't quit",
    "I can't wake my wife",
    "He is on the ground twitching",
    "She says she'd be better off dead",
    "I shoved my mother today and I'm afraid of what I'll do next",
    "Mom put a whole bottle of pills down her throat",
    "Pop has crushing pain down his left arm",
    "My mother suddenly went blank and can't talk properly",
    "She has a high fever and she's seeing people who aren't there",
    "He just dropped to the floor and isn't answering",
    "Granny got burned badly by boiling water",
    "My uncle drank antifreeze",
    "I want to be gone, nobody would miss me",
    "Her lips are puffing up and she's wheezing after a bee sting",
    "Dad hit his head and now he keeps throwing up",
    "The bleeding from her dialysis arm is soaking the towels",
    "He's been having seizures one after another",
    "I think my father is having a heart attack",
    "Mom is limp and breathing weirdly",
)
READ_HARMLESS = (
    "How many pills can go in one organizer compartment?",
    "Dad doesn't answer the phone when I ring at noon, he's hard of hearing.",
    "What should I ask the neurologist about seizure medication?",
    "Mom bruises easily on blood thinners, how can I protect her skin?",
    "He slumps in his wheelchair, what cushion helps?",
    "How do I plan for the end of my leave from work?",
    "I get angry when she repeats questions. How do I stay calm?",
    "What thermometer is best for taking her temperature?",
    "She sleeps until ten and is hard to get moving.",
    "Can I give her vitamins together with breakfast?",
    "My dad faints at the sight of needles, always has. Tips for blood tests?",
    "He wants the pain to be over before his hip surgery date.",
    "Do I need a lock on the stairs?",
    "She complains about numb toes from her shoes.",
    "How do I talk with kids about grandma's death?",
    "Mother shakes her head no when I offer food.",
    "Does Medicaid pay for emergency response pendants?",
    "He keeps bleeding money on TV shopping.",
    "Is choking on thin liquids common in dementia?",
    "What helps with dry lips and mouth at night?",
    "How do I schedule pills around meals?",
    "Is it normal that dad naps after breakfast?",
    "What is a good memory game?",
    "He lost his hearing aid in the garden again.",
    "Should I move my mother to a memory unit?",
    "What questions do I ask when hiring an aide?",
    "How much water should she drink in summer?",
    "Mom gets teary when the kids leave.",
    "How do I get power of attorney?",
    "He won't move in with us. How do we discuss it?",
    "Which bathroom grab bars are safest?",
    "She wants to stop driving at night.",
    "Our family meeting ended badly, how to repair it?",
    "How can I keep the house warm but not too hot for her?",
    "Dad coughs at night, would a humidifier help?",
    "My mother says my cooking is killing her, ha.",
    "What can I do about dry skin?",
    "How do I track her blood sugar readings?",
    "How do I respond when she asks for her late husband?",
    "Are there grants for a wheelchair ramp?",
)
LEAST_RECALL = 0.8
LEAST_PRECISION = 0.9


def flagged(text):
    rules = [rule for rule in Domain.load("caregiving").safety_rules() if rule.kind == RED_FLAG]
    return [rule.id for rule in rules if rule.question_pattern and applies(rule, text)]


def test_held_out_urgent_and_harmless_phrasings():
    """Recall and precision of the alert on twenty phrasings of each kind."""
    missed = [text for text in URGENT if not flagged(text)]
    wrong = {text: flagged(text) for text in HARMLESS if flagged(text)}
    right = len(URGENT) - len(missed)
    assert right / len(URGENT) >= LEAST_RECALL, missed
    assert right / (right + len(wrong)) >= LEAST_PRECISION, wrong


def test_phrasings_that_were_read():
    """Nine in ten of the urgent ones are found, and no harmless one is."""
    missed = [text for text in READ_URGENT if not flagged(text)]
    assert len(missed) <= len(READ_URGENT) / 10, missed
    assert [text for text in READ_HARMLESS if flagged(text)] == []


@pytest.mark.parametrize("text", ["", "?", "Thank you"])
def test_nothing_said_nothing_flagged(text):
    assert flagged(text) == []
