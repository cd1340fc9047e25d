"""Loops that are compiled.

numba takes settings from a file `.numba_config.yaml` of the folder in which it is imported, which may be a
stranger's checkpoint: its `cache_dir` names compiled code, and pickles. It can only if there is PyYAML,
so it is imported as if there were none. Settings of the environment count.
"""

from __future__ import annotations

import os
import sys
import warnings


def _import_without_settings_of_the_folder() -> None:
    yaml = sys.modules.get("yaml")
    sys.modules["yaml"] = None  # type: ignore[assignment]  # it is not there, to Python
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A Numba config file is found")
            import numba.core.config
    finally:
        del sys.modules["yaml"]
        if yaml is not None:
            sys.modules["yaml"] = yaml
    numba.core.config._config_fname = os.devnull  # no file: it is looked for again at each compilation
    numba.core.config.reload_config()  # type: ignore[no-untyped-call]  # if somebody imported it before


_import_without_settings_of_the_folder()
