"""A convolution whose derivatives are fast inside loops on CPU."""

import functools

import jax
from jax import Array
from jax.custom_derivatives import SymbolicZero


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def convolve(x: Array, weight: Array, strides: tuple[int, ...]) -> Array:
    """``sum_k x[n, stride p + k] weight[k]``: ``x [n, *p, c]``, ``weight [*window, c, width]``.

    On CPU, XLA has fast code for convolutions of one layout, and brings others into it outside
    loops alone: the transpose of a convolution ran 40 times slower inside ``lax.map`` or a scan.
    The linear maps below are the same convolution in those layouts whose transposes, by JAX's
    rules, come out in the fast one.
    """
    last = "DHW"[-len(strides) :]
    return _conv(x, weight, strides, (f"N{last}C", f"{last}IO", f"N{last}C"))


@functools.partial(convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(strides, primals, tangents):
    x, weight = primals
    dx, dweight = tangents
    s = "DHW"[-len(strides) :]
    axes = tuple(range(1, x.ndim - 1))
    terms = []
    if not isinstance(dx, SymbolicZero):
        terms.append(_conv(dx, weight.swapaxes(-1, -2), strides, (f"N{s}C", f"{s}OI", f"N{s}C")))
    if not isinstance(dweight, SymbolicZero):
        channels_first = dweight.transpose(x.ndim - 2, *(a - 1 for a in axes), x.ndim - 1)
        batch_last = x.transpose(x.ndim - 1, *axes, 0)
        z = _conv(batch_last, channels_first, strides, (f"C{s}N", f"I{s}O", f"{s}NC"))
        terms.append(z.transpose(x.ndim - 2, *(a - 1 for a in axes), x.ndim - 1))
    return convolve(x, weight, strides), sum(terms[1:], terms[0])


def _conv(
    x: Array, weight: Array, strides: tuple[int, ...], layouts: tuple[str, str, str]
) -> Array:
    return jax.lax.conv_general_dilated(x, weight, strides, "VALID", dimension_numbers=layouts)
