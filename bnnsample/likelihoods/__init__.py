"""How targets are observed around the network's outputs."""

from bnnsample.likelihoods._bernoulli import Bernoulli as Bernoulli
from bnnsample.likelihoods._categorical import Categorical as Categorical
from bnnsample.likelihoods._gaussian import Gaussian as Gaussian
from bnnsample.likelihoods._heteroscedastic import (
    HeteroscedasticGaussian as HeteroscedasticGaussian,
)
from bnnsample.likelihoods._likelihood import Likelihood as Likelihood
from bnnsample.likelihoods._own import from_log_prob as from_log_prob
from bnnsample.likelihoods._own import from_numpyro as from_numpyro
from bnnsample.likelihoods._poisson import Poisson as Poisson
from bnnsample.likelihoods._robust import Laplace as Laplace
from bnnsample.likelihoods._robust import StudentT as StudentT

__all__ = [
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Laplace",
    "Likelihood",
    "Poisson",
    "StudentT",
    "from_log_prob",
    "from_numpyro",
]
