"""The units of a run on dask.distributed.

What is sent are numbers of units: workers open the run by its path, read the
source and write the result themselves. A few units per worker are under way
at a time, so that the scheduler never holds a large graph::

    this process --unit 17--> scheduler --unit 17--> worker --chunks--> disk
                 <--done, 2.1 s--------------------------'

A worker that dies costs the unit that it was computing.
"""

from napari_hrsr.cluster.connecting import connected
from napari_hrsr.cluster.workers import Workers, check_workers

__all__ = ["Workers", "check_workers", "connected"]
