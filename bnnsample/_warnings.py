"""What ``run`` warns of once its draws are there. Each kind can be filtered by its class."""


class SamplingWarning(UserWarning):
    """The draws have a serious problem; ``Result.report`` has the same sentence.

    When: at the end of ``run`` and ``Result.extend``, once for each problem. What to do: what the
    sentence says; ``warnings.filterwarnings("error", category=...)`` makes it an error.
    """


class NonFiniteWarning(SamplingWarning):
    """The potential or its gradient was not finite at a proposal, or a draw is not finite.

    When: any of ``sample_stats.non_finite`` is above 0, or a recorded function value is not
    finite. Such proposals are rejected, so that the draws leave a part of the space out. What to
    do: float64, a larger noise scale, or a prior that keeps it from 0.
    """


class DivergenceWarning(SamplingWarning):
    """More than 1% of the transitions diverged: the integrator's energy error was above 1000.

    What to do: a smaller ``step_size`` or a higher ``target_acceptance``.
    """


class StuckChainWarning(SamplingWarning):
    """A chain did not move over a fifth of its draws, and over 50 of them at least.

    What to do: a smaller ``step_size``, a longer warm-up, or another start.
    """


class WarmupWarning(SamplingWarning):
    """The acceptance rate is far below the target that the warm-up aimed at.

    When: by more than 0.15, or below 0.45 of it where the warm-up has kept a single step because it
    brings most per gradient. What to do: a longer warm-up (``num_warmup``).
    """


class ConvergenceWarning(SamplingWarning):
    """R-hat of a quantity in function space is above 1.01 (Vehtari et al. 2021).

    What to do: run longer, after a longer warm-up.
    """


class BimodalWarning(SamplingWarning):
    """The chains are in different modes: each is well mixed, and they disagree.

    What to do: not more draws. A known noise scale, standardised data, or a prior without the
    mode that is not meant.
    """


class EffectiveSampleSizeWarning(SamplingWarning):
    """Fewer than 100 effective draws of a quantity in function space.

    ``Result.summary`` then shows one digit of a mean, if any. What to do: more draws.
    """


class PrecisionWarning(SamplingWarning):
    """float32 potentials are off by more than 0.1 nats from the same in float64.

    When: at the states where the chains ended. Metropolis tests are then decided by rounding.
    What to do: float64, or a larger noise scale.
    """
