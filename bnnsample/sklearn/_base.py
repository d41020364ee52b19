"""What the two estimators share: settings, fitting, validated inputs."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from bnnsample._run import run
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model, mlp
from bnnsample.results import Result


@functools.cache
def default_model() -> Model:
    """One object for every fit, so that compiled predictions are shared."""
    return mlp(depth=1, activation="gelu")


class BNNEstimator(BaseEstimator):
    """``bnnsample.run`` behind ``fit``; see ``BNNRegressor`` and ``BNNClassifier``."""

    result_: Result

    def __init__(
        self,
        model: Model | None = None,
        *,
        width: Any = 256,
        likelihood: Likelihood | None = None,
        coordinates: str = "auto",
        kernel: str = "auto",
        kernel_options: Mapping[str, Any] | None = None,
        num_chains: int = 4,
        num_warmup: int = 500,
        num_samples: int = 1000,
        thin: int = 1,
        keep: str = "auto",
        standardize: bool = True,
        temperature: float = 1.0,
        tempering: str = "posterior",
        precision: str | None = None,
        devices: Any = None,
        random_state: Any = None,
        progress: Any = False,
    ):
        self.model = model
        self.width = width
        self.likelihood = likelihood
        self.coordinates = coordinates
        self.kernel = kernel
        self.kernel_options = kernel_options
        self.num_chains = num_chains
        self.num_warmup = num_warmup
        self.num_samples = num_samples
        self.thin = thin
        self.keep = keep
        self.standardize = standardize
        self.temperature = temperature
        self.tempering = tempering
        self.precision = precision
        self.devices = devices
        self.random_state = random_state
        self.progress = progress

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Images [n, height, width, channels] too, for convolutional models.
        tags.input_tags.three_d_array = True
        return tags

    def _validated(self, x: Any, y: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        # One memory layout: sums over data are rounded by it, and a chain depends on every bit.
        return validate_data(self, x, y, dtype=_dtypes(), order="C", allow_nd=True, **options)

    def _validated_inputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        dtype = self.result_.record.x.dtype
        return validate_data(self, x, reset=False, dtype=dtype, order="C", allow_nd=True)

    def _run(self, x: np.ndarray, y: Any, likelihood: Likelihood | None) -> Result:
        return run(
            default_model() if self.model is None else self.model,
            (x, y),
            width=self.width,
            likelihood=likelihood,
            coordinates=self.coordinates,
            kernel=self.kernel,
            kernel_options=self.kernel_options,
            num_chains=self.num_chains,
            num_warmup=self.num_warmup,
            num_samples=self.num_samples,
            thin=self.thin,
            keep=self.keep,
            standardize=self.standardize,
            temperature=self.temperature,
            tempering=self.tempering,
            precision=self.precision,
            devices=self.devices,
            seed=_seed(self.random_state),
            progress=self.progress,
        )


def _dtypes() -> Any:
    """Floating point dtypes that X may keep; anything else becomes the first."""
    return [np.float64, np.float32] if jax.config.read("jax_enable_x64") else np.float32


def _seed(random_state: Any) -> Any:
    """``run``'s seed: an int is itself; of a RandomState, or NumPy's own (None), a draw."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31))
    return random_state
