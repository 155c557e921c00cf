"""The kit for the tests of plugins: contract tests, tests of what a README says, a tiny model, data, a hook recorder.

Names are imported when they are first used, so ``import artifact_torch.testing`` imports neither torch nor pytest. The
fixtures ``make_trainer`` and ``hook_recorder`` are there in every pytest run; ``pytest --fixtures`` describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch.testing.contracts import CheckOutcome as CheckOutcome
    from artifact_torch.testing.contracts import checks_of as checks_of
    from artifact_torch.testing.contracts import contract_tests as contract_tests
    from artifact_torch.testing.contracts import outcome_of as outcome_of
    from artifact_torch.testing.contracts import run_check as run_check
    from artifact_torch.testing.outcomes import ContractError as ContractError
    from artifact_torch.testing.outcomes import NotApplicable as NotApplicable
    from artifact_torch.testing.outcomes import NotJudged as NotJudged
    from artifact_torch.testing.parts import HookRecorder as HookRecorder
    from artifact_torch.testing.parts import TinyInput as TinyInput
    from artifact_torch.testing.parts import TinyModel as TinyModel
    from artifact_torch.testing.parts import TinyOutput as TinyOutput
    from artifact_torch.testing.parts import tiny_loader as tiny_loader
    from artifact_torch.testing.plans import TinyPlan as TinyPlan
    from artifact_torch.testing.reference_tests import reference_tests as reference_tests
    from artifact_torch.testing.tracker_conformance import MirroredRun as MirroredRun
    from artifact_torch.testing.tracker_conformance import TrackerConformance as TrackerConformance

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "CheckOutcome": "artifact_torch.testing.contracts",
        "ContractError": "artifact_torch.testing.outcomes",
        "HookRecorder": "artifact_torch.testing.parts",
        "MirroredRun": "artifact_torch.testing.tracker_conformance",
        "TrackerConformance": "artifact_torch.testing.tracker_conformance",
        "NotApplicable": "artifact_torch.testing.outcomes",
        "NotJudged": "artifact_torch.testing.outcomes",
        "TinyInput": "artifact_torch.testing.parts",
        "TinyModel": "artifact_torch.testing.parts",
        "TinyOutput": "artifact_torch.testing.parts",
        "TinyPlan": "artifact_torch.testing.plans",
        "checks_of": "artifact_torch.testing.contracts",
        "contract_tests": "artifact_torch.testing.contracts",
        "outcome_of": "artifact_torch.testing.contracts",
        "reference_tests": "artifact_torch.testing.reference_tests",
        "run_check": "artifact_torch.testing.contracts",
        "tiny_loader": "artifact_torch.testing.parts",
    },
)
