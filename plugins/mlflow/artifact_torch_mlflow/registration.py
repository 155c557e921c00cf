"""Models of runs in MLflow's model registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ALIAS", "register"]

ALIAS = "best"


def register(client: MlflowClient, name: str, run_id: str, source: str, *, is_best: bool) -> None:
    """Make a model of a run a version of a registered model, once, and let the alias ``best`` name it.

    Args:
        client: of the store.
        name: of the registered model, which is made if it is not there.
        run_id: MLflow's id of the run.
        source: address of the model's folder.
        is_best: whether the run says that it is its best; the model of the end of training is that only in a run that
            has named no other.
    """
    from mlflow import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = [each for each in client.search_model_versions(f"name = '{name}'") if each.run_id == run_id]
    version = next((each for each in versions if each.source == source), None)
    if version is None:
        version = client.create_model_version(name, source, run_id, await_creation_for=0)
    if is_best or all(each.source == source for each in versions):
        client.set_registered_model_alias(name, ALIAS, str(version.version))
