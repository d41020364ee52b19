"""Likelihoods of the user's own: a NumPyro distribution, or a log density, of the outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from bnnsample import _data
from bnnsample._arguments import checked_index, shown
from bnnsample._lenient import lenient
from bnnsample._scale import check_prior
from bnnsample._unknowns import Unknown
from bnnsample.likelihoods._likelihood import Likelihood, Values

# Outputs so far from 0 are asked whether they have the support that 0 has, and unknowns so many
# standard deviations from the middle of their prior whether moments exist.
SHIFT, FAR = 5.0, (0.0, -4.0, 4.0)


def from_numpyro(
    distribution: Callable[..., dist.Distribution],
    num_outputs: int | None = None,
    unknowns: Mapping[str, dist.Distribution] | None = None,
) -> Likelihood:
    """A likelihood from a NumPyro distribution of the network's outputs.

    Args:
        distribution: ``distribution(f [n, d], **unknowns)``, a NumPyro distribution whose draws
            have the shape of the targets, ``[n, t]``, or ``[n]`` where y is given so, for
            outputs at any number of points. Targets are not standardised; a discrete distribution
            is given them as whole numbers. The mean of a categorical one is its probabilities.
        num_outputs: outputs ``d`` of the network; default as many as targets.
        unknowns: positive scalars that ``distribution`` takes by name, sampled with the network,
            with their NumPyro priors.
    """
    if not callable(distribution):
        raise TypeError(f"distribution must be a function, got {type(distribution).__name__}")
    return _FromNumPyro(distribution, _outputs(num_outputs), _unknowns(unknowns))


def from_log_prob(
    log_prob: Callable[..., Array],
    num_outputs: int | None = None,
    unknowns: Mapping[str, dist.Distribution] | None = None,
    sample: Callable[..., Array] | None = None,
    mean: Callable[..., Array] | None = None,
    surrogate: Callable[[Array], tuple[Array, Array]] | None = None,
) -> Likelihood:
    """A likelihood from its log density.

    Args:
        log_prob: ``log_prob(y [n, t], f [n, d], **unknowns) -> [n]``, differentiable in ``f``
            (once: no second derivative is taken). Targets are not standardised.
        num_outputs: outputs ``d`` of the network; default as many as targets.
        unknowns: positive scalars that the functions take by name, sampled with the network, with
            their NumPyro priors.
        sample: ``sample(key, f, **unknowns) -> [n, t]``; without it no y is drawn.
        mean: ``mean(f, **unknowns) -> [n, k]``, E[y | f]; without it predictions are of ``f``.
        surrogate: ``surrogate(y) -> (target [n, d], scale [n])``, the Gaussian ``N(target; f,
            scale^2)`` that is repriorised in the likelihood's place, ``scale`` a standard
            deviation, by JAX's functions. Any leaves the posterior exact; without it one is
            fitted.
    """
    functions = {"sample": sample, "mean": mean, "surrogate": surrogate}
    for name, value in {"log_prob": log_prob, **functions}.items():
        if not (callable(value) or (value is None and name != "log_prob")):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")
    return _FromLogProb(log_prob, _outputs(num_outputs), _unknowns(unknowns), **functions)


class _Own(Likelihood):
    """What the two have in common."""

    # Their functions may index.
    splits_unevenly = False

    def __init__(self, num_outputs: int | None, unknowns: dict[str, Unknown]):
        self._num_outputs, self._unknowns = num_outputs, unknowns
        self._is_vector = False

    @property
    def unknowns(self) -> Mapping[str, Unknown]:
        return self._unknowns

    def num_outputs(self, y: Any) -> int:
        return y.shape[1] if self._num_outputs is None else self._num_outputs

    def prepared(self, y: Any, num_points: int) -> tuple[Likelihood, np.ndarray, bool]:
        array, was_vector = _data.as_targets(y, num_points)
        completed = self._of_vector(was_vector)
        completed.check(array)
        return completed, array, was_vector

    def _of_vector(self, is_vector: bool) -> "_Own":
        raise NotImplementedError

    def _own_values(self, values: Values) -> dict[str, Array]:
        """Of all unknowns, the model's too, those that the user's functions take."""
        return {name: values[name] for name in self._unknowns}

    def _shapes_of_values(self, dtype: Any) -> dict[str, Any]:
        return {name: jax.ShapeDtypeStruct((), dtype) for name in self._unknowns}

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "a function of the user's own"}


class _FromNumPyro(_Own):
    def __init__(self, distribution, num_outputs, unknowns):
        super().__init__(num_outputs, unknowns)
        self._distribution = distribution

    def _of_vector(self, is_vector: bool) -> "_FromNumPyro":
        completed = _FromNumPyro(self._distribution, self._num_outputs, self._unknowns)
        completed._is_vector = is_vector
        return completed

    def check(self, y: np.ndarray) -> None:
        f = jnp.zeros((len(y), self.num_outputs(y)), y.dtype)
        values = {
            name: unknown.value(jnp.zeros((), y.dtype)) for name, unknown in self.unknowns.items()
        }
        given = _tried("distribution", lambda f: self._distribution(f, **values), f)
        if not isinstance(given, dist.Distribution) or given.support is None:
            raise TypeError(
                "distribution(f) must return a NumPyro distribution with a support, got "
                f"{type(given).__name__}"
            )
        expected = (len(y),) if self._is_vector else y.shape
        shape = given.batch_shape + given.event_shape
        if shape not in (expected, y.shape):
            raise ValueError(
                f"distribution(f) must have the shape of the targets, {expected}, for f of shape "
                f"{f.shape}, got batch shape {given.batch_shape}, event shape {given.event_shape}"
            )
        self._check_other_points(f, values, shape)
        self._check_support(jnp.asarray(y.reshape(shape)), f, values)
        _tried("the density", lambda f: self.log_prob(jnp.asarray(y), f, values), f)
        _tried("the mean", lambda f: self.mean(f, values), f)
        _tried("the variance", lambda f: self.variance(f, values, True), f)

    def _check_support(self, target: Array, f: Array, values: Values) -> None:
        """NumPyro's densities go on outside their support, so that it must be the same for all."""
        given = [self._given(f + shift, values) for shift in (0, -SHIFT, SHIFT)]
        name = type(given[0]).__name__
        inside, *others = (np.asarray(g.support(target)) for g in given)
        if any((other != inside).any() for other in others):
            raise ValueError(
                f"the support of {name} depends on the outputs, and its density there is not zero "
                "outside: give from_log_prob a density that is"
            )
        if not inside.all():
            raise ValueError(
                f"y has values outside the support of {name}: {shown(given[0].support)}"
            )

    def _check_other_points(self, f: Array, values: Values, shape: tuple[int, ...]) -> None:
        """Predictions are at other points than the data, as many as one likes."""
        more = jax.ShapeDtypeStruct((len(f) + 1, *f.shape[1:]), f.dtype)
        hint = (
            f"distribution(f) must take outputs at any number of points; for {len(f) + 1} in the "
            f"place of the data's {len(f)} it"
        )

        def drawn(f):
            return self._given(f, values).sample(jax.random.key(0))

        try:
            found = jax.eval_shape(lenient(drawn), more).shape
        except Exception as error:
            raise ValueError(f"{hint} raised {type(error).__name__}: {error}") from error
        if found != (len(f) + 1, *shape[1:]):
            raise ValueError(
                f"{hint} has shape {found}. Constants of the data points, such as a noise scale "
                "each, have no value elsewhere: Gaussian(scale=[n]) takes those"
            )

    def _given(self, f: Array, values: Values) -> dist.Distribution:
        return self._distribution(f, **self._own_values(values))

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        def density(y, f):
            given = self._given(f, values)
            target = y.reshape(given.batch_shape + given.event_shape)
            # Targets are floating point, and classes are indices.
            if given.support.is_discrete:
                target = target.astype(int)
            terms = given.log_prob(target)
            return terms.reshape(len(y), -1).sum(1)

        return lenient(density)(y, f).astype(f.dtype)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array:
        draw = lenient(lambda key, f: self._given(f, values).sample(key))(key, f)
        return draw.reshape(len(f), -1).astype(f.dtype)

    def mean(self, f: Array, values: Values) -> Array | None:
        return self._moment("mean", f, values)

    def variance(self, f: Array, values: Values, at_data: bool) -> Array | None:
        return self._moment("variance", f, values)

    def _moment(self, name: str, f: Array, values: Values) -> Array | None:
        def moment(f, values):
            return jnp.asarray(_moment_of(self._given(f, values), name))

        # Whether there is one, at outputs that are numbers and over what the unknowns may be.
        with jax.ensure_compile_time_eval():
            for at in FAR:
                u = jnp.asarray(at, f.dtype)
                own = {name: unknown.value(u) for name, unknown in self._unknowns.items()}
                try:
                    found = lenient(moment)(jnp.zeros(f.shape, f.dtype), own)
                except NotImplementedError:
                    return None
                if not jnp.all(jnp.isfinite(found)):
                    return None
        return lenient(lambda f: moment(f, values))(f).reshape(len(f), -1).astype(f.dtype)


