"""JSON files of other kinds, which people give as settings files by mistake."""

from __future__ import annotations

from deforum.errors import UserError
from deforum.settings.document import Mapping, Scalar

_CAMERA = "give it as camera_file in a settings file, with animation_mode: 3D"
KINDS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # names that are all in such a file, what it is, what to do
    (("rendered_frames",), "a Parseq manifest", "give it as parseq_manifest in a settings file"),
    (("keyframes", "managedFields"), "a Parseq document", "give it as parseq_manifest in a settings file"),
    (("camera_path", "camera_type"), "a camera path of nerfstudio", _CAMERA),
    (("frames", "camera_model"), "a camera file of nerfstudio", _CAMERA),
    (("frames", "fl_x"), "a camera file of nerfstudio", _CAMERA),
    (("frames", "camera_angle_x"), "a camera file of nerfstudio", _CAMERA),
    (("asset", "nodes"), "a glTF scene", _CAMERA),
    (("OTIO_SCHEMA",), "a timeline of OpenTimelineIO", "make settings of it: timeline FILE -o OUT.yaml"),
    (("nodes", "links"), "a ComfyUI workflow", ""),
    (("_class_name",), "a part of a diffusers model", "give the model's folder as model in a settings file"),
    (("architectures", "model_type"), "the configuration of a transformers model", ""),
)  # fmt: skip


def refuse_other_kinds(root: Mapping) -> None:
    """Raise UserError, which says what the file is, for JSON that is known and is not a settings file."""
    names = {key.text for key, _ in root.entries}
    for marks, what, way_on in KINDS:
        if names.issuperset(marks):
            refuse(root, what, way_on)
    nodes = [{key.text for key, _ in node.entries} for _, node in root.entries if isinstance(node, Mapping)]
    if nodes and len(nodes) == len(root.entries) and all("class_type" in inner for inner in nodes):
        refuse(root, "a ComfyUI workflow", "")
    made_by = next((node for key, node in root.entries if key.text == "meta"), None)
    if isinstance(made_by, Mapping) and any(
        isinstance(value, Scalar) and value.text == "sd_parseq" for _, value in made_by.entries
    ):
        refuse(root, *KINDS[1][1:])


def refuse(root: Mapping, what: str, way_on: str) -> None:
    raise UserError(f"{root.place.source}: this is {what}, not a settings file" + (f"; {way_on}" if way_on else ""))
