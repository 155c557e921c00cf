"""A process that reads runs back by MlflowClient: a line of JSON in, a line of JSON out."""

import json
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient


def artifacts(client, run_id, path=None):
    for found in client.list_artifacts(run_id, path):
        if found.is_dir:
            yield from artifacts(client, run_id, found.path)
        else:
            yield found.path


def read(uri, run_id):
    mlflow.set_tracking_uri(uri)  # where a server keeps artifacts is looked up there
    client = MlflowClient()
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`artifact_torch.run_id` = '{run_id}'")
    return [described(client, run) for run in runs]


def described(client, run):
    run_id = run.info.run_id
    files = sorted(artifacts(client, run_id))
    texts = {
        name: Path(client.download_artifacts(run_id, name)).read_text(encoding="utf-8")
        for name in files
        if name.endswith((".json", ".txt")) and not name.startswith("model")
    }
    return {
        "id": run_id,
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "status": run.info.status,
        "end_time": run.info.end_time,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {
            key: [[metric.step, metric.timestamp, metric.value] for metric in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
        },
        "artifacts": files,
        "texts": texts,
        "models": [
            [model.name, model.aliases, sorted([v.version, v.source, v.run_id] for v in model_versions(client, model))]
            for model in client.search_registered_models()
        ],
    }


def model_versions(client, model):
    return client.search_model_versions(f"name = '{model.name}'")


for line in sys.stdin:
    print(json.dumps(read(*json.loads(line))), flush=True)
