"""Results as pickle sees them: plain arrays, beside the model and the likelihood.

For storage ``Result.save`` is the better choice: unpickling runs code, and wants the same versions.
"""

import dataclasses
from typing import Any

from bnnsample._record import RunRecord
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results._rebuild import rebuild_posterior


def reduced(kind: type, record: RunRecord, created_at: str) -> tuple[Any, ...]:
    """What ``Result.__reduce__`` returns.

    The posterior holds JAX arrays, which a process outside JAX's 64-bit mode would read back in
    float32: it is made again from the data.
    """
    posterior = record.posterior
    model = None if posterior is None else posterior.model
    likelihood = None if posterior is None else posterior.likelihood
    plain = dataclasses.replace(record, posterior=None)
    return _restored, (kind, plain, created_at, model, likelihood)


def _restored(
    kind: type,
    record: RunRecord,
    created_at: str,
    model: Model | None,
    likelihood: Likelihood | None,
) -> Any:
    if model is not None and likelihood is not None:
        posterior = rebuild_posterior(
            record.settings,
            record.standardizer,
            record.x,
            record.y,
            model=model,
            likelihood=likelihood,
        )
        record = dataclasses.replace(record, posterior=posterior)
    return kind(record, created_at)