def _moment_of(given: dist.Distribution, name: str) -> Array:
    """``mean`` or ``variance``; of classes, as whether each is the one."""
    if isinstance(given, dist.CategoricalProbs | dist.CategoricalLogits):
        return given.probs if name == "mean" else given.probs * (1 - given.probs)
    return getattr(given, name)


class _FromLogProb(_Own):
    def __init__(self, log_prob, num_outputs, unknowns, sample, mean, surrogate):
        super().__init__(num_outputs, unknowns)
        self._log_prob, self._sample, self._mean = log_prob, sample, mean
        self._surrogate = surrogate

    def _of_vector(self, is_vector: bool) -> "_FromLogProb":
        return self

    def check(self, y: np.ndarray) -> None:
        f = jax.ShapeDtypeStruct((len(y), self.num_outputs(y)), y.dtype)
        target = jax.ShapeDtypeStruct(y.shape, y.dtype)
        values = self._shapes_of_values(y.dtype)
        got = _tried(
            "log_prob",
            lambda *given: jax.eval_shape(lambda y, f, v: self._log_prob(y, f, **v), *given),
            target,
            f,
            values,
        )
        if getattr(got, "shape", None) != (len(y),):
            raise ValueError(
                f"log_prob(y, f) must return shape [n] = ({len(y)},) for y {y.shape} and f "
                f"{f.shape}, got {getattr(got, 'shape', type(got).__name__)}"
            )
        if not jnp.issubdtype(got.dtype, jnp.floating):
            raise TypeError(f"log_prob(y, f) must return floating point, got {got.dtype}")
        self._check_others(y, f, values)

    def _check_others(self, y: np.ndarray, f: Any, values: Any) -> None:
        """``sample`` and ``mean``, where they are given."""
        if self._sample is not None:
            key = jax.eval_shape(lambda: jax.random.key(0))
            got = _tried(
                "sample",
                lambda *given: jax.eval_shape(lambda k, f, v: self._sample(k, f, **v), *given),
                key,
                f,
                values,
            )
            shape = getattr(got, "shape", None)
            if shape != y.shape and not (shape == (len(y),) and y.shape[1] == 1):
                raise ValueError(
                    f"sample(key, f) must return shape [n, t] = {y.shape} for f {f.shape}, got "
                    f"{shape or type(got).__name__}"
                )
        if self._mean is not None:
            got = _tried(
                "mean",
                lambda *given: jax.eval_shape(lambda f, v: self._mean(f, **v), *given),
                f,
                values,
            )
            shape = getattr(got, "shape", None)
            if not shape or shape[0] != len(y) or len(shape) > 2:
                raise ValueError(
                    f"mean(f) must return shape [n, k] with n = {len(y)} for f {f.shape}, got "
                    f"{type(got).__name__ if shape is None else shape}"
                )

        if self._surrogate is not None:
            # As a program first, which it will be a part of.
            jax.eval_shape(self._given_surrogate, jax.ShapeDtypeStruct(y.shape, y.dtype))
            _check_surrogate(*self._given_surrogate(jnp.asarray(y)), (*y.shape[:1], f.shape[1]))

    def _given_surrogate(self, y: Array) -> tuple[Array, Array]:
        def pair(y):
            found = self._surrogate(y)
            if not (isinstance(found, tuple | list) and len(found) == 2):
                raise TypeError(f"expected (target, scale), got {shown(found)}")
            target, scale = found
            return jnp.asarray(target, y.dtype), jnp.asarray(scale, y.dtype)

        return _tried("surrogate", pair, y)

    def surrogate(self, y: Array) -> tuple[Array, Array] | None:
        return None if self._surrogate is None else self._given_surrogate(y)

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        own = self._own_values(values)
        return lenient(lambda y, f: self._log_prob(y, f, **own))(y, f).astype(f.dtype)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        if self._sample is None:
            return None
        own = self._own_values(values)
        draw = lenient(lambda key, f: self._sample(key, f, **own))(key, f)
        return draw.reshape(len(f), -1).astype(f.dtype)

    def mean(self, f: Array, values: Values) -> Array | None:
        if self._mean is None:
            return None
        own = self._own_values(values)
        return lenient(lambda f: self._mean(f, **own))(f).reshape(len(f), -1).astype(f.dtype)

    def variance(self, f: Array, values: Values, at_data: bool) -> None:
        return None


