"""Every strategy is fitted, calibrated and chosen on dev, stored as JSON, and bound to what it was fitted with."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Utterance
from router import Router
from router.calibration import Abstention
from router.comparison import Remembered, comparison, comparison_stage
from router.engine import Engine
from router.fit import FILE, HomeSources, fit_router, is_fitted, load_router, reading_expert, requests
from router.material import Given, Material
from router.reader import ExpertReader
from router.selection import check_digests, fit_all, router_of, strategy_of
from router.stored import problems
from router.strategies import blend, nearest
from tests.fakes_router import Keywords, WordEncoder
from ui.cli import main

LABELS = ("toy/conversation", "toy/structured", "general")


@pytest.fixture(scope="module")
def domain(built):
    return Domain.load(built.domain.folder)


@pytest.fixture(scope="module")
def sources(engine):
    return Given(WordEncoder(), ExpertReader(engine, reading_expert(engine.experts)))


@pytest.fixture(scope="module")
def material(domain, sources):
    return Material(LABELS, domain.utterances("train"), domain.utterances("dev"), sources)


@pytest.fixture(scope="module")
def content(material):
    """Fitted, and read back from text as a home's file is."""
    return json.loads(json.dumps(fit_all(material, Abstention())))


def test_everything_that_learns_is_fitted(content):
    assert content["strategies"].keys() == {"few_shot", "nearest", "blend"}
    assert list(problems(content)) == []
    assert content["labels"] == list(LABELS)
    assert sum(content["priors"].values()) == pytest.approx(1)
    for values in content["strategies"].values():
        assert values.keys() == {"fit", "temperature", "threshold", "digests", "dev"}
    assert content["strategies"]["blend"]["digests"].keys() == {"model", "prompt", "encoder"}


def test_the_default_wins_on_dev(content):
    """The label is in the first word ("Help", "Classify", "Sing"): word vectors know it, a random model does not."""
    scores = {name: values["dev"]["macro_f1"] for name, values in content["strategies"].items()}
    assert scores[content["default"]] == max(scores.values()) == 1.0
    assert content["default"] != "few_shot"


@pytest.mark.parametrize("name", ["few_shot", "nearest", "blend"])
def test_each_routes_from_json(content, sources, name):
    router = router_of(name, content, sources)
    for route in router.batch(["Classify kettle", "", "Sing of a kettle", "x" * 10_000, "Ключ 🔑"]):
        assert route.strategy == name
        assert sum(route.scores.values()) == pytest.approx(1)


def test_nearest_finds_held_out_requests(content, sources, domain):
    rows = domain.utterances("test")
    router = router_of("nearest", content, sources)
    assert [route.expert for route in router.batch([row.text for row in rows])] == [row.label for row in rows]


def test_each_text_is_encoded_once(domain, sources):
    encoder = WordEncoder()
    rows = Material(LABELS, domain.utterances("train"), domain.utterances("dev"), replace(sources, encoder=encoder))
    fit_all(rows, Abstention())
    assert encoder.num_read == len({row.text for row in (*rows.train, *rows.dev)})


def test_a_label_without_training_requests_is_never_chosen(sources, domain):
    rows = [row for row in domain.utterances("train") if row.label != "general"]
    fitted = nearest.fit(Material(LABELS, rows, (), sources))
    assert all(scores["general"] < 1e-6 for scores in fitted(["Sing of a kettle", "Classify it"]))


def test_without_dev_rows_everything_is_fitted(domain, sources):
    """Nothing can be chosen there: no temperature, no threshold, and the first of equal defaults."""
    content = fit_all(Material(LABELS, domain.utterances("train"), (), sources), Abstention())
    assert [(values["temperature"], values["threshold"]) for values in content["strategies"].values()] == [(1, 0)] * 3
    assert nearest.fit(Material(LABELS, domain.utterances("train"), (), sources))([]) == []


def test_one_label_is_too_few(sources):
    with pytest.raises(UserError, match="one label only"):
        nearest.fit(Material(LABELS, [Utterance("1", "a", LABELS[0])], (), sources))


def test_far_from_everything_is_less_sure():
    """The vote: the mean cosine to a label's nearest requests, by hand with two requests of one label."""
    strategy = nearest.Strategy(
        WordEncoder(), ("a", "b"), np.zeros((2, 2)), np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]), (0, 0)
    )
    votes = strategy.votes(np.array([[0.6, 0.8]]))
    assert votes[0].tolist() == [pytest.approx(0.7), nearest.FAR]


