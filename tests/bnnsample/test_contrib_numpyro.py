"""Repriorised readouts in NumPyro: the density of the model, exactly, in other coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from flax import linen, nnx
from numpyro.contrib.module import random_eqx_module, random_flax_module, random_nnx_module
from numpyro.handlers import reparam, seed, substitute, trace
from numpyro.infer import MCMC, NUTS, Predictive
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density, potential_energy

import bnnsample
from bnnsample.chains._mapping import quiet_blas
from bnnsample.contrib.numpyro import Readout, RepriorisedReadout, repriorise

N, P = 6, 4
FORMS = ("strategy", "distribution", "outside")


@pytest.fixture(autouse=True)
def _promotion_as_numpyro_needs_it():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def data(d=None, n=N):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (n, 3))
    return x, jax.random.normal(keys[1], (n,) if d is None else (n, d))


def likelihood(kind, f, sigma):
    if kind == "gaussian":
        return dist.Normal(f, sigma)
    if kind == "student":
        return dist.StudentT(3.0, f, sigma)
    return dist.Poisson(jnp.exp(f))


def make(form, kind="gaussian", d=None, p=P, std=0.8, loc=None, rowwise=True):
    """Tiny networks: the plain model and the repriorised one."""
    shape = (p,) if d is None else (p, d)

    def model(x, y=None, strategy=None):
        w = numpyro.sample("w", dist.Normal(0, 1).expand((3, p)).to_event(2))
        sigma = numpyro.sample("sigma", dist.LogNormal(-0.5, 0.5))
        psi = jnp.tanh(x @ w)
        if form == "distribution":
            prior = Readout(psi, d, std=std, observation=y, scale=sigma)
        else:
            scale = std[:, None] if rowwise and d is not None and jnp.ndim(std) else std
            prior = dist.Normal(0.0 if loc is None else loc, scale).expand(shape).to_event()
        config = {} if strategy is None else {"W": strategy(psi, y, sigma)}
        with reparam(config=config):
            W = numpyro.sample("W", prior)
        f = numpyro.deterministic("f", psi @ W)
        counts = None if y is None or kind != "poisson" else jnp.abs(jnp.round(y))
        numpyro.sample("y", likelihood(kind, f, sigma), obs=y if counts is None else counts)

    def inside(x, y=None):
        return model(x, y, RepriorisedReadout)

    if form == "strategy":
        return model, inside
    if form == "distribution":
        return model, reparam(model, config={"W": RepriorisedReadout()})
    if kind == "poisson":
        surrogate = {"observation": jnp.zeros(N if d is None else (N, d)), "scale": "sigma"}
        return model, repriorise(model, "W", "f", **surrogate)
    return model, repriorise(model, "W", "y")


def latents(model, *args, key=0):
    """One draw of every latent site, compiled: op by op this takes seconds."""

    def draw(args):
        sites = trace(seed(model, key)).get_trace(*args).items()
        return {k: v["value"] for k, v in sites if v["type"] == "sample" and not v["is_observed"]}

    return jax.jit(draw)(args)


def density(model, args, values):
    return log_density(model, args, {}, values)[0]


def check_exact(model, fast, args, phi_name, readout):
    """The fast density is the plain one at W(phi) plus log |det dW/dphi|, by a dense Jacobian."""
    values = latents(fast, *args, key=1)
    shape = values[phi_name].shape

    def readouts(flat):
        given = substitute(fast, {**values, phi_name: flat.reshape(shape)})
        sites = trace(given).get_trace(*args)
        assert all(sites[name]["type"] == "deterministic" for name in readout)
        return {name: sites[name]["value"] for name in readout}

    @jax.jit
    def both(values):
        flat = values[phi_name].ravel()
        jacobian = jax.jacfwd(
            lambda flat: jnp.concatenate([v.ravel() for v in readouts(flat).values()])
        )(flat)
        plain = {k: v for k, v in values.items() if k != phi_name} | readouts(flat)
        expected = density(model, args, plain) + jnp.linalg.slogdet(jacobian)[1]
        return density(fast, args, values), expected

    got, expected = both(values)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-10)
    return values


CASES = [
    ("strategy", "gaussian", None, 4),
    ("strategy", "poisson", 3, 9),
    ("strategy", "student", 1, 9),
    ("distribution", "student", 3, 4),
    ("distribution", "gaussian", None, 9),
    ("outside", "gaussian", 3, 9),
    ("outside", "student", None, 4),
    ("outside", "poisson", 3, 4),
]


@pytest.mark.parametrize(("form", "kind", "d", "p"), CASES)
def test_the_density_changes_by_the_jacobian_alone(form, kind, d, p):
    """Both sides of the algebra (n = 6), one output and several, any likelihood, unknown noise."""
    model, fast = make(form, kind, d, p)
    values = check_exact(model, fast, data(d), "W_repriorised", ["W"])
    assert set(values) == {"w", "sigma", "W_repriorised"}


ROWS = jnp.linspace(0.5, 2.0, P)
PRIORS = [
    ("strategy", {"std": ROWS}),
    ("distribution", {"std": ROWS}),
    ("outside", {"std": ROWS, "loc": 0.3}),
    ("strategy", {"std": jnp.outer(ROWS, jnp.array([1.0, 2.0])), "rowwise": False}),
    ("outside", {"std": jnp.array([0.5, 2.0]), "rowwise": False}),
]


@pytest.mark.parametrize(("form", "prior"), PRIORS)
def test_priors_with_scales_and_locations_of_their_own(form, prior):
    model, fast = make(form, d=2, **prior)
    check_exact(model, fast, data(2), "W_repriorised", ["W"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("d", "p"), [(None, 9), (2, 4)])
def test_with_a_gaussian_likelihood_phi_is_standard_normal_given_the_rest(form, d, p):
    """And the rest has the log marginal likelihood, here by a dense covariance."""
    _, fast = make(form, d=d, p=p)
    x, y = data(d)
    values = latents(fast, x, y, key=2)

    def log_joint(phi):
        return density(fast, (x, y), {**values, "W_repriorised": phi})

    value, gradient = jax.jit(jax.value_and_grad(log_joint))(values["W_repriorised"])
    np.testing.assert_allclose(gradient, -values["W_repriorised"], atol=1e-9)
    psi, sigma = jnp.tanh(x @ values["w"]), values["sigma"]
    covariance = 0.8**2 * psi @ psi.T + sigma**2 * jnp.eye(N)
    marginal = dist.MultivariateNormal(jnp.zeros(N), covariance).log_prob(y.T).sum()
    priors = dist.Normal(0, 1).log_prob(values["w"]).sum()
    priors += dist.LogNormal(-0.5, 0.5).log_prob(sigma)
    priors += dist.Normal(0, 1).log_prob(values["W_repriorised"]).sum()
    np.testing.assert_allclose(value, marginal + priors, rtol=1e-10)


@pytest.mark.parametrize("form", ["strategy", "outside"])
@pytest.mark.parametrize("p", [4, 9])
def test_gradients_are_those_of_finite_differences(form, p):
    _, fast = make(form, "student", 2, p)
    args = data(2)
    values = latents(fast, *args, key=3)

    def along(step, direction):
        moved = jax.tree.map(lambda v, u: v + step * u, values, direction)
        return density(fast, args, moved)

    along = jax.jit(along)
    gradient = jax.jit(jax.grad(lambda v: density(fast, args, v)))(values)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient))
    for name in values:
        direction = jax.tree.map(jnp.zeros_like, values)
        direction[name] = jnp.ones_like(values[name])
        slope = (along(1e-5, direction) - along(-1e-5, direction)) / 2e-5
        np.testing.assert_allclose(jnp.sum(gradient[name]), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("centered", [None, 0.0])
def test_constrained_and_reparametrised_sites_keep_their_densities(form, centered):
    """NumPyro's potential, in unconstrained sites and under an outer reparametrisation."""
    _, fast = make(form)
    args = data()
    values = latents(fast, *args, key=4)
    expected = -density(fast, args, values) - jnp.log(values["sigma"])
    unconstrained = {**values, "sigma": jnp.log(values["sigma"])}
    if centered is not None:
        fast = reparam(fast, config={"w": LocScaleReparam(centered)})
        unconstrained["w_decentered"] = unconstrained.pop("w")
    potential = jax.jit(lambda values: potential_energy(fast, args, {}, values))(unconstrained)
    np.testing.assert_allclose(potential, expected, rtol=1e-12)