def _check_surrogate(target: Array, scale: Array, shape: tuple[int, int]) -> None:
    if (target.shape, scale.shape) != (shape, shape[:1]):
        raise ValueError(
            f"surrogate(y) must return a target {shape} and a scale {shape[:1]}, "
            f"got {target.shape} and {scale.shape}"
        )
    if not (jnp.all(jnp.isfinite(target)) and jnp.all((scale > 0) & (scale < jnp.inf))):
        raise ValueError("surrogate(y) must return finite targets and positive, finite scales")


def _tried(name: str, fn: Callable[..., Any], *arguments: Any) -> Any:
    """A function of the user's, called once before a run; whatever it raises says whose it was."""
    try:
        return lenient(fn)(*arguments)
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} of the likelihood raised {type(error).__name__}: {error}") from error


def _outputs(num_outputs: Any) -> int | None:
    if num_outputs is None:
        return None
    count = checked_index("num_outputs", num_outputs)
    if not 1 <= count < 2**31:
        raise ValueError(f"num_outputs must be at least 1 and below 2**31, got {shown(count)}")
    return count


def _unknowns(priors: Any) -> dict[str, Unknown]:
    if priors is None:
        return {}
    if not isinstance(priors, Mapping):
        raise TypeError(f"unknowns must be a dict of NumPyro priors, got {type(priors).__name__}")
    for name, prior in priors.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise ValueError(f"unknowns: {name!r} is not a name")
        if not isinstance(prior, dist.Distribution):
            raise TypeError(
                f"unknowns[{name!r}] must be a NumPyro distribution, got {type(prior).__name__}"
            )
        check_prior(f"unknowns[{name!r}]", prior)
    return {name: Unknown(prior) for name, prior in priors.items()}
