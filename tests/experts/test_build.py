"""The whole build on the fake foundation: reuse, reruns, and SIGKILL in several stages with the same tensors after."""

import hashlib
import json
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from domains.errors import UserError
from domains.example import Message
from domains.votes import Candidate, Votes
from experts.build import Build, conversation_stage, run_build, stage_names
from experts.checkpoint import Checkpoint, LowRank, load, read_adapter, write_adapter
from experts.expert import write_expert
from experts.journal import LOCK, RECORD, read_record
from experts.recipe import Align, load_recipe, recipe_names
from experts.stages import align
from experts.train import COMPLETE
from tests.fakes import tiny_build, tiny_recipe, trained, write_base
from tests.fakes_tools import tiny_tools_build

STAGES = [
    "house/instruct",
    *(f"toy/{n}" for n in ("pretrain", "residual", "structured", "conversation", "multi_task", "sft_after_dapt")),
]
KILL_SETTINGS = (
    *trained(checkpoint_steps=1, epochs=4, learning_rate=0.02),
    "align.objective=beta_dpo",  # has running statistics, which must go on as well
    "align.batch_rows=2",
)
SECONDS = 120.0


def run_quietly(folder: str) -> None:
    """The body of a build process."""
    torch.set_num_threads(1)
    run_build(tiny_build(Path(folder), *KILL_SETTINGS), lambda line: None)


