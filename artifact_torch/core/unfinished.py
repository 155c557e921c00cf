"""A validation that is under way: what of its artifacts has come, and what is still to come."""

from __future__ import annotations

from dataclasses import dataclass, field

from artifact_torch.core.artifact_work import Finished
from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.results import ValidationResults
from artifact_torch.core.rounds import Round
from artifact_torch.core.split import DataSplit

__all__ = ["UnfinishedValidation"]


@dataclass(slots=True, eq=False)
class UnfinishedValidation:
    """Everything that was due after one step, of which something is not there or not delivered yet.

    Attributes:
        results: what is there.
        rounds: the rounds of its plans.
        others: by split, what does not come from plans.
        arrived: of the rounds, what is in the results and not delivered yet.
        delivered: what of the results was recorded and tracked.
    """

    results: ValidationResults
    rounds: list[Round] = field(default_factory=list[Round])
    others: dict[DataSplit, Round] = field(default_factory=dict[DataSplit, Round])
    arrived: dict[tuple[DataSplit, Artifact], Finished] = field(
        default_factory=dict[tuple[DataSplit, Artifact], Finished]
    )
    delivered: set[tuple[DataSplit, Artifact]] = field(default_factory=set[tuple[DataSplit, Artifact]])

    def may_give(self, score: str) -> bool:
        """Whether a round that is not complete gives this column of ``epoch_scores``."""
        for round in self.rounds:
            for artifact in round.left:
                name = f"{round.split}/{artifact.name}"
                if artifact.kind is ArtifactKind.SCORE and score == name:
                    return True
                if artifact.kind is ArtifactKind.SCORE_COLLECTION and score.startswith(f"{name}/"):
                    return True
        return False

    @property
    def has_scores_left(self) -> bool:
        """Whether a round that is not complete gives scores."""
        return any(artifact.kind.is_score for round in self.rounds for artifact in round.left)

    @property
    def is_complete(self) -> bool:
        """Whether everything has arrived, be it delivered or not."""
        return all((round.split, artifact) in self.arrived for round in self.rounds for artifact in round.left)
