"""The limits of what is read: a stranger's file cannot take unbounded time or memory.

Each message about a limit has its number in it. `docs/limits.md` lists this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from deforum.errors import UserError
from schedules.gate import DEEPEST, LONGEST, MOST_NODES
from schedules.grammar import MOST_KEYFRAMES


@dataclass(frozen=True)
class Limit:
    """The most that is read of one thing."""

    most: int
    unit: str
    of: str
    """What is limited, as the start of a sentence."""

    def __str__(self) -> str:
        return f"{self.most:,} {self.unit}"

    def exceeded(self, found: int) -> str:
        """Return the end of a message: 'has 20,000,000 bytes; expected at most 4,194,304 bytes'."""
        return f"has {found:,} {self.unit}; expected at most {self}"

    def check(self, found: int, what: str) -> None:
        """Raise UserError where `what` exceeds the limit."""
        if found > self.most:
            raise UserError(f"{what} {self.exceeded(found)}")


SETTINGS_FILE = Limit(4 * 2**20, "bytes", "a settings file")
VALUES = Limit(50_000, "names and values", "a settings file")
YAML_DEPTH = Limit(8, "levels", "mappings and lists within each other in YAML")
JSON_DEPTH = Limit(20, "levels", "mappings and lists within each other in JSON")
TEXT = Limit(200_000, "characters", "one text: a prompt, a schedule, a mask")
KEYFRAMES = Limit(MOST_KEYFRAMES, "keyframes", "a schedule, or the prompts")
EXPRESSION = Limit(LONGEST, "characters", "an expression")
EXPRESSION_NODES = Limit(MOST_NODES, "numbers, names and operators", "an expression")
EXPRESSION_DEPTH = Limit(DEEPEST, "levels", "parentheses within each other in an expression")
MASK = Limit(600, "operands and operators", "a mask")
MASK_DEPTH = Limit(50, "levels", "parentheses and ! within each other in a mask")
PATH = Limit(4_096, "bytes", "a path")
PATH_NAME = Limit(255, "bytes", "the name of a file or folder")
VALUE = Limit(1_000_000, "in size", "a value of a curve that declares no range of its own")
MANIFEST = Limit(2**26, "bytes", "a Parseq manifest")
"""10,000 frames of all fields have 50 MB."""
MANIFEST_TEXT = Limit(2**22, "characters", "a Parseq manifest in a settings file")
FRAMES = Limit(1_000_000, "frames", "a run")
SIDE = Limit(8_192, "px", "a side of a rendered frame")
PIXELS = Limit(2**26, "pixels", "a picture, or a frame of a clip, that is read")
PICTURE_FILE = Limit(2**28, "bytes", "a picture file")
PICTURES = Limit(1_000_000, "pictures", "a folder of pictures")
CLIP_FRAMES = Limit(1_000_000, "frames", "a clip")
SOUND_SECONDS = Limit(3 * 3600, "seconds", "a sound that is listened to")
TABLE_FILE = Limit(2**26, "bytes", "a table of values, CSV or JSON")
TABLE_ROWS = Limit(1_000_000, "rows", "a table of values")
METADATA_TEXT = Limit(2**22, "bytes", "a text in a picture or film, such as settings; longer ones are left out")
METADATA = Limit(2**24, "bytes", "all texts in a picture or film")
METADATA_PARTS = Limit(200_000, "chunks, segments or blocks", "a picture that is searched for texts")
WEIGHTS = Limit(2**36, "bytes", "the weights in a file, unpacked")
WEIGHTS_HEADER = Limit(2**24, "bytes", "the header of a .safetensors file")
"""Those of large models have under 1 MB."""
ARCHIVE_DIRECTORY = Limit(2**22, "bytes", "the table of contents of a .ckpt file")
"""Room for 40,000 entries; a checkpoint has 3000."""
PROGRAM = Limit(2**24, "bytes", "the program in a TorchScript file")
PICKLE = Limit(2**22, "bytes", "the pickle of a .ckpt file")
PICKLE_OPERATIONS = Limit(400_000, "operations", "the pickle of a .ckpt file")
"""A full training checkpoint has under 1 MB and 150,000 operations, without the numbers of its tensors."""
MODEL_CONFIG = Limit(2**25, "bytes", "a configuration in a model's folder")
"""The largest published one is a tokenizer of 17 MB."""
LAYERS = Limit(1_000, "layers or blocks", "a part of a model")
MODEL_FILES = Limit(200_000, "files and folders", "a folder that is searched for models")
TIMESTEPS = Limit(100_000, "timesteps", "the scheduler of a model")

NETWORK_LIST = Limit(2**22, "bytes", "a network's list of layers, ncnn's .param")
NETWORK_LAYERS = Limit(20_000, "layers", "a network's list of layers")
COLOR_TABLE = Limit(2**26, "bytes", "a table of colours, .cube")
WILDCARD_FILES = Limit(20_000, "text files", "the folder of wildcards")
WILDCARD_FILE = Limit(2**22, "bytes", "a file of wildcards")
WILDCARDS = Limit(1_000, "wildcards", "a prompt, with those in the lines that were chosen")
CAMERA_FILE = Limit(2**26, "bytes", "a file with a camera's path")
CAMERA_POSES = Limit(200_000, "poses", "a camera's path")

CUT_FILE = Limit(2**24, "bytes", "a cut list: OTIO, EDL or labels")
CUTS = Limit(20_000, "clips and markers", "a cut list")
RUN_FILE_SIZE = Limit(2**26, "bytes", "the record of a run, run.json")

LIMITS: tuple[Limit, ...] = (
    SETTINGS_FILE, VALUES, YAML_DEPTH, JSON_DEPTH, TEXT, KEYFRAMES, EXPRESSION, EXPRESSION_NODES, EXPRESSION_DEPTH,
    MASK, MASK_DEPTH, PATH, PATH_NAME, VALUE, MANIFEST, MANIFEST_TEXT, FRAMES, SIDE, PIXELS, PICTURE_FILE, PICTURES,
    CLIP_FRAMES, SOUND_SECONDS, TABLE_FILE, TABLE_ROWS, METADATA_TEXT, METADATA, METADATA_PARTS,
    WEIGHTS, WEIGHTS_HEADER, ARCHIVE_DIRECTORY, PICKLE, PICKLE_OPERATIONS, MODEL_CONFIG, LAYERS, MODEL_FILES,
    TIMESTEPS, NETWORK_LIST, NETWORK_LAYERS, COLOR_TABLE, WILDCARD_FILES, WILDCARD_FILE, WILDCARDS, CAMERA_FILE,
    CAMERA_POSES, CUT_FILE, CUTS, RUN_FILE_SIZE,
)  # fmt: skip
"""Every limit, in the order of the documentation."""


@dataclass(frozen=True)
class Patience:
    """How long another program is waited for, in seconds, before it is stopped."""

    idle: float
    """While it gives, takes and writes nothing, and computes nothing."""
    busy: float
    """While it gives, takes and writes nothing, but computes."""
    of: str
    """What is waited for."""


LOOKING = Patience(60, 60, "ffmpeg lists the frames of a clip, or looks for sound")
DECODING = Patience(60, 1_800, "ffmpeg decodes the next frame of a clip")
ENCODING = Patience(120, 1_800, "ffmpeg encodes or completes a film")

PATIENCE: tuple[Patience, ...] = (LOOKING, DECODING, ENCODING)
