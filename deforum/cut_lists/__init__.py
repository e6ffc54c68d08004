"""Cut lists: the prompts and keyframes of settings for an editing program, and what was cut there as settings.

`cut_list` has the data, `settings` goes from settings to a cut list and back; a module for each format, and their
table in `formats`.
"""
