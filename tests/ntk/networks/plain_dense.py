"""Dense networks: what may stand between a stored weight and the product that uses it."""

import jax
import jax.numpy as jnp

from ._registry import Draw, dense, layer_norm, mlp, network

N, K, H, D = 4, 5, 8, 3


@network
def linear(dtype):
    draw = Draw(dtype)
    return lambda p, x: x @ p, draw.weight(K, D), draw.inputs(N, K)


@network
def mlp_three_hidden(dtype):
    draw = Draw(dtype)
    return mlp, draw.layers(K, 9, 8, 7, D), draw.inputs(N, K)


def _chain(dtype, first, extra=None):
    """`tanh(x first(w) + b)`, then a plain readout; `extra` adds what `first` reads."""
    draw = Draw(dtype)
    params = {"first": draw.layers(K, H)[0], "readout": draw.layers(H, D)[0]}
    params["first"] |= extra(draw) if extra else {}

    def f(p, x):
        w = first(p["first"])
        return dense(p["readout"], jnp.tanh(x @ w + p["first"]["b"][None]))

    return f, params, draw.inputs(N, K)


@network
def mlp_transposed_weight(dtype):
    return _chain(dtype, lambda p: p["w"].T, lambda draw: {"w": draw.weight(K, H).T})


@network
def scaled_weight(dtype):
    return _chain(dtype, lambda p: p["w"] * p["s"], lambda draw: {"s": draw.gain()})


@network
def divided_weight(dtype):
    """The neural-tangent parametrisation: a constant over the stored weight."""
    return _chain(dtype, lambda p: p["w"] * 2.0 / jnp.sqrt(p["w"].shape[0]).astype(dtype))


@network
def cast_weight(dtype):
    """Stored in the other precision, used in the asked one (float64 only if JAX has it on)."""
    narrow, wide = jnp.float32, jax.dtypes.canonicalize_dtype(jnp.float64)
    stored = narrow if dtype == jnp.float64 else wide
    return _chain(
        dtype,
        lambda p: p["w"].astype(dtype),
        lambda draw: {"w": draw.weight(K, H).astype(stored)},
    )


@network
def reshaped_weight(dtype):
    return _chain(
        dtype, lambda p: p["w"].reshape(K, H), lambda draw: {"w": draw.weight(K, H).ravel()}
    )


@network
def weight_norm(dtype):
    def columns(p):
        return p["w"] * (p["s"] / jnp.linalg.norm(p["w"], axis=0))[None]

    return _chain(dtype, columns, lambda draw: {"s": draw.gain(H)})


@network
def masked_weight(dtype):
    mask = jnp.asarray(jnp.arange(K)[:, None] <= jnp.arange(H)[None], dtype)
    return _chain(dtype, lambda p: p["w"] * mask)


@network
def where_weight(dtype):
    mask = jnp.arange(K)[:, None] <= jnp.arange(H)[None]
    return _chain(dtype, lambda p: jnp.where(mask, p["w"], 0.0))


@network
def low_rank_weight(dtype):
    return _chain(
        dtype,
        lambda p: p["w"] + p["a"] @ p["c"],
        lambda draw: {"a": draw.weight(K, 2), "c": draw.weight(2, H)},
    )


@network
def nonlinear_weight(dtype):
    """Positive weights: `softplus(w) - exp(v)`."""
    return _chain(
        dtype,
        lambda p: jax.nn.softplus(p["w"]) - jnp.exp(p["v"]),
        lambda draw: {"v": draw.weight(K, H)},
    )


@network
def antisymmetric_weight(dtype):
    """Antisymmetric part of a square weight: each entry is used twice."""
    return _chain(
        dtype,
        lambda p: (p["w"] - p["w"].T)[:K],
        lambda draw: {"w": draw.weight(H, H)},
    )


@network
def residual(dtype):
    draw = Draw(dtype)
    params = {
        "in": draw.layers(K, H)[0],
        "blocks": [draw.layers(H, 6, H) for _ in range(2)],
        "out": draw.layers(H, D)[0],
    }

    def f(p, x):
        h = dense(p["in"], x)
        for block in p["blocks"]:
            h = h + mlp(block, jax.nn.relu(h))
        return dense(p["out"], h)

    return f, params, draw.inputs(N, K)


@network
def layer_norm_mlp(dtype):
    draw = Draw(dtype)
    params = {
        "layers": draw.layers(K, H, D),
        "norm": {"gain": draw.gain(H), "bias": draw.bias(H)},
    }

    def f(p, x):
        h = layer_norm(p["norm"], dense(p["layers"][0], x))
        return dense(p["layers"][1], jnp.tanh(h))

    return f, params, draw.inputs(N, K)


