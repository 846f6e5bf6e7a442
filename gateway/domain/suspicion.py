"""When an update is suspected of crashing the workers that process it.

A worker can end for any reason, and all updates that it was processing lose their
owner. Most of them wait for a service and did not cause it. It is significant, however,
if a worker ended during a step of an update: while the update was parsed, routed or
replied to, which takes milliseconds. Recording the start and the end of each step would
cost round trips to the store, so they are recorded for suspects only.
"""

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
