"""From a model's settings to the model; modules are imported when they are asked for."""
# ruff: noqa: PLC0415

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from features.durations import parse_duration
from features.section import Section
from features.spec import FamilySpec, default_families
from training.errors import ConfigError
from training.fit import models
from training.vocabulary import TrainVocabulary

TOLERANCE: Final = 0.05
"""How far a control's parameters may be from those of the model that it is a control of."""

SECOND_US: Final = 1_000_000


def build(settings: Section, vocabulary: TrainVocabulary) -> nn.Module:
    """The model of the settings for a vocabulary; ConfigError where they do not go together."""
    try:
        return _BUILDERS[type(settings)](settings, vocabulary)
    except ValueError as error:
        raise ConfigError(f"[model]: {error}") from error


def parameters(module: nn.Module) -> dict[str, int]:
    """How many numbers a module learns: all, and those outside embedding tables."""
    from training.models.match import body_parameters

    learned = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
    return {"all": learned, "besides_embeddings": body_parameters(module)}


def _shape(settings: Any) -> Any:
    from training.layers.encoder import Shape

    return Shape(**{field.name: getattr(settings, field.name) for field in fields(Shape)})


def _categories(vocabulary: TrainVocabulary) -> Tensor:
    return torch.from_numpy(vocabulary.item_category.copy())  # on the CPU, wherever models are built


def _width(control: Callable[[int], nn.Module], match: Section, vocabulary: TrainVocabulary) -> int:
    """The width that gives a control as many parameters as the model it is to match; allocates nothing."""
    from training.models.match import body_parameters, matched_width

    with torch.device("meta"):
        wanted = body_parameters(build(match, vocabulary))
        return matched_width(control, wanted, tolerance=TOLERANCE)


def _sasrec(settings: models.SasRec, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.sasrec import SASRec

    shape = _shape(settings)

    def of(inner: int) -> nn.Module:
        return SASRec(vocabulary.sizes, replace(shape, ff=inner / shape.dim))

    if settings.match is None:
        return SASRec(vocabulary.sizes, shape)
    return of(_width(of, settings.match, vocabulary))


def _token_moe(settings: models.TokenMoe, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.moe import Balanced, TokenMoESASRec

    model = TokenMoESASRec(vocabulary.sizes, _shape(settings), settings.experts, settings.top)
    return Balanced(model, settings.balance)


def _mos(settings: models.Mos, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.mos import MoS

    return MoS(
        vocabulary.sizes,
        _shape(settings),
        strands=settings.strands,
        window=settings.window,
        fusion="vector" if settings.name == "mos_fused" else "mixture",
        **_themed(settings, vocabulary),
    )


def _themed(settings: models.Themed, vocabulary: TrainVocabulary) -> dict[str, Any]:
    from training.models.mos import Stages

    codes = max(len(vocabulary.themes), 1) if settings.codes == "auto" else settings.codes
    stages = Stages(settings.themes_share, settings.codes_share)
    return {"codes": codes, "strand_weight": settings.strand_weight, "stages": stages}


def _cmsl(settings: models.Cmsl, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.cmsl.config import CmslConfig
    from training.models.cmsl.control import single_strand
    from training.models.cmsl.ranking import CmslRanker
    from training.models.cmsl.retrieval import Cmsl

    def make(config: CmslConfig) -> nn.Module:
        if not models.is_click(settings):
            return Cmsl(vocabulary.sizes, config)
        families = tuple(_family(name, settings.history) for name in settings.sequences)
        category = _categories(vocabulary)
        return CmslRanker(vocabulary.sizes, category, config, history=settings.history, families=families)

    config = CmslConfig(**{field.name: getattr(settings, field.name) for field in fields(CmslConfig)})
    return make(single_strand(make, config) if settings.name.endswith("_single") else config)


def _family(name: str, history: int) -> FamilySpec:
    """The pipeline's strand family of that name, no longer than the history."""
    (family,) = (family for family in default_families() if family.name == name)
    return replace(family, length=min(family.length, history))


def _ulim(settings: models.Ulim, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.match import body_parameters
    from training.models.ulim.control import matched_control
    from training.models.ulim.model import Ulim

    shape = _shape(settings)

    def make() -> Ulim:
        return Ulim(
            vocabulary.sizes,
            _categories(vocabulary),
            shape,
            category_dim=settings.category_dim,
            searched=settings.searched,
            alpha=settings.alpha,
            beta=settings.beta,
        )

    if settings.name == "ulim":
        return make()
    with torch.device("meta"):
        wanted = body_parameters(make())
    return matched_control(wanted, vocabulary.sizes, shape, TOLERANCE)


def _pooler(name: str, shape: Any) -> Callable[[], Any]:
    from training.layers.poolers import POOLERS, LastState

    return lambda: POOLERS[name](shape.dim) if name in POOLERS else LastState(shape.encoder())


def _pooled(settings: models.Pooled, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.pooled import PooledModel

    shape, category = _shape(settings), _categories(vocabulary)
    pooler = _pooler(settings.name.removesuffix("_click"), shape)

    def of(inner: int | None) -> nn.Module:
        own = category.to(torch.get_default_device())
        return PooledModel(vocabulary.sizes, own, pooler(), shape, length=settings.length, head_inner=inner)

    return of(None if settings.match is None else _width(of, settings.match, vocabulary))


def _pooler_moe(settings: models.PoolerMoe, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.moe import Balanced, PoolerMixture
    from training.models.pooled import PooledModel

    shape = _shape(settings)
    top = settings.top if settings.name == "topk_moe" else None
    mixture = PoolerMixture(_pooler(settings.pooler, shape), shape.dim, settings.experts, top)
    model = PooledModel(vocabulary.sizes, _categories(vocabulary), mixture, shape, length=settings.length)
    return model if top is None else Balanced(model, settings.balance)


def _mos_click(settings: models.MosClick, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.mos import MoSRanker

    shape = _shape(settings)
    return MoSRanker(
        vocabulary.sizes,
        _categories(vocabulary),
        _pooler(settings.pooler, shape)(),
        shape,
        length=settings.length,
        strands=settings.strands,
        strand_length=settings.strand_length,
        window=settings.window,
        **_themed(settings, vocabulary),
    )


def _popularity(settings: models.Popularity, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.popularity import Popularity

    return Popularity(vocabulary.sizes.items, _seconds(settings.half_life))


def _transition(settings: models.Transition, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.transition import Transition

    return Transition(vocabulary.sizes.items, settings.back_off)


def _frequency(settings: models.Frequency, vocabulary: TrainVocabulary) -> nn.Module:
    from training.models.frequency import Frequency

    return Frequency(vocabulary.sizes.items, _seconds(settings.half_life), settings.back_off)


def _seconds(duration: str | None) -> float | None:
    return None if duration is None else parse_duration(duration) / SECOND_US


_BUILDERS: Final[dict[type[Section], Callable[[Any, TrainVocabulary], nn.Module]]] = {
    models.SasRec: _sasrec,
    models.TokenMoe: _token_moe,
    models.Mos: _mos,
    models.Cmsl: _cmsl,
    models.Ulim: _ulim,
    models.Pooled: _pooled,
    models.PoolerMoe: _pooler_moe,
    models.MosClick: _mos_click,
    models.Popularity: _popularity,
    models.Transition: _transition,
    models.Frequency: _frequency,
}