class Flax(linen.Module):
    d: int

    @linen.compact
    def __call__(self, x):
        readout = linen.Dense(self.d, param_dtype=float)  # Dense_0: declared before the hidden one
        return readout(jnp.tanh(linen.Dense(5, param_dtype=float)(x)))


class NNX(nnx.Module):
    def __init__(self, d, rngs):
        self.hidden = nnx.Linear(3, 5, rngs=rngs, param_dtype=float)
        self.readout = nnx.Linear(5, d, rngs=rngs, param_dtype=float)

    def __call__(self, x):
        return self.readout(jnp.tanh(self.hidden(x)))


def module_model(framework, d):
    nnx_net = NNX(d, nnx.Rngs(0))
    eqx_net = eqx.nn.MLP(3, d, 5, 1, jnp.tanh, key=jax.random.key(0))

    def prior(name, shape):
        return dist.Normal(0, 0.7 if len(shape) == 2 else 0.4)

    def model(x, y=None):
        if framework == "flax":
            f = random_flax_module("net", Flax(d), prior, input_shape=(3,))(x)
        elif framework == "nnx":
            f = random_nnx_module("net", nnx_net, prior)(x)
        else:
            f = jax.vmap(random_eqx_module("net", eqx_net, prior))(x)
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(f, sigma).to_event(1), obs=y)

    return model


