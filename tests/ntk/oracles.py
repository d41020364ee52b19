"""Kernels from the dense Jacobian, which share nothing with the code they test."""

import jax
import numpy as np

from ntk._float_leaves import split_floats


def dense_kernel(f, params, x):
    """``[n, n, d, d]``: a pair of axes for every output axis, over floating point parameters."""
    floats, held, layout = split_floats(params)
    jacobians = jax.jit(jax.jacrev(lambda v: f(layout.join(v, held), x)))(floats)
    shape = jax.eval_shape(f, params, x).shape
    n, count = shape[0], len(shape) - 1
    kernel = np.zeros((n, n, int(np.prod(shape[1:])), int(np.prod(shape[1:]))))
    for jacobian in jacobians:
        j = np.asarray(jacobian).reshape(n, kernel.shape[2], -1)
        kernel += np.einsum("iap,jbp->ijab", j, j)
    kernel = kernel.reshape(n, n, *shape[1:], *shape[1:])
    pairs = [axis for k in range(count) for axis in (2 + k, 2 + count + k)]
    return kernel.transpose([0, 1, *pairs])