@pytest.mark.parametrize(
    ("change", "refused", "served"),
    [
        ({"encoder": WordEncoder("another")}, ("nearest", "blend"), ("few_shot",)),
        ({"reader": "general"}, ("few_shot", "blend"), ("nearest",)),
    ],
)
def test_thresholds_are_refused_with_another_model_or_encoder(content, sources, engine, change, refused, served):
    if "reader" in change:
        change = {"reader": ExpertReader(engine, change["reader"])}
    for name in refused:
        with pytest.raises(UserError, match=r"another (encoder|model) than .* Run 'expertsmith build'"):
            check_digests(name, content, replace(sources, **change), "home")
    for name in served:
        check_digests(name, content, replace(sources, **change), "home")


def test_thresholds_are_refused_with_another_prompt(content, sources):
    changed = json.loads(json.dumps(content))
    changed["strategies"]["few_shot"]["fit"]["shots"][0][0] += "!"
    with pytest.raises(UserError, match="another prompt"):
        check_digests("few_shot", changed, sources, "home")


def test_blend_trusts_the_part_that_knows():
    """One part is right with 0.9, the other says the same for all: only the first gets more than its half."""
    targets = [i % 3 for i in range(60)]
    knows = np.full((60, 3), 0.05) + 0.85 * np.eye(3)[targets]
    stack = blend.stacked({"few_shot": np.full((60, 3), 1 / 3), "nearest": knows}, targets)
    assert stack.weights["nearest"] > stack.weights["few_shot"]
    assert (stack.held_out_NL.argmax(axis=1) == targets).all()


