"""Convolutions and residual networks from their definitions, in NumPy."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv(x, layer, weight_std, bias_std, strides=1, padding="SAME"):
    """``weight_std / sqrt(fan_in) sum_k x[stride p + k] w[k] + bias_std b``, ``x [n, *p, c]``."""
    w = np.asarray(layer["weight"])
    window, axes = w.shape[:-2], range(1, w.ndim - 1)
    strides = (strides,) * len(window) if isinstance(strides, int) else strides
    if padding != "VALID":
        pads = [
            max((math.ceil(size / stride) - 1) * stride + length - size, 0)
            for size, stride, length in zip(x.shape[1:-1], strides, window, strict=True)
        ]
        sides = [(0, 0), *((total // 2, total - total // 2) for total in pads), (0, 0)]
        x = np.pad(x, sides, mode="wrap" if padding == "CIRCULAR" else "constant")
    views = sliding_window_view(x, window, axis=tuple(axes))
    views = views[(slice(None), *(slice(None, None, s) for s in strides))]
    views = np.moveaxis(views, len(window) + 1, -1)
    z = np.tensordot(views, w, len(window) + 1)
    fan_in = math.prod(w.shape[:-1])
    bias = bias_std * np.asarray(layer["bias"]) if "bias" in layer else 0
    return weight_std / fan_in**0.5 * z + bias


def resnet_features(hidden, x, variances, weight_std, bias_std):
    """Before the readout's scale; ``variances`` are ``(alpha^2, beta^2)`` of every block."""
    stem, *blocks = hidden
    z = conv(x, stem, 1, bias_std)
    num_blocks = len(blocks) // 3
    for b, (shortcut, branch) in enumerate(blocks):
        alpha, beta = np.sqrt(variances[b])
        strides = 2 if b in (num_blocks, 2 * num_blocks) else 1
        first, second = (part for part in branch if part)
        inside = conv(np.maximum(z, 0), first, weight_std, bias_std, strides)
        inside = conv(np.maximum(inside, 0), second, weight_std, bias_std)
        if b % num_blocks == 0:
            z = conv(z, shortcut[0], 1, bias_std, strides)
        z = alpha * z + beta * inside
    return z.mean((1, 2))


def with_readout(phi, readout_weight_std, readout_bias_std):
    """Scaled features, with the column of the bias."""
    psi = readout_weight_std / phi.shape[1] ** 0.5 * phi
    return np.hstack([psi, np.full((len(psi), 1), readout_bias_std)])
