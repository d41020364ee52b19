"""Structured derivatives (Novak et al. 2022, section 3.3): Jacobians as networks of small factors.

``_plan`` says what every equation is to the parameters, ``_forward`` runs the network with a zero
added where parameters enter, ``_backward`` takes the derivative by those zeros and carries it to
the parameters by ``_rules``. The Jacobian is then made smaller: ``_projected`` for normalised
weights, ``_simplify`` for products of one side, ``_parts`` a few examples at a time. ``_gram``
contracts two Jacobians to a kernel.
"""
