"""Decides which update is suspected of ending its workers, and which one is poison.

When a worker ends, for whatever reason, all updates that it was processing lose their
owner. Most of them were waiting for a service and did not cause it. An owner loss is
strong evidence against an update only if the worker ended during a step of it: while
the gateway itself parsed or routed the update, or rendered its reply. Such a loss is
called a crash. Steps take milliseconds. Recording the start and the end of each step
would cost round trips to the store, so they are recorded only for suspects: updates
with more than `MAX_UNSUSPECTED_LOSSES` owner losses.
"""

from gateway.domain.mailbox_lease import MailboxLease

MAX_UNSUSPECTED_LOSSES = 1
"""Up to this many owner losses, an update is processed like any other."""

SUSPECT_PAUSES = (1.0, 2.0, 4.0)
"""Pauses in seconds after the owner loss that makes an update a suspect, after the next
loss, and after each further one. Other updates get done meanwhile. After a crash there
is no pause, because the next step is the most significant."""

POISON_CRASHES = 3
"""After this many crashes during its steps, an update becomes a dead letter. From the
second crash on no other suspect took a step in that worker at the same time, so there
is no other suspect to blame."""

POISON_LOSSES = 30
"""After this many owner losses an update becomes a dead letter, even if none was during
a step: the reply of its service may crash the workers. Because of the pauses this takes
minutes, in which updates that are only slow get done, even if workers are constantly
killed."""


def is_poison(lease: MailboxLease) -> bool:
    """Return whether to give up the lease's first update: it seems to end its workers.

    True from `POISON_CRASHES` crashes or `POISON_LOSSES` owner losses on. The caller
    then makes it a dead letter instead of processing it.
    """
    return lease.owner_crashes >= POISON_CRASHES or lease.owner_losses >= POISON_LOSSES
