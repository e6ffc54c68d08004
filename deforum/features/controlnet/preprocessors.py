"""The preprocessors of control units, by the names in Deforum's files and in the web UI. Does not import torch.

To add one, add a row to `_ROWS` and a function to `filters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deforum.errors import UserError
from schedules import nearest
from schedules.quoting import quote

FILTERS = "deforum.features.controlnet.filters"
AUX = "deforum.features.controlnet.annotators"


@dataclass(frozen=True)
class Slider:
    """A value of a preprocessor: its usual one, and its range."""

    usual: float
    low: float
    high: float

    def value(self, given: float | None) -> float:
        """Return a given value, or the usual one where there is none or it is out of range, as the web UI does."""
        return self.usual if given is None or not self.low <= given <= self.high else given


NONE = Slider(0, 0, 0)


@dataclass(frozen=True)
class Preprocessor:
    """How a control picture is made from a picture."""

    name: str
    names: tuple[str, ...]
    """Others for the same."""
    run: str
    """Import path of the function (picture (3, h, w), `filters.Given`) -> control picture."""
    a: Slider = NONE
    b: Slider = NONE
    task: str = ""
    """Its kind for a union of ControlNets, a key of `adapters.find.TASKS`; "" if it may be any."""
    needs: str = ""
    """"depth" or "flow": the model that it needs; "mask"."""
    depth: str = ""
    """The depth model, where that is not the run's: a row of `deforum.depth.MODELS`."""
    annotator: str = ""
    """The class of controlnet-aux that makes it; "" for those here."""
    note: str = ""
    """What is different from the web UI's, as the end of a sentence."""


def _own(name: str, *names: str, a: Slider = NONE, b: Slider = NONE, task: str = "", needs: str = "", run: str = "",
         depth: str = "", note: str = "") -> Preprocessor:  # fmt: skip
    return Preprocessor(name, names, f"{FILTERS}:{run or name}", a, b, task, needs, depth, note=note)


def _aux(name: str, *names: str, annotator: str, task: str) -> Preprocessor:
    return Preprocessor(name, names, f"{AUX}:annotate", task=task, annotator=annotator)


_LEVEL = Slider(127, 0, 255)
_TILES = "a correction of colours after painting is left to color_coherence"

_ROWS: tuple[Preprocessor, ...] = (
    _own("none", run="as_it_is"),
    _own("invert", "invert (from white bg & black line)", task="canny"),
    _own("canny", a=Slider(100, 1, 255), b=Slider(200, 1, 255), task="canny"),
    _own("blur", "blur_gaussian", a=Slider(9, 0.01, 64), task="tile"),
    _own("threshold", a=_LEVEL, task="canny"),
    _own("tile", "tile_resample", a=Slider(1, 1, 8), task="tile"),
    _own("tile_colorfix", a=NONE, task="tile", run="as_it_is", note=_TILES),
    _own("tile_colorfix+sharp", a=NONE, task="tile", run="as_it_is", note=_TILES),
    _own("shuffle"),
    _own("recolor_luminance", a=Slider(1, 0.1, 2), task="tile"),
    _own("recolor_intensity", a=Slider(1, 0.1, 2), task="tile"),
    _own("color", "t2ia_color_grid"),
    _own("scribble_xdog", a=Slider(32, 1, 64), task="softedge"),
    _own("lineart_standard", "lineart_standard (from white bg & black line)", task="canny"),
    _own("mlsd", a=Slider(0.1, 0.01, 2), b=Slider(0.1, 0.01, 20), task="canny",
         note="straight lines are found by OpenCV's detector of line segments"),
    _own("depth", "depth_midas", "depth_leres", "depth_leres++", "depth_hand_refiner", task="depth", needs="depth",
         a=Slider(0, 0, 100), b=Slider(0, 0, 100)),
    _own("depth_zoe", task="depth", needs="depth", run="depth", depth="zoe"),
    _own("depth_anything", "depth_anything_v2", task="depth", needs="depth", run="depth",
         depth="depth-anything-v2-small"),
    _own("normal_map", "normal_midas", "normal", a=Slider(0.4, 0, 1), task="normal", needs="depth"),
    _own("optical_flow", needs="flow"),
    _own("inpaint", "inpaint_global_harmonious", "inpaint_only", "inpaint_only+lama", task="inpaint", needs="mask"),
    _aux("openpose", "openpose_full", "openpose_hand", "openpose_face", "openpose_faceonly", "dw_openpose_full",
         annotator="OpenposeDetector", task="openpose"),
    _aux("hed", "softedge_hed", "hed_safe", "softedge_hedsafe", "scribble_hed", annotator="HEDdetector",
         task="softedge"),
    _aux("pidinet", "softedge_pidinet", "pidinet_safe", "softedge_pidisafe", "pidinet_sketch", "pidinet_scribble",
         "scribble_pidinet", annotator="PidiNetDetector", task="softedge"),
    _aux("teed", "softedge_teed", "te_hed", annotator="TEEDdetector", task="softedge"),
    _aux("anyline", "softedge_anyline", annotator="AnylineDetector", task="softedge"),
    _aux("lineart", "lineart_realistic", "lineart_coarse", annotator="LineartDetector", task="canny"),
    _aux("lineart_anime", "lineart_anime_denoise", annotator="LineartAnimeDetector", task="canny"),
    _aux("normal_bae", annotator="NormalBaeDetector", task="normal"),
    _aux("mediapipe_face", annotator="MediapipeFaceDetector", task="openpose"),
    _aux("mobile_sam", annotator="SamDetector", task="segment"),
)  # fmt: skip

PREPROCESSORS: Mapping[str, Preprocessor] = {name: row for row in _ROWS for name in (row.name, *row.names)}
"""By all of their names, in small letters."""

ELSEWHERE: Mapping[str, str] = {
    "reference_": "guides by a picture without a control model, which is not supported",
    "revision_": "needs the vision model of unCLIP, which is not supported",
    "ip-adapter": "belongs to an IP-Adapter, which is no control unit",
    "clip_vision": "belongs to a style adapter, which is not supported",
    "instant_id": "belongs to InstantID, which is not supported",
    **dict.fromkeys(
        ("densepose", "animal_openpose", "segmentation", "seg_", "oneformer", "anime_face_segment"),
        "is not in controlnet-aux; make the control pictures elsewhere and give them, with module: none",
    ),
}
"""Beginnings of other modules' names -> what they are."""


def find_preprocessor(name: str) -> Preprocessor:
    """Find a preprocessor by any of its names. Raises UserError, also for one that no package here has."""
    wanted = " ".join(name.split()).casefold() or "none"
    row = PREPROCESSORS.get(wanted)
    if row is not None:
        return row
    what = next((what for start, what in ELSEWHERE.items() if wanted.startswith(start)), "")
    if what:
        raise UserError(f"{quote(name)} {what}")
    meant = nearest(wanted, PREPROCESSORS)
    listed = ", ".join(row.name for row in _ROWS)
    hint = f"did you mean {meant}?" if meant else f"expected one of {listed}"
    raise UserError(
        f"there is no preprocessor {quote(name)}; {hint} Or give the control picture itself, with module: none"
    )
