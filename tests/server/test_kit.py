"""The TF Serving kit: every file against its format, against the other files, and against the local server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import kubernetes_validate
import promql_parser
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from itembed_tf import kit as program
from itembed_tf.server.dashboard import dashboard
from itembed_tf.server.defaults import METRICS_PATH

FIELD = descriptor_pb2.FieldDescriptorProto
PAIR = ("image_encoder", "text_encoder")


@pytest.fixture(scope="module")
def exports(toy_exports, tmp_path_factory):
    """Two versions; the second is a copy of the first with another contract hash."""
    out = toy_exports.copy(tmp_path_factory.mktemp("exports"))
    for name in PAIR:
        shutil.copytree(out / name / "1", out / name / "2")
        change_contract(out / name / "2", contract="2" * 64)
    return out


def change_contract(version, **changes):
    file = version / "assets.extra/encoders.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture(scope="module")
def plain(exports, tmp_path_factory):
    return written(exports, tmp_path_factory.mktemp("plain") / "kit")


@pytest.fixture(scope="module")
def labelled(exports, tmp_path_factory):
    options = ("--label", "stable=1", "--label", "canary=2", "--cpus", "4", "--image", "here:5000/me/encoders")
    return written(exports, tmp_path_factory.mktemp("labelled") / "kit", *options)


@pytest.fixture(params=["plain", "labelled"])
def folder(request):
    return request.getfixturevalue(request.param)


def written(exports, out, *options):
    assert program.main([str(exports), str(out), *options]) == 0
    return out


def documents(folder, *names):
    return [d for name in names for d in yaml.safe_load_all((folder / name).read_text()) if d is not None]


def kubernetes(folder):
    files = sorted((folder / "kubernetes").iterdir())
    return {d["kind"]: d for d in documents(folder, *(file.relative_to(folder) for file in files))}


def options(flags):
    return dict(flag.removeprefix("--").split("=", 1) for flag in flags)


def served_models(folder):
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    return text_format.Parse((folder / "tf-serving/models.config").read_text(), ModelServerConfig()).model_config_list


def parse_message(text, name, messages):
    """Parse text as message `name`; `messages`: name -> [(field, number, type or name of a message, repeated)].

    tensorflow-serving-api lacks these two messages; numbers and types are those of TF Serving's .proto files.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test", syntax="proto3")
    for message, fields in messages.items():
        message_type = file.message_type.add(name=message)
        for field, number, field_type, repeated in fields:
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            settings = {"type": field_type}
            if isinstance(field_type, str):
                settings = {"type_name": f".test.{field_type}", "type": FIELD.TYPE_MESSAGE}
            message_type.field.add(name=field, number=number, label=label, **settings)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return text_format.Parse(text, message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))())


def batching(folder):
    integers = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    fields = [(name, i + 1, "Integer", False) for i, name in enumerate(integers)]
    fields += [("thread_pool_name", 5, "Text", False), ("allowed_batch_sizes", 6, FIELD.TYPE_INT64, True)]
    wrappers = {"Integer": [("value", 1, FIELD.TYPE_INT64, False)], "Text": [("value", 1, FIELD.TYPE_STRING, False)]}
    text = (folder / "tf-serving/batching.config").read_text()
    return parse_message(text, "BatchingParameters", {"BatchingParameters": fields, **wrappers})


def test_served_versions_are_the_newest_or_those_with_a_label(plain, labelled):
    models = {model.name: model for model in served_models(plain).config}
    assert sorted(models) == list(PAIR)
    for name, model in models.items():
        assert (model.base_path, model.model_platform) == (f"/models/{name}", "tensorflow")
        assert model.model_version_policy.latest.num_versions == 1 and not model.version_labels
    for model in served_models(labelled).config:
        assert list(model.model_version_policy.specific.versions) == [1, 2]
        assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_allowed_batch_sizes_have_warmup_requests(exports, plain, labelled):
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    for name in PAIR:
        records = tf.data.TFRecordDataset(str(exports / name / "2/assets.extra/tf_serving_warmup_requests"))
        requests = [PredictionLog.FromString(record.numpy()).predict_log.request for record in records]
        warm = {inputs.tensor_shape.dim[0].size for request in requests for inputs in request.inputs.values()}
        assert sorted(warm) == list(batching(plain).allowed_batch_sizes) == [1, 8]
    for folder, cpus in ((plain, 2), (labelled, 4)):
        assert batching(folder).max_batch_size.value == 8  # TF Serving requires the largest allowed size here
        assert batching(folder).num_batch_threads.value == cpus


