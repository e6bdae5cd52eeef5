"""Cost on paper: floating-point operations, bytes and seconds of other models and machines, from stated assumptions.

Sources: Kaplan et al. 2020, arXiv 2001.08361 (2 N operations a token forward, 4 N backward); Rajbhandari et al. 2020,
arXiv 1910.02054 (16 bytes a weight with AdamW in mixed precision, divided over the ranks); Pope et al. 2023,
arXiv 2211.05102 (decoding reads the weights and the keys and values once a step).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A decoder: weights, layers, heads of keys and values and their size, width, and width of the feed-forward."""

    name: str
    weights: float
    layers: int
    kv_heads: int
    head_size: int
    hidden: int
    intermediate: int

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token in bf16: 2 (both) x 2 bytes."""
        return 4 * self.layers * self.kv_heads * self.head_size

    @property
    def layer_sides(self) -> int:
        """Rows and columns of a layer's seven matrices: query and output, key and value, gate, up and down."""
        keys = self.kv_heads * self.head_size
        return 2 * (2 * self.hidden) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.intermediate)


@dataclass(frozen=True)
class Machine:
    """Accelerators: how many, peak bf16 operations (dense) and memory bytes a second and bytes of memory of each, and
    the share of the peak that several together keep."""

    name: str
    count: int
    peak: float = 989e12
    bandwidth: float = 3.35e12
    memory: float = 80e9
    together: float = 1.0


LLAMA_8B = Shape("Llama-3.1-8B", 8.03e9, 32, 8, 128, 4096, 14336)
SMOLLM_135M = Shape("SmolLM2-135M", 134.5e6, 30, 3, 64, 576, 1536)
MACHINES = (
    Machine("1 x H100", 1),
    Machine("8 x H100", 8, together=0.9),
    Machine("8 nodes of 8 x H100", 64, together=0.8),
)
UTILISATION = 0.4  # of the peak in training: assumed
BANDWIDTH_SHARE = 0.6  # of the memory bandwidth in decoding: assumed
OPERATIONS = {"full": 6, "full, recomputed": 8, "lora": 4, "lora, recomputed": 6, "forward": 2}  # times N, a token


def train_seconds(shape: Shape, tokens: float, method: str, machine: Machine) -> float:
    """Seconds of training: operations / (accelerators x peak x utilisation x share kept together)."""
    rate = machine.count * machine.peak * UTILISATION * machine.together
    return OPERATIONS[method] * shape.weights * tokens / rate


def training_bytes(shape: Shape, method: str, machine: Machine) -> float:
    """Bytes of weights, gradients and AdamW's moments on each accelerator, without activations: full training 16 a
    weight over all of them (ZeRO-3, FSDP2); LoRA 2 a frozen weight on each, its own weights left out (below 1%)."""
    return 16 * shape.weights / machine.count if method.startswith("full") else 2 * shape.weights


def packed_share(prompt: float, answer: float, candidates: int) -> float:
    """Tokens with the prompt computed once, as a share of those with a row for each answer."""
    return (prompt + candidates * answer) / (candidates * (prompt + answer))


def decode_seconds(shape: Shape, users: int, context: int, machine: Machine) -> float:
    """Seconds of a token for all users: weights and all keys and values are read once, split over the accelerators."""
    read = 2 * shape.weights + users * context * shape.kv_bytes
    return read / (machine.count * machine.bandwidth * BANDWIDTH_SHARE * machine.together)


def most_users(shape: Shape, context: int, machine: Machine, experts: int, rank: int = 16) -> int:
    """Answers at once whose keys and values fit beside the weights and the adapters (90% of the memory)."""
    free = 0.9 * machine.count * machine.memory - 2 * shape.weights - experts * adapter_bytes(shape, rank)
    return max(0, int(free / (context * shape.kv_bytes)))


def adapter_bytes(shape: Shape, rank: int) -> float:
    """Bytes of an adapter over all linear layers in bf16: rank x (rows + columns) numbers a matrix."""
    return 2.0 * rank * shape.layers * shape.layer_sides
