"""The README describes the components as they are, and their examples run."""

from pathlib import Path

import pytest

from artifact_torch.testing import reference_tests

pytestmark = pytest.mark.documentation

test_reference = reference_tests(Path(__file__).parents[1] / "README.md")
