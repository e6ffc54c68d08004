"""Models are found in the trees of web UIs as they lie, by the names that people give them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.models import library
from deforum.models.library import find, look_up
from deforum.models.places import KINDS, VARIABLE, Kind, entries, roots_of


def write(path: Path, content: bytes = b"1234", metadata: Mapping[str, str] | None = None) -> Path:
    """Write a .safetensors file with one tensor, or other weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix not in (".safetensors", ".sft"):
        path.write_bytes(content)
        return path
    header: dict[str, object] = {"a": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    text = json.dumps(header | ({"__metadata__": dict(metadata)} if metadata else {})).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


A1111 = (
    "models/Stable-diffusion/dream.safetensors", "models/Stable-diffusion/dream.vae.safetensors",
    "models/Stable-diffusion/anime/any.ckpt", "models/Lora/ink.safetensors", "models/LyCORIS/wave.safetensors",
    "models/VAE/kl.safetensors", "models/VAE-approx/taesd.pt", "models/ControlNet/canny.safetensors",
    "models/ESRGAN/x4.pth", "embeddings/bad.pt", "extensions/sd-webui-controlnet/models/depth.pth",
    "models/text_encoder/t5xxl.safetensors",
)  # fmt: skip
COMFY = (
    "models/checkpoints/dream.safetensors", "models/diffusion_models/flux.sft", "models/unet/old.safetensors",
    "models/loras/style/ink.safetensors", "models/vae/ae.safetensors", "models/vae_approx/taef1.safetensors",
    "models/text_encoders/t5.safetensors", "models/clip/clip_l.safetensors", "models/controlnet/union.safetensors",
    "models/upscale_models/x2.pth", "models/embeddings/good.safetensors", "models/clip_vision/vit.safetensors",
)  # fmt: skip
STABILITY_MATRIX = ("StableDiffusion/dream.safetensors", "Lora/ink.safetensors", "ApproxVAE/taesd.pt")
PLAIN = ("dream.safetensors", "sub/ink.safetensors")


def tree(root: Path, files: Sequence[str]) -> Path:
    for number, file in enumerate(files):
        write(root / file, bytes([number]) * 4)
    return root


FOUND: dict[str, tuple[Sequence[str], Kind, str, str]] = {
    "a checkpoint": (A1111, "checkpoint", "dream", A1111[0]),
    "by its file name": (A1111, "checkpoint", "dream.safetensors", A1111[0]),
    "in a folder": (A1111, "checkpoint", "any", A1111[2]),
    "by its path from its folder": (A1111, "checkpoint", "anime/any.ckpt", A1111[2]),
    "by its path without an end": (A1111, "checkpoint", "anime\\any", A1111[2]),
    "a VAE beside a checkpoint": (A1111, "vae", "dream.vae", A1111[1]),
    "in upper case": (A1111, "lora", "INK", A1111[3]),
    "a LyCORIS": (A1111, "lora", "wave", A1111[4]),
    "a VAE": (A1111, "vae", "kl.safetensors", A1111[5]),
    "a tiny VAE": (A1111, "tiny_vae", "taesd", A1111[6]),
    "a ControlNet": (A1111, "controlnet", "canny", A1111[7]),
    "an upscaler": (A1111, "upscaler", "x4", A1111[8]),
    "an embedding": (A1111, "embedding", "bad", A1111[9]),
    "a ControlNet of the extension": (A1111, "controlnet", "depth", A1111[10]),
    "a text encoder": (A1111, "text_encoder", "t5xxl", A1111[11]),
    "Comfy: a checkpoint": (COMFY, "checkpoint", "dream", COMFY[0]),
    "Comfy: a transformer": (COMFY, "diffusion_model", "flux", COMFY[1]),
    "Comfy: of the old name": (COMFY, "diffusion_model", "old", COMFY[2]),
    "Comfy: a LoRA": (COMFY, "lora", "style/ink", COMFY[3]),
    "Comfy: a VAE": (COMFY, "vae", "ae", COMFY[4]),
    "Comfy: a tiny VAE": (COMFY, "tiny_vae", "taef1", COMFY[5]),
    "Comfy: T5": (COMFY, "text_encoder", "t5", COMFY[6]),
    "Comfy: CLIP": (COMFY, "text_encoder", "clip_l.safetensors", COMFY[7]),
    "Comfy: a ControlNet": (COMFY, "controlnet", "union", COMFY[8]),
    "Comfy: an upscaler": (COMFY, "upscaler", "x2", COMFY[9]),
    "Comfy: an embedding": (COMFY, "embedding", "good", COMFY[10]),
    "Comfy: an image encoder": (COMFY, "image_encoder", "vit", COMFY[11]),
    "StabilityMatrix: a checkpoint": (STABILITY_MATRIX, "checkpoint", "dream", STABILITY_MATRIX[0]),
    "StabilityMatrix: a LoRA": (STABILITY_MATRIX, "lora", "ink", STABILITY_MATRIX[1]),
    "StabilityMatrix: a tiny VAE": (STABILITY_MATRIX, "tiny_vae", "taesd", STABILITY_MATRIX[2]),
    "a plain folder": (PLAIN, "lora", "ink", PLAIN[1]),
    "a plain folder, a checkpoint": (PLAIN, "checkpoint", "dream", PLAIN[0]),
}


@pytest.mark.parametrize("files, kind, name, right", FOUND.values(), ids=FOUND.keys())
def test_names_are_found_in_trees(files: Sequence[str], kind: Kind, name: str, right: str, tmp_path: Path) -> None:
    root = tree(tmp_path, files)
    assert find(kind, name, [root]) == root / right
    if (root / "models").is_dir():
        assert files in (A1111, COMFY)
        if not right.startswith(("embeddings", "extensions")):
            assert find(kind, name, [root / "models"]) == root / right, "the folder models alone"


def test_a_kind_is_not_found_in_the_folder_of_another(tmp_path: Path) -> None:
    root = tree(tmp_path, A1111)
    assert look_up("lora", "dream", [root]) is None
    assert look_up("checkpoint", "dream.vae", [root]) is None
    assert look_up("diffusion_model", "dream", [root]) is not None, "Forge keeps them together"


def test_a_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "tree", PLAIN)
    monkeypatch.chdir(tmp_path)
    mine = write(tmp_path / "ink.safetensors", b"mine")
    assert find("lora", "ink.safetensors", [root]) == Path("ink.safetensors")
    assert find("lora", str(mine), []) == mine
    (tmp_path / "ink").mkdir()  # a folder that is no model
    assert find("lora", "ink", [root]) == root / PLAIN[1]


