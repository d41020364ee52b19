"""Convolutions in `jax.lax`: strides, dilations, paddings, groups, layouts and pooling."""

import jax
import jax.numpy as jnp
from jax import lax

from ._registry import Draw, dense, network, normalise

N, SIDE, C, D = 3, 6, 2, 3
NHWC = ("NHWC", "HWIO", "NHWC")
NCHW = ("NCHW", "OIHW", "NCHW")


def _over_channels(b):
    return b[None, None, None]


def _conv_net(dtype, kernels, second, first=None, channels=C):
    """Two convolutions in NHWC with biases, global average pooling and a readout.

    `kernels` are the two kernel shapes; `first` and `second` are arguments of the convolutions.
    """
    draw = Draw(dtype)
    params = {
        "kernels": [draw.weight(*shape) for shape in kernels],
        "biases": [draw.bias(shape[-1]) for shape in kernels],
        "readout": draw.layers(kernels[-1][-1], D)[0],
    }
    options = [first or {"window_strides": (1, 1), "padding": "SAME"}, second]

    def f(p, x):
        for kernel, bias, option in zip(p["kernels"], p["biases"], options, strict=True):
            x = lax.conv_general_dilated(x, kernel, dimension_numbers=NHWC, **option)
            x = jax.nn.gelu(x + _over_channels(bias))
        return dense(p["readout"], x.mean((1, 2)))

    return f, params, draw.inputs(N, SIDE, SIDE, channels)


@network
def conv_same_strided(dtype):
    kernels = [(3, 3, C, 4), (3, 3, 4, 5)]
    return _conv_net(dtype, kernels, {"window_strides": (2, 2), "padding": "SAME"})


@network
def conv_valid_strided(dtype):
    """Window 2 x 3 and strides (2, 1): no axis is like the other."""
    kernels = [(3, 3, C, 4), (2, 3, 4, 5)]
    return _conv_net(dtype, kernels, {"window_strides": (2, 1), "padding": "VALID"})


@network
def conv_dilated(dtype):
    second = {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 1)}
    return _conv_net(dtype, [(3, 3, C, 4), (3, 2, 4, 5)], second)


@network
def conv_explicit_padding(dtype):
    """Unequal padding, a crop (negative padding) among them."""
    second = {"window_strides": (1, 2), "padding": [(2, 0), (-1, 1)]}
    return _conv_net(dtype, [(3, 3, C, 4), (3, 2, 4, 5)], second)


@network
def conv_pointwise(dtype):
    kernels = [(3, 3, C, 4), (1, 1, 4, 5)]
    return _conv_net(dtype, kernels, {"window_strides": (1, 1), "padding": "VALID"})


@network
def conv_grouped(dtype):
    second = {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2}
    return _conv_net(dtype, [(3, 3, C, 4), (3, 3, 2, 6)], second)


@network
def conv_depthwise(dtype):
    """One filter for each channel, then one of multiplier 2."""
    first = {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 4}
    return _conv_net(dtype, [(3, 3, 1, 4), (3, 3, 1, 8)], first, first, channels=4)


@network
def conv_input_dilated(dtype):
    """A fractionally strided convolution, written with `lhs_dilation`."""
    second = {"window_strides": (1, 1), "padding": [(1, 2), (1, 2)], "lhs_dilation": (2, 2)}
    return _conv_net(dtype, [(3, 3, C, 4), (3, 3, 4, 5)], second)


@network
def conv_nchw(dtype):
    """Channels first, and a dense layer over the flattened image."""
    draw = Draw(dtype)
    params = {"k": draw.weight(4, C, 3, 3), "b": draw.bias(4), "out": draw.layers(16, D)[0]}

    def f(p, x):
        h = lax.conv_general_dilated(x, p["k"], (2, 2), "VALID", dimension_numbers=NCHW)
        h = jax.nn.relu(h + p["b"][None, :, None, None])
        return dense(p["out"], h.reshape(h.shape[0], -1))

    return f, params, draw.inputs(N, C, SIDE, SIDE)


