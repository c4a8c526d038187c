"""Runs that outlive their process: written unit by unit, resumed, shared between machines.

While it goes on, a run lies beside its result, in a folder of its own::

    result.ome.zarr.partial/
        run.json        what is computed from what, and every number that was measured
        image.zarr/     the result's chunks; no image yet
        done/           one file for every unit that is written, with its checksums
        *.lock          who is at work
"""