def test_the_digits_of_the_web_ui_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name / "ink.safetensors", name.encode() * 5) for name in ("one", "two"))
    digest = hashlib.sha256(two.read_bytes()).hexdigest()
    for digits in (digest[:10], digest[:8].upper(), digest, hashlib.sha256(b"two" * 5).hexdigest()[:12]):
        assert find("lora", f"ink [{digits}]", [tmp_path]) == two
        assert find("lora", f"ink.safetensors [{digits}]", [tmp_path]) == two
    with pytest.raises(UserError, match=r"one/ink.safetensors has the digest .*, not 0123456789"):
        find("lora", "one/ink [0123456789]", [tmp_path])
    large = write(tmp_path / "old.ckpt", bytes(0x100000) + b"x" * 0x20000)
    digits = hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    assert find("checkpoint", f"old.ckpt [{digits}]", [tmp_path]) == large
    assert one.exists()


def test_digits_that_are_known_find_a_renamed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("deforum.models.digest.KEPT_ABOVE", 1)
    path = write(tmp_path / "tree" / "new name.safetensors")
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    assert look_up("lora", f"old name [{digits}]", [tmp_path / "tree"]) is None
    find("lora", f"new name [{digits}]", [tmp_path / "tree"])
    assert find("lora", f"old name [{digits}]", [tmp_path / "tree"]) == path


@pytest.mark.parametrize("key", library.TITLES)
def test_titles_in_the_metadata_are_names(key: str, tmp_path: Path) -> None:
    path = write(tmp_path / "v2-000010.safetensors", metadata={key: "Ink Wash"})
    write(tmp_path / "ink.safetensors", b"other")
    assert find("lora", "ink wash", [tmp_path]) == path


def test_several_models_of_a_name_are_an_error_that_lists_them(tmp_path: Path) -> None:
    root = tree(tmp_path, ("models/Lora/a/ink.safetensors", "models/Lora/b/ink.safetensors"))
    with pytest.raises(UserError, match=r"2 models fit the LoRA name 'ink': .*a/ink.safetensors, .*b/ink.safetensors"):
        find("lora", "ink", [root])
    assert find("lora", "b/ink", [root]).parent.name == "b"


def test_one_file_in_two_trees_is_one_model(tmp_path: Path) -> None:
    root = tree(tmp_path / "one", ("models/Lora/ink.safetensors",))
    (tmp_path / "two" / "models").mkdir(parents=True)
    (tmp_path / "two" / "models" / "loras").symlink_to(root / "models" / "Lora")
    (root / "models" / "Lora" / "round").symlink_to(root / "models" / "Lora")
    assert find("lora", "ink", [root, tmp_path / "two"]) == root / "models" / "Lora" / "ink.safetensors"


def test_upper_and_lower_case_tell_apart_where_they_must(tmp_path: Path) -> None:
    root = tree(tmp_path, ("Ink.safetensors", "ink.safetensors"))
    assert find("lora", "Ink", [root]).name == "Ink.safetensors"
    with pytest.raises(UserError, match="2 models fit"):
        find("lora", "INK", [root])


