"""A model as a GGUF file that llama.cpp loads: Llama architecture, byte-level BPE tokenizer.

Names and layout as in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Attention's q and k are reordered from
half-split to interleaved rotary pairs, which is how llama.cpp computes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from torch import Tensor

from domains.errors import UserError

Format = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
BLOCK = 32  # weights that share a scale in q8_0 and q4_0
EMBEDDINGS = ("token_embd", "output.weight")
ARCHITECTURE = "LlamaForCausalLM"
ADVICE = "Export with --format safetensors and convert that with llama.cpp's own script."


def write_gguf(model: Any, tokenizer: Any, path: Path, number_format: Format, name: str) -> None:
    """Write a model (weights in fp32 or bf16) with its tokenizer and chat template. What llama.cpp would read as
    something else is a UserError."""
    check_supported(model.config)
    writer = gguf.GGUFWriter(path, "llama")
    kind = gguf.GGMLQuantizationType[TYPES[number_format]]
    add_settings(writer, model.config, name, number_format)
    add_tokenizer(writer, tokenizer, model.config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    for key, tensor in tensors(model).items():
        target = names.get_name(key, try_suffixes=(".weight",))
        if target is None:
            raise UserError(f"GGUF has no place for the weight '{key}'. {ADVICE}")
        add_tensor(writer, target, reordered(key, tensor, model.config), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_supported(config: Any) -> None:
    """Llama without what changes the meaning of the weights."""
    rope = getattr(config, "rope_parameters", None) or {}
    problems = [
        (ARCHITECTURE not in (config.architectures or [ARCHITECTURE]), f"architecture {config.architectures}"),
        (rope.get("rope_type", "default") != "default", f"scaled rotary positions ({rope.get('rope_type')})"),
        (bool(config.attention_bias or config.mlp_bias), "biases"),
    ]
    found = [what for is_there, what in problems if is_there]
    if found:
        raise UserError(f"This model has {', '.join(found)}, which this GGUF export does not write. {ADVICE}")


def tensors(model: Any) -> dict[str, Tensor]:
    """The weights by name; tied embeddings once."""
    found = {key: value for key, value in model.state_dict().items() if not key.endswith("rotary_emb.inv_freq")}
    if model.config.tie_word_embeddings:
        found.pop("lm_head.weight", None)
    return found


def reordered(key: str, tensor: Tensor, config: Any) -> Tensor:
    """Rows of q and k with rotary pairs side by side; other weights as they are."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    num_heads = next((count for part, count in heads.items() if f".{part}." in key), 0)
    if not num_heads:
        return tensor
    size = tensor.shape[0] // num_heads
    return tensor.view(num_heads, 2, size // 2, -1).transpose(1, 2).reshape(tensor.shape)


def add_tensor(writer: Any, name: str, tensor: Tensor, kind: Any) -> None:
    """Vectors stay in fp32, and what blocks cannot hold (rows that are no multiple of 32) in f16. The embeddings of a
    q4_0 file are q8_0: there are few of them in a large model, and they suffer most."""
    values = tensor.detach().to("cpu", torch.float32).numpy()
    if values.ndim == 1:
        kind = gguf.GGMLQuantizationType.F32
    elif kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0) and values.shape[-1] % BLOCK:
        kind = gguf.GGMLQuantizationType.F16
    elif kind == gguf.GGMLQuantizationType.Q4_0 and name.startswith(EMBEDDINGS):
        kind = gguf.GGMLQuantizationType.Q8_0
    data = values if kind == gguf.GGMLQuantizationType.F32 else gguf.quants.quantize(values, kind)
    plain = data.dtype in (np.float32, np.float16)
    writer.add_tensor(name, data, raw_dtype=None if plain else kind)


def add_settings(writer: Any, config: Any, name: str, number_format: Format) -> None:
    """What llama.cpp needs to build the model."""
    rope = getattr(config, "rope_parameters", None) or {}
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kinds = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0",
             "q4_0": "MOSTLY_Q4_0"}  # fmt: skip
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(size)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType[kinds[number_format]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tokenizer(writer: Any, tokenizer: Any, vocabulary_size: int) -> None:
    """Tokens, merges, special tokens and the chat template. No token is put before a prompt: the template says all."""
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    model = description["model"]
    if model["type"] != "BPE":
        raise UserError(f"The tokenizer is {model['type']}, not byte-level BPE. {ADVICE}")
    added = {token["id"]: token for token in description["added_tokens"]}
    tokens = {index: text for text, index in model["vocab"].items()}
    tokens |= {index: token["content"] for index, token in added.items()}
    kinds = [token_kind(index, tokens, added) for index in range(vocabulary_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting(description))
    writer.add_token_list([tokens.get(index, f"[UNUSED{index}]") for index in range(vocabulary_size)])
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]] or [""])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def token_kind(index: int, tokens: dict[int, str], added: dict[int, Any]) -> int:
    """Normal, control (special), user-defined, or unused."""
    if index not in tokens:
        return int(gguf.TokenType.UNUSED)
    if index not in added:
        return int(gguf.TokenType.NORMAL)
    return int(gguf.TokenType.CONTROL if added[index]["special"] else gguf.TokenType.USER_DEFINED)


def splitting(description: dict[str, Any]) -> str:
    """llama.cpp's name for how text is cut into words before it is merged; an unknown way is a UserError."""
    splitter = description["pre_tokenizer"] or {}
    parts = splitter.get("pretokenizers", [splitter])
    shape = tuple(part.get("type") for part in parts)
    pattern = next((part["pattern"].get("Regex", "") for part in parts if part.get("type") == "Split"), "")
    if not description["model"]["merges"] or (shape == ("ByteLevel",) and parts[0].get("use_regex", True)):
        return "gpt-2"
    if shape == ("Digits", "ByteLevel") and parts[0].get("individual_digits"):
        return "smollm"
    if shape == ("Split", "ByteLevel") and pattern.startswith(
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
    ):
        return "llama-bpe" if "\\p{N}{1,3}" in pattern else "qwen2"
    raise UserError(
        f"How this tokenizer cuts text into words ({', '.join(map(str, shape))}) has no name in GGUF. {ADVICE}"
    )
