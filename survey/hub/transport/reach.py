"""How far an address reaches: this machine, its link, a private network, or the world.

A redirect may lead nowhere that is nearer than the Hub. Else a Hub of the internet could have services read
that only this machine or its network may ask, such as a cloud's at 169.254.169.254, which tells its keys: the
answer for a vocab.txt becomes texts in the catalog. Over https the certificate says whose service it is, so
this is about plain http.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum

from survey.errors import NotTheHubs
from survey.hub.transport.origins import Origin, is_this_machine


class Reach(IntEnum):
    """Where an address leads, the nearest first."""

    MACHINE = 0
    LINK = 1
    PRIVATE = 2
    WORLD = 3


def reach_of(address: str) -> Reach:
    """The reach of a numeric address. Raises ValueError for a name."""
    stated = ipaddress.ip_address(address)
    numeric = getattr(stated, "ipv4_mapped", None) or stated
    if numeric.is_loopback or numeric.is_unspecified:
        return Reach.MACHINE
    if numeric.is_link_local:
        return Reach.LINK
    return Reach.WORLD if numeric.is_global else Reach.PRIVATE


def stated_reach(host: str) -> Reach | None:
    """The reach of a host that is an address, or this machine's name; None for other names."""
    try:
        return Reach.MACHINE if is_this_machine(host) else reach_of(host)
    except ValueError:
        return None


def refuse_nearer(origin: Origin, reach: Reach | None, hub: Origin, hub_reach: Reach | None) -> None:
    """Raise NotTheHubs if a redirect of the Hub leads nearer than the Hub itself.

    reach: None if it is not known. hub_reach: None if the Hub is behind a proxy: perhaps a company's own Hub.
    """
    if origin == hub or origin.scheme == "https" or reach is None:
        return
    least = Reach.PRIVATE if hub_reach is None else hub_reach
    if reach < least:
        place = {Reach.MACHINE: "this machine", Reach.LINK: "this machine's link"}.get(
            reach, "a private network"
        )
        problem = (
            f"redirects to {origin} on {place}, which the Hub itself is not on; nothing was requested there"
        )
        raise NotTheHubs("network", str(hub), problem)
