"""Adds the examples to a wheel, as deforum/examples; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithExamples(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable installation reads the examples of the repository
            target = Path(self.build_lib) / "deforum" / "examples"
            shutil.copytree(
                "examples", target, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True
            )


setup(cmdclass={"build_py": BuildWithExamples})
