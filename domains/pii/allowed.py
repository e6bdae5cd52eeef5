"""What looks personal but is public: agencies and programs, their numbers and addresses, words that follow eponyms."""

from __future__ import annotations

import re

TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})
PUBLIC_PHONES = frozenset({"2027081112", "2027081455", "2023267500", "2024354000", "2028086300", "2026221555"})
PERSONAL_BEFORE = re.compile(
    r"(?i)\b(?:my|his|her|their|reach (?:me|him|her) (?:at|on)|cell|mobile|home phone)\b[^.;\n]{0,30}$"
)
FEDERAL_ZIP = re.compile(r"\b20[2-5]\d\d(?:-\d{4})?\b")
PUBLIC_PLACES = re.compile(
    r"(?i)\b(?:1600 pennsylvania ave|1700 g st|1500 pennsylvania ave|451 (?:7th|seventh) st|600 pennsylvania ave|"
    r"7500 security b|6401 security b|550 17th st|810 vermont ave|200 independence ave|1400 independence ave|"
    r"400 (?:7th|seventh) st|2401 e st|3600 presidential|10 causeway st|one bowdoin|330 c st)"
)
PUBLIC_HANDLES = frozenset(
    "cfpb hudgov ftc irsnews socialsecurity medicaregov cmsgov fannie_mae freddiemac nihaging alzassociation deptvetaffairs"
    .split()
)  # fmt: skip
EPONYM_AFTER = re.compile(
    r"(?i)^(?:['’]s)?[\s-]+(?:act|law|rule|rules|loans?|grants?|banks?|bancorp|hospitals?|clinics?|university|college|"
    r"foundation|institutes?|cent(?:er|re)s?|associations?|society|inc|llc|llp|l\.l\.c|corp|corporation|company|co\b|"
    r"ltd|group|trust|funds?|mortgage|insurance|financial|capital|securities|disease|syndrome|dementia|palsy|scale|"
    r"test|index|score|criteria|method|models?|awards?|prize|day|programs?|plans?|amendment|schools?|county|building|"
    r"house|home|memorial|medical|health|library|museum|park|airport|stadium|bridge|iras?|401|procedure|maneuver|"
    r"decision|v\.|vs\.|street|avenue|boulevard|road|drive|church|& |and sons|brothers|services|partners|report|"
    r"ratio|effect|curve|doctrine|rights|ruling|case|standard|formula|rate|tables?)"
)
PUBLIC_NAMES = frozenset(
    """fannie mae|freddie mac|ginnie mae|sallie mae|farmer mac|nellie mae|martin luther king|george washington|
    abraham lincoln|lou gehrig|johns hopkins|wells fargo|morgan stanley|charles schwab|edward jones|merrill lynch|
    jp morgan|mary todd lincoln|john hancock|lloyds bank|dodd frank|garn st germain|saint mary|virgin mary|
    mother teresa|ronald reagan|franklin roosevelt|franklin d roosevelt|theodore roosevelt|john f kennedy|joe biden|
    barack obama|donald trump|bill clinton|george bush|jimmy carter|alois alzheimer|james parkinson|
    elizabeth kubler ross|washington monument|roth ira|santa claus|uncle sam|jane doe|john doe|richard roe""".replace(
        "\n", ""
    ).split("|")
)
PUBLIC = frozenset(" ".join(name.split()) for name in PUBLIC_NAMES) - {"jane doe", "john doe", "richard roe"}
COMMON = frozenset(
    """account act acts adjustable administration adult advance affairs affordable agency agent agreement aid all
    alliance also although america american amount an and annual any appendix application appraisal april are area
    article as ask assessment asset assistance association at august authority autumn avenue baptist bank banking basic
    before below benefit benefits best between big bill billing black blue board body bond book both box branch brand
    bridge bring brown budget building bureau business but buy buyer buyers by call can cap capital car card care
    careful caregiver caregivers case cash center central certificate change chapter charge chart check checking child
    children choice christian church circle city civil claim claims class clean clear client close closing coach code
    college commission committee common community company compare complaint condition congress consumer contact contract
    control conventional cook corporation cost council counsel country county court cover credit crisis current customer
    daily data date day days dear debt december decision declaration deed defense delay department deposit deputy
    did director disability disclosure discount district division do document does doctor down drive dual due duty
    each early earnest east economic education elder elderly election electric eligibility emergency employee employer
    end energy english enter equal equity escrow estate estimate every exchange executive exhibit expense express
    faith fair family far farm father february federal fee fees field file finance financial fire first fiscal fixed
    flood florist fold follow for force foreclosure form forward foundation four free friday friend friends from full
    fund funds general get gift give giving go goal good government grace grade grant great green gross ground group
    guarantee guaranty guide had hand handbook hard has have he head health heart help hill his history holiday home
    homeowner hope hospice hospital hot hour house housing how human if in income indian indoor inc initial institute
    insurance interest internal international into investor invoice is issue it item january joint journal judge july
    june jumbo just keep king know lake land last late law lawful leader learn lease legal lender lending letter level
    liability license lien life light limit line list living loan loans local long look loss low lump made mail main
    make manager manual many march mark market mason master may me mean medicaid medical medicare member memory mental
    miller minister mission moderate modification monday month monthly more mortgage most mother move much multi my
    name national native natural need net new next night no non north not note notice november now number nurse nursing
    october of off offer office officer official old on once one only open option or order organization origination our
    out over owner pacific page paid paper parent parents park part partner party past patient pay payment payoff
    payroll people per percent period person personal phone plan planning plans please point policy power prayer
    premium price primary principal private program programs property protection provider public purchase question
    questions rate rates read real reason record red refinance regional register registry regular regulation relief
    rent report request reserve reserves resident residential resource respite response rest retirement return reverse
    review rich right rights risk rising river road rose rule rules rural safe safety sale sales sample saturday save
    savings say schedule school score second secretary section secure security see seller senior seniors september
    service services servicer set seven several shall share she sheet short should show side sign silver simple single
    skilled small so social some south special specialist spouse spring staff standard start state statement states
    step still stone store story street student subject such summary summer sunday support sure survey take tax taxes
    team tell temporary term test text thank that the their them then there these they third this three thursday
    time title to today together total town trade treasury trust trustee truth tuesday two under union unit united
    universal up urban use utility value veteran veterans victim virginia visit volunteer walk wall want war warm was
    washington water way we wealth wednesday week welcome west what when where which while white who whole why will
    winter wise with woman women wood word work worker would year years yes yet you young your youth zone sincerely
    regards best deed ask alert bed bath dad mom grandma grandpa aunt uncle son daughter husband wife brother sister
    neighbor cousin niece nephew alzheimer parkinson lewy hispanic latino asian african european roman catholic
    methodist lutheran episcopal jewish muslim conforming qualified lending closing texas ohio georgia carolina dakota
    california florida york jersey mexico hampshire island columbia maine nevada oregon utah kansas iowa idaho alaska
    hawaii alabama arizona arkansas colorado connecticut delaware illinois indiana kentucky louisiana maryland
    massachusetts michigan minnesota mississippi missouri montana nebraska oklahoma pennsylvania tennessee vermont
    wisconsin wyoming boston chicago houston dallas austin denver seattle angeles francisco diego antonio orleans las
    vegas miami atlanta philadelphia phoenix detroit san santa los el la saint st mount fort lake point ann
    charlotte savannah madison lincoln jackson arlington""".split()
) - {
    "ann",
    "charlotte",
    "savannah",
    "madison",
    "lincoln",
    "jackson",
    "mason",
    "miller",
    "cook",
    "young",
    "king",
    "hill",
}


def is_public_phone(digits: str, before: str) -> bool:
    """A toll-free or listed number is an organization's, unless the words before it say that it is a person's."""
    number = digits[1:] if len(digits) == 11 and digits.startswith("1") else digits
    if number in PUBLIC_PHONES:
        return True
    return number[:3] in TOLL_FREE and not PERSONAL_BEFORE.search(before[-60:])


def is_public_place(text: str) -> bool:
    """An address of a federal agency, by its street or its ZIP code (202xx to 205xx)."""
    return bool(PUBLIC_PLACES.search(text) or FEDERAL_ZIP.search(text))


def is_common(word: str) -> bool:
    """Whether a capitalized word is an ordinary word, a place or a title, rather than a name on its own."""
    return word.lower().removesuffix("'s").removesuffix("’s") in COMMON
