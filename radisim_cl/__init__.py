"""RadiSim-CL: curriculum learning for radiology CLIP models, gated on measured skill."""

__version__ = "0.1.0"
