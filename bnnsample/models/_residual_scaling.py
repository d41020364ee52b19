"""The weights of shortcut and residual branch in place of normalisation."""

from collections.abc import Callable

# beta^2 of block b = 1, 2, ..., L. Hron et al. 2022 (their published code); progressive ones by
# Shao et al. 2020, beta^2 = 1 / (b + c).
RESIDUAL_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "uniform": lambda b, L: 1 / 2,
    "progressive_one": lambda b, L: 1 / (b + 1),
    "progressive_depth": lambda b, L: 1 / (b + L / 2),
}


def residual_weights(name: str, num_blocks: int) -> list[tuple[float, float]]:
    """``(alpha_b, beta_b)`` of every block in ``x_b = alpha_b x_{b-1} + beta_b F_b(x_{b-1})``.

    ``alpha_b^2 + beta_b^2 = 1``: where the branch has the variance of its input, so has the sum.
    ``"none"`` is the plain sum, ``alpha_b = beta_b = 1``.
    """
    if name == "none":
        return [(1.0, 1.0)] * num_blocks
    if not isinstance(name, str) or name not in RESIDUAL_VARIANCES:
        expected = ", ".join((*RESIDUAL_VARIANCES, "none"))
        raise ValueError(f"residual_scaling must be one of {expected}, got {name!r}")
    variances = [RESIDUAL_VARIANCES[name](b, num_blocks) for b in range(1, num_blocks + 1)]
    return [((1 - v) ** 0.5, v**0.5) for v in variances]
