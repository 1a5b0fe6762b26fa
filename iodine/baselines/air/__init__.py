"""AIR: Attend, Infer, Repeat (Eslami et al. 2016)."""

from iodine.baselines.air.model import AIR

__all__ = ["AIR"]