@network
def bilinear(dtype):
    """`x^T W_d x + b_d`."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, K, D), "b": draw.bias(D)}

    def f(p, x):
        return jnp.einsum("ni,ijd,nj->nd", x, p["w"], x) + p["b"][None]

    return f, params, draw.inputs(N, K)


@network
def film(dtype):
    """Features scaled and shifted by a second network of the same input."""
    draw = Draw(dtype)
    params = {"features": draw.layers(K, H, H), "film": draw.layers(K, 2 * H)}
    params["readout"] = draw.layers(H, D)[0]

    def f(p, x):
        scale, shift = jnp.split(mlp(p["film"], x), 2, axis=-1)
        return dense(p["readout"], jnp.tanh(mlp(p["features"], x) * (1 + scale) + shift))

    return f, params, draw.inputs(N, K)


@network
def gated_product(dtype):
    """Elementwise product of two activations that both depend on parameters."""
    draw = Draw(dtype)
    params = {"a": draw.layers(K, H, D), "c": draw.layers(K, H, D)}
    return lambda p, x: mlp(p["a"], x) * jax.nn.sigmoid(mlp(p["c"], x)), params, draw.inputs(N, K)


@network
def hypernetwork(dtype):
    """One network makes the weight `[n, H, D]` that is applied to another's features."""
    draw = Draw(dtype)
    params = {"features": draw.layers(K, 6, H), "weights": draw.layers(K, 4, H * D)}

    def f(p, x):
        w = mlp(p["weights"], x).reshape(-1, H, D)
        return jnp.einsum("nh,nhd->nd", mlp(p["features"], x), w)

    return f, params, draw.inputs(N, K)


@network
def scalar_temperature(dtype):
    draw = Draw(dtype)
    params = {"layers": draw.layers(K, H, D), "log_temperature": draw.bias()}

    def f(p, x):
        return mlp(p["layers"], x) * jnp.exp(p["log_temperature"])

    return f, params, draw.inputs(N, K)


@network
def output_bias(dtype):
    """A bias on the output alone, over weights without any."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, H), "v": draw.weight(H, D), "b": draw.bias(D)}
    return lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"] + p["b"][None], params, draw.inputs(N, K)


@network
def unused_parameter(dtype):
    draw = Draw(dtype)
    params = {"layers": draw.layers(K, H, D), "unused": draw.weight(3, 2)}
    return lambda p, x: mlp(p["layers"], x), params, draw.inputs(N, K)


@network
def integer_leaf(dtype):
    """A permutation of the features is stored with the parameters."""
    draw = Draw(dtype)
    params = {"layers": draw.layers(K, H, D), "order": jnp.asarray(draw.rng.permutation(K))}
    return lambda p, x: mlp(p["layers"], x[:, p["order"]]), params, draw.inputs(N, K)


@network
def two_output_axes(dtype):
    draw = Draw(dtype)
    layers = draw.layers(K, H, 6)
    return lambda p, x: mlp(p, x).reshape(-1, 2, 3), layers, draw.inputs(N, K)


@network
def parameter_branch(dtype):
    """A network of a parameter alone, the same for every example, is added to the output."""
    draw = Draw(dtype)
    params = {"layers": draw.layers(K, H, D), "code": draw.bias(1, 4), "branch": draw.layers(4, D)}

    def f(p, x):
        return mlp(p["layers"], x) + jnp.tanh(mlp(p["branch"], p["code"]))

    return f, params, draw.inputs(N, K)


@network
def constant_output(dtype):
    """The inputs give only the number of examples."""
    draw = Draw(dtype)

    def f(p, x):
        return jnp.broadcast_to(jnp.tanh(p)[None], (x.shape[0], D))

    return f, draw.bias(D), draw.inputs(N, K)


@network
def dictionary_inputs(dtype):
    """Inputs as a pytree: two arrays and integer classes."""
    draw = Draw(dtype)
    params = {
        "left": draw.layers(K, H)[0],
        "right": draw.layers(2, H)[0],
        "classes": draw.weight(3, H),
        "readout": draw.layers(H, D)[0],
    }
    x = {"left": draw.inputs(N, K), "right": draw.inputs(N, 2), "class": draw.ids(N, below=3)}

    def f(p, x):
        h = dense(p["left"], x["left"]) * dense(p["right"], x["right"])
        return dense(p["readout"], jnp.tanh(h + p["classes"][x["class"]]))

    return f, params, x
