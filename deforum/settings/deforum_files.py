"""Deforum's own settings files (JSON), translated into the names and values of this renderer.

Files come from the A1111 extension (2022 to 2024), its Forge fork, deforum-studio and the original notebook. Where a
name has another meaning there (`strength` is that of the first frame), Deforum's meaning is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deforum.errors import Problem, UserError
from deforum.settings import document
from deforum.settings.declare import Declaration
from deforum.settings.document import Node, Place, Scalar
from deforum.settings.faults import Wrong
from deforum.settings.keyed_texts import by_keyframe
from deforum.settings.notebook import HYBRID, HYBRID_DEFAULTS, HYBRID_NOW, IDLE_BY_NAME, evenly_keyed, keyed_from_zero
from deforum.settings.options import CONTROLS, DECLARATIONS
from deforum.settings.other_json import refuse_other_kinds
from schedules.quoting import cut, quote

DISSOLVED: Mapping[str, str] = {
    "enable_steps_scheduling": "steps takes a schedule as well as a number",
    "enable_sampler_scheduling": "sampler takes a schedule as well as a name",
    "enable_scheduler_scheduling": "scheduler acts when it is given",
    "enable_checkpoint_scheduling": "a checkpoint schedule acts when it is given",
    "enable_clipskip_scheduling": "clip_skip acts when it is given",
    "enable_noise_multiplier_scheduling": "noise_multiplier: 1 is neutral",
    "enable_subseed_scheduling": "subseed_strength: 0 is off",
    "enable_ddim_eta_scheduling": "ddim_eta acts when it is given",
    "enable_ancestral_eta_scheduling": "ancestral_eta acts when it is given",
    "use_init": "init_image acts when it is given; null: no init image",
}
"""Deforum's switches that are replaced by the value of another setting."""

UI, STAMP = "a setting of the web UI", "written by the program that made the file, as a record"
FOREIGN: Mapping[str, str] = {
    "show_info_on_ui": UI,
    "motion_preview_mode": UI,
    "init_image_box": UI,
    "image_path": UI,
    "init_sample": UI,
    "override_settings_with_file": UI,
    "custom_settings_file": UI,
    "store_frames_in_ram": "frames are never all held in memory",
    "sd_model_name": "the checkpoint that the file was made with; model sets the one to render with",
    "histogram_matching": "replaced by color_coherence",
    "sd_model_hash": STAMP,
    "deforum_git_commit_id": STAMP,
    "fetched_parseq_manifest_summary": STAMP,
}
"""Names in Deforum's files that have no effect on a render."""

FOREIGN_FAMILIES: tuple[tuple[str, str, str], ...] = (
    # prefix of the names, the feature, the name that turns it on
    ("freeu_", "FreeU for some of the steps", ""),
    ("kohya_hrfix_", "Kohya's high-resolution fix", "kohya_hrfix_enabled"),
    ("wan_", "Wan video models", ""),
    ("distilled_cfg_scale", "distilled guidance", ""),
)
"""Settings of forks for features that are not supported; a note says so where they are turned on."""

