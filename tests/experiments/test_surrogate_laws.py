"""Surrogates of a softmax: what each is said to match."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnnsample.surrogates import KernelPrior
from experiments import surrogate_laws

LABELS = surrogate_laws.one_hot(jnp.asarray([[0.0], [3.0], [9.0], [3.0], [1.0], [2.0]]))
ROOT = np.random.default_rng(0).normal(size=(6, 9))
KERNEL = jnp.asarray(ROOT @ ROOT.T)


def test_laplace_is_at_the_mode():
    """The regression that it is has the mode as its mean: ``f = K (labels - softmax(f))``."""
    target, scale = surrogate_laws.laplace(LABELS, KERNEL)
    precision = scale**-2
    f, _ = KernelPrior(KERNEL).posterior(precision, precision[:, None] * target)
    p = jax.nn.softmax(f)
    np.testing.assert_allclose(f, KERNEL @ (LABELS - p), atol=1e-6)
    np.testing.assert_allclose(precision, (p * (1 - p)).mean(1), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_dirichlet_matches_the_moments_of_gammas(alpha):
    target, scale = surrogate_laws.dirichlet(LABELS, alpha)
    concentration = LABELS + alpha
    variance = np.log1p(1 / concentration)
    mean = np.exp(target + variance / 2)
    np.testing.assert_allclose(mean, concentration, rtol=1e-12)
    np.testing.assert_allclose(mean**2 * np.expm1(variance), concentration, rtol=1e-12)
    np.testing.assert_allclose(scale**-2, (1 / variance).mean(1), rtol=1e-12)


@pytest.mark.slow
def test_end_to_end(capsys):
    line = ["--width", "8", "--n-train", "20", "--draws", "20", "--warmup", "20"]
    measured = surrogate_laws.main(line)
    assert list(measured)[:2] == ["fitted", "Laplace"]
    assert all(row["ess_per_gradient_function"] > 0 for row in measured.values())
    assert capsys.readouterr().out.count("ESS/gradient") == len(measured) == 5
