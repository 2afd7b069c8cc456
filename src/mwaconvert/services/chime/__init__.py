"""The face of CHIME/FRB: what the released `chime-frb-api` speaks, under /frb-master."""

from mwaconvert.services.chime.routes import router

__all__ = ["router"]
