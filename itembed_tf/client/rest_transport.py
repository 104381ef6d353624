"""REST transport: TF Serving's REST API, with the HTTP client of the standard library."""

from __future__ import annotations

import http.client
import json
import queue
import urllib.parse
from typing import Any

from itembed_tf.client.calls import Call, ServingError, Signature, TensorInfo
from itembed_tf.client.messages import DTYPES
from itembed_tf.client.tensors import from_json, to_json

_CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_CODES |= {408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 501: "UNIMPLEMENTED"}
_CODES |= {502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
# Names of TensorFlow's types in the metadata -> names of NumPy's.
_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_STRING": "object", "DT_BOOL": "bool"}
_DTYPES |= {f"DT_{name.upper()}": name for name in DTYPES.values() if "int" in name}


class RestTransport:
    """Pool of connections to `address` (http://host:port); may be shared by threads."""

    def __init__(self, address: str) -> None:
        url = urllib.parse.urlsplit(address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{address!r} is not the address of a REST API; expected http://host:port")
        self._secure, self._host = url.scheme == "https", url.netloc
        self._prefix = url.path.rstrip("/")
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        self._metadata: dict[tuple[str, int | None, str | None], dict[str, Signature]] = {}

    def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        path = f"{self._prefix}/v1/models/{urllib.parse.quote(call.model, safe='')}"
        if call.version is not None:
            path += f"/versions/{call.version}"
        if call.label is not None:
            path += f"/labels/{urllib.parse.quote(call.label, safe='')}"
        if call.kind == "status":
            statuses = self._request("GET", path, None, timeout)["model_version_status"]
            return {int(status["version"]): status["state"] for status in statuses}
        if call.kind == "metadata":
            return _signatures(self._request("GET", path + "/metadata", None, timeout))
        inputs = {name: to_json(values) for name, values in call.inputs.items()}
        body = json.dumps({"signature_name": call.signature, "inputs": inputs})
        outputs = self._request("POST", path + ":predict", body.encode("ascii"), timeout)["outputs"]
        infos = self._output_infos(call, timeout)
        if len(infos) == 1:  # the only output of a model is sent without its name
            outputs = dict.fromkeys(infos, outputs)
        return {name: from_json(outputs[name], info.dtype) for name, info in infos.items()}

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

    def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        reused = not self._idle.empty()
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection_type = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection, reused = connection_type(self._host), False
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            content = response.read()
        except TimeoutError as error:
            connection.close()
            raise ServingError("DEADLINE_EXCEEDED", f"no response from {self._host} within {timeout:.1f} s") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if reused and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                return self._request(method, path, body, timeout)  # the server has closed the idle connection
            raise ServingError("UNAVAILABLE", f"{self._host}: {error!r}") from error
        if response.will_close:
            connection.close()
        else:
            self._idle.put(connection)
        return _parse(response.status, content)


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
