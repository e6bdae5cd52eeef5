"""Log-probabilities of target tokens: the decoder runs once, the vocabulary projection only where there is a target.

The projection goes chunk by chunk in the model's format, the
softmax in fp32. With a frozen projection its gradient with respect to the hidden state is
W[y] - softmax(W h) W for each target, computed on the way forward: no logits are kept and none are computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from experts.attention import attention_input
from experts.batch import Batch
from experts.ranks import is_sharded
from experts.threads import concatenated

CHUNK = 128
HEAD = "preference_head"  # the attribute of a model that holds its head


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of the T targets of a batch (nats), of its S sequences with their lengths in tokens, and the
    sequences' rewards where the model has a preference head."""

    token_logprobs_T: Tensor
    logprobs_S: Tensor
    num_tokens_S: Tensor
    rewards_S: Tensor | None = None


class FrozenProjection(torch.autograd.Function):
    """log softmax(W h)[y] for a frozen W."""

    @staticmethod
    def forward(ctx: Any, hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor) -> Tensor:
        """Values, and each target's gradient with respect to its hidden state."""
        values, gradients = [], []
        for hidden, labels in zip(hidden_TH.split(CHUNK), labels_T.split(CHUNK), strict=True):
            logits = (hidden @ weight_VH.T).float()
            log_norm = logits.logsumexp(-1, keepdim=True)
            values.append(logits.gather(1, labels.unsqueeze(1)).squeeze(1) - log_norm.squeeze(1))
            if ctx.needs_input_grad[0]:
                probabilities = (
                    logits.sub_(log_norm).exp_().to(weight_VH.dtype)
                )  # in place: the logits are not read again
                gradients.append(weight_VH[labels] - probabilities @ weight_VH)
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, grad_T: Tensor) -> Any:
        """Scale the stored gradients."""
        (gradient_TH,) = ctx.saved_tensors
        return grad_T.unsqueeze(1).to(gradient_TH.dtype) * gradient_TH, None, None


def projected_logprobs(hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor) -> Tensor:
    """Log-probabilities (T,) in fp32 of the labels under softmax(W h)."""
    if not weight_VH.requires_grad:
        apply: Callable[..., Tensor] = FrozenProjection.apply
        return apply(hidden_TH.to(weight_VH.dtype), weight_VH, labels_T)
    chunks = zip(hidden_TH.split(CHUNK), labels_T.split(CHUNK), strict=True)
    return torch.cat(
        [torch.utils.checkpoint.checkpoint(trained_chunk, h, weight_VH, y, use_reentrant=False) for h, y in chunks]
    )


def trained_chunk(hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor) -> Tensor:
    """One chunk for a projection that is being trained; recomputed in the backward pass."""
    logits = (hidden_TH @ weight_VH.T).float()
    return logits.gather(1, labels_T.unsqueeze(1)).squeeze(1) - logits.logsumexp(-1)


def score(model: nn.Module, batch: Batch) -> Scored:
    """Run a causal language model (PEFT-wrapped or not) on a packed batch; on a CPU, its rows in several threads."""
    device = projection(model).device
    parts = batch.parts(torch.get_num_threads()) if device.type == "cpu" and not is_sharded() else [batch]
    work = [partial(predicted, model, part) for part in parts]
    token_logprobs, *rewards = work[0]() if len(work) == 1 else concatenated(model, work)
    sequence_T = batch.sequence_RL[batch.labels_RL >= 0].to(device)
    sums = token_logprobs.new_zeros(batch.num_sequences).index_add(0, sequence_T, token_logprobs)
    counts = torch.bincount(sequence_T, minlength=batch.num_sequences)
    return Scored(token_logprobs, sums, counts, rewards[0] if rewards else None)


def predicted(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """Log-probabilities of the targets (T,) and, where the model has a preference head, the sequences' rewards (S,).
    The projection is read after the decoder ran: a sharded one is whole only then."""
    device, dtype = projection(model).device, projection(model).dtype
    hidden_RLH = decoder(model)(
        input_ids=batch.input_ids_RL.to(device),
        position_ids=batch.position_ids_RL.to(device),
        attention_mask=attention_input(model, batch.mask_R1LL.to(device), dtype),
        use_cache=False,
    ).last_hidden_state
    target_RL = (batch.labels_RL >= 0).to(device)
    labels_T = batch.labels_RL.to(device)[target_RL]
    token_logprobs = projected_logprobs(hidden_RLH[target_RL], whole(projection(model)), labels_T)
    reward_head = getattr(model, HEAD, None)
    if reward_head is None or not len(batch.ends_S):
        return (token_logprobs,)
    return token_logprobs, reward_head(hidden_RLH.flatten(0, 1)[batch.ends_S.to(device)])


def projection(model: nn.Module) -> Tensor:
    """The weight (V, H) that gives logits."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        raise TypeError(f"{type(model).__name__} has no output embeddings; a causal language model is needed.")
    weight: Tensor = head.weight
    return weight


def whole(weight: Tensor) -> Tensor:
    """A weight that may lie on several ranks in parts, in one piece: an untied projection is never called as a module,
    so FSDP does not gather it."""
    found: Tensor = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return found


def decoder(model: nn.Module) -> nn.Module:
    """The model below the vocabulary projection; adapters are layers inside it, so they stay active."""
    inner: Any = getattr(model, "get_base_model", lambda: model)()
    result: nn.Module = inner.get_decoder() if hasattr(inner, "get_decoder") else inner.model
    return result
