"""What is asked of every plugin of artifact-torch."""

from pathlib import Path
from tempfile import TemporaryDirectory

from artifact_torch.testing import contract_tests

# One database for all of the trainings: to make one takes seconds.
_folder = TemporaryDirectory()

test_contract = contract_tests(
    "artifact-torch-mlflow",
    parameters={"mlflow": {"uri": f"sqlite:///{Path(_folder.name) / 'mlflow.db'}"}},
)