def test_a_missing_model_is_told_with_the_nearest_name_and_where_it_was_looked_for(tmp_path: Path) -> None:
    root = tree(tmp_path, A1111)
    with pytest.raises(
        UserError, match=rf"no LoRA 'inc', did you mean 'ink'\?; looked at the 2 of this kind in {tmp_path}"
    ):
        find("lora", "inc", [root])
    with pytest.raises(UserError, match="no upscaler 'x4'; give its path, or set models_dir"):
        find("upscaler", "x4", [])


FOLDERS: dict[str, tuple[str, Kind]] = {
    "a pipeline": ("model_index.json", "checkpoint"),
    "a network": ("config.json", "controlnet"),
    "a LoRA of PEFT": ("adapter_config.json", "lora"),
}


@pytest.mark.parametrize("mark, kind", FOLDERS.values(), ids=FOLDERS.keys())
def test_folders_are_models(mark: str, kind: Kind, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / mark).write_text("{}")
    assert find(kind, "mine", [tmp_path]) == folder
    assert find(kind, str(folder), []) == folder
    assert [entry.path for entry in entries([kind], [tmp_path])] == [folder], "its parts are no models"


EXTRA = """
# Rename this to extra_model_paths.yaml and ComfyUI will load it
a111:
    base_path: webui/
    checkpoints: models/Stable-diffusion
    loras: |
        models/Lora
        models/LyCORIS  # of an extension
    embeddings: embeddings
comfyui:
    base_path: {base}
    is_default: true
    diffusion_models: |
                 models/diffusion_models
                 models/unet
    loras: models/loras/
    custom_nodes: custom_nodes/
empty:
"""


@pytest.mark.parametrize("as_file", [True, False])
def test_extra_model_paths_are_read_as_they_are(as_file: bool, tmp_path: Path) -> None:
    tree(tmp_path / "webui", A1111)
    comfy = tree(tmp_path / "comfy", COMFY)
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(EXTRA.format(base=comfy))
    root = file if as_file else tmp_path
    assert find("checkpoint", "any", [root]) == tmp_path / "webui" / A1111[2]
    assert find("lora", "wave", [root]) == tmp_path / "webui" / A1111[4]
    assert find("embedding", "bad", [root]) == tmp_path / "webui" / A1111[9]
    assert find("diffusion_model", "old", [root]) == comfy / COMFY[2]
    assert [entry.path.parent.name for entry in entries(["lora"], [root])] == ["style", "Lora", "LyCORIS"]


@pytest.mark.parametrize("text", ["a: [", "- a\n- b", "comfyui: 3"])
def test_broken_extra_model_paths_are_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"extra_model_paths.yaml: (cannot be read|expected programs)"):
        find("lora", "ink", [file])


def test_roots_are_those_of_the_setting_then_of_the_environment(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two; with a mark", "three"))
    for folder in (one, two, three):
        folder.mkdir()
    assert roots_of(f"{one};{three}", {VARIABLE: str(two)}) == (one, three, two)
    assert roots_of(None, {VARIABLE: str(one)}) == (one,)
    assert roots_of(str(one), {VARIABLE: str(one)}) == (one,)
    assert roots_of("", {}) == ()
    for text, where in ((str(tmp_path / "four"), "models_dir"), (str(write(tmp_path / "a.pt")), "models_dir")):
        with pytest.raises(UserError, match=f"{where}: .*no such folder; expected"):
            roots_of(text, {})
    with pytest.raises(UserError, match=f"{VARIABLE}: .*no such folder"):
        roots_of(None, {VARIABLE: "nowhere"})


HUB: dict[str, tuple[tuple[str, ...], str, str]] = {
    "its one file": (("ink.safetensors", "README.md"), "owner/name", "ink.safetensors"),
    "a file of several": (("a.safetensors", "sub/b.safetensors"), "owner/name/sub/b.safetensors", "sub/b.safetensors"),
    "a folder": (("config.json", "model.safetensors"), "owner/name", "."),
    "a folder within": (("canny/config.json", "canny/model.safetensors"), "owner/name/canny", "canny"),
}


@pytest.mark.parametrize("files, name, right", HUB.values(), ids=HUB.keys())
def test_the_hub_cache_is_searched(
    files: tuple[str, ...], name: str, right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--owner--name"
    for file in files:
        write(model / "snapshots" / "abc" / file)
    write(model / "snapshots" / "older" / "other.safetensors")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    assert find("lora", name, []) == model / "snapshots" / "abc" / right
    for other in ("owner/nothing", "owner/name/../../../../x.pt", "owner/name/none.safetensors"):
        assert look_up("lora", other, []) is None


def test_several_files_in_the_hub_cache_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in "ab":
        write(tmp_path / "models--owner--name" / "snapshots" / "abc" / f"{name}.safetensors")
    with pytest.raises(UserError, match=r"2 files of weights .* owner/name/a.safetensors, owner/name/b.safetensors"):
        find("lora", "owner/name", [])


def test_folders_of_kinds_are_in_lower_case() -> None:
    assert all(name == name.lower() for row in KINDS.values() for name in row.folders)
