"""The residual of sharded checkpoints: killed between shards, and pairs that do not match in vocabulary, tying,
tensors, types or the order of their shards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from domains.errors import UserError
from experts.residual import PROGRESS, Parents, apply, plan_vocabulary
from experts.residual_blocks import BLOCK
from experts.weight_files import INDEX, Wanted, Weights, new_shard, read_metadata, runs
from tests.fakes import byte_tokenizer

EMBED, HEAD, BODY = "model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight"
NUM_ROWS, WIDTH = 258, 8
ROLES = ("dapt", "base", "instruct")

KILLED = """
import os, signal, sys
from pathlib import Path
from experts.residual import Parents, apply
parents = Parents(*(Path(folder) for folder in sys.argv[1:4]))
told = []
def tell(line):
    told.append(line)
    if len(told) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
apply(parents, 1.5, Path(sys.argv[4]), tell=tell)
"""


def tensors(seed, num_rows=NUM_ROWS, head=False):
    """Small weights of every kind: an embedding, matrices, a norm, perhaps an output matrix."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {EMBED: (num_rows, WIDTH), BODY: (12, WIDTH), "model.layers.0.norm.weight": (WIDTH,), "model.scale": ()}
    if head:
        shapes[HEAD] = (num_rows, WIDTH)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write(folder, parts, tied=True, tokenizer=None):
    """A model whose shards hold `parts`, in this order: a list of groups of tensors."""
    folder.mkdir(parents=True)
    names = {}
    for number, group in enumerate(parts, 1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors" if len(parts) > 1 else "model.safetensors"
        save_file(group, folder / file, metadata={"format": "pt"})
        names |= dict.fromkeys(group, file)
    if len(parts) > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    settings = {"model_type": "llama"} | ({} if tied is None else {"tie_word_embeddings": tied})
    (folder / "config.json").write_text(json.dumps(settings))
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder


def shards_of(weights):
    """One tensor a shard."""
    return [{name: tensor} for name, tensor in weights.items()]


def read(folder):
    """All tensors of a model."""
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def trio(folder, **changes):
    """Three models in one file each; `changes` are arguments of `write` by role."""
    found = {role: tensors(seed) for seed, role in enumerate(ROLES)}
    given = {role: {"parts": [found[role]], **changes.get(role, {})} for role in ROLES}
    return Parents(**{role: write(folder / role, **given[role]) for role in ROLES}), found


def summed(found, scale=1.0):
    return {n: found["dapt"][n] + scale * (found["instruct"][n] - found["base"][n]) for n in found["dapt"]}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


def test_killed_between_shards_it_writes_only_those_that_are_missing(tmp_path):
    """Killed by the signal that cannot be caught after two of four shards: no index is there, so nothing takes the half
    for a model. The second run leaves the two files as they are, writes two, and the result is the undisturbed one."""
    models = {role: tensors(seed) for seed, role in enumerate(ROLES)}
    parents = Parents(**{role: write(tmp_path / role, shards_of(models[role])) for role in ROLES})
    out, folders = tmp_path / "out", [str(tmp_path / role) for role in ROLES]
    ended = subprocess.run([sys.executable, "-c", KILLED, *folders, str(out)], check=False, timeout=120)
    assert ended.returncode == -9
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert len(written) == 2
    assert not (out / INDEX).exists()
    (out / ".model-00003-of-00004.safetensors.partial").write_bytes(b"half")
    told = []
    summary = apply(parents, 1.5, out, tell=told.append)
    assert summary.resumed == sorted(written)
    assert [line.partition(":")[0] for line in told] == sorted({p.name for p in out.glob("*.safetensors")} - {*written})
    assert {name: (out / name).stat().st_mtime_ns for name in written} == written
    whole = apply(parents, 1.5, tmp_path / "whole")
    assert (whole.num_changed, whole.num_weights) == (summary.num_changed, summary.num_weights)
    assert_equal(read(out), summed(models, 1.5))
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list(out.glob(".*"))
    assert json.loads((out / INDEX).read_text())["metadata"]["total_size"] == 4 * whole.num_weights


def test_other_inputs_are_not_gone_on_with(tmp_path):
    parents, models = trio(tmp_path)
    apply(parents, 1.0, tmp_path / "out")
    (tmp_path / "out" / PROGRESS).write_text("the key of other inputs")
    summary = apply(parents, 0.5, tmp_path / "out")
    assert summary.resumed == []
    assert_equal(read(tmp_path / "out"), summed(models, 0.5))


def test_the_result_does_not_replace_a_parent(tmp_path):
    parents, _ = trio(tmp_path)
    with pytest.raises(UserError, match="one of the models"):
        apply(parents, 1.0, tmp_path / "base")


def test_tensors_larger_than_a_block_are_the_same_sum(tmp_path):
    """A matrix and a reversed vocabulary of more than one block each."""
    order = list(range(255, -1, -1))
    models = {}
    for seed, role in enumerate(ROLES):
        generator = torch.Generator().manual_seed(seed)
        shapes = {EMBED: (NUM_ROWS, 5000), BODY: (1100, 1000)}
        models[role] = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        assert min(tensor.numel() for tensor in models[role].values()) > BLOCK
    tokenizers = {"instruct": byte_tokenizer(order=order)}
    parents = Parents(**{r: write(tmp_path / r, [models[r]], tokenizer=tokenizers.get(r)) for r in ROLES})
    apply(parents, 1.5, tmp_path / "out")
    rows = [*order, 256, 257]
    turned = {role: models[role] | {EMBED: models[role][EMBED][rows]} for role in ("dapt", "base")}
    assert_equal(read(tmp_path / "out"), summed(models | turned, 1.5))


def test_the_order_of_shards_does_not_matter(tmp_path):
    """The base has its tensors in other shards, in another order and number."""
    models = {role: tensors(seed) for seed, role in enumerate(ROLES)}
    turned = shards_of(dict(reversed(models["base"].items())))
    parts = {"dapt": shards_of(models["dapt"]), "base": [turned[0] | turned[1], turned[2] | turned[3]],
             "instruct": [models["instruct"]]}  # fmt: skip
    parents = Parents(**{role: write(tmp_path / role, parts[role]) for role in ROLES})
    apply(parents, 1.0, tmp_path / "out")
    assert_equal(read(tmp_path / "out"), summed(models))
    assert Weights(tmp_path / "out").shards() == Weights(tmp_path / "dapt").shards()


def test_types_may_differ(tmp_path):
    """bf16, fp16 and fp32 parents: the sum of the values as stored, in fp32, then rounded once."""
    parents, models = trio(tmp_path / "exact")
    kinds = {"dapt": torch.bfloat16, "base": torch.float16, "instruct": torch.float32}
    stored = {role: {n: t.to(kinds[role]) for n, t in models[role].items()} for role in ROLES}
    parents = Parents(**{role: write(tmp_path / role, [stored[role]]) for role in ROLES})
    apply(parents, 1.0, tmp_path / "out", torch.bfloat16)
    expected = summed({role: {n: t.float() for n, t in stored[role].items()} for role in ROLES})
    assert_equal(read(tmp_path / "out"), {name: tensor.bfloat16() for name, tensor in expected.items()})
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_quantised_weights_are_refused(tmp_path):
    whole = {name: tensor.to(torch.int8) for name, tensor in tensors(2).items()}
    parents, _ = trio(tmp_path, instruct={"parts": [whole]})
    with pytest.raises(UserError, match="instruct model is stored as I8.*before it was quantised"):
        apply(parents, 1.0, tmp_path / "out")


def test_all_tied_has_no_output_matrix(tmp_path):
    """A tied model may store its embedding twice: the copy is left out and named."""
    twice = tensors(1, head=True)
    twice[HEAD] = twice[EMBED].clone()
    parents, models = trio(tmp_path, base={"parts": [twice]})
    summary = apply(parents, 1.0, tmp_path / "out")
    assert summary.skipped == (f"base: {HEAD}",)
    assert summary.untied == ()
    models["base"] = {name: tensor for name, tensor in twice.items() if name != HEAD}
    assert_equal(read(tmp_path / "out"), summed(models))


@pytest.mark.parametrize("tied", [("dapt", "base"), ("instruct",), ("base",), ("dapt", "instruct"), ()])
def test_tied_and_untied_models_give_an_untied_sum(tmp_path, tied):
    """The output matrix of a tied model is its embedding, so the sum of the output matrices is exact, with a matrix of
    its own as soon as one model has one."""
    models = {role: tensors(seed, head=role not in tied) for seed, role in enumerate(ROLES)}
    given = {role: {"parts": [models[role]], "tied": None if role == "base" else role in tied} for role in ROLES}
    parents = Parents(**{role: write(tmp_path / role, **given[role]) for role in ROLES})
    summary = apply(parents, 1.0, tmp_path / "out")
    effective = {role: {HEAD: models[role][EMBED], **models[role]} for role in ROLES}
    assert_equal(read(tmp_path / "out"), summed(effective))
    assert {{"domain": "dapt"}.get(role, role) for role in summary.untied} == set(tied)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False


def test_an_untied_model_without_an_output_matrix_is_refused(tmp_path):
    parents, _ = trio(tmp_path, base={"tied": False})
    with pytest.raises(UserError, match=r"no 'lm_head.weight', but its config.json says that it is not tied"):
        apply(parents, 1.0, tmp_path / "out")


def test_untied_vocabularies_of_other_sizes_are_aligned_by_string(tmp_path):
    """Bytes in reverse order and two tokens more in the instruct model, untied; the domain model is padded by six rows.
    Both matrices follow the strings; what the instruct model alone has keeps its rows."""
    order = list(range(255, -1, -1))
    models = {"dapt": tensors(0, 264, head=True), "base": tensors(1, head=True), "instruct": tensors(2, 260, head=True)}
    tokenizers = {"instruct": byte_tokenizer(["<|new|>", "<|more|>"], order)}
    parents = Parents(**{role: write(tmp_path / role, [models[role]], False, tokenizers.get(role)) for role in ROLES})
    summary = apply(parents, 1.0, tmp_path / "out")
    rows = torch.tensor([*order, 256, 257])
    found = read(tmp_path / "out")
    for name in (EMBED, HEAD):
        dapt, base, instruct = (models[role][name] for role in ROLES)
        expected = torch.cat([dapt[rows] + (instruct[:258] - base[rows]), instruct[258:]])
        torch.testing.assert_close(found[name], expected, atol=1e-6, rtol=0)
    assert summary.only_instruct_tokens == ("<|more|>", "<|new|>")
    assert summary.num_weights == sum(t.numel() for t in found.values()) - 2 * 2 * WIDTH


def test_a_padding_row_does_not_take_the_row_of_a_token():
    """Token b is at 3 in the base and at 1 in the instruct model, whose rows 2 and 3 are padding: 2 is padding in both,
    3 is a token's in the base, so the instruct model's own row stays."""
    plan = plan_vocabulary({"a": 0, "b": 3}, {"a": 0, "b": 1}, 4)
    assert plan.base_rows.tolist() == [0, 3, 2, -1]
    assert not plan.identical


def test_tokens_of_the_domain_model_alone_are_refused(tmp_path):
    parents, _ = trio(tmp_path, dapt={"parts": [tensors(0, 259)], "tokenizer": byte_tokenizer(["<|mine|>"])})
    with pytest.raises(UserError, match="domain model has 1 tokens that the instruct model lacks"):
        apply(parents, 1.0, tmp_path / "out")


def test_missing_and_extra_tensors_are_named(tmp_path):
    less, more = tensors(1), tensors(2)
    del less[BODY]
    more["model.layers.1.norm.weight"] = torch.ones(WIDTH)
    parents, _ = trio(tmp_path / "less", base={"parts": [less]})
    with pytest.raises(UserError, match=rf"base model .* differ in 1 tensors \(only in the domain model: '{BODY}'\)"):
        apply(parents, 1.0, tmp_path / "out")
    parents, _ = trio(tmp_path / "more", instruct={"parts": [more]})
    with pytest.raises(UserError, match=r"only in the instruct model: 'model.layers.1.norm.weight'"):
        apply(parents, 1.0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stored_buffers_are_left_out_and_named(tmp_path):
    older = tensors(1)
    older["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    parents, models = trio(tmp_path, base={"parts": [older]})
    summary = apply(parents, 1.0, tmp_path / "out")
    assert summary.skipped == ("base: model.layers.0.self_attn.rotary_emb.inv_freq",)
    assert_equal(read(tmp_path / "out"), summed(models))


def broken_index(folder: Path, change):
    """Change the index of a sharded model."""
    path = folder / INDEX
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index["weight_map"].update({BODY: "model-00001-of-00004.safetensors"}), "says that"),
        (lambda index: index["weight_map"].update({BODY: "model-00009-of-00004.safetensors"}), "is not there"),
        (lambda index: index["weight_map"].update({BODY: "../secret.safetensors"}), "is not there"),
        (lambda index: index.pop("weight_map"), "not an index"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, change, message):
    (tmp_path / "secret.safetensors").write_bytes(b"")
    folder = write(tmp_path / "base", shards_of(tensors(1)))
    broken_index(folder, change)
    with pytest.raises(UserError, match=message):
        Weights(folder)


def test_a_truncated_shard_is_refused(tmp_path):
    parents, _ = trio(tmp_path)
    path = tmp_path / "base" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="broken or not whole"):
        apply(parents, 1.0, tmp_path / "out")


def test_a_model_without_a_tokenizer_is_refused(tmp_path):
    parents, _ = trio(tmp_path)
    for path in (tmp_path / "base").glob("tok*"):
        path.unlink()
    with pytest.raises(UserError, match="base has no tokenizer"):
        apply(parents, 1.0, tmp_path / "out")


def test_a_file_written_in_place_is_one_that_the_library_reads(tmp_path):
    """Pieces in any order; the notes come back; nothing has the name before the end."""
    values = torch.arange(10, dtype=torch.float32)
    wanted = {
        "b": Wanted((2, 5), torch.float32),
        "a": Wanted((3,), torch.bfloat16),
        "empty": Wanted((0,), torch.float16),
    }
    path = tmp_path / "new.safetensors"
    with new_shard(path, wanted, 40) as shard:
        shard.write("b", 6, values[6:])
        shard.write("a", 0, torch.ones(3, dtype=torch.bfloat16))
        shard.write("b", 0, values[:6])
        assert not path.exists()
        shard.finish("3 tensors")
    found = load_file(path)
    assert torch.equal(found["b"], values.view(2, 5))
    assert torch.equal(found["a"], torch.ones(3, dtype=torch.bfloat16))
    assert found["empty"].shape == (0,)
    assert read_metadata(path)["notes"] == "3 tensors"


def test_runs_by_hand():
    assert list(runs([4, 5, 6, 2, 3, 9])) == [(0, 3), (3, 5), (5, 6)]
    assert list(runs([])) == []
