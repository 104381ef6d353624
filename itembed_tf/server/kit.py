"""The TF Serving kit: files that serve a folder of exports with Docker Compose, Kubernetes, Prometheus and Grafana."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from itembed_tf.client.batches import MAX_ITEMS
from itembed_tf.errors import UserError
from itembed_tf.export_layout import CONTRACT_FILE, ENCODERS, EXTRA_ASSETS, is_version
from itembed_tf.files import folder_atomically, shipped_folder, write_atomically
from itembed_tf.server.alerts import make_alerts
from itembed_tf.server.dashboard import dashboard
from itembed_tf.server.defaults import ENCODERS_IMAGE, GRPC_PORT, METRICS_PATH, REST_PORT, SERVER_IMAGE

TEMPLATES = shipped_folder("serving/templates")
APP = "itembed"
AGE_SECONDS, AGE_GRACE_SECONDS = 60, 10  # of a gRPC connection: until it is closed, and for the calls on it
# A stopping server serves its connections to their end; gRPC adds up to a tenth to their age, at random.
STOP_SECONDS = round(1.1 * AGE_SECONDS) + AGE_GRACE_SECONDS + 4
FIXED_VALUES = {
    "app": APP,
    "models": ENCODERS,
    "grpc_port": GRPC_PORT,
    "rest_port": REST_PORT,
    "metrics_path": METRICS_PATH,
    # The newest releases of November 2026, by the packages that both projects publish on npm.
    "prometheus": "prom/prometheus:v3.14.0",
    "grafana": "grafana/grafana:13.2.3",
    "alerts": make_alerts(APP),
    "sample_limit": 5000,
    "stop_seconds": STOP_SECONDS,
    "grace_seconds": STOP_SECONDS + 20,
}


@dataclass(frozen=True)
class KitOptions:
    """Options of the kit.

    Attributes:
        labels: version by label; empty to serve the newest version.
        cpus: CPU cores of one server.
        image: name of the image for Kubernetes, without a tag.
        server: image of TF Serving.
        batching: whether TF Serving batches requests.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    cpus: int = 2
    image: str = ENCODERS_IMAGE
    server: str = SERVER_IMAGE
    batching: bool = True


@dataclass(frozen=True)
class Export:
    """One exported version of both encoders, from its contract file.

    Attributes:
        contract: contract hash.
        batch_sizes: sizes with a warm-up request, ascending.
        size: bytes of both SavedModels.
    """

    contract: str
    batch_sizes: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Kit:
    """Values of the templates (with `FIXED_VALUES`), and what a user has to know.

    Attributes:
        exports: path of the exports, relative to the kit.
        labels: version by label.
        versions: served versions, ascending.
        batch_sizes: allowed batch sizes, ascending.
        batching: whether TF Serving batches requests.
        cpus: CPU cores of one server.
        server: image of TF Serving.
        image: name and tag of the image with the encoders.
        build: command that builds it.
        flags: options of tensorflow_model_server.
        memory_request, memory_limit: MiB.
        notes: sentences for the user.
    """

    exports: str
    labels: Mapping[str, int]
    versions: list[int]
    batch_sizes: tuple[int, ...]
    batching: bool
    cpus: int
    server: str
    image: str
    build: str
    flags: list[str]
    memory_request: int
    memory_limit: int
    notes: list[str]


def make_kit(exports: Path, out: Path, options: KitOptions) -> Kit:
    """The values of the kit for a folder of exports.

    Raises:
        UserError: `exports` has no version of both encoders, or lacks a version that a label names.
    """
    available = read_exports(exports)
    versions = sorted(set(options.labels.values())) or [max(available)]
    for label, version in options.labels.items():
        if version not in available:
            numbers = ", ".join(map(str, sorted(available)))
            raise UserError(f"--label {label}={version}: {exports} has both encoders only of version {numbers}")
    served = [available[version] for version in versions]
    sizes = served[-1].batch_sizes
    image = f"{options.image}:v{'-'.join(map(str, versions))}-{served[-1].contract[:12]}"
    source = os.path.relpath(exports.resolve(), out.resolve())
    memory = _memory(served)
    return Kit(
        exports=(source if source.startswith("..") else f"./{source}").replace("$", "$$"),
        labels=options.labels,
        versions=versions,
        batch_sizes=sizes,
        batching=options.batching,
        cpus=options.cpus,
        server=options.server,
        image=image,
        build=shlex.join(["docker", "build", "-t", image, "-f", str(out / "Dockerfile"), str(exports)]),
        flags=_flags(options, sizes),
        memory_request=memory,
        memory_limit=2 * memory,
        notes=_notes(served, options, sizes),
    )


