"""Several frames of one scene, one finer image.

`napari_hrsr.frames.fusing` is where to begin to read. After Farsiu et al.,
Fast and robust multiframe super resolution (2004): frames that see the scene
at different fractions of a pixel hold together what none holds alone.
"""
