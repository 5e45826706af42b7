"""A talking clip made from a public-domain portrait, with its truth: the demo's input and the tests' oracle."""

from core.sample.generate import Sample, generate_sample

__all__ = ["Sample", "generate_sample"]
