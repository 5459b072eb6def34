"""Proof, on an x86-64 machine, that a bundle's aarch64 wheels install and score: Python and wheels of aarch64, emulated by QEMU.

    sudo .venv/bin/python edge/deploy/aarch64.py --exports exports --flair A.nii.gz --t2w B.nii.gz --target aarch64-cp311

The same program runs with the wheels of the bundle's x86_64-cp311, by this Python, and is compared. Needs root (chroot), a
Python 3.11, Debian's qemu-user-static and mmdebstrap, and a mirror of Debian. Python 3.11 and 3.13 are Debian 12's and 13's,
installed by README.md's commands. No registry has a Python 3.10 or 3.12 for aarch64, JetPack's, by itself: theirs is the one
inside PyPI's panda3d (its deploy-stub, made to run a program by a small library: gcc-aarch64-linux-gnu), with --stdlib, that
version's library.

The processor is QEMU's cortex-a76, near Orin's Cortex-A78AE. On QEMU's default, "max", the OpenBLAS of numpy's wheel gives
wrong products, by SME or by vectors of 512 bits; at 128 bits, Thor's, and at 256 it gives right ones. /proc and /sys hold only
what ONNX Runtime reads there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the modules beside this one, and the package's
from deploy.targets import TARGETS, Target
from etscnet_edge.options import Options, one_of

TOLERANCE = 1e-5  # of a score: what the export promises of float32
DEBIAN = {"aarch64-cp310": "trixie", "aarch64-cp311": "bookworm", "aarch64-cp312": "trixie", "aarch64-cp313": "trixie"}
STUB = {"aarch64-cp310", "aarch64-cp312"}
QEMU = ["/qemu-aarch64-static", "-cpu", "cortex-a76"]
CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""
PRELOAD = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <wchar.h>
__attribute__((constructor)) static void run(void) {
  wchar_t path[4096];
  mbstowcs(path, getenv("STUB_PATH"), 4095);
  *(int *)dlsym(RTLD_DEFAULT, "Py_NoSiteFlag") = 1;
  ((void (*)(const wchar_t *))dlsym(RTLD_DEFAULT, "Py_SetPath"))(path);
  ((void (*)(void))dlsym(RTLD_DEFAULT, "Py_Initialize"))();
  exit(((int (*)(const char *))dlsym(RTLD_DEFAULT, "PyRun_SimpleString"))(getenv("STUB_PROGRAM")) ? 1 : 0);
}
"""
PROGRAM = """import json, platform, sys
import nibabel, numpy, onnxruntime
import multipart, PIL.Image, prometheus_client, starlette, uvicorn
from etscnet_edge.__main__ import main

folder = FOLDER
session = onnxruntime.InferenceSession(folder + "/exports/preprocess.onnx", providers=["CPUExecutionProvider"])
volume = numpy.asarray(nibabel.load(folder + "/flair.nii.gz").dataobj, dtype=numpy.float32)
inputs = {"volume": volume, "slope": numpy.array(1, "f4"), "intercept": numpy.array(0, "f4")}
inputs["mask"] = numpy.ones(volume.shape, bool)
numpy.save(folder + "/image.npy", session.run(None, inputs)[0])
studies = ["--flair", folder + "/flair.nii.gz", "--t2w", folder + "/t2w.nii.gz", "--form", "standard"]
main(["predict", "--exports", folder + "/exports", "--output", folder + "/result.json", *studies])
try:
    main(["predict", "--exports", folder + "/changed", *studies])
    refused = False
except SystemExit as end:
    refused = end.code == 1
said = {"python": sys.version.split()[0], "machine": platform.machine(), "refused": refused}
said |= {module.__name__: module.__version__ for module in (numpy, nibabel, onnxruntime)}
with open(folder + "/said.json", "w") as out:
    json.dump(said, out)
sys.stdout.flush()
"""


