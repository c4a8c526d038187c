"""Make a stack isotropic: refine its coarse axis, learned from its own slices.

`napari_hrsr.isotropic.making` is where to begin to read. After Zhao et al.,
SMORE (2021), and Weigert et al., isotropic reconstruction of 3D fluorescence
microscopy images (2017): a network learns on the slices, along their sharp
axes, what it then does across them.
"""
