"""What is wrong with a party's home, its surroundings and a peer's reachability, and how to mend it.

Promises: nothing is changed but what opening does anyway (an append that was cut off is finished); every
finding names a mend; no finding names an identifier or a secret.
"""

from __future__ import annotations

from psishare.client.doctor.examination import examine
from psishare.client.doctor.finding import Diagnosis, Finding, Level

__all__ = ["Diagnosis", "Finding", "Level", "examine"]
