"""`make edge-demo`: the wheel in a fresh environment, its server up, a real client, the page in a browser, the benchmark's table.

Run by the project's own environment, which has the client (tritonclient) and drives the browser (playwright with Debian's
chromium); what is shown runs in the fresh one.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import tritonclient.http as triton

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the package
from etscnet_edge.options import Options

READY_S = 120.0
OPTIONS = Options(
    "python edge/demo.py",
    "Show the wheel in a fresh environment: server, client, page, table.",
    "--wheel dist/etscnet_edge-0.1.0-py3-none-any.whl --exports exports --dataset_dir data/cohort --output_dir demo/edge",
)
OPTIONS.add("wheel", "file of etscnet-edge's wheel", needed=True)
OPTIONS.add("exports", "folder of etscnet.json", needed=True)
OPTIONS.add("dataset_dir", "BIDS folder of a synthetic cohort, whose first subject is scored", needed=True)
OPTIONS.add("output_dir", "folder of all that is made; what is there is removed", needed=True)


def main() -> None:
    """Install, serve, ask, look, measure."""
    given = OPTIONS.read(sys.argv[1:])
    wheel, exports, output = Path(given.wheel), Path(given.exports), Path(given.output_dir)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    program = install(wheel, output / "venv")
    files = study(Path(given.dataset_dir))
    with serving(program, exports, output / "server.log") as url:
        scored = requests.post(
            f"{url}/v1/studies", files={name: path.open("rb") for name, path in files.items()}, timeout=120
        ).json()
        (output / "study.json").write_text(json.dumps(scored, indent=1) + "\n")
        print(f"POST /v1/studies: score {scored['score']:.4f}, {scored['decision']}; {scored['warnings'][0]}")
        with triton.InferenceServerClient(url.removeprefix("http://")) as client:
            metadata = client.get_model_metadata("etscnet")
            print(
                f"tritonclient: {metadata['name']} {metadata['inputs'][0]['shape']}, ready: {client.is_server_ready()}"
            )
        photograph(url, files, output / "page.png")
    options = ["--exports", str(exports)]
    options += [word for name, path in files.items() for word in (f"--{name}", str(path))]
    command = [str(program), "predict", *options, "--picture", str(output / "study.png")]
    alone = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"etscnet-edge predict: score {alone['score']:.4f}")
    if abs(alone["score"] - scored["score"]) > 1e-5:
        raise SystemExit("error: the server and predict do not give the same score.")
    command = [str(program), "benchmark", *options, "--output", str(output / "benchmark.json")]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (output / "benchmark.md").write_text(table)
    print(f"\n{table}\nwritten to {output}: study.json study.png page.png benchmark.json benchmark.md server.log")


def install(wheel: Path, environment: Path) -> Path:
    """The wheel with its extras in an environment of its own; says what it takes, and that torch is not in it."""
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    before = installed_bytes(environment)
    for extras in ("cpu", "cpu,server,png"):
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[{extras}]"]
        subprocess.run(command, check=True)
        print(f"etscnet-edge[{extras}]: {(installed_bytes(environment) - before) / 1e6:.0f} MB installed")
    for library in ("torch", "monai"):
        if subprocess.run([str(python), "-c", f"import {library}"], capture_output=True).returncode == 0:
            raise SystemExit(f"error: {library} is in the environment.")
    return environment / "bin" / "etscnet-edge"


def installed_bytes(environment: Path) -> int:
    """Of all files, the compiled ones that Python writes on its own left out."""
    return sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and path.suffix != ".pyc")


def study(cohort: Path) -> dict[str, Path]:
    """The first subject of a synthetic cohort, with its masks."""
    anat = sorted(cohort.glob("sub-*/anat"))[0]
    masks = cohort / "derivatives" / "phantom" / anat.parent.name / "anat"
    files = {name: next(anat.glob(f"*_{suffix}.nii.gz")) for name, suffix in (("flair", "FLAIR"), ("t2w", "T2w"))}
    for name, suffix in (("flair_mask", "FLAIR"), ("t2w_mask", "T2w")):
        files[name] = next(masks.glob(f"*space-{suffix}_desc-brain_mask.nii.gz"))
    return files


@contextmanager
def serving(program: Path, exports: Path, log: Path) -> Iterator[str]:
    """The server on a free port, ready."""
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [program, "serve", "--exports", str(exports), "--port", "0"], stdout=out, stderr=out
        ) as process,
    ):
        try:
            until, found = time.monotonic() + READY_S, None
            while time.monotonic() < until and process.poll() is None:
                if found := re.search(r"running on (http://\S+)", log.read_text()):
                    try:
                        urllib.request.urlopen(f"{found[1]}/v2/health/ready", timeout=5)
                        break
                    except urllib.error.HTTPError:
                        pass
                time.sleep(0.1)
            else:
                raise SystemExit(f"error: the server does not get ready; its log is {log}.")
            yield found[1]
        finally:
            process.terminate()


def photograph(url: str, files: dict[str, Path], picture: Path) -> None:
    """The page with both images and the score."""
    browser_program = shutil.which("chromium")
    if browser_program is None:
        print("no chromium: the page is not photographed (apt-get install chromium)")
        return
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        for name in ("flair", "t2w"):
            card = page.locator(f".card[data-modality={name}]")
            card.locator("input.image").set_input_files(files[name])
            card.locator("summary").click()
            card.locator("input.mask").set_input_files(files[f"{name}_mask"])
        page.get_by_role("button", name="Score").click()
        page.locator("#result:visible, #alert:visible").wait_for(timeout=120_000)
        page.screenshot(path=str(picture), full_page=True)
        browser.close()
    print(f"the page: {picture}")


if __name__ == "__main__":
    main()
