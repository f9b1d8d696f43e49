"""The journal's identity, and its server's claims in ClickHouse (docs/adr/0011).

The name is made with the journal and stays, also in copies of it. The claims tell a copy that goes on from one that is
behind: the last one that ClickHouse is known to have, and the one that was about to be made.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A journal's name and claims. A claim begins with a number of fixed width, so that the newest is the largest."""

    server_id: str
    claim: str = ""
    next_claim: str = ""

    def continues(self, newest: str) -> bool:
        """Tell whether nobody else has claimed since, if that is the newest claim of this name in ClickHouse."""
        return newest <= self.claim or newest == self.next_claim
