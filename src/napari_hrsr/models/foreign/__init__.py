"""Models that others published, one format a file.

A file is hostile until it has been checked: `containers` reads tensors out of
it and nothing else, `published` builds the network that they belong to.
Nothing in a file is ever run.
"""
