"""REST transport: TF Serving's REST API, with the HTTP client of the standard library."""

from __future__ import annotations

import http.client
import io
import json
import queue
import ssl
import time
import urllib.parse
from typing import Any

from itembed_tf.client.access import Access
from itembed_tf.client.calls import Call, Prediction, ServingError, Signature, TensorInfo
from itembed_tf.client.messages import DTYPES
from itembed_tf.client.tensors import from_json, to_json

_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_CODES |= {408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 501: "UNIMPLEMENTED"}
_CODES |= {502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
# Names of TensorFlow's types in the metadata -> names of NumPy's.
_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_STRING": "object", "DT_BOOL": "bool"}
_DTYPES |= {f"DT_{name.upper()}": name for name in DTYPES.values() if "int" in name}


_VERSION, _CONTRACT = "itembed-version", "itembed-contract"  # headers of our local server


class RestTransport:
    """Pool of connections to `address` (http://host:port or https://host:port); may be shared by threads."""

    def __init__(self, address: str, access: Access) -> None:
        url = urllib.parse.urlsplit(address)
        if not url.hostname or url.username is not None:
            raise ValueError(f"{address!r} is not the address of a REST API; expected http://host:port")
        self._host, self._port, self._place = url.hostname, url.port, url.netloc
        self._tls = ssl.create_default_context(cafile=access.ca_file) if url.scheme == "https" else None
        self._headers, self._prefix = dict(access.headers), url.path.rstrip("/")
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        self._metadata: dict[tuple[str, int | None, str | None], dict[str, Signature]] = {}

    def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        end = time.monotonic() + timeout
        path = f"{self._prefix}/v1/models/{urllib.parse.quote(call.model, safe='')}"
        if call.version is not None:
            path += f"/versions/{call.version}"
        if call.label is not None:
            path += f"/labels/{urllib.parse.quote(call.label, safe='')}"
        if call.kind == "status":
            statuses = self._request("GET", path, None, end)[0]["model_version_status"]
            return {int(status["version"]): status["state"] for status in statuses}
        if call.kind in ("metadata", "version"):
            answer = self._request("GET", path + "/metadata", None, end)[0]
            return _signatures(answer) if call.kind == "metadata" else int(answer["model_spec"]["version"] or 0) or None
        inputs = {name: to_json(values) for name, values in call.inputs.items()}
        body = json.dumps({"signature_name": call.signature, "inputs": inputs})
        answer, headers = self._request("POST", path + ":predict", body.encode("ascii"), end)
        outputs, infos = answer["outputs"], self._output_infos(call, end - time.monotonic())
        if len(infos) == 1:  # the only output of a model is sent without its name
            outputs = dict.fromkeys(infos, outputs)
        version = headers.get(_VERSION)
        arrays = {name: from_json(outputs[name], info.dtype) for name, info in infos.items()}
        return Prediction(arrays, int(version) if version else call.version, headers.get(_CONTRACT, ""))

    def close(self) -> None:
        """Close all idle connections."""
        while not self._idle.empty():
            self._idle.get().close()

    def _output_infos(self, call: Call, timeout: float) -> dict[str, TensorInfo]:
        """Names and dtypes of the outputs, which a response does not contain; requested once per version."""
        key = (call.model, call.version, call.label)
        if key not in self._metadata:
            self._metadata[key] = self.send(Call("metadata", call.model, call.version, call.label), timeout)
        return self._metadata[key][call.signature].outputs

    def _request(self, method: str, path: str, body: bytes | None, end: float) -> tuple[Any, Any]:
        """The parsed body and the headers of a response that is complete before `end` (time.monotonic)."""
        reused = not self._idle.empty()
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection, reused = self._connection(), False
        timeout = max(end - time.monotonic(), 0.001)
        connection.timeout = timeout  # until connected
        if connection.sock is not None:
            connection.sock.settimeout(timeout)  # until the request is sent
        connection.response_class = _response_before(end)
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except TimeoutError as error:
            connection.close()
            raise ServingError("DEADLINE_EXCEEDED", f"no response from {self._place} within {timeout:.1f} s") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if reused and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                return self._request(method, path, body, end)  # the server has closed the idle connection
            raise ServingError("UNAVAILABLE", f"{self._place}: {error!r}") from error
        if response.will_close:
            connection.close()
        else:
            self._idle.put(connection)
        return _parse(response.status, content), response.headers

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=self._tls)


def _response_before(end: float) -> Any:
    def response(sock: Any, **settings: Any) -> http.client.HTTPResponse:
        readable: Any = _Readable(sock, end)
        return http.client.HTTPResponse(readable, **settings)

    return response


class _Readable:
    """A socket for HTTPResponse, whose reads end at a point in time; a socket's own timeout is for each read."""

    def __init__(self, sock: Any, end: float) -> None:
        self._sock, self._end = sock, end

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reads(self._sock, self._sock.makefile(mode, buffering=0), self._end))


class _Reads(io.RawIOBase):
    def __init__(self, sock: Any, file: io.RawIOBase, end: float) -> None:
        self._sock, self._file, self._end = sock, file, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._file.readinto(buffer)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._file.close()
        super().close()


def _parse(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = {"error": f"HTTP {status}: the response is not JSON: {content[:200]!r}"}
        status = 500 if status == 200 else status
    if status != 200:
        details = answer.get("error", f"HTTP {status}") if isinstance(answer, dict) else f"HTTP {status}"
        raise ServingError(_CODES.get(status, "INTERNAL"), str(details))
    return answer


def _signatures(answer: Any) -> dict[str, Signature]:
    def tensors(infos: Any) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(
                _DTYPES.get(info["dtype"], "unknown"),
                tuple(int(d["size"]) for d in info["tensor_shape"].get("dim", [])),
            )
            for name, info in infos.items()
        }

    signatures = answer["metadata"]["signature_def"]["signature_def"]
    return {
        name: Signature(tensors(signature["inputs"]), tensors(signature["outputs"]))
        for name, signature in signatures.items()
        if signature["inputs"]
    }
