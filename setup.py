"""The wheel holds the notebooks as well, for `python -m gaa_core notebooks DIR`. All else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithNotebooks(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "gaa_core" / "notebooks"
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree("notebooks", target, ignore=hidden, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithNotebooks})
