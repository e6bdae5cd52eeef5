"""BERTScore against the bert-score package where that works: small random encoders here, MiniLM in the slow tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bert_score
import pytest

from domains.errors import UserError
from judges.embeddings import load_encoder
from judges.encoder import encoder_folder
from judges.scorers.bertscore import Judge
from judges.verdict import Answered
from tests.fakes_judges import write_encoder

PAIRS = [
    ("Call your servicer and ask for a payoff letter.", "Ask the servicer for a payoff statement."),
    ("She may wander at night because she is restless.", "Rates fell, so refinancing may pay."),
    ("Same words.", "Same words."),
    ("OK", "Yes."),
    ("Ünïcode, 漢字 and 😀 too", "x [SEP] y"),
    ("The call.", "Call the call, your servicer!"),
]
LONG = ("Move the snacks and read the label aloud to him every evening. " * 12, "A short one.")


def rows(pairs: list[tuple[str, str]]) -> list[Answered]:
    return [Answered("Q?", answer, reference) for reference, answer in pairs]


def by_package(pairs: list[tuple[str, str]], model: Path, layer: int, **settings: Any) -> list[tuple[float, ...]]:
    """Precision, recall, F1 of each pair."""
    answers, references = [answer for _, answer in pairs], [reference for reference, _ in pairs]
    columns = bert_score.score(answers, references, model_type=str(model), num_layers=layer, nthreads=0, **settings)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def ours(judge: Judge, pairs: list[tuple[str, str]]) -> list[tuple[float, ...]]:
    verdicts = judge(rows(pairs))
    return [(verdict.parts["precision"], verdict.parts["recall"], verdict.value or 0.0) for verdict in verdicts]


def assert_equal(found: list[tuple[float, ...]], expected: list[tuple[float, ...]]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_agrees_with_the_package_at_every_layer(encoder: Path, layer: int):
    expected = by_package(PAIRS, encoder, layer)
    assert len({round(f1, 3) for _, _, f1 in expected}) > 3
    assert_equal(ours(Judge(str(encoder), layer), PAIRS), expected)


def test_agrees_with_the_package_with_idf(encoder: Path):
    """The references are repeated unevenly: the package counts each time that one is there."""
    pairs = [*PAIRS, *PAIRS[:3], PAIRS[0]]
    expected = by_package(pairs, encoder, 2, idf=True)
    assert expected[0] != pytest.approx(by_package(pairs, encoder, 2)[0], abs=1e-3)
    assert_equal(ours(Judge(str(encoder), 2, idf=True), pairs), expected)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_agrees_with_the_package_rescaled(bert: Path, tmp_path: Path):
    """Row n of the file is layer n; layer 2 has its own values for precision, recall and F1."""
    path = tmp_path / "baseline.tsv"
    path.write_text("LAYER,P,R,F\n0,0.1,0.1,0.1\n1,0.2,0.2,0.2\n2,0.5,0.4,0.3\n3,0.9,0.9,0.9\n")
    options = {"rescale_with_baseline": True, "baseline_path": str(path), "lang": "en"}
    expected = by_package(PAIRS, bert, 2, **options)
    found = ours(Judge(str(bert), 2, baseline=str(path)), PAIRS)
    assert_equal(found, expected)
    raw = ours(Judge(str(bert), 2), PAIRS)[0]
    assert found[0] == pytest.approx([(raw[0] - 0.5) / 0.5, (raw[1] - 0.4) / 0.6, (raw[2] - 0.3) / 0.7], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("idf", [False, True])
def test_agrees_with_the_package_on_minilm(idf: bool):
    pairs = [*PAIRS, LONG]
    assert_equal(ours(Judge(idf=idf), pairs), by_package(pairs, encoder_folder(), 6, idf=idf))


def test_an_answer_is_closer_to_its_own_reference():
    own, other = Judge()(rows([PAIRS[0], (PAIRS[0][0], PAIRS[1][1])]))
    assert own.value is not None
    assert other.value is not None
    assert own.value > other.value + 0.2


def test_swapping_the_question_and_the_answer_lowers_the_score():
    """The answer repeats the reference in other words; the question shares its subject only."""
    question = "My payment went up and nobody told me why. What now?"
    reference = "Ask the servicer in writing for the escrow analysis and check the tax bill."
    answer = "Write to your servicer, ask for its escrow analysis, and look at the tax bill."
    right, swapped = Judge()([Answered(question, answer, reference), Answered(answer, question, reference)])
    assert (right.value or 0) > (swapped.value or 1) + 0.2


def test_nothing_is_cut_off():
    """Two 700-word texts that differ only after the 512th token: a package that cuts gives 1.0."""
    head = "the servicer must answer in writing " * 100
    same, different = Judge()(rows([(head, head), (head + "call a counselor", head + "purple elephants sing")]))
    assert same.value == pytest.approx(1.0, abs=1e-4)
    assert different.value is not None
    assert different.value < 0.9999
    assert different.parts["num_windows"] > 1


def test_the_package_cuts_where_windows_do_not(bert: Path):
    """64 tokens are the small encoder's limit: the package sees two equal texts, the windows do not."""
    head = "the call " * 40
    pair = (head + "servicer " * 20, head + "zzz " * 20)
    assert by_package([pair], bert, 3)[0][2] == pytest.approx(1.0, abs=1e-4)
    assert ours(Judge(str(bert)), [pair])[0][2] < 0.9999


