"""Weights used twice, in parts, joined, gathered, or in batched products."""

import jax
import jax.numpy as jnp

from ._registry import Draw, dense, mlp, network

N, K, H, D = 4, 5, 6, 3


def _ends(draw):
    return {"in": draw.layers(K, H)[0], "out": draw.layers(H, D)[0]}


@network
def tied_layers(dtype):
    draw = Draw(dtype)
    params = _ends(draw) | {"tied": draw.layers(H, H)[0]}

    def f(p, x):
        h = jnp.tanh(dense(p["tied"], jnp.tanh(dense(p["in"], x))))
        return dense(p["out"], jnp.tanh(dense(p["tied"], h)))

    return f, params, draw.inputs(N, K)


@network
def tied_transposed(dtype):
    """An autoencoder with one weight: `tanh(x w) w^T`."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, H), "b": draw.bias(H), "out": draw.layers(K, D)[0]}

    def f(p, x):
        return dense(p["out"], jnp.tanh(x @ p["w"] + p["b"][None]) @ p["w"].T)

    return f, params, draw.inputs(N, K)


@network
def tied_weight_and_output(dtype):
    """A weight that also enters the output directly, through its sum."""
    draw = Draw(dtype)

    def f(p, x):
        return mlp(p, x) + jnp.square(p[1]["w"]).sum(0)[None]

    return f, draw.layers(K, H, D), draw.inputs(N, K)


@network
def split_weight(dtype):
    """One stored weight, split in three as in a fused query, key and value."""
    draw = Draw(dtype)
    params = _ends(draw) | {"qkv": draw.weight(H, 3 * H)}

    def f(p, x):
        h = jnp.tanh(dense(p["in"], x))
        q, k, v = jnp.split(p["qkv"], 3, axis=1)
        return dense(p["out"], jnp.tanh(h @ q) * (h @ k) + h @ v)

    return f, params, draw.inputs(N, K)


@network
def split_activation(dtype):
    """The same product, split after it."""
    draw = Draw(dtype)
    params = _ends(draw) | {"qkv": draw.layers(H, 3 * H)[0]}

    def f(p, x):
        q, k, v = jnp.split(dense(p["qkv"], jnp.tanh(dense(p["in"], x))), 3, axis=-1)
        return dense(p["out"], jnp.tanh(q) * k + v)

    return f, params, draw.inputs(N, K)


@network
def concatenated_weights(dtype):
    draw = Draw(dtype)
    params = _ends(draw) | {"left": draw.weight(H, 2), "right": draw.weight(H, H - 2)}

    def f(p, x):
        w = jnp.concatenate([p["left"], p["right"]], axis=1)
        return dense(p["out"], jnp.tanh(dense(p["in"], x) @ w))

    return f, params, draw.inputs(N, K)


@network
def flat_vector(dtype):
    """All parameters in one vector, sliced and reshaped."""
    draw = Draw(dtype)
    vector = jnp.concatenate([draw.weight(K, H).ravel(), draw.bias(H), draw.weight(H, D).ravel()])

    def f(p, x):
        w, v = p[: K * H].reshape(K, H), p[K * H + H :].reshape(H, D)
        return jnp.tanh(x @ w + p[None, K * H : K * H + H]) @ v

    return f, vector, draw.inputs(N, K)


@network
def dynamic_sliced_weight(dtype):
    draw = Draw(dtype)
    params = _ends(draw) | {"wide": draw.weight(H, 2 * H)}

    def f(p, x):
        w = jax.lax.dynamic_slice_in_dim(p["wide"], 3, H, axis=1)
        return dense(p["out"], jnp.tanh(dense(p["in"], x) @ w))

    return f, params, draw.inputs(N, K)


@network
def updated_weight(dtype):
    """One parameter written into another: a scatter before the product."""
    draw = Draw(dtype)
    params = _ends(draw) | {"w": draw.weight(H, H), "block": draw.weight(2, 2)}

    def f(p, x):
        return dense(p["out"], jnp.tanh(dense(p["in"], x) @ p["w"].at[1:3, 2:4].set(p["block"])))

    return f, params, draw.inputs(N, K)


@network
def taken_columns(dtype):
    """`jnp.take` of columns, one of them twice."""
    draw = Draw(dtype)
    params = _ends(draw) | {"w": draw.weight(H, H)}
    columns = jnp.asarray([3, 0, 0, 5, 1, 2])

    def f(p, x):
        return dense(p["out"], jnp.tanh(dense(p["in"], x) @ jnp.take(p["w"], columns, axis=1)))

    return f, params, draw.inputs(N, K)


@network
def einsum_heads(dtype):
    """A weight for each head: `h` is a batch letter of the second product."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, 2, H), "v": draw.weight(2, H, H), "out": draw.weight(2, H, D)}

    def f(p, x):
        h = jnp.tanh(jnp.einsum("nk,khi->nhi", x, p["w"]))
        h = jnp.tanh(jnp.einsum("nhi,hij->nhj", h, p["v"]))
        return jnp.einsum("nhj,hjd->nd", h, p["out"])

    return f, params, draw.inputs(N, K)


@network
def einsum_diagonal(dtype):
    """Repeated letters within one operand: only a diagonal of the weight is read."""
    draw = Draw(dtype)
    params = _ends(draw) | {"w": draw.weight(H, H, 2)}

    def f(p, x):
        h = jnp.einsum("ni,iic->nic", dense(p["in"], x), p["w"])
        return dense(p["out"], jnp.tanh(h).sum(-1))

    return f, params, draw.inputs(N, K)


@network
def dot_general_batched(dtype):
    """`dot_general` with the weight on the left and the groups as its batch dimension."""
    draw = Draw(dtype)
    params = {"w": draw.weight(3, 2, H), "out": draw.layers(3 * H, D)[0]}

    def f(p, x):
        groups = jax.lax.dot_general(p["w"], x, (((1,), (2,)), ((0,), (1,))))
        return dense(p["out"], jnp.tanh(jnp.moveaxis(groups, 2, 0).reshape(-1, 3 * H)))

    return f, params, draw.inputs(N, 3, 2)


@network
def mixture_of_experts(dtype):
    """Each example gathers the weight of its class: the parameters get a batch axis."""
    draw = Draw(dtype)
    params = {"experts": draw.weight(3, K, H), "out": draw.layers(H, D)[0]}
    x = {"x": draw.inputs(N, K), "class": jnp.asarray([0, 2, 2, 1])}

    def f(p, x):
        h = jnp.einsum("nk,nkh->nh", x["x"], p["experts"][x["class"]])
        return dense(p["out"], jnp.tanh(h))

    return f, params, x


@network
def solved_matrix(dtype):
    """An implicit layer: `h A^{-T}` with a parameter matrix A."""
    draw = Draw(dtype)
    params = _ends(draw) | {"a": 2 * jnp.eye(H, dtype=dtype) + draw.weight(H, H) / 2}

    def f(p, x):
        h = jnp.tanh(dense(p["in"], x))
        return dense(p["out"], jnp.linalg.solve(p["a"], h.T).T)

    return f, params, draw.inputs(N, K)
