"""Updates that may be what ends workers, and how few of them run at a time.

Whatever was in flight beside a poison update saw the same death. So the suspects run in
ever smaller groups: the innocent ones get through, and what ends a worker alone is
given up.
"""

from collections.abc import Iterable

from gateway.domain.ports import Claim

UNSUSPECTED = 1
"""With so many deaths an update runs as any other: workers do end, for any reason."""

GROUP = 16
"""With more of them, at most so many run at a time in a worker."""

ALONE = 3
"""With so many, one runs at a time."""

POISON = 4
"""With so many, the update is given up."""


def may_run(deaths: int, running: Iterable[Claim]) -> bool:
    """Tell whether an update that saw so many deaths may run beside these claims."""
    if deaths >= POISON:
        return True  # it will be given up, not run
    suspects = [claim.deaths for claim in running if claim.deaths > UNSUSPECTED]
    if deaths >= ALONE:
        return max(suspects, default=0) < ALONE
    return len(suspects) < GROUP
