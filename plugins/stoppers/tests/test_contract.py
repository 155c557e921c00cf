"""What is asked of every plugin of artifact-torch."""

from artifact_torch.testing import contract_tests

test_contract = contract_tests(
    "artifact-torch-stoppers",
    parameters={
        "budget": {"amount": 1000.0},
        "generalization_gap": {"score": "validation/tiny_error", "bound": 1000.0},
        "max_epochs": {"epochs": 2},
        "max_steps": {"steps": 1000},
        "threshold": {"score": "validation/tiny_error", "limit": 1000.0},
        "time_limit": {"limit": "1000 hours"},
    },
)