def processes():
    """A server process that has imported the build: each run is a fork of it, so it starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.experts.test_build"])
    return context


def weights(home: Path) -> dict[str, str]:
    """Digest of each final adapter's bytes, by stage."""
    files = sorted(home.glob("*/*/adapter_model.safetensors"))
    return {str(p.parent.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_stages_in_order_and_recorded(built):
    lines = []
    records = run_build(built, lines.append)
    assert [record["stage"] for record in records] == STAGES == stage_names(built)
    assert next(line for line in lines if line.startswith("[")) == "[1/7] house/instruct: already done"
    saved = json.loads((built.folder / "recipe.json").read_text())
    assert saved == built.recipe.model_dump(mode="json")


def test_a_second_run_reuses_everything(built):
    before = {p: p.stat().st_mtime_ns for p in built.home.rglob("*.safetensors")}
    assert all(record["reused"] for record in run_build(built, lambda line: None))
    assert {p: p.stat().st_mtime_ns for p in built.home.rglob("*.safetensors")} == before
    assert len(before) == 7


def test_nothing_but_results_is_left(built):
    left = [p for p in built.home.rglob("*") if p.name.startswith(".") or p.name in ("track", "checkpoints")]
    assert {p.name for p in left} <= {LOCK}


def test_every_arm_is_a_different_model(built):
    """Logits of one prompt differ between every two arms."""
    ids = torch.arange(30).unsqueeze(0)
    with torch.no_grad():
        logits = {n: load(c, torch.float32, "sdpa")(input_ids=ids).logits for n, c in built.arms().items()}
    names = list(logits)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert {"foundation", "instruct", "dapt", "dapt_residual", "conversation", "structured"} <= set(names)
    assert [p for p in pairs if torch.allclose(logits[p[0]], logits[p[1]], atol=1e-3)] == []


def test_a_track_contains_the_model_it_started_from(built):
    """conversation = dapt + residual + its own: rank 2 + 2 + 2, and the first four factors are the parent's."""
    parent, child = read_adapter(built.folder / "residual"), read_adapter(built.folder / "conversation")
    name = sorted(child)[0]
    assert (parent[name].down.shape[0], child[name].down.shape[0]) == (4, 6)
    assert torch.equal(child[name].down[:4], parent[name].down)
    assert torch.equal(child[name].up[:, :4], parent[name].up)


@pytest.mark.parametrize(
    ("override", "again"),
    [
        ("align.settings.beta=0.4", {"toy/conversation", "toy/multi_task"}),
        ("sft.rank=3", {"toy/structured", "toy/multi_task"}),
        ("residual.sweep=[0.0]", set()),
        ("align.checkpoint_steps=7", set()),
        ("evaluation.limit=2", set()),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(built, override, again):
    """Only asked, not run: a stage is not done when its inputs changed; those after it wait for its new result."""
    recipe = tiny_recipe(built.base.base, *trained(learning_rate=0.02, epochs=3), override)
    todo = {stage.name for stage in Build(built.domain, recipe, built.home).stages() if not stage.done}
    assert todo == again - ({"toy/multi_task"} if "sft" in override else set())


def test_changed_data_reruns_the_stage(tmp_path):
    build = tiny_build(tmp_path)
    first = [stage.digest for stage in build.stages() if stage.name == "toy/pretrain"]
    document = build.domain.folder / "documents" / "things.md"
    document.write_text(document.read_text().replace("has a place", "has a home"))
    assert [s.digest for s in tiny_build(tmp_path).stages() if s.name == "toy/pretrain"] != first


def test_bad_model_folders_are_answered(built, tmp_path):
    recipe = load_recipe("tiny", [f"foundation.base={tmp_path}"])
    with pytest.raises(UserError, match="not a model folder"):
        run_build(Build(built.domain, recipe, tmp_path / "home"), lambda line: None)
    assert not (tmp_path / "home").exists()


def wait_for(found, process) -> None:
    """Until `found()` is true; the process must not end before."""
    deadline = time.monotonic() + SECONDS
    while not found():
        assert process.is_alive(), f"the build ended (exit code {process.exitcode}) before the moment to kill it"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill_when(context, folder: Path, found) -> None:
    """Start the build and SIGKILL it at a moment."""
    process = context.Process(target=run_quietly, args=(str(folder),))
    process.start()
    wait_for(found, process)
    process.kill()
    process.join()
    assert process.exitcode == -9


def finish(context, folder: Path) -> None:
    """Run the build to its end."""
    process = context.Process(target=run_quietly, args=(str(folder),))
    process.start()
    process.join(SECONDS)
    assert process.exitcode == 0


@pytest.mark.slow
def test_killed_in_five_moments_and_run_again_gives_the_same_weights(tmp_path):
    """SIGKILL while the house model trains (after a checkpoint), in the domain pretraining (after two checkpoints), in
    the residual, in the structured track as soon as its folder appears, and in the preference training after a
    checkpoint. Then the same command: every adapter is bit-identical to that of a run that nobody disturbed."""
    context = processes()
    finish(context, tmp_path / "calm")
    rough = tmp_path / "rough"
    moments = [
        ("house", ".instruct-*/track/checkpoints/checkpoint-*/" + COMPLETE, 1),
        ("toy", ".pretrain-*/checkpoints/checkpoint-*/" + COMPLETE, 2),
        ("toy", ".residual-*/adapter_model.safetensors", 1),
        ("toy", ".structured-*", 1),
        ("toy", ".conversation-*/track/checkpoints/checkpoint-*/" + COMPLETE, 1),
    ]
    for group, pattern, count in moments:
        kill_when(context, rough, lambda g=group, p=pattern, n=count: len(list((rough / "home" / g).glob(p))) >= n)
        name = pattern[1:].partition("-*")[0]
        assert not (rough / "home" / group / name / RECORD).exists()
    finish(context, rough)
    expected = weights(tmp_path / "calm" / "home")
    assert len(expected) == 7
    assert weights(rough / "home") == expected
    tensors = load_file(rough / "home" / "toy" / "conversation" / "adapter_model.safetensors")
    assert any(t.abs().sum() > 0 for n, t in tensors.items() if "lora_B" in n)


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_short_is_not_resumed_from(tmp_path):
    """A kill while a checkpoint is written leaves its folder without the mark: the newest whole one is used."""
    context = processes()
    finish(context, tmp_path / "calm")
    rough = tmp_path / "rough"
    pattern = ".conversation-*/track/checkpoints/checkpoint-*/" + COMPLETE
    kill_when(context, rough, lambda: len(list((rough / "home" / "toy").glob(pattern))) >= 1)
    (mark,) = list((rough / "home" / "toy").glob(pattern))[:1]
    cut = mark.parent.with_name("checkpoint-900")
    cut.mkdir()
    (cut / "trainer_state.json").write_text('{"best')
    finish(context, rough)
    assert weights(rough / "home") == weights(tmp_path / "calm" / "home")


def test_the_general_model_answers_a_prompt(built):
    """The whole chain holds: a prompt through the tokenizer of the expert and the merged model."""
    from experts.checkpoint import load_tokenizer
    from experts.generate import generate

    model = load(built.instruct, torch.float32, "sdpa")
    (answer,) = generate(model, load_tokenizer(built.house_folder), [[Message("user", "Hello?")]], 5)
    assert answer.num_tokens > 0


def test_a_reward_model_is_built_before_the_objective_that_needs_it(tmp_path):
    build = tiny_build(tmp_path, "align.objective=ddo_rm", "align.rewards=reward_model")
    records = run_build(build, lambda line: None)
    names = [record["stage"] for record in records]
    assert names == stage_names(build)
    assert names.index("toy/reward_model") + 1 == names.index("toy/conversation")
    assert all(record["reused"] for record in run_build(build, lambda line: None))


def test_a_head_is_kept_with_its_expert_and_gives_rewards_to_another(tmp_path):
    first = tiny_build(tmp_path, "align.objective=dph")
    run_build(first, lambda line: None)
    expert = first.folder / "conversation"
    assert (expert / "head.safetensors").is_file()
    kept = first.folder / "with_head"
    shutil.copytree(expert, kept)
    second = tiny_build(tmp_path, "align.objective=ddo_rm", f"align.rewards=head:{first.domain.name}/with_head")
    run_build(second, lambda line: None)
    assert not (expert / "head.safetensors").exists()


def foreign_expert(build, base, adapter=True):
    """An expert in the home folder over a base of its own, by what a finished stage leaves there."""
    folder = build.home / "other" / "conversation"
    if adapter:
        update = LowRank(torch.zeros(2, 32), torch.zeros(32, 2), 1.0)
        write_adapter({"model.layers.0.self_attn.q_proj": update}, base, folder)
    else:
        shutil.copytree(base, folder)
    card = {"name": "other/conversation", "about": "", "base": str(base), "seed": 0, "recipe_digest": ""}
    write_expert(folder, base, card)
    (folder / RECORD).write_text("{}")
    return folder


@pytest.mark.parametrize("adapter", [True, False])
def test_an_expert_is_loaded_over_its_own_base(tmp_path, adapter):
    build = tiny_build(tmp_path)
    other = write_base(tmp_path / "other_base", seed=5)
    folder = foreign_expert(build, other, adapter)
    assert build.expert("other/conversation") == (Checkpoint(other, folder) if adapter else Checkpoint(folder))
    shutil.rmtree(other)
    with pytest.raises(UserError, match="not a model folder"):
        build.expert("other/conversation")


@pytest.mark.parametrize(
    ("name", "answer"), [("other/none", "no expert"), ("other/conversation", "no preference head")]
)
def test_a_head_that_can_not_be_loaded_is_refused_before_anything_is_trained(tmp_path, name, answer):
    build = tiny_build(tmp_path, "align.objective=ddo_rm", f"align.rewards=head:{name}")
    foreign_expert(build, build.base.base)
    with pytest.raises(UserError, match=answer):
        run_build(build, lambda line: None)
    assert not (tmp_path / "home" / "house").exists()


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("align.rewards=model", "Allowed: given, reward_model"),
        ('align.mixing={"method"="mean"}', "mean"),
        ('align.mixing={"weight"=1}', "Allowed: method, weighting"),
        ("align.mixing.clip=2", r"^align\.mixing\.clip is 2;"),
        ("calls_align.settings.beta=0", r"^calls_align\.settings\.beta is 0;"),
        ("calls_align.mixing.method=mean", r"calls_align\.mixing\.method 'mean'"),
        ("calls_align.rewards=model", r"^calls_align\.rewards is 'model'"),
        ("align.rewards=judges:empathy,emphaty", "no judge for align.rewards 'emphaty'. Did you mean 'empathy'"),
        ("align.rewards=reward_model", "align.rewards is reward_model, but the objective 'dpo' .* reads no rewards"),
        ("align.mixing.clip=0.2", "align.mixing is set, but align.references has one model"),
    ],
)
def test_an_alignment_that_can_not_be_is_refused_before_anything_is_trained(tmp_path, setting, answer):
    with pytest.raises(UserError, match=answer):
        run_build(tiny_build(tmp_path, setting), lambda line: None)
    assert not (tmp_path / "home" / "house").exists()


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"objective": "ddo_rm", "references": ("start", "foundation")}, "align.references is set"),
        ({"objective": "ddo_rm", "mixing": {"method": "losses"}}, "align.mixing is set, but the objective 'ddo_rm'"),
        ({"objective": "dph", "settings": {"dpo_weight": 0}, "references": ("foundation",)}, "reads no reference"),
        ({"objective": "ddo_rm", "settings": {"detach_target": False, "reference_anchored": True}}, "detach_target"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings, answer):
    with pytest.raises(UserError, match=answer):
        align.check(Align(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"mixing": {"method": "geometric", "clip": 0.1}},
        {"mixing": {"method": "losses"}, "references": ("start", "foundation")},
        {"objective": "ddo_rm", "rewards": "judges:empathy,politeness"},
        {"objective": "ddo_rm", "settings": {"reference_anchored": True}, "references": ("foundation",)},
        {"objective": "ddo_rm", "settings": {"detach_target": False}, "rewards": "reward_model"},
        {"objective": "dph", "references": ("foundation",)},
    ],
)
def test_settings_that_are_read_are_taken(settings):
    align.check(Align(**settings))


