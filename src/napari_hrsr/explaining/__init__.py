"""What a network looks at: feature maps, attribution, receptive field.

Nothing here makes results. Each function reads the part of an image that a
region of the result depends on, prepares it exactly as the engine does, and
looks inside the network.
"""

from napari_hrsr.explaining.attributing import Attribution, attribution
from napari_hrsr.explaining.features import FeatureMaps, NetworkLayer, feature_maps, list_layers
from napari_hrsr.explaining.field import ReceptiveField, receptive_field

__all__ = [
    "Attribution",
    "FeatureMaps",
    "NetworkLayer",
    "ReceptiveField",
    "attribution",
    "feature_maps",
    "list_layers",
    "receptive_field",
]