def test_blend_is_stacked_on_rows_that_it_had_not_seen():
    """Labels by chance: no held-out probability can be better than chance, ln 3, but for noise."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 90).tolist()
    parts = {name: generator.dirichlet(np.ones(3), 90) for name in ("few_shot", "nearest")}
    held_out = blend.stacked(parts, targets).held_out_NL
    assert -np.log(held_out[np.arange(90), targets]).mean() > np.log(3) - 0.03


def test_blend_without_dev_rows_is_the_even_mean():
    stack = blend.stacked({"few_shot": np.zeros((0, 2)), "nearest": np.zeros((0, 2))}, [])
    assert stack.weights == {"few_shot": 0.5, "nearest": 0.5}
    assert stack.bias.tolist() == [0.0, 0.0]


def test_folds_spread_each_label():
    found = blend.folds([0] * 10 + [1] * 5)
    assert [found[:10].count(fold) for fold in range(5)] == [2] * 5
    assert sorted(found[10:]) == list(range(5))


def test_threads_share_a_router(content, sources):
    """Few-shot and encoder behind one router, four threads, each request as alone."""
    router = router_of("blend", content, sources)
    texts = ["Classify kettle", "Sing of a ladder", "Help me with the violin", "Classify garden"]
    expected, found = [router(text) for text in texts], {}

    def ask(place):
        found[place] = [router(texts[place]) for _ in range(3)]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(texts))] == [[route] * 3 for route in expected]


def test_the_comparison_has_every_strategy(content, sources, domain):
    rows = domain.utterances("test")
    table = comparison(content, sources, rows)
    found = {record["strategy"]: record for record in table["strategies"]}
    assert found.keys() == {"few_shot", "nearest", "blend", "fixed"}
    assert [name for name, record in found.items() if record["default"]] == [content["default"]]
    assert found["nearest"]["macro_f1"] == 1.0
    assert found["fixed"]["auroc_out_of_scope"] == 0.5
    assert found["fixed"]["accuracy"] == pytest.approx(np.mean([row.label == "general" for row in rows]), abs=1e-4)
    for record in found.values():
        assert record["intervals"].keys() == {"accuracy", "macro_f1", "auroc_out_of_scope", "ece"}
        assert record["intervals"]["accuracy"]["low"] <= record["accuracy"] <= record["intervals"]["accuracy"]["high"]
    assert table["strategy_reliability"].keys() == found.keys()
    for bins in table["strategy_reliability"].values():
        assert sum(each["n"] for each in bins["bins"]) == bins["n"] == len(rows)


def test_what_is_remembered_is_asked_once(content, sources):
    plain = Keywords({"x": "a"}, ("a", "b"))
    once = Remembered(plain)
    assert once(["x", "y", "x"]) == Keywords({"x": "a"}, ("a", "b"))(["x", "y", "x"])
    once(["y"])
    assert plain.asked == [["x", "y"]]
    assert strategy_of("blend", content, sources, {"nearest": once}).parts["nearest"] is once


@pytest.fixture(scope="module")
def home(built, tmp_path_factory):
    """A copy of the built home with a fitted router; tests may change its router."""
    folder = tmp_path_factory.mktemp("router") / "home"
    shutil.copytree(built.home, folder)
    fit_router(folder, Engine(folder))
    return folder


def test_a_home_loads_what_won(home):
    stored = json.loads((home / FILE).read_text())
    router = Router.load(home)
    assert router.name == stored["default"]
    assert router("Classify the kettle").scores.keys() == set(LABELS)
    assert Router.load(home, "nearest").strategy.strategy.labels == LABELS


def test_requests_for_experts_that_are_not_there_are_left_out(home, tmp_path):
    """A domain without rows for a track has no such expert, while its routing.jsonl may name it."""
    folder = shutil.copytree(home, tmp_path / "home")
    shutil.rmtree(folder / "toy" / "structured")
    engine = Engine(folder)
    assert {row.label for row in requests(engine, "train")} == {"toy/conversation", "general"}
    assert not is_fitted(folder, engine)
    fit_router(folder, engine)
    assert Router.load(folder)("Classify the kettle").scores.keys() == {"toy/conversation", "general"}


def test_a_fit_is_for_these_requests_and_settings(home, domain):
    engine = Engine(home)
    assert is_fitted(home, engine)
    assert is_fitted(home, engine, Abstention())
    assert not is_fitted(home, engine, Abstention("coverage", 0.9))
    assert not is_fitted(home.parent, engine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stored: stored | {"labels": ["general"]}, "not fitted on the experts"),
        (lambda stored: {}, "labels is missing"),
        (lambda stored: stored | {"strategies": {}}, "not among its strategies"),
        (lambda stored: [], "valid dictionary"),
    ],
)
def test_a_router_that_does_not_fit_the_home_is_refused(home, tmp_path, change, said):
    """Wherever it is read; only a build goes on, and fits it again."""
    folder = shutil.copytree(home, tmp_path / "home")
    path, engine = folder / FILE, Engine(folder)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=said):
        load_router(folder)
    with pytest.raises(UserError, match=said):
        load_router(folder, "nearest", engine)
    assert not is_fitted(folder, engine)
    assert load_router(folder, "fixed")("anything").expert == "general"


def test_a_damaged_router_is_told_by_the_commands_and_fitted_again_by_a_build(home, tmp_path, capsys):
    folder = shutil.copytree(home, tmp_path / "home")
    (folder / FILE).write_text('{"labels": [')
    with pytest.raises(UserError, match="not JSON"):
        comparison_stage(folder)
    assert main(["route", "Classify the kettle", "--home", str(folder)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"expertsmith: The router in {folder / FILE} cannot be used: it is not JSON.")
    assert (said.count("\n"), "'expertsmith build'" in said) == (1, True)
    fit_router(folder, Engine(folder))
    assert is_fitted(folder, Engine(folder))


def test_a_home_without_a_router_says_so(home, tmp_path):
    folder = shutil.copytree(home, tmp_path / "home")
    (folder / FILE).unlink()
    assert not is_fitted(folder, Engine(folder))
    with pytest.raises(UserError, match=r"no router in .* 'expertsmith build'"):
        load_router(folder)


def test_other_adapter_weights_are_refused(home, tmp_path):
    folder = tmp_path / "home"
    shutil.copytree(home, folder)
    adapter = folder / "toy" / "structured" / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[-1] ^= 1
    adapter.write_bytes(content)
    with pytest.raises(UserError, match="another model"):
        load_router(folder, "few_shot")
    assert load_router(folder, "nearest")("Classify it").strategy == "nearest"


def test_the_comparison_of_a_home_is_measured_once(home):
    engine = Engine(home)
    stage = comparison_stage(home, HomeSources(home, engine.experts, engine))
    assert not stage.done
    assert stage.inputs.keys() == {"router", "rows", "intervals"}
