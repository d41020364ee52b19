"""Parameters seen at two places in two arrangements, in parts that overlap, or through complex
numbers; tables longer than their integers' dtype."""

import jax
import jax.numpy as jnp

from ._registry import Draw, network

N = 5


def _shuffled(h):
    """Channels in two groups of four, exchanged as a shuffle of heads does."""
    return h.reshape(-1, 4, 2).transpose(0, 2, 1).reshape(-1, 8)


@network
def shuffled_then_tied(dtype):
    draw = Draw(dtype)
    return lambda w, x: _shuffled(jnp.tanh(x @ w)) @ w, draw.weight(8, 8), draw.inputs(N, 8)


@network
def shuffled_linear_then_tied(dtype):
    draw = Draw(dtype)
    return lambda w, x: _shuffled(x @ w) @ w, draw.weight(8, 8), draw.inputs(N, 8)


@network
def shuffled_gain_then_tied(dtype):
    draw = Draw(dtype)
    return lambda b, x: _shuffled(x * b[None]) * b[None], draw.gain(8), draw.inputs(N, 8)


@network
def rows_in_threes_and_in_twos(dtype):
    """Two arrangements of one axis, neither of which refines the other."""
    draw = Draw(dtype)

    def f(w, x):
        threes = w.reshape(4, 3, 12).sum(1).repeat(3, 0)
        return x @ threes + x @ w.reshape(6, 2, 12).sum(1).repeat(2, 0)

    return f, draw.weight(12, 12), draw.inputs(N, 12)


@network
def gains_in_threes_and_in_twos(dtype):
    draw = Draw(dtype)

    def f(b, x):
        threes = b.reshape(1, 4, 3) * x.reshape(-1, 4, 3)
        twos = b.reshape(1, 6, 2) * x.reshape(-1, 6, 2)
        return threes.reshape(-1, 12) + twos.reshape(-1, 12) ** 2

    return f, draw.gain(12), draw.inputs(N, 12)


@network
def columns_then_rows(dtype):
    draw = Draw(dtype)
    return lambda w, x: (x @ w[:, :2]) @ w[:2, :], draw.weight(12, 12), draw.inputs(N, 12)


@network
def circular_convolution(dtype):
    """By Fourier transforms of the inputs and of a real parameter."""
    draw = Draw(dtype)

    def f(b, x):
        return jnp.real(jnp.fft.ifft(jnp.fft.fft(x) * jnp.fft.fft(b)[None]))

    return f, draw.inputs(8), draw.inputs(N, 8)


@network
def fourier_operator(dtype):
    """A Fourier neural operator's layer: a complex multiplier made of two real parameters."""
    draw = Draw(dtype)
    params = {"re": draw.inputs(5), "im": draw.inputs(5), "w": draw.weight(8, 3)}

    def f(p, x):
        modes = jnp.fft.rfft(jnp.tanh(x)) * (p["re"] + 1j * p["im"])[None]
        return jnp.tanh(jnp.fft.irfft(modes)) @ p["w"]

    return f, params, draw.inputs(N, 8)


@network
def byte_tokens(dtype):
    """Bytes into a table of 256 tokens and 44 more, looked up in the bytes' own dtype."""
    draw = Draw(dtype)
    ids = draw.ids(N, 4, below=256).astype(jnp.uint8)
    return lambda t, i: jnp.tanh(jnp.take(t, i, axis=0)).sum(1), draw.inputs(300, 3), ids


@network
def bag_of_words(dtype):
    """Words that are only summed: a cotangent that is the same at every word."""
    draw = Draw(dtype)
    params = {"table": draw.inputs(20, 6), "w": draw.weight(6, 5), "scale": draw.gain(6)}

    def f(p, ids):
        words = p["table"][ids]
        bag = (0.5 * words + 1).mean(1) + (words * 2).sum(1) / 3
        return jnp.tanh(bag * p["scale"][None]) @ p["w"]

    return f, params, draw.ids(N, 4, below=20)


@network
def bag_of_positions(dtype):
    draw = Draw(dtype)
    params = {"kernel": draw.weight(3, 4, 6), "b": draw.bias(6), "w": draw.weight(6, 3)}

    def f(p, x):
        h = jax.lax.conv_general_dilated(
            x, p["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return jnp.tanh(((h + p["b"].reshape(1, 1, -1)) / 7).sum(1)) @ p["w"]

    return f, params, draw.inputs(N, 7, 4)


@network
def whole_and_last_row(dtype):
    draw = Draw(dtype)
    return lambda w, x: jnp.tanh(x @ w) + w[-1:], draw.weight(8, 8), draw.inputs(N, 8)


@network
def whole_and_rolled(dtype):
    draw = Draw(dtype)

    def f(p, x):
        h = x @ (p["w"] + jnp.roll(p["w"], 1, 0)) + x[:, :4] @ p["w"][4:]
        return h * p["b"][None] * jnp.roll(p["b"], 1)[None] + p["b"][3]

    return f, {"w": draw.weight(8, 8), "b": draw.gain(8)}, draw.inputs(N, 8)


@network
def filter_and_its_double(dtype):
    """One kernel twice: of one product the taps are taken one by one, of the other not."""
    draw = Draw(dtype)

    def f(k, x):
        h = jax.lax.conv_general_dilated(x, k + 2 * k, (1,), "SAME")
        return h.sum(2) + k.sum((1, 2))[None]

    return f, draw.weight(4, 3, 2), draw.inputs(N, 3, 7)