@pytest.mark.parametrize("name", recipe_names())
def test_the_alignments_of_shipped_recipes_are_taken(name):
    recipe = load_recipe(name)
    align.check(recipe.align)
    align.check(recipe.calls_align, "calls_align")


def test_rewards_of_judges_are_stale_when_what_the_judges_read_changes(tmp_path):
    build = tiny_build(tmp_path, "align.objective=ddo_rm", "align.rewards=judges:safety")
    before = conversation_stage(build).digest
    assert conversation_stage(build).digest == before
    (build.domain.folder / "safety.jsonl").write_text("{}\n")
    assert conversation_stage(build).digest != before


def test_calls_have_no_reward_model_and_it_is_said_before_anything_is_trained(tmp_path):
    made = tiny_tools_build(tmp_path)
    settings = Align(objective="ddo_rm", rewards="reward_model", rank=2)
    recipe = made.recipe.model_copy(update={"calls_align": settings})
    with pytest.raises(UserError, match=r"^calls_align\.rewards is reward_model, and no reward model"):
        run_build(Build(made.domain, recipe, made.home), lambda line: None)
    assert not made.home.exists()


def with_votes(built, folder, votes):
    """A copy of a finished build whose recipe trains on votes."""
    shutil.copytree(built.home, folder / "home")
    domain = built.domain
    recipe = built.recipe.model_copy(update={"align": built.recipe.align.model_copy(update={"votes": votes})})
    store = Votes.of_home(folder / "home")
    held_out = domain.preferences("test")[0].prompt
    better, worse = Candidate("toy/conversation", "On the shelf."), Candidate("general", "No idea.")
    store.prefer([Message("user", "Which shop repairs old wooden trains in winter?")], better, worse)
    store.prefer(held_out, better, worse)
    return Build(domain, recipe, folder / "home")


def test_votes_are_trained_on_where_the_recipe_says_so(built, tmp_path):
    """Two votes, one of them on a held-out prompt: one more row, in both preference tracks, and in the record."""
    rows = read_record(built.folder / "conversation")["metrics"]["rows"]
    records = {r["stage"]: r for r in run_build(with_votes(built, tmp_path, votes=True), lambda line: None)}
    for name in ("toy/conversation", "toy/multi_task"):
        metrics = records[name]["metrics"]
        assert (metrics["rows"], metrics["vote_rows"], metrics["vote_rows_near_held_out"]) == (rows + 1, 1, 1)
    assert all(records[name]["reused"] for name in STAGES if name not in ("toy/conversation", "toy/multi_task"))


def test_votes_change_nothing_by_default(built, tmp_path):
    assert not built.recipe.align.votes
    assert all(record["reused"] for record in run_build(with_votes(built, tmp_path, votes=False), lambda line: None))
