"""The hub is asked only where downloads are allowed. The tests have a hub of their own that counts its requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deforum import check, load
from deforum.cli.main import main
from deforum.errors import UserError
from deforum.models import hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The paths that were asked of the hub, which has no model; the cache is empty."""
    from huggingface_hub import constants

    paths: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield paths
    server.shutdown()
    server.server_close()


IN_3D = {"animation_mode": "3D"}
WORDS = {"use_mask": True, "mask": "<a house>"}
NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": "owner/name"}, "owner/name"),
    "zoe": ({**IN_3D, "depth_algorithm": "zoe"}, "Intel/zoedepth-nyu-kitti"),
    "an old name": ({**IN_3D, "depth_algorithm": "AdaBins"}, "Intel/zoedepth-nyu-kitti"),
    "small": (
        {**IN_3D, "depth_algorithm": "depth-anything-v2-small"},
        "depth-anything/Depth-Anything-V2-Small-hf",
    ),
    "depth in a mask": (
        {"use_mask": True, "mask": "{depth}", "depth_algorithm": "depth-anything-v2-base"},
        "depth-anything/Depth-Anything-V2-Base-hf",
    ),
    "words": (WORDS, "CIDAS/clipseg-rd64-refined"),
    "other words": ({**WORDS, "mask_words_model": "owner/clipseg"}, "owner/clipseg"),
}


def settings_of(values: dict[str, Any]) -> Any:
    return load({"prompts": "hills", "max_frames": 2, "width": 64, "height": 64, **values}).settings


@pytest.mark.parametrize(("values", "name"), NAMES.values(), ids=NAMES)
def test_a_name_in_a_file_asks_nothing_until_the_user_allows_it(
    values: dict[str, Any], name: str, asked: list[str]
) -> None:
    settings = settings_of(values)
    with pytest.raises(UserError, match=rf"{name}.*--allow-download.*hf download {name}"):
        check(settings)
    assert not asked
    with pytest.raises(UserError, match=rf"{name}.*the hub does not give it"):
        check(settings, allow_download=True)
    assert any(name in path for path in asked)
    asked.clear()
    with pytest.raises(UserError, match="--allow-download"):
        check(settings)
    assert not asked


def test_the_command_line_has_the_flag(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("prompts: hills\nmodel: owner/name\nmax_frames: 1\n")
    assert main(["check", "a.yaml"]) == 2 and not asked
    assert "--allow-download" in capsys.readouterr().err
    for command in (["check", "a.yaml"], ["a.yaml"]):
        asked.clear()
        assert main([*command, "--allow-download"]) == 2 and asked
        assert "the hub does not give it" in capsys.readouterr().err


def test_a_models_own_files_name_no_other_model(asked: list[str], tmp_path: Path) -> None:
    """The backbone of a depth model, which transformers would look up on the hub."""
    folder = tmp_path / "depth"
    folder.mkdir()
    for more, what in (
        ({"backbone": "owner/backbone"}, "backbone 'owner/backbone' names another model"),
        ({"neck": {"backbone": "resnet18"}}, "backbone 'resnet18' names another model"),
        ({"auto_map": {"AutoModel": "owner/code--x.Y"}}, "auto_map asks to run code"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is more than 1,000"),
    ):
        (folder / "config.json").write_text(json.dumps({"model_type": "depth_anything", **more}))
        for allowed in (False, True):
            with pytest.raises(UserError, match=what):
                check(settings_of({**IN_3D, "depth_algorithm": str(folder)}), allow_download=allowed)
    assert not asked


def test_the_libraries_cannot_ask_behind_our_back(asked: list[str]) -> None:
    from huggingface_hub import HfApi, hf_hub_download

    with hub.without_network():
        for ask in (lambda: HfApi().model_info("a/b"), lambda: hf_hub_download("a/b", "config.json")):
            with pytest.raises(Exception, match=r"(?i)offline|cache"):
                ask()
    assert not asked
    with pytest.raises(Exception, match="404"):
        HfApi().model_info("a/b")
    assert asked


PATHS = [
    "./missing",
    "../missing",
    "a--b/c",
    "a..b/c",
    "-a/b",
    "a/b.",
    "a/b.git",
    "/a/b",
    "a/b/c",
    "a",
    "a/",
    "/a",
    "a b/c",
]
PATHS += ["~nosuchuser/x", "a\0/b", "x" * 300 + "/b", "a/" + "x" * 300, "ä/b", "", " "]


@pytest.mark.parametrize("text", PATHS)
def test_what_cannot_be_a_name_is_not_looked_up(text: str, asked: list[str]) -> None:
    from deforum.depth import resolve_depth
    from deforum.diffusion import resolve_model
    from deforum.features.masks.find import find_words

    assert not hub.is_name(text)
    with hub.downloads(allowed=True):
        for find in (resolve_model, resolve_depth, find_words):
            with pytest.raises(UserError) as error:
                find(text)
            assert len(str(error.value)) < 900
    assert not asked


def test_names_of_the_hub_are_names() -> None:
    names = ("owner/name", "stabilityai/sdxl-turbo", "a/b", "A_1/b.c-d_e", "Intel/zoedepth-nyu-kitti")
    assert all(map(hub.is_name, names))
