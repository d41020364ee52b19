"""Standardisation of inputs and targets, and its undoing."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Standardizer:
    """``x -> (x - x_mean) / x_std`` per feature and ``y -> (y - y_mean) / y_std`` per output.

    The four fields are arrays in the trailing shape of x ``[...]`` and y ``[d]``. A constant
    feature or output is centred and left unscaled.
    """

    x_mean: np.ndarray
    x_std: np.ndarray
    y_mean: np.ndarray
    y_std: np.ndarray

    @classmethod
    def identity(cls, x: np.ndarray, y: np.ndarray) -> "Standardizer":
        """Leaves x ``[n, ...]`` and y ``[n, d]`` as they are."""
        x0, y0 = np.zeros(x.shape[1:], x.dtype), np.zeros(y.shape[1:], y.dtype)
        return cls(x0, x0 + 1, y0, y0 + 1)

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, targets: bool = True) -> "Standardizer":
        """Means and standard deviations of x ``[n, ...]`` and y ``[n, d]`` over the data.

        ``targets`` False leaves y as it is: labels, counts.
        """
        fixed = cls.identity(x, y)
        of_y = _mean_and_std(y) if targets else (fixed.y_mean, fixed.y_std)
        return cls(*_mean_and_std(x), *of_y)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Standardised inputs."""
        return ((x - self.x_mean) / self.x_std).astype(self.x_mean.dtype, copy=False)

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Standardised targets ``[n, d]``."""
        return ((y - self.y_mean) / self.y_std).astype(self.y_mean.dtype, copy=False)

    def undo_values(self, y: np.ndarray) -> np.ndarray:
        """Values ``[..., d]`` in the units of the sampler, back in the user's units."""
        return (y * self.y_std + self.y_mean).astype(y.dtype, copy=False)

    def undo_outputs(self, f: np.ndarray) -> np.ndarray:
        """Outputs of a network in the user's units.

        ``[..., d]``, one per target, are values; ``[..., 2 d]`` are means, then log standard
        deviations.
        """
        num_targets = len(self.y_std)
        if f.shape[-1] != 2 * num_targets:
            return self.undo_values(f)
        mean, log_std = f[..., :num_targets], f[..., num_targets:]
        undone = [self.undo_values(mean), log_std + np.log(self.y_std)]
        return np.concatenate(undone, axis=-1).astype(f.dtype, copy=False)

    def undo_std(self, std: np.ndarray) -> np.ndarray:
        """Standard deviations ``[..., d]`` (no shift), back in the user's units."""
        return (std * self.y_std).astype(std.dtype, copy=False)

    def undo_log_density(self, log_density: np.ndarray) -> np.ndarray:
        """Log densities of one observation's targets, back in the user's units."""
        return (log_density - np.log(self.y_std).sum()).astype(log_density.dtype, copy=False)


def _mean_and_std(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # In float64; a constant is told by its values, since its mean is rounded and its
    # standard deviation then not zero.
    constant = (a == a[:1]).all(0)
    mean = np.where(constant, a[0], a.mean(0, dtype=np.float64))
    std = np.where(constant, 1, a.std(0, dtype=np.float64))
    return mean.astype(a.dtype), np.where(std > 0, std, 1).astype(a.dtype)
