"""A Milvus server of the package ``milvus`` (2.3.5), with its files in a temporary folder, stopped at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from itembed_tf.files import temporary_folder


def installed() -> bool:
    return find_spec("milvus") is not None


@contextmanager
def milvus_server() -> Iterator[str]:
    """The address of a server, ``milvus://127.0.0.1:PORT``. It listens on free ports near 19530.

    Raises:
        SystemExit: the package is not installed.
    """
    if not installed():
        raise SystemExit("needs a Milvus server: pip install milvus==2.3.5 (Linux, x86-64)")
    from milvus import MilvusServer, MilvusServerConfig

    with temporary_folder() as folder:
        server = MilvusServer(MilvusServerConfig(data_dir=str(Path(folder) / "milvus")))
        started = time.monotonic()
        try:
            server.start()
            print(f"Milvus started in {time.monotonic() - started:.0f} s", flush=True)
            yield f"milvus://127.0.0.1:{server.listen_port}"
        finally:
            server.stop()
