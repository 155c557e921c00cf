"""What is asked of every plugin of artifact-torch."""

from artifact_torch.testing import contract_tests

test_contract = contract_tests(
    "artifact-torch-artifact-experiment", parameters={"artifact_experiment": {"backend": "in_memory"}}
)