MODULES = {
    "flax": ["net/Dense_0.kernel", "net/Dense_0.bias"],
    "nnx": ["net/readout.kernel", "net/readout.bias"],
    "eqx": ["net/layers[1].weight", "net/layers[1].bias"],
}


@pytest.mark.parametrize(("framework", "d"), [("flax", 1), ("nnx", 3), ("eqx", 5)])
def test_modules_of_other_libraries(framework, d):
    """Kernel and bias repriorised as one, also where the kernel is square and transposed."""
    model, readout = module_model(framework, d), MODULES[framework]
    fast, phi = repriorise(model, readout, "y"), f"{readout[0]}_repriorised"
    args = data(d)
    values = check_exact(model, fast, args, phi, readout)
    assert values[phi].shape == (6, d)
    gradient = jax.jit(jax.grad(lambda v: density(fast, args, v)))(values)
    np.testing.assert_allclose(gradient[phi], -values[phi], atol=1e-9)


def test_the_kernel_alone_leaves_the_bias_to_the_chain():
    model = module_model("flax", 2)
    fast = repriorise(model, "net/Dense_0.kernel", "y")
    phi = "net/Dense_0.kernel_repriorised"
    values = check_exact(model, fast, data(2), phi, ["net/Dense_0.kernel"])
    assert values[phi].shape == (5, 2)
    gradient = jax.jit(jax.grad(lambda v: density(fast, data(2), v)))(values)
    np.testing.assert_allclose(gradient[phi], -values[phi], atol=1e-9)


def test_sites_between_readout_and_output_may_depend_on_the_readout():
    def model(x, y):
        W = numpyro.sample("W", dist.Normal(0, 1).expand((3,)).to_event(1))
        w = numpyro.sample("w", dist.Normal(jnp.sum(W), 1).expand((3, 3)).to_event(2))
        numpyro.sample("y", dist.Normal(jnp.tanh(x @ w) @ W, 0.4), obs=y)

    check_exact(model, repriorise(model, "W", "y"), data(), "W_repriorised", ["W"])


