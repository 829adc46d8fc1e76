"""Sizes of a CMSL model. The paper states none (PAPERS.md): all defaults are our choice."""

from dataclasses import dataclass

from training.models.cmsl.attention import Form

SIZES = ("dim", "strands", "tokens", "intents", "blocks", "heads", "strand_heads", "dim_head", "hidden")


@dataclass(frozen=True)
class CmslConfig:
    """Sizes of the encoder; ``strands`` is k, ``tokens`` m, ``intents`` m̂ of PAPERS.md's Figure 2."""

    dim: int = 64
    strands: int = 4
    tokens: int = 8
    intents: int = 4
    blocks: int = 2
    heads: int = 4
    """Heads of the construction and of the summarisation."""
    strand_heads: int = 4
    """Heads of each strand's self-attention."""
    dim_head: int = 16
    """Channels of a head, the summarisation's excepted (``dim / heads``)."""
    hidden: int = 128
    """Inner width of the feed-forward layer that compresses the strands."""
    dropout: float = 0.1
    attention: Form = "softmax"
    """``linear`` pays beyond 2,000 to 4,000 events (benchmarks/linear_attention.py)."""

    def __post_init__(self) -> None:
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"CMSL: {name} is {getattr(self, name)}; make it at least 1")
        if self.dim % self.heads:
            raise ValueError(f"CMSL: dim {self.dim} does not divide into {self.heads} heads")
        if self.attention not in ("softmax", "linear"):
            raise ValueError(f"CMSL: attention {self.attention!r} is unknown; use softmax or linear")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"CMSL: dropout {self.dropout} is outside [0, 1)")
