"""The deep ensemble's mixture by hand, tables, and the experiment end to end at its smallest."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats as st
from scipy.special import log_softmax

from bnnsample import likelihoods, models
from experiments import _ensemble, predictive_quality
from experiments._stacking import bootstrap_stacked, stacked

RNG = np.random.default_rng(0)
X, X_NEW = RNG.normal(size=(20, 3)), RNG.normal(size=(6, 3))
MODEL = models.mlp(1, "tanh")


def trained(likelihood, y, **options):
    likelihood, y, _ = likelihood.prepared(y, len(X))
    settings = {"num_members": 3, "max_steps": 60, "seed": 0, **options}
    return likelihood, _ensemble.train(MODEL, likelihood, 5, (X, np.asarray(y, float)), **settings)


def members(ensemble):
    p = ensemble.parameters
    return [jax.tree.map(lambda a, i=i: a[i], p) for i in range(len(p["log_scale"]))]


def test_the_density_of_regression_is_the_mixture_of_members():
    y, y_new = np.sin(X[:, 0]), np.sin(X_NEW[:, :1])
    likelihood, ensemble = trained(likelihoods.Gaussian(), y)
    densities = []
    for member in members(ensemble):
        f = MODEL.apply(member["network"], jnp.asarray(X_NEW))
        densities.append(st.norm(f, np.exp(member["log_scale"])).pdf(y_new))
    got = _ensemble.log_density(ensemble, MODEL, likelihood, X_NEW, y_new)
    np.testing.assert_allclose(got, np.log(np.mean(densities, axis=0))[:, 0], rtol=1e-9)


def test_probabilities_of_labels_are_means_over_members():
    y = np.array([0, 1, 2, 1] * 5)
    likelihood, ensemble = trained(likelihoods.Categorical(), y)
    p = [
        np.exp(log_softmax(MODEL.apply(m["network"], jnp.asarray(X_NEW)), axis=1))
        for m in members(ensemble)
    ]
    got = _ensemble.mean(ensemble, MODEL, likelihood, X_NEW)
    np.testing.assert_allclose(got, np.mean(p, axis=0), rtol=1e-9)
    code = np.array([2, 0, 1, 1, 2, 0.0])[:, None]
    got = _ensemble.log_density(ensemble, MODEL, likelihood, X_NEW, code)
    chosen = np.mean(p, axis=0)[np.arange(6), code[:, 0].astype(int)]
    np.testing.assert_allclose(got, np.log(chosen), rtol=1e-9)


def test_training_fits():
    """What validation chooses is no worse than where it starts, by far."""
    y = 3 * np.tanh(X[:, 0])
    likelihood, ensemble = trained(likelihoods.Gaussian(), y, max_steps=400)
    assert ensemble.num_steps % _ensemble.CHECK_EVERY == 0
    residual = _ensemble.mean(ensemble, MODEL, likelihood, X)[:, 0] - y
    assert np.mean(residual**2) < 0.2 * np.var(y)


def test_a_path_ends_when_validation_brings_nothing_better():
    """Its losses fall three times and rise for ever: they end ``PATIENCE`` checks later."""
    losses = iter([3.0, 2.0, 1.0, *np.linspace(1.1, 9.0, 200)])
    x = jnp.zeros((2, 1))
    found = _ensemble._path(
        lambda state, *_: state, lambda *_: next(losses), {"w": x}, 0.1, 0.0, (x, x), (x, x), 4000
    )
    assert len(found) == 3 + _ensemble.PATIENCE
    assert found.argmin() == 2


def test_settings_without_a_finite_loss_are_refused():
    y = np.full(len(X), np.nan)
    with pytest.raises(ValueError, match="finite validation loss"):
        _ensemble.train(MODEL, likelihoods.Gaussian(scale=1.0), 5, (X, y[:, None]), 2, 20, 0)


def test_posteriors_are_weighed_by_points_that_were_held_out(monkeypatch):
    """Trials are short and see other points than those that weigh them."""
    choices = [predictive_quality.Choice(*c) for c in ((1.0, 1.0), (1.0, 3.0), (0.01, 3.0))]
    monkeypatch.setattr(predictive_quality, "CHOICES", choices)
    split = predictive_quality.load("digits", 0, 39)
    asked = []

    def run(chosen, choice, **settings):
        asked.append((choice, settings))

        def predict(x):
            assert len(x) == 13
            assert not (x[:, None] == split.x[chosen]).all(axis=-1).any()
            # All points are foretold by the second, half as well by the first, and not by the last.
            sure = dict(zip(choices, (0.4, 0.8, 0.001), strict=True))[choice]
            labels = split.y[[np.flatnonzero((split.x == row).all(axis=1))[0] for row in x]]
            p = np.full((13, 10), (1 - sure) / 9)
            p[np.arange(13), labels] = sure
            return SimpleNamespace(mean=p)

        return SimpleNamespace(predict=predict)

    found = predictive_quality.weigh(run, split, 0, {"num_warmup": 25, "num_samples": 40})
    assert found == {choices[1]: 1.0}
    assert [c for c, _ in asked] == choices * 3
    assert {(s["num_warmup"], s["num_samples"]) for _, s in asked} == {(13, 20)}


def test_points_that_no_posterior_foretold_weigh_nothing(monkeypatch):
    choices = [predictive_quality.Choice(t) for t in (1.0, 0.1)]
    monkeypatch.setattr(predictive_quality, "CHOICES", choices)
    split = predictive_quality.load("breast_cancer", 0, 30)

    def run(chosen, choice, **settings):
        def predict(x):
            sure = 0.5 if choice.temperature == 1.0 else 0.9
            points = [np.flatnonzero((split.x == row).all(axis=1))[0] for row in x]
            labels = split.y[points]
            right = np.where(np.asarray(points) == 7, 0.0, sure)
            return SimpleNamespace(mean=np.where(labels == 1, right, 1 - right))

        return SimpleNamespace(predict=predict)

    found = predictive_quality.weigh(run, split, 0, {"num_warmup": 25, "num_samples": 40})
    assert found == {choices[1]: 1.0}


def test_a_fold_without_a_class_is_refused_at_once():
    split = predictive_quality.load("digits", 0, 33)
    with pytest.raises(SystemExit, match="33 training points do not hold every class"):
        predictive_quality.weigh(lambda *_, **__: pytest.fail("it ran"), split, 0, {})


def test_stacking_maximises_the_score_of_the_mixture():
    density = np.random.default_rng(0).gamma(1.0, size=(50, 3)) + 0.01
    (weights,) = stacked(density, np.full((1, 50), 1 / 50))

    def score(free):
        w = np.append(np.exp(free), 1.0)
        return -np.mean(np.log(density @ (w / w.sum())))

    best = scipy.optimize.minimize(score, np.zeros(2), method="BFGS", tol=1e-10)
    assert weights.sum() == pytest.approx(1)
    assert -np.mean(np.log(density @ weights)) == pytest.approx(best.fun, abs=1e-8)


def test_bootstrap_stacking_is_the_mean_of_stacking_of_resampled_points():
    """Against points drawn with replacement, to Monte-Carlo error, where one is better by a hair.

    Stacking itself takes that one alone.
    """
    other = np.array([1.5] * 39 + [0.5] * 41)
    density = np.stack([np.ones(80), other], axis=1)
    even = np.full(80, 1 / 80)
    assert stacked(density, even[None])[0, 1] < 1e-6
    counts = np.random.default_rng(1).multinomial(80, even, size=200)
    draws = stacked(density, counts / 80)[:, 1]
    error = np.std(draws, ddof=1) * np.sqrt(1 / 200 + 1 / 200)
    found = bootstrap_stacked(density, 0)
    assert found.sum() == pytest.approx(1)
    assert found[1] > 4 * error
    assert abs(found[1] - np.mean(draws)) < 4 * error


def test_a_mixture_of_runs_is_scored_as_one():
    split = predictive_quality.load("breast_cancer", 0, 50)

    def part(weight, p):
        mean = np.full(len(split.x_test), p)
        result = SimpleNamespace(
            predict=lambda x: SimpleNamespace(mean=mean), num_gradients=5, warmup_gradients=2,
            warmup_seconds=1.0, sampling_seconds=2.0, adapted={"step_size": 0.5},
        )  # fmt: skip
        return predictive_quality.Part(predictive_quality.Choice(0.1), weight, result)

    row = predictive_quality.of_parts("ours", [part(0.25, 0.2), part(0.75, 0.6)], split)
    share = split.y_test.mean()
    assert row["nll"] == pytest.approx(-share * np.log(0.5) - (1 - share) * np.log(0.5))
    assert (row["gradients"], row["seconds"]) == (14, 6.0)


def test_splits_are_standardised_by_their_training_points():
    split = predictive_quality.load("diabetes", 3, 100)
    assert split.x.shape == (100, 10)
    assert split.x_test.shape == (88, 10)
    np.testing.assert_allclose(split.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(split.y.std(), 1, atol=1e-5)
    assert predictive_quality.load("breast_cancer", 0, 50).y.dtype.kind == "i"


def test_differences_are_paired():
    rows = [
        {"data": "d", "split": s, "method": m, "nll": nll, "error": 0.1, "calibration": np.nan}
        for m, nlls in (("ours", (1.0, 2.0)), ("deep ensemble", (1.5, 2.5)))
        for s, nll in enumerate(nlls)
    ]
    rows += [{**row, "method": m} for m in predictive_quality.STANDARD for row in rows[:2]]
    line = next(r for r in predictive_quality.table(rows).splitlines() if "ensemble" in r)
    assert "| 2.000 ± 0.500 | 0.500 ± 0.000 |" in line


def test_methods_that_some_splits_lack_are_left_out(tmp_path):
    """One data set has standard coordinates, the other has them on one split of two."""
    rows = [
        {"data": d, "split": s, "method": m, "nll": 1.0, "error": 0.1, "calibration": 0.2}
        for d in ("whole", "part")
        for m in predictive_quality.METHODS
        for s in (0, 1)
        if not (d == "part" and s == 1 and m in predictive_quality.STANDARD)
    ]
    lines = predictive_quality.table(rows).splitlines()
    assert sum("standard" in line for line in lines if "| whole |" in line) == 2
    assert not any("standard" in line for line in lines if "| part |" in line)
    predictive_quality.plot(rows, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_end_to_end(tmp_path):
    arguments = ["--data", "breast_cancer", "--splits", "1", "--width", "4", "--draws", "20"]
    arguments += ["--warmup", "20", "--most-training", "30", "--max-steps", "40"]
    with jax.enable_x64(False):
        rows = predictive_quality.main([*arguments, "--out", str(tmp_path)])
        # Nothing is measured again.
        again = predictive_quality.main([*arguments, "--out", str(tmp_path)])
    assert {row["method"] for row in rows} == set(predictive_quality.METHODS)
    assert all(np.isfinite([row["nll"], row["error"]]).all() for row in rows)
    assert [row["nll"] for row in again] == [row["nll"] for row in rows]
    gradients = {row["method"]: row["gradients"] for row in rows}
    for method in predictive_quality.STANDARD:
        assert gradients[method] >= gradients[predictive_quality.OURS]
    assert (tmp_path / "predictive_quality.png").read_bytes()[:4] == b"\x89PNG"
