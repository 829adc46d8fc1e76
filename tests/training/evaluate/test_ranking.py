"""AUC, GAUC, log loss and normalised entropy against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from training.evaluate.ranking import auc, calibrate, gauc, group_auc, log_loss, normalised_entropy

cases = st.lists(
    st.tuples(st.integers(-2, 2).map(float), st.booleans(), st.integers(-1, 2)), min_size=1, max_size=40
)


@given(cases)
def test_auc_of_each_group_is_scikit_learns(rows):
    score, label, group = (np.array(column) for column in zip(*rows, strict=True))
    found = group_auc(score, label.astype(bool), group)
    assert found.group.tolist() == sorted(set(group.tolist()))
    for name, value in zip(found.group, found.auc, strict=True):
        own = group == name
        if len(set(label[own])) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(roc_auc_score(label[own], score[own]))


@given(cases)
def test_gauc_weights_users_by_their_candidates(rows):
    score, label, user = (np.array(column) for column in zip(*rows, strict=True))
    parts = [
        ((user == one).sum(), roc_auc_score(label[user == one], score[user == one]))
        for one in set(user.tolist())
        if len(set(label[user == one])) == 2
    ]
    found = gauc(score, label.astype(bool), user)
    if not parts:
        assert np.isnan(found)
    else:
        weight, value = zip(*parts, strict=True)
        assert found == pytest.approx(np.average(value, weights=weight))


def test_auc_agrees_with_torchmetrics_on_probabilities_and_keeps_large_logits_apart():
    random = np.random.default_rng(0)
    score, label = random.random(500), random.random(500) < 0.3
    assert auc(score, label) == pytest.approx(
        binary_auroc(torch.from_numpy(score), torch.from_numpy(label).long()).item()
    )
    assert auc(np.array([40.0, 41.0]), np.array([False, True])) == 1.0
    with pytest.raises(ValueError, match="1 of 2"):
        auc(np.array([np.nan, 1.0]), np.array([False, True]))
    assert np.isnan(auc(np.zeros(0), np.zeros(0, dtype=bool)))


def test_log_loss_and_normalised_entropy():
    random = np.random.default_rng(1)
    label = random.random(400) < 0.2
    logit = random.normal(size=400) + label
    probability = 1 / (1 + np.exp(-logit))
    assert log_loss(logit, label) == pytest.approx(sklearn_log_loss(label, probability))
    base = label.mean()
    prior = np.full(400, np.log(base / (1 - base)))
    assert normalised_entropy(prior, label) == pytest.approx(1.0)
    assert normalised_entropy(logit, label) == pytest.approx(log_loss(logit, label) / log_loss(prior, label))
    assert log_loss(np.array([800.0, -800.0]), np.array([True, False])) == 0.0


def test_calibration_recovers_scale_and_shift():
    random = np.random.default_rng(2)
    logit = random.normal(size=60_000) * 2 - 1
    label = random.random(60_000) < 1 / (1 + np.exp(-logit))
    found = calibrate((logit + 5) / 3, label)
    assert found.scale == pytest.approx(3, rel=0.05)
    assert found.shift == pytest.approx(-5, rel=0.05)
    assert log_loss(found.logit((logit + 5) / 3), label) <= log_loss(logit, label) + 1e-9
