"""Calls of huggingface_hub, and its errors as one line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from itembed_tf.extras import require
from itembed_tf.sharing.export_files import ShareError

LOG_IN = "run `hf auth login`, or set the environment variable HF_TOKEN"


def hub_api(command: str, *, with_token: bool) -> Any:
    """The client of the hub; the server is that of the environment variable HF_ENDPOINT, or huggingface.co.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        ShareError: a token is needed, and there is none.
    """
    require(command)
    from huggingface_hub import HfApi, get_token

    if with_token and not get_token():
        raise ShareError(f"{command}: no access token; {LOG_IN}")
    # Given here, as the library reads the variable only once, when it is imported.
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="itembed_tf")


@contextmanager
def hub_errors(repository: str, endpoint: str) -> Iterator[None]:
    """Turn the errors of the block into ShareError, each with what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise ShareError(f"{repository}: access must be asked for at {endpoint}/{repository}") from None
    except errors.RepositoryNotFoundError:
        raise ShareError(
            f"{repository}: no such repository at {endpoint}, or it is private; check the name, and for a private one "
            f"{LOG_IN}"
        ) from None
    except errors.RevisionNotFoundError:
        raise ShareError(f"{repository} has no such revision; name a branch, a tag or a commit in --revision") from None
    except errors.OfflineModeIsEnabled:
        raise ShareError("HF_HUB_OFFLINE is set, so that nothing is transferred; unset it") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            raise ShareError(f"{repository}: the access token may not do this ({status}); {LOG_IN}") from None
        raise ShareError(f"{repository}: {endpoint} answered {status}: {_first_line(error)}") from None
    except errors.LocalEntryNotFoundError as error:
        raise ShareError(f"{repository}: {endpoint} cannot be reached ({_first_line(error)})") from None
    except Exception as error:
        # The errors of a connection are those of the HTTP library that huggingface_hub uses, which has changed.
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        raise ShareError(
            f"{endpoint} cannot be reached ({_first_line(error)}); check the network, or HF_ENDPOINT for another server"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