def prove(
    exports: str,
    flair: str,
    t2w: str,
    *,
    bundle: str = "dist/edge-bundle",
    target: str = "aarch64-cp311",
    stdlib: str | None = None,
) -> None:
    """Install and score under emulation, compare with x86-64, print what was proven.

    Args:
        exports: the folder of etscnet.json.
        flair: NIfTI file, brain-extracted.
        t2w: NIfTI file, brain-extracted.
        bundle: what bundle.py wrote, with x86_64-cp311 and the target.
        target: of bundle.py.
        stdlib: for cp310 and cp312, the folder of that version's standard library.

    Raises:
        RuntimeError: a step that failed, or a difference over the tolerance.
    """
    if (
        target not in DEBIAN
        or (target in STUB) != (stdlib is not None)
        or sys.version_info[:2] != (3, 11)
        or os.geteuid()
    ):
        raise RuntimeError(
            f"run it as root, on Python 3.11, with --target of {list(DEBIAN)}; --stdlib for {sorted(STUB)}."
        )
    wheels = Path(bundle) / target
    with tempfile.TemporaryDirectory(prefix="etscnet-aarch64-") as work:
        root, reference = Path(work) / "root", Path(work) / "x86-64"
        make_root(root, DEBIAN[target])
        for folder in (root / "study", reference):
            add_study(folder, Path(exports), Path(flair), Path(t2w))
        venv = Path(work) / "venv"
        install([sys.executable], venv, Path(bundle) / "x86_64-cp311")
        command([str(venv / "bin/python"), "-c", PROGRAM.replace("FOLDER", repr(str(reference)))])
        start = time.monotonic()
        if stdlib is None:
            shutil.copytree(wheels, root / "wheels")
            install([*emulated(root), "/usr/bin/python3"], Path("/venv"), Path("/wheels"), inside=root)
            run, environment = [*emulated(root), "/venv/bin/python", "-c"], None
        else:
            run, environment = stub(root, wheels, TARGETS[target], Path(stdlib))
        installed = time.monotonic() - start
        program = PROGRAM.replace("FOLDER", repr("/study"))
        if environment is None:
            command([*run, program])
        else:
            command(run, {**environment, "STUB_PROGRAM": program})
        report(root / "study", reference, DEBIAN[target], len(list(wheels.glob("*.whl"))), installed)


def make_root(root: Path, suite: str) -> None:
    """A Debian of aarch64, extracted and not configured, with QEMU and the few files of /proc and /sys that are read."""
    packages = "python3,libstdc++6,libgomp1,libffi8"
    options = ["--quiet", "--variant=extract", "--architectures=arm64", "--skip=check/qemu", f"--include={packages}"]
    command(["mmdebstrap", *options, suite, str(root)])
    for name in ("bin", "lib", "sbin"):  # a configured Debian has these links
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        raise RuntimeError("no qemu-aarch64-static: apt-get install qemu-user-static.")
    shutil.copy(qemu, root)
    cpus = root / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(CPUINFO)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0\n")


def add_study(folder: Path, exports: Path, flair: Path, t2w: Path) -> None:
    """The export, the same with one changed byte, and the pair."""
    shutil.copytree(exports, folder / "exports")
    shutil.copytree(exports, folder / "changed")
    graph = folder / "changed" / "etscnet.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    shutil.copy(flair, folder / "flair.nii.gz")
    shutil.copy(t2w, folder / "t2w.nii.gz")


def install(python: list[str], venv: Path, wheels: Path, *, inside: Path = Path("/")) -> None:
    """README.md's offline install, without TensorRT."""
    pip = next((inside / wheels.relative_to("/") if wheels.is_absolute() else wheels).glob("pip-*.whl")).name
    command([*python, "-m", "venv", "--without-pip", str(venv)])
    run = [*python[:-1], str(venv / "bin/python"), str(wheels / pip / "pip"), "install", "--quiet", "--no-index"]
    command([*run, f"--find-links={wheels}", "--require-hashes", f"--requirement={wheels / 'requirements.txt'}"])