def test_compose(folder, exports):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    services = documents(folder, "compose.yaml")[0]["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["cap_drop"] == ["ALL"] and service["deploy"]["resources"]["limits"]["memory"], name
        for mount in service["volumes"]:
            if isinstance(mount, dict):
                assert mount["read_only"] and not mount["bind"]["create_host_path"]
                assert (folder / mount["source"]).is_dir(), mount
    models = services["tf-serving"]["volumes"][0]
    assert models["target"] == "/models" and (folder / models["source"]).resolve() == exports.resolve()


def test_health_check_of_compose(plain, toy_server):
    (_, shell, flag, script) = documents(plain, "compose.yaml")[0]["services"]["tf-serving"]["healthcheck"]["test"]
    script = script.replace("$$", "$")
    for address, model, status in (
        (toy_server.rest, "text_encoder", 0),
        (toy_server.rest, "no_encoder", 1),
        ("http://127.0.0.1:1", "text_encoder", 1),
    ):
        here = script.replace("/8501", f"/{address.rsplit(':', 1)[1]}").replace("text_encoder", model)
        done = subprocess.run([shell, flag, here], capture_output=True, timeout=30, check=False)
        assert done.returncode == status, (address, model, done.stderr)


def test_kubernetes(folder):
    manifests = kubernetes(folder)
    kinds = ["Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service"]
    assert sorted(manifests) == kinds
    for document in manifests.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    deployment, service = manifests["Deployment"], manifests["Service"]
    pod = deployment["spec"]["template"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["spec"]["topologySpreadConstraints"]),
    ):
        assert selector.items() <= pod["metadata"]["labels"].items()
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    (container,) = pod["spec"]["containers"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["resources"]["requests"]["cpu"] and container["resources"]["limits"]["memory"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed: it would build the kustomization")
def test_kustomization(folder):
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    for document in built:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    maps = {d["metadata"]["name"].rsplit("-", 1)[0]: d for d in built if d["kind"] == "ConfigMap"}
    config, dashboards = maps["itembed-config"], maps["itembed-dashboard"]
    assert set(config["data"]) == {"models.config", "batching.config", "monitoring.config"}
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    (deployment,) = (d for d in built if d["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]


def test_ports_paths_and_files_agree(folder):
    compose = documents(folder, "compose.yaml")[0]["services"]["tf-serving"]
    manifests = kubernetes(folder)
    template = manifests["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    flags = options(compose["command"])
    assert flags == options(container["args"])
    grpc, rest = flags["port"], flags["rest_api_port"]
    assert compose["ports"] == [f"127.0.0.1:{grpc}:{grpc}", f"127.0.0.1:{rest}:{rest}"]
    assert [str(port["containerPort"]) for port in container["ports"]] == [grpc, rest]
    assert [str(port["port"]) for port in manifests["Service"]["spec"]["ports"]] == [grpc, rest]
    for probe in ("startupProbe", "readinessProbe"):
        assert str(container[probe]["grpc"]["port"]) == grpc and flags["enable_grpc_healthcheck_service"] == "true"
    (job,) = documents(folder, "prometheus/prometheus.yml")[0]["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"tf-serving:{rest}"]}]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == rest
    config = {"PrometheusConfig": [("enable", 1, FIELD.TYPE_BOOL, False), ("path", 2, FIELD.TYPE_STRING, False)]}
    outer = {"MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig", False)]}
    text = (folder / "tf-serving/monitoring.config").read_text()
    monitoring = parse_message(text, "MonitoringConfig", config | outer).prometheus_config
    assert monitoring.enable and monitoring.path == job["metrics_path"] == annotations["prometheus.io/path"]
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (folder / "tf-serving" / Path(flags[name]).name).is_file() and flags[name].startswith("/config/")
    assert ("allow_version_labels_for_unavailable_models" in flags) == (folder.parent.name.startswith("labelled"))
    assert int(flags["grpc_max_threads"]) >= 2 * batching(folder).max_batch_size.value


def test_a_stopping_pod_serves_its_connections_to_their_end(folder):
    """TF Serving ends at once on SIGTERM, and as process 1 not at all."""
    pod = kubernetes(folder)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = options(container["args"])["grpc_channel_arguments"]
    age, grace = (int(re.search(rf"{name}=(\d+)", arguments)[1]) / 1000 for name in ("age_ms", "grace_ms"))
    (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) > 1.1 * age + grace  # gRPC adds up to a tenth to the age of a connection
    assert pod["terminationGracePeriodSeconds"] > int(seconds) and pod["shareProcessNamespace"]
    assert documents(folder, "compose.yaml")[0]["services"]["tf-serving"]["init"]


def test_only_callers_of_the_namespace_and_prometheus_reach_the_servers(folder):
    policy = kubernetes(folder)["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"] and policy["egress"] == []
    ports = {port["name"] for port in kubernetes(folder)["Service"]["spec"]["ports"]}
    assert [{port["port"] for port in rule["ports"]} for rule in policy["ingress"]] == [ports, {"rest"}]


def test_names_of_models_that_callers_make_up_do_not_become_series(folder):
    (job,) = documents(folder, "prometheus/prometheus.yml")[0]["scrape_configs"]
    (endpoint,) = documents(folder, "prometheus-operator/podmonitor.yaml")[0]["spec"]["podMetricsEndpoints"]
    (rule,), (same,) = job["metric_relabel_configs"], endpoint["metricRelabelings"]
    assert (
        rule["source_labels"] == same["sourceLabels"] == ["model_name"] and rule["action"] == same["action"] == "keep"
    )
    for name, kept in (("text_encoder", True), ("image_encoder", True), ("", True), ("made_up", False)):
        assert bool(re.fullmatch(rule["regex"], name)) == bool(re.fullmatch(same["regex"], name)) == kept
    assert job["sample_limit"] == documents(folder, "prometheus-operator/podmonitor.yaml")[0]["spec"]["sampleLimit"]


def test_alerts_query_metrics_that_the_servers_export(folder, toy_server):
    (group,) = documents(folder, "prometheus/alerts.yml")[0]["groups"]
    (same,) = documents(folder, "prometheus-operator/alerts.yaml")[0]["spec"]["groups"]
    assert group == same and documents(folder, "prometheus/prometheus.yml")[0]["rule_files"] == ["alerts.yml"]
    with urllib.request.urlopen(f"{toy_server.rest}{METRICS_PATH}") as response:
        page = response.read().decode()
    for rule in group["rules"]:
        promql_parser.parse(rule["expr"])
        assert rule["for"] and rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"]
        for name in re.findall(r":tensorflow:[\w:]+", rule["expr"]):
            assert f"\n# TYPE {name.removesuffix('_bucket')} " in page, name


def test_the_dashboard_queries_metrics_that_the_servers_export(plain, toy_server):
    content = json.loads((plain / "grafana/dashboards/encoders.json").read_text())
    panels = content["panels"]
    assert content == dashboard() and len({panel["id"] for panel in panels}) == len(panels)
    with urllib.request.urlopen(f"{toy_server.rest}{METRICS_PATH}") as response:
        page = response.read().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    exported = set(types) | {f"{name}_{end}" for name in types for end in ("bucket", "sum", "count")}
    queried = set()
    for panel in panels:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
            promql_parser.parse(expression)
            queried |= set(re.findall(r":[\w:]+|process_\w+", expression))
    assert queried - exported == {":tensorflow:serving:batching_session:wrapped_run_count"}  # only in TF Serving
    assert len(queried) >= 7
    provider = documents(plain, "grafana/provisioning/dashboards/dashboards.yaml")[0]["providers"][0]
    mounts = documents(plain, "compose.yaml")[0]["services"]["grafana"]["volumes"]
    assert provider["options"]["path"] == mounts[1]["target"]


def test_the_image_has_the_served_versions_and_its_tag_names_them(plain, labelled):
    for folder, versions, image in (
        (plain, [2], "itembed-encoders:v2-222222222222"),
        (labelled, [1, 2], "here:5000/me/encoders:v1-2-222222222222"),
    ):
        lines = (folder / "Dockerfile").read_text().splitlines()
        assert "USER 65534:65534" in lines
        copied = [line.split()[1:] for line in lines if line.startswith("COPY")]
        assert copied == [[f"{name}/{n}", f"/models/{name}/{n}"] for name in PAIR for n in versions]
        assert kubernetes(folder)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_the_kit_depends_only_on_the_export(exports, plain, tmp_path):
    for name in PAIR:
        shutil.copytree(exports / name / "2", tmp_path / "exports" / name / "7")
    change_contract(tmp_path / "exports/image_encoder/7", allowed_batch_sizes=[1, 4, 64], contract="f" * 64)
    other = written(tmp_path / "exports", tmp_path / "kit")
    assert list(batching(other).allowed_batch_sizes) == [1, 4, 64] and batching(other).max_batch_size.value == 64
    assert "itembed-encoders:v7-ffffffffffff" in (other / "kubernetes/deployment.yaml").read_text()
    again = written(exports, tmp_path / "again")
    for file in (
        path for path in plain.rglob("*") if path.is_file() and path.name not in ("compose.yaml", "Dockerfile")
    ):
        assert (again / file.relative_to(plain)).read_bytes() == file.read_bytes(), file


def test_without_batching_no_file_mentions_it(exports, tmp_path):
    folder = written(exports, tmp_path / "kit", "--no-batching")
    for file in (path for path in folder.rglob("*") if path.is_file()):
        assert not file.name.startswith("batching") and "batching_parameters" not in file.read_text(), file
    assert "batching.config" not in (folder / "kustomization.yaml").read_text()


def test_an_existing_folder_is_not_overwritten(exports, tmp_path, capsys):
    out = tmp_path / "kit"
    out.mkdir()
    (out / "compose.yaml").write_text("mine")
    assert program.main([str(exports), str(out)]) == 1
    assert "exists already and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["kit", "compose.yaml"]


def test_notes_and_errors(exports, tmp_path, capsys):
    assert program.main([str(exports), str(tmp_path / "kit"), "--label", "stable=1", "--label", "canary=2"]) == 0
    output = capsys.readouterr().out
    assert "different contracts" in output and "more than 8 items are rejected" in output and "pin the" in output
    assert "docker compose" in output and "kubectl apply -k" in output
    assert program.main([str(exports), str(tmp_path / "other"), "--label", "stable=9"]) == 1
    assert "only of version 1, 2" in capsys.readouterr().err
    for wrong in ("stable", 'a" b=1'):
        with pytest.raises(SystemExit):
            program.main([str(exports), str(tmp_path / "other"), "--label", wrong])
        assert "NAME=N" in capsys.readouterr().err
    assert program.main([str(tmp_path), str(tmp_path / "other")]) == 1
    assert "itembed export" in capsys.readouterr().err
    for wrong in (["--cpus", "0"], ["--image", "me/encoders:latest"], ["--server", "a b"]):
        with pytest.raises(SystemExit):
            program.main([str(exports), str(tmp_path / "other"), *wrong])
    assert not (tmp_path / "other").exists()
