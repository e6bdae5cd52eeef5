"""Log-probabilities of target tokens: the decoder runs once, the vocabulary projection only where there is a target.

The projection goes chunk by chunk in the model's format, the softmax in fp32. With a frozen projection its gradient
with respect to the hidden state is W[y] - softmax(W h) W for each target, computed on the way forward: no logits are
kept and none are computed twice. What some models make of W h (a bias, a scale, a cap) is part of it: see `Readout`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from experts.attention import attention_input, text_config
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


@dataclass(frozen=True)
class Readout:
    """What a model's logits are besides W h: cap * tanh(scale * (W h + bias) / cap), each part where the model has it
    (a cap: Gemma; a scale: Cohere, Granite; a bias: Phi)."""

    bias_V: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    @property
    def is_trained(self) -> bool:
        """Whether the bias is."""
        return self.bias_V is not None and self.bias_V.requires_grad

    def logits(self, hidden_TH: Tensor, weight_VH: Tensor) -> Tensor:
        """Logits (T, V) in fp32."""
        logits = (hidden_TH @ weight_VH.T).float()
        if self.bias_V is not None:
            logits = logits.add_(self.bias_V)
        if self.scale != 1:
            logits = logits.mul_(self.scale)
        return logits if self.cap is None else self.cap * logits.div_(self.cap).tanh_()

    def slope(self, logits_TV: Tensor) -> Tensor | None:
        """Derivative of the logits with respect to scale * (W h + bias); None where it is 1."""
        return None if self.cap is None else 1 - (logits_TV / self.cap).square()


PLAIN = Readout()


def gradient_of(labels_T: Tensor, probabilities_TV: Tensor, weight_VH: Tensor, slope_TV: Tensor | None) -> Tensor:
    """(one-hot(y) - p) W, each logit's part times its slope (T, H)."""
    if slope_TV is None:
        return weight_VH[labels_T] - probabilities_TV.to(weight_VH.dtype) @ weight_VH
    at_label_T1 = slope_TV.gather(1, labels_T.unsqueeze(1)).to(weight_VH.dtype)
    return at_label_T1 * weight_VH[labels_T] - (probabilities_TV * slope_TV).to(weight_VH.dtype) @ weight_VH


class FrozenProjection(torch.autograd.Function):
    """log softmax(logits)[y] for a frozen W."""

    @staticmethod
    def forward(ctx: Any, hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor, readout: Readout = PLAIN) -> Tensor:
        """Values, and each target's gradient with respect to its hidden state."""
        values, gradients = [], []
        for hidden, labels in zip(hidden_TH.split(CHUNK), labels_T.split(CHUNK), strict=True):
            logits = readout.logits(hidden, weight_VH)
            log_norm = logits.logsumexp(-1, keepdim=True)
            values.append(logits.gather(1, labels.unsqueeze(1)).squeeze(1) - log_norm.squeeze(1))
            if ctx.needs_input_grad[0]:
                slope = readout.slope(logits)
                probabilities = logits.sub_(log_norm).exp_()  # in place: the logits are not read again
                gradients.append(gradient_of(labels, probabilities, weight_VH, slope))
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
            ctx.scale = readout.scale
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, grad_T: Tensor) -> Any:
        """Scale the stored gradients."""
        (gradient_TH,) = ctx.saved_tensors
        scaled_T = grad_T if ctx.scale == 1 else grad_T * ctx.scale
        return scaled_T.unsqueeze(1).to(gradient_TH.dtype) * gradient_TH, None, None, None


def projected_logprobs(hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor, readout: Readout = PLAIN) -> Tensor:
    """Log-probabilities (T,) in fp32 of the labels under the softmax of the logits."""
    if not weight_VH.requires_grad and not readout.is_trained:
        apply: Callable[..., Tensor] = FrozenProjection.apply
        return apply(hidden_TH.to(weight_VH.dtype), weight_VH, labels_T, readout)
    chunks = zip(hidden_TH.split(CHUNK), labels_T.split(CHUNK), strict=True)
    again = partial(torch.utils.checkpoint.checkpoint, trained_chunk, use_reentrant=False)
    return torch.cat([again(hidden, weight_VH, labels, readout) for hidden, labels in chunks])


def trained_chunk(hidden_TH: Tensor, weight_VH: Tensor, labels_T: Tensor, readout: Readout) -> Tensor:
    """One chunk for a projection that is being trained; recomputed in the backward pass."""
    logits = readout.logits(hidden_TH, weight_VH)
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
    positions_RL = batch.position_ids_RL.to(device)
    hidden_RLH = decoder(model)(
        input_ids=batch.input_ids_RL.to(device),
        position_ids=positions_RL,
        attention_mask=attention_input(model, batch.mask_R1LL.to(device), positions_RL, dtype),
        use_cache=False,
    ).last_hidden_state
    target_RL = (batch.labels_RL >= 0).to(device)
    labels_T = batch.labels_RL.to(device)[target_RL]
    token_logprobs = projected_logprobs(hidden_RLH[target_RL], whole(projection(model)), labels_T, readout(model))
    reward_head = getattr(model, HEAD, None)
    if reward_head is None or not len(batch.ends_S):
        return (token_logprobs,)
    return token_logprobs, reward_head(hidden_RLH.flatten(0, 1)[batch.ends_S.to(device)])


@torch.no_grad()
def own_logprobs(model: nn.Module, batch: Batch) -> Tensor:
    """Log-probabilities of the targets of plain rows (T,) as the model's class itself gives them, from all its logits:
    what `predicted` is checked with. The class goes on from its projection in fp32, as is done here."""
    inner, device = unwrapped(model), projection(model).device
    head: Any = inner.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, given, logits: logits.float())
    try:
        output = type(inner).forward(
            inner,
            input_ids=batch.input_ids_RL.to(device),
            position_ids=batch.position_ids_RL.to(device),
            use_cache=False,
        )
    finally:
        hook.remove()
    labels_RL = batch.labels_RL.to(device)
    logprobs_TV = output.logits[labels_RL >= 0].float().log_softmax(-1)
    found: Tensor = logprobs_TV.gather(1, labels_RL[labels_RL >= 0].unsqueeze(1)).squeeze(1)
    return found


def projection(model: nn.Module) -> Tensor:
    """The weight (V, H) that gives logits."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        raise TypeError(f"{type(model).__name__} has no output embeddings; a causal language model is needed.")
    weight: Tensor = head.weight
    return weight


def readout(model: Any) -> Readout:
    """What a model's logits are besides W h, by its configuration and its head."""
    config, bias = text_config(model), getattr(model.get_output_embeddings(), "bias", None)
    cap, times, over = (
        float(value) if isinstance(value := getattr(config, name, None), int | float) and value else None
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")
    )
    return Readout(None if bias is None else whole(bias), (times or 1.0) / (over or 1.0), cap)


def whole(weight: Tensor) -> Tensor:
    """A weight that may lie on several ranks in parts, in one piece: an untied projection is never called as a module,
    so FSDP does not gather it."""
    found: Tensor = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return found


def unwrapped(model: Any) -> Any:
    """The model itself, PEFT-wrapped or not; adapters are layers inside it, so they stay active."""
    return getattr(model, "get_base_model", lambda: model)()


def decoder(model: nn.Module) -> nn.Module:
    """The model below the vocabulary projection."""
    inner = unwrapped(model)
    result: nn.Module = inner.get_decoder() if hasattr(inner, "get_decoder") else inner.model
    return result