def stub(root: Path, wheels: Path, target: Target, stdlib: Path) -> tuple[list[str], dict[str, str]]:
    """The interpreter inside panda3d, the wheels unpacked by this machine's pip; the command and its environment."""
    place, pip = root / "stub", [sys.executable, "-m", "pip", "--quiet"]
    with tempfile.TemporaryDirectory() as download:
        options = [*target.pip_options, "--no-deps", f"--dest={download}"]
        command([*pip, "download", *options, "panda3d==1.10.16"], dict(os.environ))
        shutil.unpack_archive(next(Path(download).glob("*.whl")), place, "zip")
    (place / "preload.c").write_text(PRELOAD)
    compiler = ["aarch64-linux-gnu-gcc", "-shared", "-fPIC", "-O1", "-ldl"]
    command([*compiler, "-o", str(place / "preload.so"), str(place / "preload.c")])
    (place / "panda3d_tools/deploy-stub").chmod(0o755)
    (place / "deploy_libs/libffi.so.6").symlink_to("/usr/lib/aarch64-linux-gnu/libffi.so.8")
    leave = shutil.ignore_patterns("site-packages", "lib-dynload", "test", "__pycache__", "config-*")
    shutil.copytree(stdlib, place / "lib", ignore=leave)
    options = [*target.pip_options, "--no-index", "--no-deps", "--ignore-requires-python", "--require-hashes"]
    requirements = f"--requirement={wheels / 'requirements.txt'}"
    command([*pip, "install", *options, f"--find-links={wheels}", requirements, f"--target={place / 'site'}"])
    libraries = ["-E", "LD_PRELOAD=/stub/preload.so", "-E", "LD_LIBRARY_PATH=/stub/deploy_libs"]
    environment = {"STUB_PATH": "/stub/lib:/stub/deploy_libs:/stub/site"}
    return [*emulated(root), *libraries, "/stub/panda3d_tools/deploy-stub"], environment


def emulated(root: Path) -> list[str]:
    """What runs a program of aarch64 inside the root."""
    return [shutil.which("chroot") or "/usr/sbin/chroot", str(root), *QEMU]


def command(words: list[str], environment: dict[str, str] | None = None) -> None:
    """Run it in an environment of its own: no configuration of this machine's pip or numpy reaches it."""
    clean = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/nowhere",
        "LANG": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(words, env={**clean, **(environment or {})}, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"{' '.join(word[:80] for word in words)} ended with {done.returncode}:\n{last}")


def report(found: Path, reference: Path, suite: str, wheels: int, installed: float) -> None:
    """Compare, print.

    Raises:
        RuntimeError: a difference over the tolerance, or a changed file that was taken.
    """
    import numpy as np

    said = json.loads((found / "said.json").read_text())
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (found, reference))
    image = float(np.abs(np.load(found / "image.npy") - np.load(reference / "image.npy")).max())
    pairs = [
        (one["score"], other["score"]),
        *zip(one["branch_scores"].values(), other["branch_scores"].values(), strict=True),
    ]
    difference = max(abs(a - b) for a, b in pairs)
    versions = ", ".join(f"{name} {said[name]}" for name in ("numpy", "nibabel", "onnxruntime"))
    print(
        f"{said['machine']}, Python {said['python']}, libraries of Debian {suite}, by {QEMU[0][1:]} as {QEMU[-1]}: {versions}"
    )
    print(f"installed {wheels} wheels by their hashes, without an index, in {installed:.0f} s")
    print(f"preprocess.onnx: every voxel within {image:.1e} of x86-64's")
    print(
        f"etscnet-edge predict: score {one['score']:.9f}, x86-64's {other['score']:.9f}; largest difference {difference:.1e}"
    )
    print(f"a changed byte in etscnet.onnx is refused: {'yes' if said['refused'] else 'NO'}")
    if not (said["machine"] == "aarch64" and said["refused"] and difference <= TOLERANCE and image <= TOLERANCE):
        raise RuntimeError(f"expected aarch64, a refusal, and differences within {TOLERANCE:g}.")


OPTIONS = Options(
    "python edge/deploy/aarch64.py",
    "Install a bundle's wheels for aarch64 under emulation, score, and compare with x86-64.",
    "--exports exports --flair A.nii.gz --t2w B.nii.gz --target aarch64-cp311",
)
OPTIONS.add("exports", "folder of etscnet.json", needed=True)
OPTIONS.add("flair", "NIfTI file of the FLAIR image, brain-extracted", needed=True)
OPTIONS.add("t2w", "NIfTI file of the T2w image, brain-extracted", needed=True)
OPTIONS.add("bundle", "folder that bundle.py wrote, with x86_64-cp311 and the target", default="dist/edge-bundle")
OPTIONS.add("target", "of bundle.py", kind=one_of(*DEBIAN), default="aarch64-cp311", shown="|".join(DEBIAN))
OPTIONS.add("stdlib", f"folder of that version's standard library, for {' and '.join(sorted(STUB))}")

if __name__ == "__main__":
    given = OPTIONS.read(sys.argv[1:])
    try:
        prove(given.exports, given.flair, given.t2w, bundle=given.bundle, target=given.target, stdlib=given.stdlib)
    except RuntimeError as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