@network
def conv_1d(dtype):
    """Causal and dilated, over a sequence; the last step is read out."""
    draw = Draw(dtype)
    params = {"k": [draw.weight(2, C, 4), draw.weight(2, 4, 4)], "out": draw.layers(4, D)[0]}

    def f(p, x):
        for i, k in enumerate(p["k"]):
            x = lax.conv_general_dilated(
                x,
                k,
                (1,),
                [(2**i, 0)],
                rhs_dilation=(2**i,),
                dimension_numbers=("NWC", "WIO", "NWC"),
            )
            x = jnp.tanh(x)
        return dense(p["out"], x[:, -1])

    return f, params, draw.inputs(N, 7, C)


@network
def conv_parameter_left(dtype):
    """The parameter is the image and each example a kernel: the batch is an output feature."""
    draw = Draw(dtype)
    params = {"image": draw.weight(4, C, 7, 7), "out": draw.layers(4, D)[0]}

    def f(p, x):
        h = lax.conv_general_dilated(p["image"], x, (1, 1), "VALID", dimension_numbers=NCHW)
        return dense(p["out"], jnp.tanh(h).mean((2, 3)).T)

    return f, params, draw.inputs(N, C, SIDE, SIDE)


@network
def conv_transposed(dtype):
    draw = Draw(dtype)
    params = {"k": draw.weight(3, 3, C, 4), "b": draw.bias(4), "out": draw.layers(4, D)[0]}

    def f(p, x):
        h = lax.conv_transpose(x, p["k"], (2, 2), "SAME", dimension_numbers=NHWC)
        return dense(p["out"], jax.nn.gelu(h + _over_channels(p["b"])).mean((1, 2)))

    return f, params, draw.inputs(N, 3, 3, C)


@network
def conv_batch_grouped(dtype):
    """`vmap` over examples and their own kernels, made from a parameter and the input."""
    draw = Draw(dtype)
    params = {"k": draw.weight(3, 3, C, 4), "out": draw.layers(4, D)[0]}

    def one(p, image):
        kernel = p["k"] * (1 + image.mean())
        h = lax.conv_general_dilated(image[None], kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        return jnp.tanh(h[0]).mean((0, 1)) @ p["out"]["w"] + p["out"]["b"]

    return jax.vmap(one, (None, 0)), params, draw.inputs(N, 4, 4, C)


@network
def conv_fully_convolutional(dtype):
    """An output for every pixel: `[n, 3, 3, 2]`."""
    draw = Draw(dtype)
    params = {"k": draw.weight(2, 2, C, 4), "out": draw.weight(1, 1, 4, 2)}

    def f(p, x):
        h = jnp.tanh(lax.conv_general_dilated(x, p["k"], (1, 1), "VALID", dimension_numbers=NHWC))
        return lax.conv_general_dilated(h, p["out"], (1, 1), "VALID", dimension_numbers=NHWC)

    return f, params, draw.inputs(N, 4, 4, C)


def _pooled(dtype, pool):
    draw = Draw(dtype)
    params = {"k": draw.weight(3, 3, C, 4), "b": draw.bias(4), "out": draw.layers(36, D)[0]}

    def f(p, x):
        h = lax.conv_general_dilated(x, p["k"], (1, 1), "SAME", dimension_numbers=NHWC)
        h = pool(jax.nn.gelu(h + _over_channels(p["b"])))
        return dense(p["out"], h.reshape(h.shape[0], -1))

    return f, params, draw.inputs(N, SIDE, SIDE, C)


@network
def conv_max_pool(dtype):
    return _pooled(
        dtype,
        lambda h: lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    )


@network
def conv_average_pool(dtype):
    return _pooled(
        dtype,
        lambda h: lax.reduce_window(h, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4,
    )


@network
def conv_group_norm(dtype):
    draw = Draw(dtype)
    params = {
        "k": draw.weight(3, 3, C, 4),
        "gain": draw.gain(4),
        "bias": draw.bias(4),
        "out": draw.layers(4, D)[0],
    }

    def f(p, x):
        h = lax.conv_general_dilated(x, p["k"], (1, 1), "SAME", dimension_numbers=NHWC)
        grouped = normalise(h.reshape(*h.shape[:3], 2, 2), (1, 2, 4)).reshape(h.shape)
        h = grouped * _over_channels(p["gain"]) + _over_channels(p["bias"])
        return dense(p["out"], jax.nn.gelu(h).mean((1, 2)))

    return f, params, draw.inputs(N, SIDE, SIDE, C)
