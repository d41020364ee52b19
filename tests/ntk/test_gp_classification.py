"""Class targets and what is read off a regression on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.spatial
import scipy.stats
from sklearn.datasets import load_digits

from ntk import gp


def test_targets():
    got = gp.class_targets([2, 0, 1, 0], 3)
    expected = np.asarray([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]) - 1 / 3
    np.testing.assert_allclose(got, expected, rtol=1e-15, atol=1e-16)
    assert got.dtype == jnp.float64
    assert gp.class_targets(np.uint8([1]), 2, dtype=jnp.float32).dtype == jnp.float32


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_probabilities_by_adaptive_quadrature(num_classes):
    rng = np.random.default_rng(num_classes)
    mean, variance = rng.normal(size=(4, num_classes)), np.asarray([0.1, 0.5, 1.0, 9.0])
    got = gp.decode_classes(mean, variance)
    np.testing.assert_array_equal(got.labels, mean.argmax(1))
    np.testing.assert_allclose(got.probabilities.sum(1), 1, rtol=1e-12)
    for row, m in enumerate(mean):
        s = variance[row] ** 0.5
        for c in range(num_classes):
            others = np.delete(m, c)

            def integrand(f, c=c, m=m, s=s, others=others):
                return scipy.stats.norm.pdf(f, m[c], s) * scipy.stats.norm.cdf(f, others, s).prod()

            bounds = (m[c] - 12 * s, m[c] + 12 * s)
            expected = scipy.integrate.quad(integrand, *bounds, epsabs=1e-12, limit=200)[0]
            np.testing.assert_allclose(got.probabilities[row, c], expected, atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_limits_of_the_variance(dtype):
    mean = jnp.asarray([[0.3, -0.1, 0.2], [0.5, 0.5, -1.0], [0.0, 0.0, 0.0]], dtype)
    sharp = [[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    for variance in (0.0, 1e-30):
        got = gp.decode_classes(mean, jnp.full(3, variance, dtype))
        assert got.probabilities.dtype == dtype
        np.testing.assert_allclose(got.probabilities, sharp, atol=1e-5)
    wide = gp.decode_classes(mean, jnp.full(3, 1e12, dtype))
    np.testing.assert_allclose(wide.probabilities, 1 / 3, atol=1e-5)
    assert gp.decode_classes(mean).probabilities is None


def test_probabilities_have_derivatives():
    mean = jnp.asarray([[0.3, -0.1, 0.2]])
    slope_of = jax.jit(jax.grad(lambda m, v: gp.decode_classes(m, v).probabilities[0, 0]))
    for variance in (0.0, 0.5):
        slope = slope_of(mean, jnp.full(1, variance))
        assert np.isfinite(slope).all()
    assert slope[0, 0] > 0 > slope[0, 1]


def test_digits():
    """A rough kernel, 300 images to learn from: nine in ten right, and as sure as it should be."""
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:600]
    x, labels = x[order] / 16, labels[order]
    kernel = 0.1 * np.exp(-scipy.spatial.distance.cdist(x, x, "sqeuclidean") / 8)
    kernels = (kernel[:300, :300], kernel[300:, :300], np.diag(kernel)[300:])
    got = gp.posterior(kernels, gp.class_targets(labels[:300], 10), 0.005)
    classes = gp.decode_classes(got.mean, got.variance)
    right = np.asarray(classes.labels) == labels[300:]
    assert right.mean() > 0.9
    sure = np.asarray(classes.probabilities).max(1)
    assert sure[right].mean() > sure[~right].mean() + 0.1


def test_bad_input():
    mean = np.zeros((4, 3))
    bad = [
        (TypeError, "labels must be integers, got float64", lambda: gp.class_targets([0.0], 2)),
        (TypeError, "dtype must be floating point, got int",
         lambda: gp.class_targets([0], 2, dtype=int)),
        (ValueError, r"labels must have shape .n., got \(1, 1\)",
         lambda: gp.class_targets([[0]], 2)),
        (ValueError, "labels must lie between 0 and 1, got 0 to 2",
         lambda: gp.class_targets([0, 2], 2)),
        (ValueError, "labels must lie between", lambda: gp.class_targets([-1], 2)),
        (ValueError, "num_classes must be an integer of at least 2",
         lambda: gp.class_targets([0], 1)),
        (ValueError, r"mean must have shape .m, classes., got \(4,\)",
         lambda: gp.decode_classes(mean[:, 0])),
        (ValueError, "mean must be finite", lambda: gp.decode_classes(mean * np.nan)),
        (ValueError, r"variance must have shape \(4,\)", lambda: gp.decode_classes(mean, mean)),
        (ValueError, "variance must be at least 0", lambda: gp.decode_classes(mean, -np.ones(4))),
    ]  # fmt: skip
    for error, message, call in bad:
        with pytest.raises(error, match=message):
            call()


def test_labels_that_are_no_numbers_or_wider_than_those_of_jax():
    for labels in (["a", "b"], None, [0, None]):
        with pytest.raises(TypeError, match="labels must be integers"):
            gp.class_targets(labels, 3)
    with jax.enable_x64(False), pytest.raises(ValueError, match="labels must lie between 0 and 2"):
        gp.class_targets(np.array([2**32 + 1, 0]), 3)
