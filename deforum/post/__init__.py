"""Steps behind a render: what is made of finished frames, in a chain, each step recorded and resumable.

`settings/steps.py` has the table of steps. `material` is what a chain begins with, `plan` its stages and what they
need, `record` the folder of a stage, `making` makes them. The other modules are the code of steps: functions
(step, frames, at) -> frames, see `at`.
"""
