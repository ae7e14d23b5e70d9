"""How a balancer chooses between instances by what is in flight.

Imitates nginx's ``random two least_conn`` and Envoy's least-request with two choices
(Mitzenmacher's power of two choices): of two drawn at random the less loaded one.

Modelled: the choice. Not modelled: several balancers that each see a part of the load,
health checks, slow start.
"""

from __future__ import annotations

from collections.abc import Sequence


def two_choices(in_flight: Sequence[int], first: int, second: int) -> int:
    """The less loaded of two different instances; of equals the one drawn first.

    Parameters
    ----------
    in_flight : sequence of int
        Requests in flight at each instance.
    first : int
        Drawn from all n instances.
    second : int
        Drawn from n - 1: the first is left out of the count.
    """
    if second >= first:
        second += 1
    return second if in_flight[second] < in_flight[first] else first
