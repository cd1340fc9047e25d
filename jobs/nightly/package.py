"""The package that pip installs on a machine of GitHub's, pinned by its content.

A name in the public index may be anybody's, and a run can read secrets. So a package is a commit, a wheel
with its digest, a wheel in the repository, or a list of requirements with their digests.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from survey.errors import UsageError

NAME = "centroid-survey"
_NAMED = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9,_-]+\])? *@ *)?"
_COMMIT = re.compile(rf"{_NAMED}git\+https://[^\s@#?]+@[0-9a-f]{{40}}")
_WHEEL = re.compile(rf"{_NAMED}https://[^\s#]+\.whl#sha256=[0-9a-f]{{64}}")
ADVICE = (
    "say with --package what pip is to install, by its content: git+https://HOST/OWNER/NAME@COMMIT with all "
    "40 digits, https://…/NAME.whl#sha256=DIGEST, or a file of this repository: a wheel, or a "
    "requirements.txt in which each line has its --hash"
)


def pip_install(package: str | None, extras: str, root: Path, folder: Path) -> str:
    """The shell command that installs the package.

    extras: such as `[s3]`, or nothing. root: of the repository. folder: the working folder.
    Raises UsageError for a package that may be another program tomorrow.
    """
    package = package or _installed_from()
    if package is None:
        raise UsageError(f"a name in the public index may be anybody's: {ADVICE}")
    if _COMMIT.fullmatch(package) or _WHEEL.fullmatch(package):
        bare = package.startswith(("git+", "https://"))
        return f"pip install {shlex.quote(f'{NAME}{extras} @ {package}' if bare else package)}"
    path = Path(folder / package)
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"--package {package}: is no commit, no digest and no file of {root}; {ADVICE}")
    here = f'"$GITHUB_WORKSPACE/"{shlex.quote(path.resolve().relative_to(root.resolve()).as_posix())}'
    if path.suffix == ".whl":
        return f"pip install {here}{shlex.quote(extras) if extras else ''}"
    return f"pip install --require-hashes -r {here}"


def _installed_from() -> str | None:
    """The commit that this program was installed from, if pip recorded one (PEP 610)."""
    try:
        origin = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    commit = origin.get("vcs_info", {}).get("commit_id", "")
    package = f"git+{origin.get('url')}@{commit}"
    return package if _COMMIT.fullmatch(package) else None
