"""Files that serve a folder of exports with TF Serving: Docker Compose, Kubernetes, Prometheus and Grafana."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from itembed_tf.export_layout import CONTRACT_FILE, ENCODERS, EXTRA_ASSETS
from itembed_tf.files import folder_atomically, shipped_folder, write_atomically
from itembed_tf.server.dashboard import dashboard
from itembed_tf.server.defaults import GRPC_PORT, METRICS_PATH, REST_PORT

TEMPLATES = shipped_folder("serving/templates")
CLIENT_BATCH = 32  # items of one request of our clients, at most
FIXED = {
    "app": "itembed",
    "models": ENCODERS,
    "grpc_port": GRPC_PORT,
    "rest_port": REST_PORT,
    "metrics_path": METRICS_PATH,
    "prometheus": "prom/prometheus:v3.5.0",
    "grafana": "grafana/grafana:12.2.0",
}


def settings(exports: Path, out: Path, labels: Mapping[str, int], args: argparse.Namespace) -> dict[str, Any]:
    """What the templates fill in: the values that follow from the exports, and those that were asked for.

    Raises:
        ValueError: no pair of encoders in `exports`, or not the versions that the labels name.
    """
    contracts = _contracts(exports)
    versions = sorted(set(labels.values())) or [max(contracts)]
    for label, version in labels.items():
        if version not in contracts:
            raise ValueError(f"--label {label}={version}: {exports} has both encoders of {_numbers(contracts)} only")
    newest = contracts[versions[-1]]
    sizes = newest["allowed_batch_sizes"]
    image = f"{args.image}:v{'-'.join(map(str, versions))}-{newest['contract'][:12]}"
    batching = not args.no_batching
    source = os.path.relpath(exports.resolve(), out.resolve())
    return FIXED | {
        "exports": (source if source.startswith("..") else f"./{source}").replace("$", "$$"),
        "labels": labels,
        "versions": versions,
        "batch_sizes": sizes,
        "batching": batching,
        "cpus": args.cpus,
        "server": args.server,
        "image": image,
        "build": shlex.join(["docker", "build", "-t", image, "-f", str(out / "Dockerfile"), str(exports)]),
        "flags": _flags(labels, sizes, batching, args.cpus),
        **_memory([contracts[version] for version in versions]),
        "notes": _notes([contracts[version] for version in versions], labels, sizes, batching),
    }


def write_kit(out: Path, values: Mapping[str, Any]) -> list[Path]:
    """Fill in all templates; the folder appears whole or not at all, and is never written into again.

    Raises:
        FileExistsError: `out` is there already, and may hold what somebody has changed since.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    names = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file())
    names = [name for name in names if values["batching"] or Path(name).name != "batching.config"]
    values = {**values, "config_files": [name for name in names if name.startswith("tf-serving/")]}
    with folder_atomically(out) as folder:
        for name in names:
            write_atomically(folder / name, environment.get_template(name).render(values))
        write_atomically(folder / "grafana/boards/encoders.json", json.dumps(dashboard(), indent=2) + "\n")
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)  # the servers run under users of their own
    return sorted(path for path in out.rglob("*") if path.is_file())


def _contracts(exports: Path) -> dict[int, dict[str, Any]]:
    """Version -> the contract beside it, of the versions that both encoders have."""
    files = {
        int(folder.name): folder / EXTRA_ASSETS / CONTRACT_FILE
        for folder in (exports / ENCODERS[0]).glob("*")
        if folder.name.isdigit() and all((exports / m / folder.name / "saved_model.pb").exists() for m in ENCODERS)
    }
    found = {version: json.loads(file.read_text(encoding="utf-8")) for version, file in files.items() if file.exists()}
    if not found:
        raise ValueError(
            f"{exports} holds no pair of {ENCODERS[0]}/N and {ENCODERS[1]}/N; `itembed export RUN {exports}` writes one"
        )
    return found


def _flags(labels: Mapping[str, int], sizes: Sequence[int], batching: bool, cpus: int) -> list[str]:
    """Options of tensorflow_model_server, in the order of its own help."""
    threads = max(4 * cpus, 4 * sizes[-1])  # every request that waits for its batch holds one
    flags = {
        "port": FIXED["grpc_port"],
        "rest_api_port": FIXED["rest_port"],
        "rest_api_num_threads": threads,
        **({"enable_batching": "true"} if batching else {}),
        # Without it the server ends where a labelled version is loaded later than the newest.
        **({"allow_version_labels_for_unavailable_models": "true"} if labels else {}),
        **({"batching_parameters_file": "/config/batching.config"} if batching else {}),
        "model_config_file": "/config/models.config",
        "model_config_file_poll_wait_seconds": 30,
        "num_load_threads": 1,  # loading must not hold up the thread that hands out versions
        # The server counts the machine's cores, not the container's.
        "tensorflow_intra_op_parallelism": cpus,
        "tensorflow_inter_op_parallelism": cpus,
        # Callers connect anew every five minutes, so that those of gRPC find servers that were added.
        "grpc_channel_arguments": "grpc.max_connection_age_ms=300000,grpc.max_connection_age_grace_ms=30000",
        "grpc_max_threads": threads,
        "monitoring_config_file": "/config/monitoring.config",
        "enable_grpc_healthcheck_service": "true",
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def _memory(contracts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """MiB to begin with: the weights of what is served and of one version more, three times; 1 GiB for the rest."""
    size = [sum(encoder["bytes"] for encoder in contract["encoders"].values()) for contract in contracts]
    request = 1024 + 256 * round(3 * (sum(size) + max(size)) / 2**28 + 0.5)
    return {"memory_request": request, "memory_limit": 2 * request}


def _notes(
    contracts: Sequence[Mapping[str, Any]], labels: Mapping[str, int], sizes: Sequence[int], batching: bool
) -> list[str]:
    notes = []
    if labels:
        notes.append("with labels, the versions are pinned: a new one in the folder is not served until you name it")
    if len({contract["contract"] for contract in contracts}) > 1:
        notes.append("these versions have different contracts: never compare embeddings of one with another's")
    if batching:
        notes.append("a picture that is broken fails all requests of its batch: check uploads, or --no-batching")
        if sizes[-1] < CLIENT_BATCH:
            notes.append(f"a request of more than {sizes[-1]} items is refused; our clients send up to {CLIENT_BATCH}")
    return notes


def _numbers(contracts: Mapping[int, Any]) -> str:
    return "version " + ", ".join(map(str, sorted(contracts)))