def write_kit(out: Path, kit: Kit) -> list[Path]:
    """Fill in all templates; returns the paths of all files. The folder appears complete or not at all.

    Raises:
        FileExistsError: `out` exists, possibly with files that were edited.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    names = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file())
    names = [name for name in names if kit.batching or Path(name).name != "batching.config"]
    config_files = [name for name in names if name.startswith("tf-serving/")]
    values = {**FIXED_VALUES, **vars(kit), "config_files": config_files}
    with folder_atomically(out) as folder:
        for name in names:
            write_atomically(folder / name, environment.get_template(name).render(values))
        write_atomically(folder / "grafana/dashboards/encoders.json", json.dumps(dashboard(), indent=2) + "\n")
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)  # the servers run as other users
    return sorted(path for path in out.rglob("*") if path.is_file())


def read_exports(exports: Path) -> dict[int, Export]:
    """Exports by version number, of the versions that both encoders have.

    Raises:
        UserError: there is none.
    """
    available = {}
    for folder in (exports / ENCODERS[0]).glob("*"):
        file = folder / EXTRA_ASSETS / CONTRACT_FILE
        graphs = [exports / encoder / folder.name / "saved_model.pb" for encoder in ENCODERS]
        if is_version(folder.name) and file.exists() and all(graph.exists() for graph in graphs):
            content = json.loads(file.read_text(encoding="utf-8"))
            size = sum(encoder["bytes"] for encoder in content["encoders"].values())
            available[int(folder.name)] = Export(content["contract"], tuple(content["allowed_batch_sizes"]), size)
    if not available:
        raise UserError(
            f"{exports} has no version N with both {ENCODERS[0]}/N and {ENCODERS[1]}/N; "
            f"`itembed export RUN {exports}` writes one"
        )
    return available


def _flags(options: KitOptions, sizes: Sequence[int]) -> list[str]:
    """Options of tensorflow_model_server, in the order of its help."""
    threads = max(4 * options.cpus, 4 * sizes[-1])  # every request in the batching queue holds one
    flags = {
        "port": GRPC_PORT,
        "rest_api_port": REST_PORT,
        "rest_api_num_threads": threads,
        **({"enable_batching": "true"} if options.batching else {}),
        # Without it the server exits if a labelled version is loaded later than the newest.
        **({"allow_version_labels_for_unavailable_models": "true"} if options.labels else {}),
        **({"batching_parameters_file": "/config/batching.config"} if options.batching else {}),
        "model_config_file": "/config/models.config",
        "model_config_file_poll_wait_seconds": 30,
        "num_load_threads": 1,  # loading must not block the thread that assigns versions to requests
        # The server counts the cores of the machine, not those of the container.
        "tensorflow_intra_op_parallelism": options.cpus,
        "tensorflow_inter_op_parallelism": options.cpus,
        # Clients connect again every minute: gRPC clients find new replicas, and leave one that is being stopped.
        "grpc_channel_arguments": f"grpc.max_connection_age_ms={1000 * AGE_SECONDS},"
        f"grpc.max_connection_age_grace_ms={1000 * AGE_GRACE_SECONDS}",
        "grpc_max_threads": threads,
        "monitoring_config_file": "/config/monitoring.config",
        "enable_grpc_healthcheck_service": "true",
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def _memory(served: Sequence[Export]) -> int:
    """Initial memory request in MiB: three times the weights of all versions and of one more, and 1 GiB."""
    sizes = [export.size for export in served]
    return 1024 + 256 * round(3 * (sum(sizes) + max(sizes)) / 2**28 + 0.5)


def _notes(served: Sequence[Export], options: KitOptions, sizes: Sequence[int]) -> list[str]:
    notes = []
    if options.labels:
        notes.append("labels pin the versions: a new version in the folder is not served until models.config lists it")
    if len({export.contract for export in served}) > 1:
        notes.append("these versions have different contracts: embeddings of one cannot be compared with the other's")
    if options.batching:
        notes.append("an unreadable image fails all requests of its batch: check uploads, or use --no-batching")
        if sizes[-1] < MAX_ITEMS:
            notes.append(
                f"requests of more than {sizes[-1]} items are rejected; our clients send up to {MAX_ITEMS} at a time"
            )
    return notes
