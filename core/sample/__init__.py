"""A talking clip that shows no living person's recording, with its truth: the demo's input and the tests' ground truth."""

from core.sample.generate import Sample, generate_sample

__all__ = ["Sample", "generate_sample"]
