"""Third-party model files: what they are, where they are, how to get them. Knows nothing of what is done with them."""

from core.models.registry import MODELS, ModelFile
from core.models.store import fetch, find, locate

__all__ = ["MODELS", "ModelFile", "fetch", "find", "locate"]
