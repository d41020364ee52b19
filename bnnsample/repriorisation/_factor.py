"""Whitening by the noise scale and the Cholesky factor of the smaller side."""

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax.linalg import cholesky, triangular_solve
from jax.typing import ArrayLike

from bnnsample.repriorisation._condition import explain

Side = Literal["auto", "parameters", "data"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factor:
    """``P = Psi / scale [n, p]`` and the lower Cholesky factor ``L`` of one side.

    ``L L^T = I + P^T P`` on the parameter side, ``I + P P^T`` on the data side. Both have
    the same determinant (Sylvester), so ``log det = 2 sum log diag L`` whichever it is.
    """

    P: Array
    L: Array
    on_parameter_side: bool = field(metadata={"static": True})


def choose_side(P: Array, side: Side) -> bool:
    """Whether to work with the p x p matrix of ``P [n, p]``. ``"auto"``: when ``p <= n``."""
    if side not in ("auto", "parameters", "data"):
        raise ValueError(f"side must be 'auto', 'parameters' or 'data', got {side!r}")
    return P.shape[1] <= P.shape[0] if side == "auto" else side == "parameters"


def whiten(psi: Array, y: Array, scale: ArrayLike) -> tuple[Array, Array, Array]:
    """``(Psi / scale, y / scale, log scale summed over data)``, with ``y`` as ``[n, d]``.

    Raises:
        ValueError: ``psi`` not ``[n, p]``, ``y`` not ``[n]`` or ``[n, d]``, ``scale`` not
            a scalar or ``[n]`` (one scale per output would need one factorisation each),
            or a concrete ``scale`` that is not positive and finite.
    """
    P, column = whiten_features(psi, scale)
    n = P.shape[0]
    y = jnp.asarray(y, P.dtype)
    if y.ndim not in (1, 2) or y.shape[0] != n:
        raise ValueError(f"y must have shape [n] or [n, d] with n = {n}, got {y.shape}")
    y = y[:, None] if y.ndim == 1 else y
    log_scale = jnp.sum(jnp.log(column)) if column.ndim else n * jnp.log(column)
    return P, y / column, log_scale


def whiten_features(psi: Array, scale: ArrayLike) -> tuple[Array, Array]:
    """``Psi / scale`` and the scale as a scalar or a column ``[n, 1]``; errors as ``whiten``."""
    psi = jnp.asarray(psi)
    if not jnp.issubdtype(psi.dtype, jnp.floating):
        raise TypeError(f"psi must have a floating point dtype, got {psi.dtype}")
    if psi.ndim != 2:
        raise ValueError(f"psi must have shape [n, p], got {psi.shape}")
    n = psi.shape[0]
    if not isinstance(scale, jax.core.Tracer):
        concrete = np.asarray(scale, dtype=float)
        if not (np.isfinite(concrete).all() and (concrete > 0).all()):
            raise ValueError("scale must be positive and finite (a standard deviation)")
    scale = jnp.asarray(scale, psi.dtype)
    if scale.ndim > 1 or (scale.ndim == 1 and scale.shape != (n,)):
        raise ValueError(f"scale must be a scalar or of shape [n] = [{n}], got {scale.shape}")
    column = scale[:, None] if scale.ndim else scale
    return psi / column, column


def gram(P: Array, on_parameter_side: bool) -> Array:
    """``I + P^T P`` or ``I + P P^T``."""
    square = _square(P.T if on_parameter_side else P)
    return square + jnp.eye(square.shape[0], dtype=P.dtype)


@jax.custom_jvp
def _square(A: Array) -> Array:
    """``A A^T``, whose derivative takes one product of this size in either mode, not two."""
    return A @ A.T


@_square.defjvp
def _square_jvp(primals, tangents):
    (A,), (dA,) = primals, tangents
    half = dA @ A.T
    return A @ A.T, half + half.T


def factorise(psi: Array, scale: ArrayLike, side: Side = "auto") -> Factor:
    """The factor that the functions of this module share.

    Args:
        psi: features ``[n, p]``.
        scale: noise standard deviation, a scalar or ``[n]``.
        side: which matrix to factorise.
    """
    P, _ = whiten_features(psi, scale)
    return _factor_of(P, side)


def condition(psi: Array, y: Array, scale: ArrayLike, side: Side = "auto") -> tuple[Factor, Array]:
    """The factor and the whitened targets ``y / scale`` as ``[n, d]``; errors as ``whiten``."""
    P, z, _ = whiten(psi, y, scale)
    return _factor_of(P, side), z


def _factor_of(P: Array, side: Side) -> Factor:
    on_parameter_side = choose_side(P, side)
    L = cholesky(gram(P, on_parameter_side), symmetrize_input=False)
    return Factor(P, L, on_parameter_side)


def solve_lower(L: Array, b: Array) -> Array:
    """``L^{-1} b``."""
    return triangular_solve(L, b, left_side=True, lower=True)


def solve_upper(L: Array, b: Array) -> Array:
    """``L^{-T} b``."""
    return triangular_solve(L, b, left_side=True, lower=True, transpose_a=True)


def posterior_mean(factor: Factor, z: Array) -> Array:
    """``mu [p, d] = (I + P^T P)^{-1} P^T z`` for whitened targets ``z [n, d]``."""
    P, L = factor.P, factor.L
    if factor.on_parameter_side:
        return solve_upper(L, solve_lower(L, P.T @ z))
    return P.T @ solve_upper(L, solve_lower(L, z))


def require_finite(name: str, P: Array, on_parameter_side: bool, *arrays: Array) -> None:
    """Raise if a concrete result is not finite; traced values pass, for the caller to test.

    The error carries the condition number of the matrix of ``P`` that was factorised.
    """
    for array in arrays:
        if isinstance(array, jax.core.Tracer) or bool(jnp.all(jnp.isfinite(array))):
            continue
        why = ""
        if not isinstance(P, jax.core.Tracer):
            why = f": {explain(P, on_parameter_side, array.dtype)}"
        raise FloatingPointError(
            f"{name} is not finite: the inputs are not finite, or the {array.dtype} "
            "Cholesky factorisation broke down because the noise scale is too small "
            f"against the features; use float64 or a larger scale{why}"
        )
