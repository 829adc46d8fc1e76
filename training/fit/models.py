"""The models' settings: one section each, told apart by ``name``. Defaults are our choice."""

from typing import Annotated, Literal

from pydantic import Field

from features.section import Count, Duration, Section, Share

Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Codes = Count | Literal["auto"]
Pooler = Literal["din", "twin", "sdim", "sasrec"]
Sequence = Literal["session", "theme", "category", "mode"]


class Backbone(Section):
    """The transformer that most models share."""

    dim: Count = 64
    layers: Count = 2
    heads: Count = 2
    ff: Positive = 2.0  # inner width of the feed-forward layers over dim
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Themed(Backbone):
    """What both forms of MoS share."""

    codes: Codes = "auto"  # of the codebook; auto: one for each of the pipeline's themes
    strands: Count = 4
    window: Count = 32  # events of the short-term expert
    strand_weight: Weight = 0.5
    themes_share: Share = 0.6  # of the steps with the pipeline's themes, then with codes that move,
    codes_share: Share = 0.3  # then with fixed ones


class Mos(Themed):
    """Mixture of Sequence: a mixture of softmaxes, or for comparison the experts fused into one vector."""

    name: Literal["mos", "mos_fused"]


class SasRec(Backbone):
    """Self-attentive sequential recommendation: the single-sequence control."""

    name: Literal["sasrec"]
    match: Mos | None = None  # the model whose parameters it is to have as many of


class TokenMoe(Backbone):
    """SASRec whose feed-forward layers are mixtures of experts; reported without a bar."""

    name: Literal["token_moe"]
    experts: Count = 4
    top: Count = 2
    balance: Weight = 0.01  # weight of the loss that asks for an even use of the experts


class Cmsl(Section):
    """Constructive multi-sequence learning, or its one-strand control with as many parameters."""

    name: Literal["cmsl", "cmsl_single", "cmsl_click", "cmsl_click_single"]
    dim: Count = 64
    strands: Count = 4
    tokens: Count = 8
    intents: Count = 4
    blocks: Count = 2
    heads: Count = 4
    strand_heads: Count = 4
    dim_head: Count = 16
    hidden: Count = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    attention: Literal["softmax", "linear"] = "softmax"
    history: Count = 128  # latest events that a click model reads
    sequences: tuple[Sequence, ...] = ()  # materialised strands that a click model reads as well


class Ulim(Backbone):
    """User long-term multi-interest retrieval, or its one-vector control with as many parameters."""

    name: Literal["ulim", "ulim_global"]
    category_dim: Count = 32
    searched: Count = 25  # categories that get a long-term vector when the catalogue is scored
    alpha: Weight = 1.0  # weight of the long-term loss
    beta: Weight = 1.0  # weight of the short-term loss


class Clicks(Backbone):
    """What click models share: they score a candidate, and learn from drawn ones."""

    length: Count = 256  # latest events


class MosClick(Clicks, Themed):
    """Mixture of Sequence over a target pooler: the candidate gates what each expert pooled."""

    name: Literal["mos_click"]
    pooler: Pooler = "din"
    strand_length: Count = 32


class PoolerMoe(Clicks):
    """Whole backbones as experts: all of them weighed, or the best few. The rivals of MoS."""

    name: Literal["dense_moe", "topk_moe"]
    pooler: Pooler = "din"
    experts: Count = 4
    top: Count = 2  # of topk_moe
    balance: Weight = 0.01


class Pooled(Clicks):
    """One pooled sequence: the single-sequence controls of the click models."""

    name: Literal["din", "twin", "sdim", "sasrec_click"]
    match: Annotated[MosClick | PoolerMoe, Field(discriminator="name")] | None = None


class Popularity(Section):
    """How often an item was a target, all time or decayed."""

    name: Literal["popularity"]
    half_life: Duration | None = None


class Transition(Section):
    """What followed the last item, backed off to popularity."""

    name: Literal["transition"]
    back_off: Positive = 1.0  # counts


class Frequency(Section):
    """What the user did before, all time or decayed, backed off to popularity."""

    name: Literal["frequency"]
    half_life: Duration | None = None
    back_off: Positive = 1.0  # events


Counted = Popularity | Transition | Frequency
Retrieval = SasRec | Mos | TokenMoe | Ulim
ModelConfig = Annotated[
    Retrieval | Cmsl | MosClick | PoolerMoe | Pooled | Counted, Field(discriminator="name")
]


def is_click(settings: Section) -> bool:
    """Whether a model learns from candidates and is measured by them, rather than by the catalogue."""
    return isinstance(settings, Clicks) or (isinstance(settings, Cmsl) and "click" in settings.name)
