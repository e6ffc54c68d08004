"""Settings on the command line as people write them: `--seed 3`, `seed = 3` and `seed: 3` become `seed=3`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from deforum.errors import Problem, UserError

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"
"""Characters that begin an option: texts copied from pages and chats have typographic dashes."""

_NAME = r"[A-Za-z_][\w.-]*"
ASSIGNMENT = re.compile(rf"{_NAME}\s*=")
_NUMBER = re.compile(r"[+-]?(\d|\.\d)")


Commands = Mapping[str, Callable[[], Iterable[str]]]
"""All commands by name, each with a function that returns its options."""
NO_COMMANDS: Commands = {}


def is_file(word: str) -> bool:
    """Whether there is a file or folder of that name."""
    return os.path.exists(os.path.expanduser(word))


def is_assignment(word: str) -> bool:
    """Whether a word is `name=value`, and no file of that name exists."""
    return ASSIGNMENT.match(word) is not None and not is_file(word)


def rewrite(argv: Sequence[str], options: Mapping[str, bool], commands: Commands = NO_COMMANDS) -> list[str]:
    """Rewrite settings that are written as options, or in several words, to `name=value`.

    `options` are the options of the command, such as "-o" and "--output", and whether each takes a value; they take
    precedence over settings. `commands` are all commands, for messages. Raises UserError with all words that look like
    options and are none, each with the right form.
    """
    words, done = list(argv), list[str]()
    problems: list[Problem] = []
    while words:
        word = words.pop(0)
        if word == "--":
            done += [word, *words]
            break
        if word[:1] in tuple(_DASHES) and len(word) > 1 and not _NUMBER.match(word):
            try:
                done += _option(word, words, options, commands)
            except UserError as error:
                problems += error.problems
        else:
            done.append(_assignment(word, words))
    if problems:
        raise UserError(problems)
    return done


def _option(word: str, rest: list[str], options: Mapping[str, bool], commands: Commands) -> list[str]:
    """Return what an option, or a setting written like one, stands for; takes its value from `rest`."""
    bare, equals, value = word.lstrip(_DASHES).partition("=")
    dashes = word[: len(word) - len(word.lstrip(_DASHES))]
    known = _known_option(bare, len(dashes) == 1 and dashes == "-", options)
    if known:
        taken = [rest.pop(0)] if options[known] and not equals and _is_separate(word, known) and rest else []
        is_long = known.startswith("--")
        return [f"{known}{equals}{value}" if is_long else word, *taken]
    name = setting_name(bare)
    if name is not None:
        return [f"{name}={value}" if equals else _valued(word, name, rest)]
    if bare.startswith(("no-", "no_")) and (off := setting_name(bare[3:])) and _is_switch(off) and not equals:
        return [f"{off}=false"]
    if bare in commands:
        raise UserError(f"{_named(word)}: this is a command; commands come first, without dashes: {bare} FILE")
    owner = next((command for command in commands if f"--{bare}" in commands[command]()), "")
    if owner:
        raise UserError(f"{_named(word)}: this is an option of {owner}, not of this command")
    raise UserError(f"{_named(word)}: there is no such option or setting{_meant(bare, options, equals + value)}")


def _known_option(bare: str, is_short: bool, options: Mapping[str, bool]) -> str:
    """Return the option that a word names, also abbreviated, or with one dash in place of two; "" if it is none."""
    if f"--{bare}" in options and (not is_short or len(bare) > 1):
        return f"--{bare}"
    if is_short and setting_name(bare) is None and f"-{bare[:1]}" in options:
        return f"-{bare[:1]}"
    longer = [option for option in options if not is_short and option.startswith(f"--{bare}")]
    return longer[0] if len(longer) == 1 and setting_name(bare) is None else ""


def _is_separate(word: str, option: str) -> bool:
    """Whether the value of an option is the next word: -o FOLDER and --output FOLDER, but not -oFOLDER."""
    return option.startswith("--") or len(word) == 2


def _valued(word: str, name: str, rest: list[str]) -> str:
    """Return the setting with the next word as its value; a switch may do without one."""
    from deforum.settings.values import FALSE, TRUE

    following = rest[0] if rest else ""
    if _is_switch(name):
        values = (*TRUE, *FALSE, *_choices(name))
        return f"{name}={rest.pop(0)}" if following.casefold() in values else f"{name}=true"
    is_other = is_assignment(following) or following[:2] == "--" or (is_file(following) and not _may_be_a_file(name))
    if not rest or is_other:
        raise UserError(f"{_named(word)}: the value of this setting is missing; expected {name}=VALUE")
    return f"{name}={rest.pop(0)}"


def _assignment(word: str, rest: list[str]) -> str:
    """Join `name = value`, `name= value`, `name =value` and `name: value`; other words are returned unchanged."""
    if is_file(word):
        return word
    if re.fullmatch(_NAME, word) and rest and rest[0].startswith("="):
        value = rest.pop(0)[1:]
        return f"{_spelled(word)}={value or _next(rest)}"
    match = re.fullmatch(rf"({_NAME}?)\s*(=|:(?![\\/]))\s*(.*)", word, re.DOTALL)
    if match is None:
        return word
    name, sign, value = match.groups()
    if sign == ":" and setting_name(name) is None:
        return word
    return f"{_spelled(name)}={value or _next(rest)}"


def _next(rest: list[str]) -> str:
    """Take the value from the next word, unless that is a file, a setting or an option: then the value is empty."""
    if not rest or is_file(rest[0]) or is_assignment(rest[0]):
        return ""
    if rest[0][:1] in tuple(_DASHES) and not _NUMBER.match(rest[0]):
        return ""
    return rest.pop(0)


def _spelled(name: str) -> str:
    """Return the name as files spell it, with underscores; an unknown one is returned unchanged."""
    return setting_name(name) or name


def setting_name(word: str) -> str | None:
    """Return the setting that a word names, `seed`, `motion.zoom` or `max-frames`; None if it names none."""
    from deforum.settings.read import find_setting

    return next((name for name in (word, word.replace("-", "_")) if find_setting(name) is not None), None)


def _named(word: str) -> str:
    from schedules.quoting import cut

    return cut(word)


def _is_switch(name: str) -> bool:
    from deforum.settings.read import find_setting

    declaration = find_setting(name)
    return declaration is not None and declaration.is_switch


def _choices(name: str) -> tuple[str, ...]:
    from deforum.settings.read import find_setting

    declaration = find_setting(name)
    return () if declaration is None else declaration.choices


def _may_be_a_file(name: str) -> bool:
    """Whether the value of a setting may be the name of a file: its type is a text."""
    from deforum.settings.read import find_setting
    from schedules import NumberSchedule

    declaration = find_setting(name)
    return declaration is not None and declaration.type not in (int, float, NumberSchedule)


def _meant(bare: str, options: Iterable[str], value: str) -> str:
    """Return the hint for an unknown option: the nearest option or setting, in the form in which it is written."""
    from deforum.settings.read import setting_names
    from schedules import nearest

    long = {option[2:]: option for option in options if option.startswith("--")}
    meant = nearest(bare.replace("-", "_"), [*setting_names(), *(name.replace("-", "_") for name in long)])
    if meant is None:
        return "; options are listed by --help, settings by the command params"
    option = long.get(meant) or long.get(meant.replace("_", "-"))
    return f"; did you mean {option or meant + (value or '=VALUE')}?"
