"""docs/workers.md: the manifest for Kubernetes is valid, and its workers get a TF_CONFIG that can be used."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from itembed_tf.training.cluster import read_cluster

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"


@pytest.fixture(scope="module")
def manifests():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return {document["kind"]: document for document in yaml.safe_load_all(block)}


def test_the_manifest_is_valid_and_its_names_fit_together(manifests):
    for document in manifests.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    job, service = manifests["Job"]["spec"], manifests["Service"]
    pod = job["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    (container,) = pod["spec"]["containers"]
    assert {"name": "WORKERS", "value": str(job["completions"])} in container["env"]
    assert job["completions"] == job["parallelism"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}


def test_a_worker_of_the_job_gets_its_number_and_the_names_of_all(manifests, monkeypatch):
    (container,) = manifests["Job"]["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    script = re.sub(r"^exec itembed .*$", 'printf %s "$TF_CONFIG"', script, flags=re.MULTILINE)
    environment = {**os.environ, "WORKERS": "4", "JOB_COMPLETION_INDEX": "2"}
    done = subprocess.run([*container["command"], script], env=environment, capture_output=True, text=True, check=True)
    monkeypatch.setenv("TF_CONFIG", done.stdout)
    cluster = read_cluster()
    assert cluster is not None and (cluster.size, cluster.number) == (4, 2)
    name = manifests["Job"]["metadata"]["name"]
    assert cluster.addresses[0] == f"{name}-0.{name}:2222" and cluster.addresses[3] == f"{name}-3.{name}:2222"