def test_empty_answers_are_zero_and_missing_references_unscored():
    empty, blank, missing, no_reference = Judge(baseline="en")(
        [Answered("Q?", "", "A."), Answered("Q?", " \n", "A."), Answered("Q?", "A."), Answered("Q?", "A.", " ")]
    )
    assert (empty.value, blank.value) == (0.0, 0.0)
    assert "empty" in empty.explanation
    assert (missing.value, no_reference.value) == (None, None)


def test_empty_answers_beside_others(bert: Path):
    """The package raises AttributeError on these rows."""
    verdicts = Judge(str(bert), idf=True)([*rows(PAIRS), Answered("Q?", "", PAIRS[0][0])])
    assert verdicts[-1].value == 0.0
    assert all(verdict.value for verdict in verdicts[:-1])


def test_idf_that_leaves_nothing_is_unscored(bert: Path):
    """One reference: log((1 + 1) / (1 + 1)) = 0 for each of its tokens."""
    assert Judge(str(bert), idf=True)(rows(PAIRS[:1]))[0].value is None


def test_order_and_duplicates_do_not_matter():
    repeated = Judge()(rows([*PAIRS, *reversed(PAIRS)]))
    assert repeated[: len(PAIRS)] == repeated[len(PAIRS) :][::-1]


def test_the_model_may_be_a_folder():
    assert Judge(model=str(encoder_folder()))(rows(PAIRS[:1]))[0].value == Judge()(rows(PAIRS[:1]))[0].value


def test_layers_above_the_chosen_one_are_gone(encoder: Path):
    loaded = load_encoder(str(encoder), 1)
    names = [name for name, _ in loaded.model.named_parameters()]
    assert loaded.is_cut
    assert not [name for name in names if ".layer.1." in name or ".layer.2." in name]


def test_no_rows_no_model():
    assert Judge(model="no such model")([]) == []
    assert Judge(model="no such model")([Answered("Q?", "A.")])[0].value is None


@pytest.mark.parametrize("name", ["xx", "no/such/file.tsv", "../en", ""])
def test_a_baseline_that_is_not_there(bert: Path, name: str):
    judge = Judge(str(bert), baseline=name)
    if not name:
        assert judge(rows(PAIRS[:1]))[0].value is not None
        return
    with pytest.raises(UserError, match="no baseline"):
        judge(rows(PAIRS[:1]))


@pytest.mark.parametrize(
    "text", ["", "LAYER,P\n3,0.1\n", "LAYER,P,R,F\n3,a,b,c\n", "LAYER,P,R,F\n3,1.0,0.2,0.2\n", "x"]
)
def test_a_file_that_is_no_baseline(bert: Path, tmp_path: Path, text: str):
    path = tmp_path / "b.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match="baseline"):
        Judge(str(bert), baseline=str(path))(rows(PAIRS[:1]))
