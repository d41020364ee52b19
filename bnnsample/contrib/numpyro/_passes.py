"""Runs of a model around its readout: ahead of it, as a function of it, and the rest.

The readout of a network is often declared before other sites it depends on (``random_*_module``
samples in alphabetical or declaration order). So the model runs ahead to its output with the
readout at zero, which samples everything else; then the readout can be drawn; then the model
runs again with all values at hand. Outer handlers see every site once.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.primitives import Messenger

from bnnsample.contrib.numpyro._map import normal_of

Message = dict[str, Any]


class Reached(Exception):
    """The model has come to its output: ``site`` is that message."""

    def __init__(self, site: Message):
        self.site = site
        super().__init__()


def run_to_output(handler: Messenger, run: Callable[[], Any]) -> Message | None:
    """The message of the output under a handler that raises ``Reached``; None if it never came."""
    try:
        with handler:
            run()
    except Reached as reached:
        return reached.site
    return None


class Ahead(Messenger):
    """Samples what comes before the output, except the readout, which is zero.

    Attributes:
        priors: distribution per readout site.
        values: value per site that outer handlers have seen.
        later: messages of the latent sites after the first readout site. Their distributions may
            depend on the readout, which was zero.
    """

    def __init__(self, readout: Iterable[str], output: str):
        super().__init__()
        self.readout, self.output = frozenset(readout), output
        self.priors: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.later: dict[str, Message] = {}
        self._with_outer: Message | None = None

    def process_message(self, msg: Message) -> None:
        if self._with_outer is not None:
            # From an outer handler, of whom this is a site's part: the log-determinant of a
            # constrained site's transform, the auxiliary site of an outer reparametrisation.
            return
        name = msg.get("name")
        if name == self.output:
            raise Reached(msg)
        refuse(msg)
        if msg["type"] == "sample" and not msg["is_observed"] and name in self.readout:
            # Zero need not be in another prior's support.
            normal_of(name, msg["fn"])
            self.priors[name] = msg["fn"]
            msg["value"] = jnp.zeros(msg["fn"].shape())
            msg["stop"] = True
        elif msg["type"] == "deterministic" or msg.get("is_observed"):
            msg["stop"] = True
        else:
            self._with_outer = msg

    def postprocess_message(self, msg: Message) -> None:
        if self._with_outer is not msg:
            return
        self._with_outer = None
        if msg.get("name") is None or msg["value"] is None:
            return
        self.values[msg["name"]] = msg["value"]
        if msg["type"] == "sample" and self.priors:
            self.later[msg["name"]] = msg


class Alone(Messenger):
    """Gives every site its value and hides all of them, up to the output."""

    def __init__(self, values: dict[str, Any], output: str):
        super().__init__()
        self.values, self.output = values, output

    def process_message(self, msg: Message) -> None:
        name = msg.get("name")
        if name == self.output:
            raise Reached(msg)
        if msg["type"] == "prng_key":
            msg["value"] = jax.random.key(0)
        elif name in self.values and msg["value"] is None:
            msg["value"] = self.values[name]
        if msg["type"] != "inspect":
            msg["stop"] = True


class Rest(Messenger):
    """Gives readout sites as deterministic, hides what ``Ahead`` has sampled, lets pass the rest.

    Attributes:
        seen: messages of the sites in ``Ahead.later``, with their distributions at the readout.
    """

    def __init__(self, ahead: Ahead, readout: dict[str, Any]):
        super().__init__()
        self.ahead, self.readout = ahead, readout
        self.seen: dict[str, Message] = {}

    def process_message(self, msg: Message) -> None:
        name = msg.get("name")
        if name in self.readout:
            kept = {"type": "deterministic", "name": name, "value": self.readout[name]}
            kept["cond_indep_stack"] = msg["cond_indep_stack"]
            msg.clear()
            msg.update(kept)
        elif name in self.ahead.values:
            msg["value"] = self.ahead.values[name]
            msg["stop"] = True
            if name in self.ahead.later:
                self.seen[name] = msg

    def __enter__(self) -> "Rest":
        super().__enter__()
        return self

    def corrections(self) -> list[Any]:
        """Log densities of the later sites at the readout, minus those with the readout at zero."""
        result = []
        for name, msg in self.seen.items():
            at_zero = self.ahead.later[name]["fn"].log_prob(msg["value"])
            result.append(jnp.sum(msg["fn"].log_prob(msg["value"]) - at_zero))
        return result


def refuse(msg: Message) -> None:
    """Raise for what cannot run twice."""
    if msg["type"] == "mutable":
        raise ValueError(
            f"the model has mutable state {msg['name']!r} (batch statistics, dropout keys): its "
            "output is not a function of its sites; put the network in evaluation mode"
        )
    if msg["type"] == "control_flow":
        raise ValueError("numpyro's scan and cond must not stand between readout and output")
