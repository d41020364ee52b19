"""Unknown scalars have their prior exactly, in both tails and in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.integrate
import scipy.special
import scipy.stats as st

from bnnsample._unknowns import Unknown, log_correction_of, values_of

# Prior, and the same distribution as SciPy has it.
CLOSED_FORMS = {
    "half_normal": (dist.HalfNormal(0.7), st.halfnorm(scale=0.7)),
    "log_normal": (dist.LogNormal(-1.0, 0.5), st.lognorm(0.5, scale=np.exp(-1.0))),
    "exponential": (dist.Exponential(2.0), st.expon(scale=0.5)),
    "half_cauchy": (dist.HalfCauchy(0.5), st.halfcauchy(scale=0.5)),
}
# Through NumPyro's transform of the support and its density.
TRANSFORMED = {
    "uniform": (dist.Uniform(0.1, 2.0), st.uniform(0.1, 1.9)),
    "log_uniform": (dist.LogUniform(0.01, 1.0), st.loguniform(0.01, 1.0)),
    "pareto": (dist.Pareto(0.1, 2.0), st.pareto(2.0, scale=0.1)),
    "normal": (dist.Normal(0.5, 2.0), st.norm(0.5, 2.0)),
    "truncated_normal": (
        dist.TruncatedNormal(0.5, 0.3, low=0.0),
        st.truncnorm(-0.5 / 0.3, np.inf, loc=0.5, scale=0.3),
    ),
    "exp_of_normal": (
        dist.TransformedDistribution(dist.Normal(0.0, 0.5), dist.transforms.ExpTransform()),
        st.lognorm(0.5),
    ),
    "gamma": (dist.Gamma(2.0, 3.0), st.gamma(2.0, scale=1 / 3)),
    "inverse_gamma": (dist.InverseGamma(3.0, 2.0), st.invgamma(3.0, scale=2.0)),
    "weibull": (dist.Weibull(1.5, 2.0), st.weibull_min(2.0, scale=1.5)),
    "beta": (dist.Beta(2.0, 3.0), st.beta(2.0, 3.0)),
    "chi2": (dist.Chi2(3.0), st.chi2(3.0)),
    "half_student": (dist.FoldedDistribution(dist.StudentT(4.0)), None),
}
ALL = {**CLOSED_FORMS, **TRANSFORMED}


def values(prior, u):
    return jax.jit(Unknown(prior).value)(u)


def slopes(prior, u):
    return jax.jit(jax.vmap(jax.grad(Unknown(prior).value)))(u)


def half_student_cdf(v):
    return 2 * st.t(4.0).cdf(v) - 1


def cdf_of(name):
    reference = ALL[name][1]
    return half_student_cdf if reference is None else reference.cdf


@pytest.mark.parametrize("name", ALL)
def test_prior_draws_have_the_prior(name):
    """KS test against SciPy's CDF; the family-wise level 1e-3 is shared by the cases."""
    unknown = Unknown(ALL[name][0])
    size = 4000
    u = jax.random.normal(jax.random.key(11), (size,))
    if unknown.has_quantile_map:
        draws = values(unknown.prior, u)
    else:
        draws = jax.jit(jax.vmap(unknown.prior_draw))(jax.random.split(jax.random.key(12), size), u)
    assert st.kstest(np.asarray(draws), cdf_of(name)).pvalue > 1e-3 / len(ALL)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_equal_scipy_in_both_tails(name):
    prior, reference = CLOSED_FORMS[name]
    u = np.linspace(-8, 8, 161)
    below = reference.ppf(st.norm.cdf(u))
    if name == "half_normal":  # SciPy's own loses the digits of small probabilities here.
        below = 0.7 * 2**0.5 * scipy.special.erfinv(st.norm.cdf(u))
    expected = np.where(u < 0, below, reference.isf(st.norm.cdf(-np.maximum(u, 0))))
    got = values(prior, jnp.asarray(u))
    np.testing.assert_allclose(got, expected, rtol=5e-13 if name == "log_normal" else 1e-10)
    got32 = values(prior, jnp.asarray(u, jnp.float32))
    # u itself is rounded, which moves a tail of relative slope |u| + 2 by that much.
    np.testing.assert_allclose(got32, expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_half_normal_far_out(dtype):
    """Noise of 200 prior scales, as unstandardised targets have it, is a finite coordinate."""
    prior = dist.HalfNormal(1.0)
    u = np.array([8.0, 13.0, 20.0, 38.0, 60.0, 200.0])
    expected = -scipy.special.ndtri_exp(scipy.special.log_ndtr(-u) - np.log(2))
    slope = np.exp((expected**2 - u**2) / 2) / 2
    tolerance = 1e-8 if dtype == jnp.float64 else 1e-4
    np.testing.assert_allclose(values(prior, jnp.asarray(u, dtype)), expected, rtol=tolerance / 10)
    np.testing.assert_allclose(slopes(prior, jnp.asarray(u, dtype)), slope, rtol=tolerance)
    back = Unknown(prior).coordinate(jnp.asarray(expected, dtype))
    np.testing.assert_allclose(back, u, rtol=tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_are_monotone_positive_and_differentiable(name, dtype):
    prior = CLOSED_FORMS[name][0]
    u = jnp.linspace(-8, 8, 321, dtype=dtype)
    value, slope = values(prior, u), slopes(prior, u)
    assert value.dtype == slope.dtype == dtype
    assert jnp.all(jnp.isfinite(value))
    assert jnp.all(value > 0)
    assert jnp.all(jnp.diff(value) > 0)
    assert jnp.all(jnp.isfinite(slope))
    assert jnp.all(slope > 0)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_slope_is_the_density_ratio(name, dtype):
    """``dv/du = N(u; 0, 1) / p(v)``; at u = 0, where the branches of a formula meet, as well."""
    prior, reference = CLOSED_FORMS[name]
    u = np.array([-4.0, -1.3, -1e-3, 0.0, 1e-3, 0.7, 3.0])
    slope = slopes(prior, jnp.asarray(u, dtype))
    value = reference.ppf(st.norm.cdf(u))
    expected = st.norm.pdf(u) / reference.pdf(value)
    np.testing.assert_allclose(slope, expected, rtol=1e-9 if dtype == jnp.float64 else 1e-4)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_are_finite_in_float32(name):
    unknown = Unknown(TRANSFORMED[name][0])
    u = jnp.linspace(-8, 8, 65, dtype=jnp.float32)
    for function in (unknown.value, unknown.log_correction):
        value, slope = jax.jit(jax.vmap(jax.value_and_grad(function)))(u)
        assert value.dtype == jnp.float32
        assert jnp.all(jnp.isfinite(value))
        assert jnp.all(jnp.isfinite(slope))
    assert jnp.all(jnp.diff(values(unknown.prior, u)) >= 0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_under_jit_as_eagerly(name, dtype):
    """The potential is traced: the map may not look at numbers there."""
    unknown = Unknown(ALL[name][0])
    u = jnp.asarray([-1.5, 0.0, 0.4, 2.0], dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-12
    for function in (unknown.value, unknown.log_correction):
        eager, compiled = function(u), jax.jit(function)(u)
        assert eager.dtype == compiled.dtype == dtype
        np.testing.assert_allclose(eager, compiled, rtol=tolerance)


@pytest.mark.parametrize("name", ALL)
def test_the_density_of_u_is_the_priors(name):
    """``N(u; 0, 1) exp(log_correction(u))``, normalised by quadrature, pushes to the prior."""
    unknown = Unknown(ALL[name][0])
    grid = np.linspace(-20, 12, 20001) if not unknown.has_quantile_map else np.linspace(-9, 9, 2001)
    log_density = -0.5 * grid**2 + np.asarray(jax.jit(unknown.log_correction)(jnp.asarray(grid)))
    cumulative = scipy.integrate.cumulative_trapezoid(np.exp(log_density), grid, initial=0)
    got = cumulative / cumulative[-1]
    inside = (got > 1e-3) & (got < 0.999)
    expected = cdf_of(name)(np.asarray(values(unknown.prior, jnp.asarray(grid))))
    np.testing.assert_allclose(got[inside], expected[inside], atol=2e-5)


def test_some_prior_has_no_quantile_map():
    assert not Unknown(dist.Weibull(1.5, 2.0)).has_quantile_map
    assert Unknown(dist.HalfNormal(1.0)).has_quantile_map
    correction = Unknown(dist.HalfNormal(1.0)).log_correction(jnp.asarray(1.3))
    assert correction == 0


@pytest.mark.parametrize("name", ALL)
def test_coordinate_inverts_value(name):
    unknown = Unknown(ALL[name][0])
    u = jnp.asarray([-3.0, -0.6, 0.0, 1.1, 3.0])
    value = unknown.value(u)
    coordinate = unknown.coordinate(value)
    np.testing.assert_allclose(coordinate, u, atol=1e-6)
    np.testing.assert_allclose(unknown.value(coordinate), value, rtol=1e-9)


def test_helpers_over_several_unknowns():
    unknowns = {
        "noise": Unknown(dist.HalfNormal(1.0)),
        "rate": Unknown(dist.Weibull(1.5, 2.0)),
        "shape": Unknown(dist.Weibull(1.0, 3.0)),
    }
    u = {name: jnp.asarray(0.3 * i) for i, name in enumerate(unknowns)}
    got = values_of(unknowns, u)
    assert set(got) == set(unknowns)
    assert got["rate"] == unknowns["rate"].value(u["rate"])
    total = sum(float(unknowns[n].log_correction(u[n])) for n in ("rate", "shape"))
    np.testing.assert_allclose(log_correction_of(unknowns, u), total, rtol=1e-14)
    assert log_correction_of({}, {}) == 0