GATED: tuple[tuple[str, str, bool, str, str], ...] = (
    # setting, switch, default of the switch, schedule that it turns on, value while it is off ("": the plain setting)
    ("steps", "enable_steps_scheduling", False, "steps_schedule", ""),
    ("sampler", "enable_sampler_scheduling", False, "sampler_schedule", ""),
    ("scheduler", "enable_scheduler_scheduling", False, "scheduler_schedule", "none"),
    ("checkpoint", "enable_checkpoint_scheduling", False, "checkpoint_schedule", '""'),
    ("clip_skip", "enable_clipskip_scheduling", False, "clipskip_schedule", "1"),
    ("noise_multiplier", "enable_noise_multiplier_scheduling", True, "noise_multiplier_schedule", "1"),
    ("subseed", "enable_subseed_scheduling", False, "subseed_schedule", "-1"),
    ("subseed_strength", "enable_subseed_scheduling", False, "subseed_strength_schedule", "0"),
    ("ddim_eta", "enable_ddim_eta_scheduling", False, "ddim_eta_schedule", "0"),
    ("ancestral_eta", "enable_ancestral_eta_scheduling", False, "ancestral_eta_schedule", "1"),
    *((name, "freeu_enabled", False, name, "1") for name in ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")),
)

SCHEDULE_SWITCHES = frozenset(row[1] for row in GATED)
"""Deforum's switches of schedules; a setting is given under the name of its switch where that is off."""

SCHEDULE_DEFAULTS: Mapping[str, str] = {
    "steps_schedule": "25",
    "sampler_schedule": "Euler a",
    "scheduler_schedule": "Simple",
    "checkpoint_schedule": '""',
    "clipskip_schedule": "2",
    "noise_multiplier_schedule": "1.05",
    "subseed_schedule": "1",
    "subseed_strength_schedule": "0",
    "ddim_eta_schedule": "0",
    "ancestral_eta_schedule": "1",
    "freeu_b1": "1.3",
    "freeu_b2": "1.4",
    "freeu_s1": "0.9",
    "freeu_s2": "0.2",
}
"""Value of a schedule that is switched on but missing in the file."""

FORGE_DEFAULTS: Mapping[str, str] = {
    "max_frames": "333", "zoom": "1", "translation_z": "0", "strength_schedule": "0.85", "cfg_scale_schedule": "1",
    "steps": "20", "sampler": "Euler", "color_coherence": "None", "diffusion_cadence": "10",
    "depth_algorithm": "Depth-Anything-V2-Small", "W": "1280", "H": "720", "strength": "0.85",
    "image_strength_schedule": "0.85", "fps": "60", "keyframe_distribution": "Keyframes Only",
}  # fmt: skip
"""Defaults of the Forge fork that differ from those of the A1111 extension."""

_BY_MODEL = {"fps": "24", "keyframe_distribution": "Keyframes Only"}
RENDER_MODES: Mapping[str, Mapping[str, str]] = {
    "classic 3d": {"fps": "24", "diffusion_cadence": "2", "keyframe_distribution": "Off"},
    "new 3d": {"fps": "60", "diffusion_cadence": "5", "steps": "20", "keyframe_strength_schedule": "0.15",
               "strength_schedule": "0.85", "keyframe_distribution": "Redistributed Cadence"},
    "keyframes only": {"fps": "60", "keyframe_distribution": "Keyframes Only"},
    **dict.fromkeys(("flux + interpolation", "flux/wan", "keyframes + interpolation"), _BY_MODEL),
}  # fmt: skip
"""The Forge fork's render_mode (its later generation), and the defaults that come with it."""

MEANINGS: Mapping[str, Mapping[str, str]] = {
    # value in files of earlier versions -> present name
    "hybrid_composite": {"true": "Normal", "false": "None"},
    "optical_flow_cadence": {"true": "DIS Fine", "false": "None"},
    "optical_flow_redo_generation": {"true": "DIS Fine", "false": "None"},
    "add_soundtrack": {"true": "File", "false": "None"},
    "hybrid_motion": {"false": "None"},
    "color_coherence": {f"match frame 0 {space}": space.upper() for space in ("hsv", "lab", "rgb")},
    "precision": {"autocast": "auto", "full": "fp32"},
    "fill": {"0": "fill", "1": "original", "2": "latent noise", "3": "latent nothing"},
    "cn_resize_mode": {
        "envelope (outer fit)": "Outer Fit (Shrink to Fit)",
        "scale to fit (inner fit)": "Inner Fit (Scale to Fit)",
    },
}

SAMPLE_HOST = "https://deforum.github.io/"
SAMPLES: tuple[tuple[str, str, str], ...] = (
    # setting, setting that uses it, value of that one (lower-case) with which it is unused
    ("mask_file", "use_mask", "false"),
    ("video_mask_path", "use_mask_video", "false"),
    ("video_init_path", "animation_mode", "2d"),
    ("video_init_path", "animation_mode", "3d"),
    ("soundtrack_path", "add_soundtrack", "none"),
    ("resume_timestring", "resume_from_timestring", "false"),
)

# The image-to-image samplers of the A1111 web UI in the order of late 2022; files of that time hold the index.
SAMPLER_BY_INDEX: tuple[str, ...] = (
    "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "DPM fast",
    "DPM adaptive", "LMS Karras", "DPM2 Karras", "DPM2 a Karras", "DPM++ 2S a Karras", "DPM++ 2M Karras",
    "DPM++ SDE Karras", "DDIM",
)  # fmt: skip

CONTROL_DEFAULTS: Mapping[str, str] = {"processor_res": "64", "threshold_a": "64", "threshold_b": "64"}
"""Values of a control unit that are missing in Deforum's files: what its sliders show before a module is chosen."""
FORGE_CONTROL_DEFAULTS: Mapping[str, str] = {"pixel_perfect": "true", "loopback_mode": "true"}

UNITS = frozenset(map(str, range(1, 100)))
"""Numbers of ControlNet units, as in cn_1_enabled."""

WEB_UI_ONLY = ("reroll_blank_frames", "full_res_mask", "restore_faces")
"""Names that every file of the web UI's extension has, and no file of the notebook."""

OTHERWISE: Mapping[str, str] = {
    # setting -> what Deforum does with a choice that it does not know
    "noise_type": "uniform",
    "precision": "fp32",
    "seed_behavior": "random",
}
"""Where a setting is missing here, Deforum's default is used for its unknown choices."""

FRAME_INTERPOLATION = (
    "frame_interpolation_engine", "frame_interpolation_x_amount", "frame_interpolation_slow_mo_enabled",
    "frame_interpolation_slow_mo_amount", "frame_interpolation_keep_imgs",
)  # fmt: skip

FLOW_SETTINGS = ("hybrid_flow_method", "optical_flow_cadence", "optical_flow_redo_generation")
FLOW_STAND_IN = "DIS Medium"
"""Replaces optical flow methods that are not here, such as DenseRLOF, and RAFT without its weights too."""


@dataclass(frozen=True)
class Translation:
    """Settings by name, each with its name in the file and its value; and notes for the user."""

    given: Mapping[str, tuple[str, Node]]
    notes: tuple[str, ...]
    made_with: str
    """The name of the checkpoint that the file was made with; "" if unknown."""
    scheduler: str
    """The scheduler of the sampler, a setting of its own in files of other hosts; "" if there is none."""


def translate(root: document.Mapping) -> Translation:
    """Translate a Deforum file. Values are checked later, when the settings are read.

    Raises UserError for a JSON file of another kind.
    """
    refuse_other_kinds(root)
    translator = _Translator(root)
    made_with, scheduler = translator.text("sd_model_name"), " ".join(translator.text("scheduler").split())[:40]
    translator.take_render_mode()
    translator.fill_defaults()
    translator.take_size()
    translator.take_prompts()
    translator.take_interpolation()
    translator.take_switched()
    if translator.given["scheduler"][0] == "scheduler_schedule":
        scheduler = ""  # in its place
    translator.take_init_image()
    translator.take_sampler()
    translator.update_earlier_values()
    translator.drop_samples()
    translator.take_controls()
    translator.take_guided_images()
    translator.take_frame_interpolation()
    translator.take_rest()
    return Translation(translator.given, tuple(translator.notes), made_with, scheduler)


def host_choice(declaration: Declaration, written: str) -> tuple[str | None, str]:
    """Return what Deforum takes for a choice that it does not know, and a note on it. None is null."""
    name, written = declaration.name, " ".join(written.split())[:60]
    meant = MEANINGS.get(name, {}).get(written.casefold())
    if meant is not None:
        return meant, ""
    if name in FLOW_SETTINGS:
        return FLOW_STAND_IN, f"there is no optical flow method {quote(written)} here; {FLOW_STAND_IN} stands in"
    instead: str | None = OTHERWISE.get(name, declaration.default)
    return instead, f"{quote(written)} is not a choice; {instead} is used, as in Deforum"


def _is_empty(node: Node | None) -> bool:
    match node:
        case document.Mapping(entries=entries):
            return not entries
        case document.Sequence(items=items):
            return not items
        case Scalar(text=text):
            return not text.strip()
    return True


def _with_negatives(prompts: Node, negatives: document.Mapping) -> Node | None:
    """Merge the notebook's negative prompts, which have their own keyframes, into the prompts.

    Returns None where the keyframes are not frame numbers.
    """
    if isinstance(prompts, Scalar):
        prompts = document.Mapping(((Scalar("0", prompts.place), prompts),), prompts.place)
    if not isinstance(prompts, document.Mapping):
        return None
    positive = {_frame(key): node.text for key, node in prompts.entries if isinstance(node, Scalar)}
    negative = {_frame(key): node.text for key, node in negatives.entries if isinstance(node, Scalar)}

    def held(texts: Mapping[float, str], frame: float) -> str:
        before = [key for key in texts if key <= frame]
        return texts[max(before) if before else min(texts)] if texts else ""

    if not any(negative.values()):
        return prompts
    if not positive or any(map(math.isnan, (*positive, *negative))):
        return None
    entries = []
    for frame in sorted({*positive, *negative}):
        text = held(positive, frame)
        against = held(negative, frame)
        merged = f"{text} --neg {against}" if against and "--neg" not in text else text
        entries.append((Scalar(f"{frame:g}", prompts.place), Scalar(merged, prompts.place, plain=False)))
    return document.Mapping(tuple(entries), prompts.place)


def _frame(key: Scalar) -> float:
    return float(key.text) if key.text.isdecimal() else math.nan


def _are_merged(prompts: Node, positive: str, negative: str) -> bool:
    """Whether every prompt contains both fields, as Deforum merges them: 'positive prompt --neg negative'."""
    if not isinstance(prompts, document.Mapping):
        return False
    texts = [node.text for _, node in prompts.entries if isinstance(node, Scalar)]
    end = negative.replace("--neg", "").strip()
    return bool(texts) and all(
        text.startswith(f"{positive} ") and "--neg" in text and text.rstrip().endswith(end) for text in texts
    )


@dataclass
class _Translator:
    """A translation in progress: values still to translate (`left`), translated settings (`given`), and notes."""

    root: document.Mapping
    left: dict[str, Node] = field(init=False)
    given: dict[str, tuple[str, Node]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    """Later name -> the notebook's name in the file."""

    def __post_init__(self) -> None:
        # The last of equal names wins, as in Deforum; null counts as missing.
        self.left = {key.text.strip(): node for key, node in self.root.entries}
        self.left = {name: node for name, node in self.left.items() if not (isinstance(node, Scalar) and node.is_null)}
        for name in [name for name in self.left if name.startswith(HYBRID)]:
            later, node = HYBRID_NOW + name.removeprefix(HYBRID), self.left.pop(name)
            if later not in self.left:
                self.left[later], self.written[later] = node, name

    def place(self, name: str) -> Place:
        return self.left[name].place if name in self.left else self.root.place

    def text(self, name: str, default: str = "") -> str:
        """Return the text of a value in `left`; `default` if there is none."""
        node = self.left.get(name)
        return node.text if isinstance(node, Scalar) else default

    def choice(self, name: str, default: str = "") -> str:
        """Return the text of a value for a comparison: in small letters, without blanks around it."""
        return " ".join(self.text(name, default).split()).casefold()

    def flag(self, name: str, default: bool) -> bool:
        text = self.choice(name, str(default))
        return text in ("true", "1", "1.0", "yes", "on")

    def refuse_groups(self, *names: str) -> None:
        """Raise UserError where one of the values is a list or a mapping, which `text` would take for a missing one."""
        for name in names:
            node = self.left.get(name)
            if node is not None and not isinstance(node, Scalar):
                kind = "mapping" if isinstance(node, document.Mapping) else "list"
                message = f"{name}: a {kind} cannot be read here; expected a text or a number"
                raise UserError(Problem(message, str(node.place)))

    def by_keyframe(self, name: str) -> Scalar | document.Mapping:
        """Return a value of `left` with its keyframes. Raises UserError where it cannot be read."""
        try:
            return by_keyframe(self.left[name], name)
        except Wrong as wrong:
            raise UserError(wrong.problem) from None

    def put(self, name: str, text: str, written: str, *, plain: bool = True) -> None:
        """Set a setting to a text, with the place of `written` in the file."""
        node = self.left.get(written)
        if isinstance(node, Scalar) and node.text == text:
            self.given[name] = (written, node)
        else:
            self.given[name] = (written, Scalar(text, self.place(written), plain))

    def drop(self, *names: str) -> None:
        for name in names:
            self.left.pop(name, None)

    def is_forge(self) -> bool:
        """Whether the file is one of the Forge fork's."""
        return any(key.text.strip().startswith(("wan_", "keyframe_distribution", "distilled_cfg", "render_mode"))
                   for key, _ in self.root.entries)  # fmt: skip

    def fill_defaults(self) -> None:
        """Add Deforum's defaults for names that are missing in the file."""
        forge = self.is_forge()
        # Files older than the setting legacy_colormatch were made with the old colour match.
        defaults = {"legacy_colormatch": "true", "depth_algorithm": "Midas-3-Hybrid", "clip_fit": "stretch"}
        defaults |= FORGE_DEFAULTS if forge else {}
        defaults |= HYBRID_DEFAULTS if self.written else {}
        if "width" in self.left or "height" in self.left:
            defaults = {name: text for name, text in defaults.items() if name not in ("W", "H")}
        for name, text in defaults.items():
            self.left.setdefault(name, Scalar(text, self.root.place))
        if "profile" not in self.left:
            self.put("profile", "deforum", "profile")

    def take_render_mode(self) -> None:
        """Read render_mode, which files of the Forge fork's later generation have; it counts keyframes from 0."""
        if "render_mode" not in self.left:
            return
        self.refuse_groups("render_mode", "keyframe_distribution")
        mode = self.choice("render_mode")
        if self.choice("keyframe_distribution") == "redistributed":
            self.left["keyframe_distribution"] = Scalar("Redistributed Cadence", self.place("keyframe_distribution"))
        for name, text in RENDER_MODES.get(mode, {}).items():
            self.left.setdefault(name, Scalar(text, self.place("render_mode")))
        self.left.setdefault("keyframe_numbering", Scalar("from 0", self.place("render_mode")))
        if RENDER_MODES.get(mode) is _BY_MODEL:
            named = quote(self.text("render_mode")[:60])
            self.notes.append(f"render_mode: {named} makes the frames between keyframes with a video model, which is "
                              "not here; they are moved and blended")  # fmt: skip
        elif mode not in RENDER_MODES:
            self.notes.append(f"render_mode: {quote(self.text('render_mode')[:60])} is not known; it is left out")
        self.drop("render_mode")

    def take_size(self) -> None:
        """Read the size from either pair of names, and round it down to a multiple of 8."""
        self.refuse_groups("width", "height", "W", "H", "seed_resize_from_w", "seed_resize_from_h")
        for name, old in (("width", "W"), ("height", "H")):
            written = old if old in self.left else name
            if written not in self.left:
                continue
            text = self.text(written).strip()
            if re.fullmatch(r"\d{1,9}(\.0*)?", text) and int(float(text)) % 8 and int(float(text)) >= 8:
                fitting = int(float(text)) // 8 * 8
                self.notes.append(f"{written}: {text} became {fitting}, as frames are a multiple of 8 wide and high")
                text = str(fitting)
            self.put(name, text, written)
            self.drop(old, name)
        # A seed that is resized from the rendered size is unchanged.
        sides = (("seed_resize_from_w", "width"), ("seed_resize_from_h", "height"))
        sizes = [(self.choice(name, "0"), self.given[side][1] if side in self.given else None) for name, side in sides]
        if all(text in ("0", "-1") or (isinstance(node, Scalar) and text == node.text) for text, node in sizes):
            self.drop(*(name for name, _ in sides))

    def take_prompts(self) -> None:
        """Read the prompts in any of their forms, and detect whether the prompt fields are merged in already."""
        prompt_names = ("animation_prompts", "prompts", "cond_prompts")
        written = next((name for name in prompt_names if not _is_empty(self.left.get(name))), "")
        prompts: Node | None = self.by_keyframe(written) if written else None
        if written == "animation_prompts" and isinstance(self.left.get("prompts"), document.Sequence):
            self.notes.append("prompts: this list is for still images, which are not made here")
        negative_names = ("neg_prompts", "uncond_prompts", "negative_prompts")
        against = next((name for name in negative_names if name in self.left), "")
        negatives = self.by_keyframe(against) if against and against != "negative_prompts" else self.left.get(against)
        if prompts is not None and isinstance(negatives, document.Mapping):  # the notebook's, by keyframe
            merged = _with_negatives(prompts, negatives)
            if merged is None:
                self.notes.append(
                    f"{against}: left out, as its keyframes or those of the prompts are not frame numbers"
                )
            else:
                prompts = merged
        fields = {
            "positive_prompt": ("positive_prompts", "animation_prompts_positive"),
            "negative_prompt": ("negative_prompts", "animation_prompts_negative"),
        }
        texts: dict[str, tuple[str, str]] = {}
        for name, names in fields.items():
            present = [other for other in names if isinstance(self.left.get(other), Scalar)]
            chosen = next((other for other in present if self.text(other)), present[0] if present else "")
            texts[name] = (chosen, self.text(chosen))
        positive, negative = texts["positive_prompt"][1], texts["negative_prompt"][1]
        if prompts is not None and (positive or negative) and _are_merged(prompts, positive, negative):
            self.notes.append("the prompts contain the positive and negative prompt already; these are not added again")
        else:
            for name, (chosen, text) in texts.items():
                if text:
                    self.put(name, text, chosen, plain=False)
        if prompts is not None:
            self.given["prompts"] = (written, prompts)
        field_names = [each for names in fields.values() for each in names]
        self.drop(*prompt_names, *negative_names, *field_names)
        self.take_sub_prompts()

    def take_sub_prompts(self) -> None:
        """Take the notebook's weighted sub-prompts; they are divided by their sum unless the file says otherwise."""
        if self.flag("prompt_weighting", False):
            shares = self.flag("normalize_prompt_weights", True)
            self.put("prompt_weighting", "shares" if shares else "weights", "prompt_weighting")
            self.notes.append("prompt_weighting: prompts are read as parts with weights, as in the notebook")
        self.drop("prompt_weighting", "normalize_prompt_weights")

    def take_interpolation(self) -> None:
        """Place the prompts and set the length as the notebook's Interpolation mode does: max_frames does not count."""
        prompts = self.given.get("prompts", ("", None))[1]
        is_on = self.choice("animation_mode") == "interpolation" and "interpolate_key_frames" in self.left
        if not is_on or not isinstance(prompts, document.Mapping) or not prompts.entries:
            return
        placed = None
        if self.flag("interpolate_key_frames", False):
            placed, how = keyed_from_zero(prompts), "from the first prompt to the last one"
        elif re.fullmatch(r"\d{1,6}(\.0*)?", self.choice("interpolate_x_frames", "4")):
            between = int(float(self.choice("interpolate_x_frames", "4")))
            placed, how = evenly_keyed(prompts, between), f"{between} frames between each two prompts"
        if placed is None:
            return
        self.given["prompts"] = (self.given["prompts"][0], placed[0])
        self.put("max_frames", str(placed[1]), "max_frames")
        self.drop("max_frames")
        self.notes.append(f"max_frames is {placed[1]}: {how}, as in the notebook's Interpolation mode")

    def take_switched(self) -> None:
        """Set each setting that has a switch to the value in effect."""
        for name, switch, default, schedule, off in GATED:
            # The notebook has ddim_eta as a plain number and no switch.
            if (
                switch not in self.left
                and name in self.left
                and name not in ("steps", "sampler", "scheduler")
                and schedule != name
            ):
                self.put(name, self.text(name, off), name)
            elif self.flag(switch, default):
                self.put(name, self.text(schedule, SCHEDULE_DEFAULTS[schedule]), schedule)
            elif name in ("steps", "sampler"):
                if name in self.left:
                    self.put(name, self.text(name), name)
            else:
                self.put(name, off, switch)
        self.drop(*(each for row in GATED for each in (row[1], row[3])))

    def take_init_image(self) -> None:
        """Take the init image if it is switched on; `strength` without _schedule is the first frame's."""
        if not self.flag("strength_0_no_init", True) and any(name in self.left for name in WEB_UI_ONLY):
            self.drop("strength_0_no_init")
            if not self.flag("use_init", False):
                self.notes.append("strength_0_no_init: off or on, the web UI paints a first frame without an init "
                                  "image from noise alone")  # fmt: skip
        image = self.text("init_image").strip()
        used = self.flag("use_init", False) or self.flag("hybrid_use_init_image", False)
        if used and image.casefold() not in ("", "none"):
            self.put("init_image", image, "init_image", plain=False)
        if "strength" in self.left:
            self.put("init_strength", self.text("strength"), "strength")
        self.drop("use_init", "init_image", "strength")

    def take_sampler(self) -> None:
        """Read the sampler, which is an index in old files."""
        if "sampler" in self.given and self.given["sampler"][0] == "sampler_schedule":
            self.drop("sampler", "sampler_name", "scheduler")
            return
        self.refuse_groups("sampler", "sampler_name", "scheduler")
        written = next((name for name in ("sampler", "sampler_name") if self.text(name).strip()), "")
        name = self.text(written).strip()
        if re.fullmatch(r"\d+", name):
            if len(name) > 4:
                what = f"{written}: {cut(name, 20)} is no sampler; expected a name, or a number of 2022, 0 to 17"
                raise UserError(Problem(what, str(self.place(written))))
            index = int(name)
            named = SAMPLER_BY_INDEX[index] if index < len(SAMPLER_BY_INDEX) else "Euler a"
            self.notes.append(f"sampler: {cut(name, 20)} became {named}, by the sampler numbers of 2022")
            name = named
        self.given.pop("sampler", None)
        if name:
            quoted = name.replace('"', "")
            self.put("sampler", f'0: ("{quoted}")', written)
        self.drop("sampler", "sampler_name", "scheduler")

    def update_earlier_values(self) -> None:
        """Convert values of earlier versions to their present names."""
        for name, meanings in MEANINGS.items():
            text = self.choice(name)
            if text in meanings:
                self.left[name] = Scalar(meanings[text], self.place(name))
        depth = self.choice("bit_depth_output", "8").removesuffix(".0")
        if depth != "8":
            self.left.setdefault("frame_format", Scalar("png16", self.place("bit_depth_output")))
            if depth != "16":
                self.notes.append(f"bit_depth_output: frames of {depth} bits are not written; 16 bits are used")
        self.drop("bit_depth_output")
        if self.choice("animation_mode", "2d") == "none":  # the notebook's stills
            self.notes.append("animation_mode: None makes stills; the first frame of the animation is rendered")
            self.left["animation_mode"] = Scalar("2D", self.place("animation_mode"))
            self.left["max_frames"] = Scalar("1", self.place("animation_mode"))
        if "use_zoe_depth" in self.left:
            model = "Zoe" if self.flag("use_zoe_depth", False) else "Midas"
            self.left["depth_algorithm"] = Scalar(f"{model}+AdaBins (old)", self.place("use_zoe_depth"))
            self.drop("use_zoe_depth")
        if self.text("shake_name") and self.choice("animation_mode", "2d") != "3d":
            self.drop("shake_name", "shake_intensity", "shake_speed")

    def drop_samples(self) -> None:
        """Drop the sample files of Deforum's defaults where nothing uses them."""
        for name, switch, off in SAMPLES:
            path = self.text(name)
            is_sample = path.startswith(SAMPLE_HOST) or name == "resume_timestring"
            if is_sample and self.choice(switch, off) == off:
                self.drop(name)

    def take_controls(self) -> None:
        """Take the enabled ControlNet units; drop the others."""
        names = [name for name in self.left if name.startswith("cn_")]
        units: set[str] = set()
        for name in names:
            _, number, setting = name.split("_", 2) if name.count("_") > 1 else (name, "", "")
            if setting not in CONTROLS or number not in UNITS or not self.flag(f"cn_{number}_enabled", False):
                continue
            units.add(number)
            if setting == "resize_mode":
                text = self.text(name)
                self.put(name, MEANINGS["cn_resize_mode"].get(text.casefold(), text), name)
            else:
                self.given[name] = (name, self.left[name])
        for number in sorted(units, key=int):
            for setting, text in {**CONTROL_DEFAULTS, **(FORGE_CONTROL_DEFAULTS if self.is_forge() else {})}.items():
                if f"cn_{number}_{setting}" not in self.given:
                    self.put(f"cn_{number}_{setting}", text, f"cn_{number}_enabled")
        self.drop(*names)

    def take_guided_images(self) -> None:
        """Read init_images, which is JSON inside a text; drop it while guided images are off."""
        if "init_images" in self.left and self.flag("use_looper", False):
            self.given["init_images"] = ("init_images", self.by_keyframe("init_images"))
            self.put("seed_behavior", "schedule", "seed_behavior")  # as Deforum does while they are on
            self.drop("seed_behavior")
        self.drop("init_images")

    def take_frame_interpolation(self) -> None:
        """Take the frames in between, where an engine is chosen; the amounts of early files are texts: Disabled, x2."""
        engine, slow = self.choice("frame_interpolation_engine", "none"), "frame_interpolation_slow_mo_amount"
        amount = self.choice("frame_interpolation_x_amount", "2").removeprefix("x")
        if engine not in ("none", "false", "") and amount != "disabled":
            self.put("interpolate", amount, "frame_interpolation_x_amount")
            slower = self.choice(slow, "2").removeprefix("x")
            if self.flag("frame_interpolation_slow_mo_enabled", slow in self.left and slower != "disabled"):
                self.put("slow_motion", slower, slow)
            if self.flag("frame_interpolation_keep_imgs", False):
                self.put("interpolate_keep_frames", "true", "frame_interpolation_keep_imgs")
            named = quote(self.text("frame_interpolation_engine")[:60])
            self.notes.append(f"frame_interpolation_engine: {named} is not here; optical flow makes the frames in "
                              "between. To use a TorchScript file of RIFE or FILM, set interpolator to it")  # fmt: skip
        self.drop(*FRAME_INTERPOLATION)

    def take_rest(self) -> None:
        """Take all other settings by name or old name; list the unknown names in one note."""
        by_name = {old: name for name, each in DECLARATIONS.items() for old in (name, *each.old)}
        unknown: list[str] = []
        for name, node in self.left.items():
            family = next((family for family in FOREIGN_FAMILIES if name.startswith(family[0])), None)
            written = self.written.get(name, name)
            if name in FOREIGN or name in DISSOLVED:
                continue
            elif name in IDLE_BY_NAME:
                row = IDLE_BY_NAME[name]
                if row.words and isinstance(node, Scalar) and node.text.strip().casefold() not in row.neutral:
                    self.notes.append(f"{written}: {row.words}")
            elif family is not None:
                if name == family[2] and self.flag(name, False):
                    self.notes.append(f"{name}: {family[1]} is not supported")
            elif name in by_name:
                self.given.setdefault(by_name[name], (written, node))
            else:
                unknown.append(written)
        if unknown and len(unknown) == len({key.text.strip() for key, _ in self.root.entries}):
            names = ", ".join(repr(name[:40]) for name in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
            raise UserError(f"{self.root.place.source}: this is not a settings file; none of its names is a setting "
                            f"({names})")  # fmt: skip
        if unknown:
            self.notes.append(f"unknown settings, left out: {cut(', '.join(unknown), 1000)}")