def run_nuts(model, args, key, draws=600, chains=2):
    mcmc = MCMC(
        NUTS(model), num_warmup=300, num_samples=draws, num_chains=chains,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    with quiet_blas("cpu"):
        mcmc.run(jax.random.key(key), *args)
    return mcmc.get_samples(group_by_chain=True)


def moments(q):
    """Mean and mean square over ``[chain, draw, ...]``, and their squared standard errors."""
    stacked = np.stack([q, np.asarray(q) ** 2])
    size = np.stack([bnnsample.results.effective_sample_size(part) for part in stacked])
    return stacked.mean((1, 2)), stacked.var((1, 2)) / size


def assert_same_moments(a, b):
    (mean_a, error_a), (mean_b, error_b) = moments(a), moments(b)
    assert np.max(np.abs(mean_a - mean_b) / np.sqrt(error_a + error_b)) < 4


def test_nuts_draws_phi_from_a_standard_normal():
    """The likelihood is Gaussian; ``W`` is among the samples."""
    _, fast = make("strategy")
    samples = run_nuts(fast, data(), 1, 300)
    mean, error = moments(samples["W_repriorised"])
    assert np.max(np.abs(mean - np.array([[0.0], [1.0]])) / np.sqrt(error)) < 4
    assert samples["W"].shape == (2, 300, P)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "kind"),
    [("strategy", "gaussian"), ("distribution", "poisson"), ("outside", "student")],
)
def test_nuts_finds_the_same_posterior(form, kind):
    model, fast = make(form, kind)
    args = data()
    plain, moved = run_nuts(model, args, 0, 2000), run_nuts(fast, args, 1, 2000)
    assert_same_moments(plain["f"], moved["f"])
    assert_same_moments(plain["W"] ** 2, moved["W"] ** 2)
    assert_same_moments(np.log(plain["sigma"]), np.log(moved["sigma"]))


@pytest.mark.parametrize("form", FORMS)
def test_predictive_sees_the_readout(form):
    """Draws of the repriorised model go into the plain one and, without y, into itself."""
    model, fast = make(form, d=2)
    x, y = data(2)
    names = ("w", "sigma", "W", "W_repriorised")

    @jax.jit
    def draw(key):
        sites = trace(seed(fast, key)).get_trace(x, y)
        return {name: sites[name]["value"] for name in names}

    samples = jax.tree.map(lambda *draws: jnp.stack(draws), draw(5), draw(6))
    new = jax.random.normal(jax.random.key(9), (3, 3))
    expected = jnp.tanh(new @ samples["w"]) @ samples["W"]
    for predictor in (model, fast) if form != "outside" else (model, repriorise(model, "W", "y")):
        predicted = Predictive(predictor, samples)(jax.random.key(0), new)
        np.testing.assert_allclose(predicted["f"], expected, rtol=1e-12)
        assert predicted["y"].shape == (2, 3, 2)


def test_an_observed_readout_stays_as_it_is():
    model, fast = make("strategy")
    x, y = data()
    W = jnp.ones(P)
    conditioned = numpyro.handlers.condition(make("distribution")[0], {"W": W})
    sites = trace(seed(reparam(conditioned, config={"W": RepriorisedReadout()}), 0)).get_trace(x, y)
    assert sites["W"]["is_observed"]
    assert "W_repriorised" not in sites
    assert "W_repriorised" in trace(seed(fast, 0)).get_trace(x, y)
    assert "W_repriorised" not in trace(seed(model, 0)).get_trace(x, y)


def trace_strategy(prior, strategy, plate=None):
    def model():
        with reparam(config={"W": strategy}):
            if plate is None:
                numpyro.sample("W", prior)
            else:
                with numpyro.plate("units", plate):
                    numpyro.sample("W", prior)

    return trace(seed(model, 0)).get_trace()


VECTOR = dist.Normal(0, 1).expand((P,)).to_event(1)
PSI, Y = jnp.ones((N, P)), jnp.ones(N)
STRATEGY_ERRORS = {
    "features must have shape": (VECTOR, RepriorisedReadout(PSI.T, Y, 0.1)),
    "observation must have shape": (VECTOR, RepriorisedReadout(PSI, jnp.ones(N + 1), 0.1)),
    r"observation must have shape \[6, 2\]": (
        dist.Normal(0, 1).expand((P, 2)).to_event(2), RepriorisedReadout(PSI, Y, 0.1),
    ),
    "scale must be": (VECTOR, RepriorisedReadout(PSI, Y, jnp.ones(N + 1))),
    "must be positive": (VECTOR, RepriorisedReadout(PSI, Y, -1.0)),
    "Normal prior.*got Laplace": (
        dist.Laplace(0, 1).expand((P,)).to_event(1), RepriorisedReadout(PSI, Y, 0.1),
    ),
    r"must be \[p\] or \[p, d\]": (
        dist.Normal(0, 1).expand((P, 2, 2)).to_event(3), RepriorisedReadout(PSI, Y, 0.1),
    ),
    "needs features and scale for the site 'W'": (VECTOR, RepriorisedReadout()),
}  # fmt: skip


