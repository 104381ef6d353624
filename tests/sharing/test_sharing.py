"""`itembed push` and `itembed pull` against a server that speaks Hugging Face's API, by the library itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from itembed_tf import pull, push
from itembed_tf.sharing import ShareError
from itembed_tf.sharing.export_files import check_contracts, check_name, check_sizes
from itembed_tf.text import Vocabulary
from tests.support.hub_server import TOKEN, Hub, hub_server

pytest.importorskip("huggingface_hub")
WORDS = ("boat", "lake", "red")
CONTRACT = "ab" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with hub_server() as hub:
        yield hub


@pytest.fixture(autouse=True)
def environment(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library talks to the server with HTTP uploads: Xet, its other protocol, has a server of its own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def write_export(folder: Path, version: int = 1, contract: str = CONTRACT) -> Path:
    """A folder with the names of an export; the encoders themselves are never loaded by push and pull."""
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=4)
    about = {"tokenizer": "words", "lowercase": True, "length": 4, "version": version}
    settings = {"contract": contract, **about, "vocabulary": {"sha256": vocabulary.checksum(), "size": 4}}
    text = json.dumps(settings)
    files = {
        "README.md": "---\nlicense: mit\n---\n# boats\n",
        "encoders.json": text,
        "text_encoder.json": text,
        "text_encoder.float32.tflite": "flat" * 1000,
        "vocabulary.txt": "\n".join(WORDS) + "\n",
        f"text_encoder/{version}/saved_model.pb": "graph",
        f"text_encoder/{version}/variables/variables.data-00000-of-00001": "weights" * 99,
        f"text_encoder/{version}/assets/vocabulary.txt": "\n".join(WORDS) + "\n",
        f"text_encoder/{version}/assets.extra/encoders.json": text,
        f"image_encoder/{version}/saved_model.pb": "graph 2",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_pulled_is_what_was_pushed(server, tmp_path, capsys):
    export = write_export(tmp_path / "export")
    (export / ".lock").touch()
    assert push.main([str(export), "me/boats", "--private"]) == 0
    printed = capsys.readouterr().out
    assert "10 files" in printed and CONTRACT[:16] in printed and "me/boats" in server.private
    command = ["me/boats", str(tmp_path / "out"), "--contract", CONTRACT[:16]]
    assert pull.main(command) == 0
    (export / ".lock").unlink()
    assert contents(tmp_path / "out") == contents(export)
    assert server.commit("me/boats") in capsys.readouterr().out
    assert pull.main(command) == 1 and "exists already" in capsys.readouterr().err


def test_a_later_push_removes_the_encoders_that_are_gone(server, tmp_path):
    assert push.main([str(write_export(tmp_path / "one")), "me/twice"]) == 0
    server.repositories["me/twice"][".gitattributes"] = b"*.pb filter=lfs"
    later = write_export(tmp_path / "two", version=2, contract="cd" * 32)
    assert push.main([str(later), "me/twice"]) == 0
    assert not [name for name in server.repositories["me/twice"] if "/1/" in name]
    assert pull.main(["me/twice", str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "out") == contents(later)


@pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "run.py", "text_encoder/1/keras_metadata.pb"])
def test_pull_refuses_files_that_no_export_has_before_any_download(name, server, tmp_path, capsys):
    push.main([str(write_export(tmp_path / "export")), "me/strange"])
    server.repositories["me/strange"][name] = b"x"
    capsys.readouterr()
    server.requests.clear()
    assert pull.main(["me/strange", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert name in error and error.count("\n") == 1
    assert ("pickle" in error) == name.endswith((".pkl", ".bin"))
    assert not any("resolve" in request for request in server.requests) and not (tmp_path / "out").exists()
    del server.repositories["me/strange"]


@pytest.mark.parametrize("name", ["text_encoder/1/saved_model.pb", "vocabulary.txt", "encoders.json"])
def test_pull_refuses_a_file_that_was_changed(name, server, tmp_path, capsys):
    push.main([str(write_export(tmp_path / "export")), "me/changed"])
    content = server.repositories["me/changed"][name]
    server.repositories["me/changed"][name] = content[:-1] + b"!"
    assert pull.main(["me/changed", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert name in error and "SHA-256" in error and not (tmp_path / "out").exists()


def test_pull_refuses_another_contract_than_the_expected_one(server, tmp_path, capsys):
    export = write_export(tmp_path / "export")
    push.main([str(export), "me/other"])
    assert pull.main(["me/other", str(tmp_path / "out"), "--contract", "00ff"]) == 1
    assert "00ff was expected" in capsys.readouterr().err
    files = server.repositories["me/other"]  # someone changes the hash in one file, and its checksum too
    files["text_encoder.json"] = files["text_encoder.json"].replace(b"ab" * 32, b"cd" * 32)
    stated = json.loads(files["checksums.json"])
    stated["sha256"]["text_encoder.json"] = hashlib.sha256(files["text_encoder.json"]).hexdigest()
    files["checksums.json"] = json.dumps(stated).encode()
    assert pull.main(["me/other", str(tmp_path / "out")]) == 1
    assert "one contract hash" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_errors_are_one_line_with_what_to_do(server, tmp_path, monkeypatch, capsys):
    export = write_export(tmp_path / "export")

    def refused(main, *words: str, code: int = 1) -> str:
        capsys.readouterr()
        assert main([*words]) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    out = str(tmp_path / "out")
    assert "OWNER/NAME" in refused(push.main, str(export), "boats", code=2)
    assert "OWNER/NAME" in refused(pull.main, "https://huggingface.co/me/boats", out, code=2)
    assert "no such repository" in refused(pull.main, "me/nothing", out)
    assert push.main([str(export), "me/errors"]) == 0
    assert "--revision" in refused(pull.main, "me/errors", out, "--revision", "v9")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "hf auth login" in refused(push.main, str(export), "me/errors")
    monkeypatch.delenv("HF_TOKEN")
    assert "no access token" in refused(push.main, str(export), "me/errors")
    assert "itembed export RUN" in refused(push.main, str(tmp_path / "gone"), "me/errors")
    (export / "README.md").unlink()
    assert "model card" in refused(push.main, str(export), "me/errors")


def test_no_network_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert pull.main(["me/boats", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "cannot be reached" in error and error.count("\n") == 1


def test_sizes_and_numbers_are_bounded(tmp_path):
    with pytest.raises(ShareError, match="GB"):
        check_sizes({"text_encoder.float32.tflite": 1 << 40}, "x")
    with pytest.raises(ShareError, match="1,001 files"):
        check_sizes({f"text_encoder/{i}/saved_model.pb": 1 for i in range(1001)}, "x")
    with pytest.raises(ShareError, match="no encoder"):
        check_sizes({"README.md": 1}, "x")
    for name in ("../encoders.json", "text_encoder/../../x", "/etc/passwd", "text_encoder/1/assets/../x"):
        with pytest.raises(ShareError, match="unexpected"):
            check_name(name)
    export = write_export(tmp_path / "export")
    (export / "vocabulary.txt").write_text("boat\nlake\nblue\n")
    with pytest.raises(ShareError, match="not the vocabulary"):
        check_contracts(export, contents(export))


def test_a_real_export_has_only_the_files_that_are_allowed(toy_exports):
    folder = toy_exports.folder()
    names = contents(folder)
    check_sizes({name: len(content) for name, content in names.items() if not name.startswith(".")}, "toy")
    assert check_contracts(folder, names) == json.loads(names["encoders.json"])["contract"]
