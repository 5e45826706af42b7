"""Speech + avatar -> video."""

from core.render.speech import render_speech

__all__ = ["render_speech"]
