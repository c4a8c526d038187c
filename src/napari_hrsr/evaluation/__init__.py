"""How far a result can be trusted, in numbers and maps.

`napari_hrsr.evaluation.evaluating` is where to begin to read: `evaluate` runs
whatever the given images allow. With a reference the result is compared with
the truth; with the source alone it is degraded again and held against what was
measured; resolution is told from correlation in Fourier space.
"""

from napari_hrsr.evaluation.calibrating import calibrate
from napari_hrsr.evaluation.calibration import Calibration
from napari_hrsr.evaluation.consistency import Consistency, check_consistency, measured_noise
from napari_hrsr.evaluation.consistent import Consistent, make_consistent
from napari_hrsr.evaluation.decorrelation import Decorrelation, decorrelate
from napari_hrsr.evaluation.evaluated import Evaluation
from napari_hrsr.evaluation.evaluating import evaluate
from napari_hrsr.evaluation.reference import ReferenceComparison, compare_with_reference
from napari_hrsr.evaluation.resolution_scaled import ResolutionScaled, resolution_scaled_error
from napari_hrsr.evaluation.ring_correlation import correlate_halves, correlate_rings
from napari_hrsr.evaluation.ring_curve import Crossing, RingCorrelation
from napari_hrsr.evaluation.scores import Scores
from napari_hrsr.evaluation.uncertainty import Uncertainty, measure_uncertainty

__all__ = [
    "Calibration",
    "Consistency",
    "Consistent",
    "Crossing",
    "Decorrelation",
    "Evaluation",
    "ReferenceComparison",
    "ResolutionScaled",
    "RingCorrelation",
    "Scores",
    "Uncertainty",
    "calibrate",
    "check_consistency",
    "compare_with_reference",
    "correlate_halves",
    "correlate_rings",
    "decorrelate",
    "evaluate",
    "make_consistent",
    "measure_uncertainty",
    "measured_noise",
    "resolution_scaled_error",
]
