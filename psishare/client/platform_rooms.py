"""What a platform's side works with, from its opened home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.exchange.rooms import PlatformRooms
from psishare.mandates.policy import Policy

if TYPE_CHECKING:
    from psishare.client.party import Party
    from psishare.mandates.budget import Budget


def platform_rooms(party: Party, budget: Budget) -> PlatformRooms:
    """Return the rooms of a platform, under its policy as it is now.

    Raises:
        ConfigError: the policy is not as it must be.
    """
    return PlatformRooms(
        home=party.home,
        peers=party.peers,
        log=party.log,
        budget=budget,
        register=party.register,
        policy=Policy.load(party.home.policy_path),
    )