@pytest.mark.parametrize("message", STRATEGY_ERRORS)
def test_the_strategy_refuses_what_does_not_fit(message):
    with pytest.raises((ValueError, TypeError), match=message):
        trace_strategy(*STRATEGY_ERRORS[message])


def test_a_readout_in_a_plate_is_refused():
    with pytest.raises(ValueError, match="must not stand in a plate"):
        trace_strategy(dist.Normal(0, 1), RepriorisedReadout(PSI, Y, 0.1), plate=P)


def test_a_readout_distribution_checks_its_arguments():
    with pytest.raises(ValueError, match=r"features must have shape \[n, p\]"):
        Readout(jnp.ones(3), observation=Y, scale=1.0)
    with pytest.raises(ValueError, match=r"std must be a scalar or of shape \[p\] = \[4\]"):
        Readout(PSI, std=jnp.ones(3), observation=Y, scale=1.0)


def curved(x, y):
    W = numpyro.sample("W", dist.Normal(0, 1).expand((3,)).to_event(1))
    numpyro.sample("y", dist.Normal(jnp.tanh(x @ W), 0.1), obs=y)


def counted(x, y):
    W = numpyro.sample("W", dist.Normal(0, 1).expand((3,)).to_event(1))
    f = numpyro.deterministic("f", x @ W)
    numpyro.sample("y", dist.Poisson(jnp.exp(f)), obs=jnp.abs(jnp.round(y)))


def scaled(x, y):
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(x[:, 0], s), obs=y)


def stateful(x, y):
    numpyro.primitives.mutable("state", {"mean": 0.0})
    counted(x, y)


MODEL_ERRORS = {
    "'s' must have a Normal prior.*got HalfNormal": (scaled, "s", "y", {}),
    "not linear in the readout W": (curved, "W", "y", {}),
    "no readout site V before its output 'y'; it has W": (curved, "V", "y", {}),
    "no site 'z', its output; it has W": (curved, "W", "z", {}),
    "must be a numpyro.deterministic or have": (counted, "W", "y", {}),
    "give a surrogate's observation": (counted, "W", "f", {}),
    "has no scale": (counted, "W", "f", {"observation": Y}),
    r"must have the output's shape \[6\], got \(5,\)": (
        counted, "W", "f", {"observation": jnp.ones(5), "scale": 1.0},
    ),
    "scale names no site": (counted, "W", "f", {"observation": Y, "scale": "tau"}),
    "mutable state": (stateful, "W", "f", {}),
}  # fmt: skip


@pytest.mark.parametrize("message", MODEL_ERRORS)
def test_repriorise_refuses_what_it_cannot_do(message):
    model, readout, output, options = MODEL_ERRORS[message]
    fast = repriorise(model, readout, output, **options)
    with pytest.raises((TypeError, ValueError), match=message):
        trace(seed(fast, 0)).get_trace(*data())


def test_a_readout_of_another_size_than_the_outputs_is_refused():
    fast = repriorise(module_model("flax", 2), "net/Dense_1.kernel", "y")
    with pytest.raises(ValueError, match=r"shape \(3, 5\) does not fit 2 outputs"):
        trace(seed(fast, 0)).get_trace(*data(2))


def test_single_precision_stays_single():
    model, _ = make("outside")
    x, y = (value.astype("float32") for value in data())
    with jax.enable_x64(False):
        values = latents(repriorise(model, "W", "y"), x, y)
    assert {value.dtype for value in values.values()} == {jnp.dtype("float32")}
