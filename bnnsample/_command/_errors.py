"""What is wrong with a command, in one line."""

from bnnsample._weights import ImportanceSamplingError
from ntk import BackendError

# What the library raises where it refuses something: of a run and of a stored result.
REFUSALS = (
    TypeError,
    ValueError,
    OSError,
    ImportError,
    NotImplementedError,
    FloatingPointError,
    ImportanceSamplingError,
    BackendError,
)


class CommandError(Exception):
    """A command that cannot be carried out; the message says why."""


def one_line(error: BaseException) -> str:
    """The message without line breaks, or the kind of error where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
