"""When an update is suspected of ending the workers that process it.

A worker can end for any reason, and takes every update along that it holds then. Most
of them wait for a service, and have nothing to do with it. What does tell something is
that a worker ended in the middle of a step of an update: while it was being read,
routed or answered, which takes milliseconds. To note the beginning and the end of each
step would cost every update round trips to the store. So they are noted for suspects
alone.
"""

MAX_UNSUSPECTED_LOSSES = 1
"""An update whose owners vanished so often is processed like any other."""

SUSPECT_PAUSES = (1.0, 2.0, 4.0)
"""For how many seconds an update waits after the first death that makes it a suspect,
the second, and all further ones. Others get done meanwhile. After a crash there is no
pause: the next step tells most."""

POISON_CRASHES = 3
"""An update is given up after so many owners vanished in the middle of its steps. From
the second one on no other suspect took a step there meanwhile, so it stands alone."""

POISON_LOSSES = 30
"""An update is given up after so many owners vanished, whatever it was doing then: it
may be the answer of its service that ends them. With the pauses that takes minutes, in
which updates that are merely slow get done, even while workers are killed all the time.
"""
