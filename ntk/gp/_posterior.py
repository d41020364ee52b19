"""Gaussian-process regression: the posterior at test points."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._kernel_inputs import is_concrete
from ntk._operator._arguments import check_count, check_tolerance
from ntk.gp import _conjugate_gradients
from ntk.gp._arguments import check_choice, check_jitter, check_targets, check_variance, every
from ntk.gp._cholesky import (
    factorise,
    matmul,
    regularise,
    require_definite,
    solve_lower,
    solve_upper,
)
from ntk.gp._conjugate_gradients import SolverReport
from ntk.gp._errors import NotPositiveDefiniteError
from ntk.gp._kernels import GET, Kernels
from ntk.gp._matrices import Matrices, check_kernels, is_operator

METHODS = ("cholesky", "cg")


class Posterior(NamedTuple):
    """A Gaussian process given data, at m test points, without the noise of an observation.

    Attributes:
        mean: ``[m]`` for targets ``[n]``, ``[m, o]`` for ``[n, o]``.
        variance: (not a standard deviation) ``[m]``, the same for every output; ``[m, o]`` for a
            kernel between outputs; None for ``get="mean"``.
        covariance: ``[m, m]``, the same for every output, which are independent; or
            ``[m, m, o, o]``; None unless ``get="covariance"``.
        report: whether, how well and in how many steps the systems were solved.
    """

    mean: Array
    variance: Array | None
    covariance: Array | None
    report: SolverReport


def posterior(
    kernels: Kernels | tuple,
    y: Any,
    noise_variance: Any,
    *,
    get: str = "variance",
    jitter: Any = 0.0,
    method: str = "cholesky",
    tolerance: float | None = None,
    max_steps: int = 1000,
    preconditioner_rank: int = 0,
) -> Posterior:
    """Gaussian-process regression with a zero prior mean.

    ``mean = K_* (K + S)^{-1} y`` and ``covariance = K_** - K_* (K + S)^{-1} K_*^T`` with
    ``S = diag(noise_variance)`` (Rasmussen & Williams 2006, eqs. 2.23 and 2.24; algorithm 2.1). It
    is that of the latent function: add the noise variance of a new observation for its own. With
    ``noise_variance=0`` the mean is kernel regression, an interpolation of y.

    A prior mean is subtracted from y and added to ``mean`` by the caller. Half precision is raised
    to float32. Differentiable in kernels, y, noise_variance and jitter.

    Args:
        kernels: :class:`Kernels` ``(train, test_train, test)``; for a kernel function, from
            :func:`kernel_matrices`. An operator as ``train`` needs ``method="cg"``.
        y: targets ``[n]`` or ``[n, o]``, cast to the kernel's dtype.
        noise_variance: a variance, one number or one per data point ``[n]``, for all outputs.
        get: ``"mean"``, ``"variance"`` (with the mean), or ``"covariance"`` (with both).
        jitter: relative: ``jitter * mean(diag(train))`` is added to the diagonal of ``train``, so
            that it means the same in any units. None is added unless asked for. An absolute one
            is a ``noise_variance``.
        method: ``"cholesky"``; or ``"cg"``, conjugate gradients on each output's targets and, for
            a variance, on each test point: products with ``train`` alone, for n where ``n^3`` is
            too much or ``train`` is an operator. The steps grow as the square root of the
            condition number of the preconditioned ``K + S``.
        tolerance: of ``"cg"``, for ``|b - (K + S) x| / |b|``; the root of machine epsilon unless
            given. But for rounding, a variance is never too small, and too large by at most
            ``(tolerance |k_*|)^2 / min(noise_variance)``, ``k_*`` its row of ``test_train``.
        max_steps: of ``"cg"``, per system.
        preconditioner_rank: of ``"cg"``. 0: the diagonal of a matrix, nothing of an operator. More,
            at most N: a partial pivoted Cholesky factor of this rank (Gardner et al. 2018,
            arXiv:1809.11165) for ``N rank^2`` operations, where few eigenvalues of the kernel stand
            out from the noise; it needs a matrix.

    Returns:
        :class:`Posterior`. Variances that rounding makes negative are 0.

    Raises:
        NotPositiveDefiniteError: by Cholesky, ``K + S`` is not positive definite to working
            precision (a pivot within 8 machine epsilons of zero). Under ``jax.jit`` no error
            can be raised: ``report.converged`` is then false and the result NaN or rounding.
            Conjugate gradients raise for a matrix with a diagonal entry that is not positive, and
            else do not find out. Short of the tolerance, they return the last iterate, and
            ``report.converged`` is false.
        TypeError, ValueError: an argument that does not fit or is not finite. (Values are not
            checked while they are traced.)
    """
    check_choice("get", get, GET)
    check_choice("method", method, METHODS)
    matrices = check_kernels("kernels", kernels, get)
    y = check_targets(y, matrices.sizes[1], matrices.outputs, matrices.dtype)
    noise = check_variance("noise_variance", noise_variance, matrices.sizes[1], matrices.dtype)
    jitter = check_jitter(jitter, matrices.dtype)
    noise, columns = matrices.per_point(noise), matrices.columns(y)
    if method == "cholesky":
        if tolerance is not None or preconditioner_rank != 0:
            raise ValueError('tolerance and preconditioner_rank belong to method="cg"')
        if is_operator(matrices.train):
            raise ValueError('kernels.train is an operator, which needs method="cg"')
        parts = (matrices.train, matrices.test_train, matrices.test, noise, jitter, columns)
        mean, variance, covariance, report = _by_cholesky(*parts, get=get)
        require_definite(report.converged, "kernels.train", matrices.train, noise, jitter)
    else:
        noise = _with_jitter(matrices.train, noise, jitter)
        _require_positive_diagonal(matrices.train, noise)
        settings = _check_settings(matrices, tolerance, max_steps, preconditioner_rank)
        mean, variance, covariance, report = _by_gradients(matrices, noise, columns, get, settings)
    return Posterior(
        matrices.mean_like(mean, y),
        None if variance is None else matrices.variance_like(variance, y),
        None if covariance is None else matrices.covariance_like(covariance, y),
        report,
    )


@partial(jax.jit, static_argnames="get")
def _by_cholesky(
    train: Array,
    test_train: Array,
    test: Array | None,
    noise: Array,
    jitter: Array,
    columns: Array,
    get: str,
) -> tuple[Array, Array | None, Array | None, SolverReport]:
    """Rasmussen & Williams 2006, algorithm 2.1, for every column of targets."""
    matrix = regularise(train, noise, jitter)
    lower, ok = factorise(matrix)
    alpha = solve_upper(lower, solve_lower(lower, columns))
    residual = jax.lax.stop_gradient(_largest_residual(matrix, alpha, columns))
    report = SolverReport(ok, residual, jnp.zeros((), jnp.int32))
    mean = matmul(test_train, alpha)
    if test is None:
        return mean, None, None, report
    half = solve_lower(lower, test_train.T)
    if get == "variance":
        return mean, _variance(test, jnp.sum(half**2, axis=0)), None, report
    covariance = test - matmul(half.T, half)
    return mean, _clip(jnp.diagonal(covariance)), covariance, report


def _by_gradients(
    matrices: Matrices, noise: Array, columns: Array, get: str, settings: tuple[float, int, int]
) -> tuple[Array, Array | None, Array | None, SolverReport]:
    test_train, test = matrices.test_train, matrices.test
    right = columns if test is None else jnp.concatenate([columns, test_train.T], axis=1)
    values, report = _conjugate_gradients.solve(matrices.train, noise, right, *settings)
    return *_conclude(test_train, test, values, columns.shape[1], get), report


@partial(jax.jit, static_argnames=("num_columns", "get"))
def _conclude(
    test_train: Array, test: Array | None, values: Array, num_columns: int, get: str
) -> tuple[Array, Array | None, Array | None]:
    """From the solutions for the targets and, behind them, for every test point."""
    mean = matmul(test_train, values[:, :num_columns])
    if test is None:
        return mean, None, None
    solved = values[:, num_columns:]
    if get == "variance":
        return mean, _variance(test, jnp.sum(test_train.T * solved, axis=0)), None
    explained = matmul(test_train, solved)
    covariance = test - (explained + explained.T) / 2
    return mean, _clip(jnp.diagonal(covariance)), covariance


def _check_settings(
    matrices: Matrices, tolerance: Any, max_steps: Any, rank: Any
) -> tuple[float, int, int]:
    """Of the conjugate gradients."""
    rank = check_count("preconditioner_rank", rank, low=0, high=matrices.train.shape[0])
    if rank and is_operator(matrices.train):
        raise ValueError(
            f"preconditioner_rank must be 0 for an operator, whose rows are not known, got {rank}"
        )
    return check_tolerance(tolerance, matrices.dtype), check_count("max_steps", max_steps), rank


def _with_jitter(train: Any, noise: Array, jitter: Array) -> Array:
    if not is_operator(train):
        return _add_jitter(train, noise, jitter)
    if isinstance(jitter, jax.core.Tracer) or not every(jitter, "equal", 0):
        raise ValueError(
            "jitter is relative to the diagonal of kernels.train, which an operator has not; add "
            "to noise_variance"
        )
    return noise


def _require_positive_diagonal(train: Any, noise: Array) -> None:
    if is_operator(train) or not (is_concrete(train) and is_concrete(noise)):
        return
    least = float(jnp.min(jnp.diagonal(train) + noise))
    if not least > 0:
        raise NotPositiveDefiniteError(
            f"kernels.train + noise is not positive definite: {least:.3g} on its diagonal"
        )


@jax.jit
def _add_jitter(train: Array, noise: Array, jitter: Array) -> Array:
    return noise + jitter * jnp.mean(jnp.diagonal(train))


def _variance(test: Array, explained: Array) -> Array:
    return _clip((jnp.diagonal(test) if test.ndim == 2 else test) - explained)


def _clip(variance: Array) -> Array:
    """Rounding may take a variance of nothing below zero; NaN stays."""
    return jnp.where(variance < 0, 0, variance)


def _largest_residual(matrix: Array, values: Array, columns: Array) -> Array:
    scale = jnp.max(jnp.abs(columns), axis=0)
    scale = jnp.where(scale > 0, scale, 1)[None]
    gaps = jnp.linalg.norm((columns - matmul(matrix, values)) / scale, axis=0)
    sizes = jnp.linalg.norm(columns / scale, axis=0)
    return jnp.max(gaps / jnp.where(sizes > 0, sizes, 1))
