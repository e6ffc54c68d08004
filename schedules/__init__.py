"""Keyframe schedules: parses texts such as `0:(1), 30:(sin(t/10))` and samples them to an array over all frames.

Independent of images, models and settings. Importing the package loads neither numpy nor numexpr.
"""

from schedules.errors import ScheduleError, nearest
from schedules.expression import Expression, parse_expression
from schedules.grammar import parse_number, parse_text
from schedules.keys import Key, parse_key
from schedules.schedule import EASINGS, NumberKeyframe, NumberSchedule, TextKeyframe, TextSchedule
from schedules.variables import Signals, Unheard, Variables

__all__ = [
    "EASINGS",
    "Expression",
    "Key",
    "NumberKeyframe",
    "NumberSchedule",
    "ScheduleError",
    "Signals",
    "TextKeyframe",
    "TextSchedule",
    "Unheard",
    "Variables",
    "nearest",
    "parse_expression",
    "parse_key",
    "parse_number",
    "parse_text",
]
