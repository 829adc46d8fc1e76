"""Every model's settings become a model that keeps the protocol; controls match what they control."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from features.codes import FIRST_INDEX
from training.codes import Codes
from training.errors import ConfigError
from training.fit.build import build, parameters
from training.fit.config import Config
from training.fit.models import is_click
from training.model import as_model
from training.models.mos import MoS
from training.vocabulary import TrainVocabulary

TRAINED = (
    "sasrec", "mos", "mos_fused", "token_moe", "cmsl", "cmsl_single", "ulim", "ulim_global",
    "din", "twin", "sdim", "sasrec_click", "mos_click", "dense_moe", "topk_moe", "cmsl_click",
    "cmsl_click_single",
)  # fmt: skip
COUNTED = ("popularity", "transition", "frequency")


def _codes(size: int) -> Codes:
    return Codes(np.arange(size, dtype=np.int32), np.arange(size, dtype=np.int64))


@pytest.fixture(scope="module")
def vocabulary() -> TrainVocabulary:
    category = np.where(np.arange(50) < 2, 1, 2 + np.arange(50) % 4).astype(np.int32)
    return TrainVocabulary(_codes(50), _codes(6), _codes(4), category, tuple(range(2, 11)), 0)


def _settings(name: str, **changes: Any) -> Any:
    plain = {"output": "o", "data": {"warehouse": "w"}, "model": {"name": name} | changes}
    return Config.model_validate(plain).model


@pytest.mark.parametrize("name", TRAINED + COUNTED)
def test_every_name_builds_a_model(vocabulary: TrainVocabulary, name: str) -> None:
    model = build(_settings(name), vocabulary)
    assert as_model(model) is model
    assert (parameters(model)["all"] > 0) == (name in TRAINED)


def test_settings_reach_the_model(vocabulary: TrainVocabulary) -> None:
    small, large = (parameters(build(_settings("sasrec", dim=dim), vocabulary)) for dim in (8, 16))
    assert small["all"] - small["besides_embeddings"] == 8 * (50 + 6 + 4 + 5 + 32 + 2)
    assert large["besides_embeddings"] > 2 * small["besides_embeddings"]
    assert _mos(vocabulary).router.codebook.codes == 9  # one for each theme, 2 … 10
    assert _mos(vocabulary, codes=20).router.codebook.codes == 20
    assert (_mos(vocabulary).fusion, _mos(vocabulary, "mos_fused").fusion) == ("mixture", "vector")


def test_codes_are_as_many_as_themes_whatever_their_ids(vocabulary: TrainVocabulary) -> None:
    """Ids have holes after refits; a code that no theme has would only be revived to split one."""
    sparse = replace(vocabulary, themes=(3, 4, 17, 90))
    model = _mos(sparse)
    assert model.router.codebook.codes == 4
    names = np.array([[0, 1, 90, 3, 17, 5]], np.int32)
    coded = torch.from_numpy(sparse.encode("session_theme", names))
    assert coded.tolist() == [[0, 1, 5, 2, 4, 1]]
    assert int(coded.max()) - FIRST_INDEX == model.router.codebook.codes - 1
    again = _mos(sparse)
    again.load_state_dict(model.state_dict())
    assert _mos(replace(vocabulary, themes=())).router.codebook.codes == 1


def _mos(vocabulary: TrainVocabulary, name: str = "mos", **changes: Any) -> MoS:
    model = build(_settings(name, **changes), vocabulary)
    assert isinstance(model, MoS)
    return model


@pytest.mark.parametrize(
    ("control", "model"),
    [
        (("sasrec", {"match": {"name": "mos"}}), ("mos", {})),
        (("sasrec", {"match": {"name": "mos", "layers": 3}}), ("mos", {"layers": 3})),
        (("cmsl_single", {}), ("cmsl", {})),
        (("cmsl_click_single", {}), ("cmsl_click", {})),
        (("ulim_global", {}), ("ulim", {})),
        (("din", {"match": {"name": "mos_click"}}), ("mos_click", {})),
        (("twin", {"match": {"name": "dense_moe", "pooler": "twin"}}), ("dense_moe", {"pooler": "twin"})),
    ],
    ids=lambda pair: pair[0],
)  # fmt: skip
def test_controls_have_as_many_parameters(
    vocabulary: TrainVocabulary, control: tuple[str, dict[str, Any]], model: tuple[str, dict[str, Any]]
) -> None:
    wanted, found = (parameters(build(_settings(name, **own), vocabulary)) for name, own in (model, control))
    for kind, count in wanted.items():
        assert found[kind] == pytest.approx(count, rel=0.05), kind


def test_matching_draws_nothing_and_leaves_real_weights(vocabulary: TrainVocabulary) -> None:
    torch.manual_seed(1)
    model = build(_settings("din", match={"name": "mos_click"}), vocabulary)
    assert all(weight.device.type == "cpu" for weight in model.state_dict().values())
    torch.manual_seed(1)
    again = build(_settings("din", match={"name": "mos_click"}), vocabulary)
    assert _equal(model, again)


def test_settings_that_contradict_are_config_errors(vocabulary: TrainVocabulary) -> None:
    with pytest.raises(ConfigError, match=r"\[model\]: .*10.*3 heads"):
        build(_settings("sasrec", dim=10, heads=3), vocabulary)
    with pytest.raises(ConfigError, match=r"\[model\]: "):
        build(_settings("mos", themes_share=0.8, codes_share=0.5), vocabulary)


def test_click_models_are_those_that_learn_from_candidates() -> None:
    clicks = {name for name in TRAINED + COUNTED if is_click(_settings(name))}
    assert clicks == set(TRAINED[8:])


def _equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.state_dict().items())
