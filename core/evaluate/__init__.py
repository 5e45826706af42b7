"""Metrics and the paper's protocol. Definitions: docs/metrics.md."""

from core.evaluate.protocol import evaluate

__all__ = ["evaluate"]
