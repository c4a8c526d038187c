"""Training of networks on pairs made from fine images by the forward model."""
