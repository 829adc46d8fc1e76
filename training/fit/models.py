"""The models' settings: one section each, told apart by ``name``."""

from typing import Annotated, Literal

from pydantic import Field

from training.fit.section import Count, Section

Dropout = Annotated[float, Field(ge=0, lt=1)]


class Backbone(Section):
    """The transformer that most models share."""

    dim: Count = 64
    layers: Count = 2
    heads: Count = 2
    ff: Annotated[float, Field(gt=0)] = 2.0  # inner width of the feed-forward layers over dim
    dropout: Dropout = 0.1


class SasRec(Backbone):
    """Self-attentive sequential recommendation: the single-sequence control."""

    name: Literal["sasrec"]


class Popularity(Section):
    """Counts of the training window."""

    name: Literal["popularity"]


ModelConfig = Annotated[SasRec | Popularity, Field(discriminator="name")]
