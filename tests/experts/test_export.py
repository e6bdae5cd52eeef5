"""Exports: what is written is the expert, in both formats, and what cannot be written is refused."""

from __future__ import annotations

import json

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from domains.errors import UserError
from experts.checkpoint import load, load_tokenizer
from experts.export import base_of, export, find_expert, same_share
from experts.gguf_file import splitting, write_gguf
from ui.cli import main

NAME = "toy/conversation"


@pytest.fixture(scope="module")
def expert(built):
    return find_expert(built.home, NAME)


@pytest.fixture(scope="module")
def merged(expert):
    return load(expert.checkpoint(base_of(expert)), torch.float32, "sdpa")


def logits(model, ids=(65, 66, 67, 68, 200)):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits.float()


@pytest.mark.parametrize("number_format", ["f32", "bf16"])
def test_safetensors_are_the_merged_expert(expert, merged, tmp_path, number_format):
    done = export(expert, "safetensors", number_format, tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(done.path, dtype=torch.float32)
    assert torch.allclose(logits(found), logits(merged), atol=1e-5 if number_format == "f32" else 0.2)
    assert load_tokenizer(done.path).chat_template == load_tokenizer(base_of(expert)).chat_template
    card = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (card["expert"], card["template"]) == (NAME, expert.template)
    assert card["same_tokens"] == done.same_tokens
    assert not list((tmp_path / "out").glob("*.bin"))


@pytest.mark.parametrize(("number_format", "tolerance"), [("f32", 1e-4), ("f16", 0.05), ("bf16", 0.2), ("q8_0", 0.5)])
def test_gguf_is_the_merged_expert(expert, merged, tmp_path, number_format, tolerance, monkeypatch):
    """Read back by another reader (transformers'), which undoes the order of q and k itself. Compared in fp32: in bf16
    the small model's near ties decide otherwise."""
    monkeypatch.setenv("EXPERTSMITH_DTYPE", "float32")
    done = export(expert, "gguf", number_format, tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(done.path.parent, gguf_file=done.path.name, dtype=torch.float32)
    assert torch.allclose(logits(found), logits(merged), atol=tolerance)
    if number_format == "f32":
        assert done.same_tokens > 0.9


def test_four_bits_keep_every_weight_within_a_step(expert, merged, tmp_path):
    """32 weights share the step max / 8, which has half precision (1/1024); the embeddings have eight bits."""
    done = export(expert, "gguf", "q4_0", tmp_path / "out")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(done.path).tensors}
    kinds = {name: tensor.tensor_type.name for name, tensor in found.items()}
    assert (kinds["token_embd.weight"], kinds["blk.0.ffn_down.weight"]) == ("Q8_0", "Q4_0")
    written = found["blk.0.ffn_down.weight"]
    values = torch.from_numpy(gguf.quants.dequantize(written.data, written.tensor_type)).reshape(-1, 32)
    right = merged.state_dict()["model.layers.0.mlp.down_proj.weight"].float().reshape(-1, 32)
    steps = right.abs().amax(1, keepdim=True) / 8
    errors = (values - right).abs()
    assert (errors <= steps * 1.01).all()
    assert errors.max() > 0


def fields(path):
    reader = gguf.GGUFReader(path)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


def test_gguf_says_what_the_model_and_its_tokenizer_are(expert, tmp_path):
    done = export(expert, "gguf", "f16", tmp_path / "out")
    reader, found = fields(done.path)
    assert found["general.architecture"] == "llama"
    assert (found["llama.block_count"], found["llama.attention.head_count_kv"]) == (2, 2)
    assert len(found["tokenizer.ggml.tokens"]) == 258
    assert found["tokenizer.ggml.tokens"][257] == "<|im_end|>"
    assert found["tokenizer.ggml.token_type"][255:] == [1, 3, 3]
    assert found["tokenizer.ggml.eos_token_id"] == 257
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == load_tokenizer(base_of(expert)).chat_template
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.0.attn_q.weight"] == "F16"
    assert "output.weight" not in kinds, "the embeddings are tied"


def test_rotary_pairs_are_side_by_side(tmp_path, tokenizer):
    """One head of size 4: rows 0..3 pair (0, 2) and (1, 3), so the file has rows 0, 2, 1, 3."""
    config = LlamaConfig(
        vocab_size=258, hidden_size=4, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, tie_word_embeddings=True, eos_token_id=257, pad_token_id=257, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    rows = torch.arange(4.0).view(4, 1).expand(4, 4).contiguous()
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.copy_(rows)
        model.model.layers[0].self_attn.v_proj.weight.copy_(rows)
    write_gguf(model, tokenizer, tmp_path / "m.gguf", "f32", "m")
    reader, _ = fields(tmp_path / "m.gguf")
    found = {tensor.name: np.array(tensor.data)[:, 0].tolist() for tensor in reader.tensors if "attn_" in tensor.name
             and tensor.data.ndim == 2}  # fmt: skip
    assert found["blk.0.attn_q.weight"] == [0, 2, 1, 3]
    assert found["blk.0.attn_v.weight"] == [0, 1, 2, 3]


def test_what_gguf_would_read_as_something_else_is_refused(tmp_path, tokenizer):
    config = LlamaConfig(
        vocab_size=258, hidden_size=4, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, attention_bias=True, eos_token_id=257, pad_token_id=257,
    )  # fmt: skip
    with pytest.raises(UserError, match="has biases"):
        write_gguf(LlamaForCausalLM(config), tokenizer, tmp_path / "m.gguf", "f32", "m")


BYTES = {"type": "ByteLevel", "use_regex": True}
QWEN = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([BYTES], "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, BYTES], "smollm"),
        ([{"type": "Split", "pattern": {"Regex": QWEN}}, BYTES], "qwen2"),
        ([{"type": "Split", "pattern": {"Regex": QWEN.replace("\\p{N}|", "\\p{N}{1,3}|")}}, BYTES], "llama-bpe"),
    ],
)
def test_how_words_are_cut_has_a_name(parts, name):
    model = {"merges": [["a", "b"]]}
    assert splitting({"pre_tokenizer": {"type": "Sequence", "pretokenizers": parts}, "model": model}) == name


def test_an_unknown_way_of_cutting_is_refused():
    description = {"pre_tokenizer": {"type": "Metaspace"}, "model": {"merges": [["a", "b"]]}}
    with pytest.raises(UserError, match="Metaspace"):
        splitting(description)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "--out", "new"), "There is no expert 'nobody'"),
        ((NAME, "--out", "new", "--format", "onnx"), "safetensors"),
        ((NAME, "--out", "new", "--dtype", "q8_0"), "does not go with"),
        ((NAME, "--out", "full"), "not an empty folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line(built, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    assert main(["export", *arguments, "--home", str(built.home)]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_share_of_equal_tokens():
    """4 of 5 before the first difference, and all 3: 7 of 8. What comes after a difference does not count."""
    assert same_share([[1, 2, 3, 4, 5], [1, 2, 3]], [[1, 2, 3, 4, 9], [1, 2, 3]]) == 7 / 8
    assert same_share([[1, 2]], [[9, 2]]) == 0
    assert same_share([[]], [[]]) == 1
