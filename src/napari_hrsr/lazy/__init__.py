"""Upscaled pixels where you look: a live view of any image, of any size.

`opening` makes one, `live` is its heart: it answers at once with what is
there, interpolates the rest, and lets a thread compute the missing tiles.
"""
