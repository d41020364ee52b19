"""Structured derivatives (Novak et al. 2022, section 3.3): Jacobians as networks of small factors.

``_plan`` says what every equation is to the parameters, ``_forward`` runs the network with a zero
added where parameters enter, ``_backward`` takes the derivative by those zeros and carries it to
the parameters by ``_rules``; ``_gram`` contracts two such Jacobians to a kernel.
"""
