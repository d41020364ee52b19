"""Predictions of a linearised network while gradient flow trains it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk.gp._arguments import check_choice, check_targets, check_time, floating
from ntk.gp._cholesky import matmul
from ntk.gp._errors import require_positive
from ntk.gp._flow_weights import learned_weights
from ntk.gp._kernels import GET, Kernels
from ntk.gp._matrices import Matrices, check_kernels, flatten, is_operator


class GradientFlow(NamedTuple):
    """The outputs of a network at time t, over its random initialisations.

    Attributes:
        mean: ``[m]`` for targets ``[n]``, ``[m, o]`` for ``[n, o]``.
        variance: (not a standard deviation) ``[m]``, the same for every output; ``[m, o]`` for an
            NTK between outputs; None for ``get="mean"``.
        covariance: ``[m, m]``, the same for every output, which are independent; or
            ``[m, m, o, o]``; None unless ``get="covariance"``.
        ok: bool ``[]``, whether the training kernel is positive semi-definite to working precision.
    """

    mean: Array
    variance: Array | None
    covariance: Array | None
    ok: Array


def gradient_flow(
    ntk: Kernels | tuple,
    y: Any,
    t: Any,
    *,
    nngp: Kernels | tuple | None = None,
    initial: tuple[Any, Any] | None = None,
    get: str = "mean",
) -> GradientFlow:
    """Predictions at time t of a linearised network trained on squared loss by gradient flow.

    Parameters follow ``d theta / dt = -grad sum_i |f(x_i) - y_i|^2 / 2``, so that t is the learning
    rate times the number of steps of gradient descent. (On the *mean* over the n points, its t is
    n times ours.) With the NTK ``T`` and ``g(T) = (1 - exp(-T t)) T^{-1}``, over initialisations
    whose outputs are a Gaussian process with zero mean and the NNGP kernel ``K``,

        ``mean = T_* g y``
        ``covariance = K_** + T_* g K g T_*^T - T_* g K_*^T - (T_* g K_*^T)^T``

    (Lee et al. 2019, arXiv:1902.06720, eqs. 14 to 16). At t = 0 these are 0 and ``K_**`` exactly,
    at t = ``jnp.inf`` the mean is kernel regression with the NTK; with ``nngp = ntk`` and
    t = ``jnp.inf``, as when only the readout is trained, it is all the noise-free posterior.

    By an eigendecomposition of ``T``, which may be singular: directions whose eigenvalue is at most
    ``N * epsilon`` times the largest are its null space, where nothing is ever learned.
    ``jax.vmap`` over t alone decomposes once. Differentiable in every argument; in ``ntk.train``
    among kernels of the same rank. Half precision is raised to float32.

    Args:
        ntk: :class:`Kernels` of the NTK, ``train [n, n]`` or ``[n, n, o, o]``; ``test`` is not
            used.
        y: targets ``[n]`` or ``[n, o]``, cast to the kernel's dtype.
        t: a number of at least 0; ``jnp.inf`` is allowed.
        nngp: :class:`Kernels` of the NNGP, for a variance. For an NTK between outputs either
            likewise, or one kernel for all outputs, taken as independent.
        initial: outputs at time 0 ``(on the training points, on the test points)``, shaped as
            ``y`` and ``mean``: of one network, whose own ``mean`` it then is. None: zero, the
            mean over initialisations.
        get: ``"mean"``; ``"variance"`` or ``"covariance"`` (with what comes before) from ``nngp``.

    Returns:
        :class:`GradientFlow`. Variances that rounding makes negative are 0.

    Raises:
        NotPositiveDefiniteError: ``ntk.train`` has an eigenvalue below ``-N * epsilon`` times the
            largest. Under ``jax.jit``, ``ok`` is false instead and the directions below zero are
            taken as null.
        TypeError, ValueError: an argument that does not fit or is not finite, an operator.
            (Values are not checked while they are traced.)
    """
    check_choice("get", get, GET)
    matrices = _check_ntk(ntk)
    y = check_targets(y, matrices.sizes[1], matrices.outputs, matrices.dtype)
    t = check_time(t, matrices.dtype)
    if get == "mean" and nngp is not None:
        raise ValueError('nngp is for get="variance" or "covariance", got get="mean"')
    if get != "mean" and nngp is None:
        raise ValueError(f'nngp is needed for get="{get}", got None')
    if get != "mean" and initial is not None:
        raise ValueError("initial is of one network, which has no covariance over initialisations")
    start, shift = _check_initial(initial, y, matrices)
    ensemble = None if nngp is None else _check_nngp(nngp, matrices, get)
    columns = matrices.columns(y - start)
    mean, variance, covariance, ok = _flow(
        matrices.train, matrices.test_train, columns, t, ensemble, get=get
    )
    require_positive(
        ok, "ntk.train", "positive semi-definite", matrices.train, "no NTK is like that: check it"
    )
    return GradientFlow(
        matrices.mean_like(mean, y) + shift,
        None if variance is None else matrices.variance_like(variance, y),
        None if covariance is None else matrices.covariance_like(covariance, y),
        ok,
    )


@partial(jax.jit, static_argnames="get")
def _flow(
    train: Array,
    test_train: Array,
    columns: Array,
    t: Array,
    nngp: tuple[Array, Array, Array] | None,
    get: str,
) -> tuple[Array, Array | None, Array | None, Array]:
    weights, ok = learned_weights((train + train.T) / 2, test_train, t)
    mean = matmul(weights, columns)
    if nngp is None:
        return mean, None, None, ok > 0
    k_train, k_test_train, k_test = nngp
    if get == "variance":
        diagonal = jnp.diagonal(k_test) if k_test.ndim == 2 else k_test
        change = matmul(weights, k_train) - 2 * k_test_train
        variance = diagonal + jnp.sum(change * weights, axis=1)
        return mean, jnp.where(variance < 0, 0, variance), None, ok > 0
    cross = matmul(weights, k_test_train.T)
    covariance = k_test + matmul(matmul(weights, k_train), weights.T) - cross - cross.T
    variance = jnp.diagonal(covariance)
    return mean, jnp.where(variance < 0, 0, variance), covariance, ok > 0


def _check_ntk(ntk: Any) -> Matrices:
    matrices = check_kernels("ntk", ntk, "mean")
    if is_operator(matrices.train):
        raise TypeError(
            "ntk.train must be an array, which gradient_flow decomposes, got "
            f"{type(matrices.train).__name__}"
        )
    return matrices


def _check_initial(initial: Any, y: Array, matrices: Matrices) -> tuple[Array, Array]:
    """Outputs at time 0 on training and on test points, in the shapes of y and the mean."""
    shape = (matrices.sizes[0], *y.shape[1:])
    if initial is None:
        return jnp.zeros_like(y), jnp.zeros(shape, y.dtype)
    if not isinstance(initial, tuple) or len(initial) != 2:
        raise TypeError(
            f"initial must be (on training points, on test points), got {type(initial).__name__}"
        )
    start = floating("initial[0]", initial[0], y.dtype)
    shift = floating("initial[1]", initial[1], y.dtype)
    for k, (part, expected) in enumerate(((start, y.shape), (shift, shape))):
        if part.shape != expected:
            raise ValueError(f"initial[{k}] must have shape {expected}, got {part.shape}")
    return start, shift


def _check_nngp(nngp: Any, matrices: Matrices, get: str) -> tuple[Array, Array, Array]:
    """Train, test-train and test kernels in the flattened shapes of the NTK."""
    ensemble = check_kernels("nngp", nngp, get)
    if is_operator(ensemble.train):
        raise TypeError(f"nngp.train must be an array, got {type(ensemble.train).__name__}")
    if ensemble.sizes != matrices.sizes or ensemble.outputs not in (None, matrices.outputs):
        raise ValueError(
            "nngp must be of the points and outputs of ntk, "
            f"{matrices.sizes} and {matrices.outputs}, got {ensemble.sizes} and {ensemble.outputs}"
        )
    if ensemble.dtype != matrices.dtype:
        raise TypeError(f"nngp has dtype {ensemble.dtype}, ntk {matrices.dtype}; cast one")
    assert ensemble.test is not None
    parts = (ensemble.train, ensemble.test_train, ensemble.test)
    if matrices.outputs is None or ensemble.outputs is not None:
        return parts
    train, test_train, test = (_for_all_outputs(part, matrices.outputs) for part in parts)
    return train, test_train, test


def _for_all_outputs(kernel: Array, outputs: int) -> Array:
    """``K (x) I``, or its diagonal, for independent outputs."""
    if kernel.ndim == 1:
        return jnp.repeat(kernel, outputs)
    identity = jnp.eye(outputs, dtype=kernel.dtype)
    return flatten(kernel[:, :, None, None] * identity[None, None])
