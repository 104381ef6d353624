"""gRPC servers on one port that compute nothing: what gRPC and a load alone allow. Used by `benchmarks.serve_load`."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from itembed_tf.server.ports import reserved_port

METHOD = "/tensorflow.serving.PredictionService/Predict"
ANSWER = bytes(4 * 1024)  # as long as an embedding of 1,024 dimensions


@contextlib.contextmanager
def empty_servers(count: int) -> Iterator[str]:
    """The address of `count` processes that answer every call of `METHOD` with `ANSWER`, until the block ends."""
    with reserved_port("127.0.0.1", 0) as port:
        command = [sys.executable, "-m", "benchmarks.empty_grpc", str(port)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
        try:
            for process in processes:
                assert process.stdout is not None and process.stdout.readline(), "the server has ended"
            yield f"127.0.0.1:{port}"
        finally:
            for process in processes:
                process.terminate()
                process.wait()


async def serve(port: int) -> None:
    """One of the servers; prints a line when it listens."""
    import grpc.aio

    async def answer(request: bytes, context: Any) -> bytes:
        del request, context
        return ANSWER

    service, _, method = METHOD.strip("/").rpartition("/")
    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
