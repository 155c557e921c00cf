"""The README describes the components as they are, and their examples run."""

from pathlib import Path

from artifact_torch.testing import reference_tests

test_reference = reference_tests(Path(__file__).parents[1] / "README.md")
