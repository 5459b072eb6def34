"""Command line: `etscnet-edge predict`, `serve`, `build`, `benchmark`."""

from __future__ import annotations

import json
import math
import sys

from etscnet_edge.errors import InputError


def predict(
    flair: str,
    t2w: str,
    *,
    exports: str = "exports",
    flair_mask: str | None = None,
    t2w_mask: str | None = None,
    brain_extraction: str | None = None,
    mask_quality: str = "refuse",
    runtime: str = "cpu",
    form: str | None = None,
    preprocessing: str = "numpy",
    threads: int = 2,
    memory_mb: float | None = None,
    engines: str | None = None,
    output: str | None = None,
    picture: str | None = None,
) -> str:
    """Score one pair; prints its result as JSON.

    Args:
        flair: NIfTI file.
        t2w: NIfTI file.
        exports: the folder of etscnet.json.
        flair_mask: brain mask on the FLAIR's grid; without masks the images must be brain-extracted.
        t2w_mask: brain mask on the T2w's grid.
        brain_extraction: network: the exports' brain_extraction.onnx finds the brains of images with skull; mask: the masks that
            are given; none: the images hold the brain alone. By default mask with masks, else none.
        mask_quality: what a mask of the network's that can't be a brain's does: refuse the study, or warn in its result.
        runtime: cpu, cuda or ort-tensorrt of ONNX Runtime, or tensorrt itself.
        form: of the manifest's; by default the one for this processor, or gpu-fp32.
        preprocessing: numpy, or graph: the exported preprocess.onnx on ONNX Runtime.
        threads: of ONNX Runtime.
        memory_mb: the most resident memory, 10^6 bytes: what does not fit is refused.
        engines: where TensorRT's engines lie; by default beside the export.
        output: a file for the result, too; written whole or not at all.
        picture: a PNG of the study on one page, too.
    """
    from etscnet_edge.classifier import Classifier
    from etscnet_edge.files import write_atomically

    _check_numbers(threads=(threads, 1, 1024), memory_mb=(memory_mb, 1, None))
    given = {"flair": flair_mask, "t2w": t2w_mask}
    masks = {name: str(path) for name, path in given.items() if path is not None}
    if masks and brain_extraction not in (None, "mask"):
        found, remedy = f"masks and --brain_extraction {brain_extraction}", "Leave one of them."
        raise InputError(found, expected="one way to find the brains", remedy=remedy)
    with Classifier(
        str(exports),
        runtime=runtime,
        form=form,
        preprocessing=preprocessing,
        threads=int(threads),
        memory_mb=memory_mb,
        engines=engines,
        brain_extraction=brain_extraction or "none",
        mask_quality=mask_quality,
    ) as classifier:
        result = classifier.predict({"flair": str(flair), "t2w": str(t2w)}, masks)
    text = json.dumps(result.to_dict(), indent=2)
    if picture is not None:
        from etscnet_edge.picture import draw

        write_atomically(picture, draw(result))
    if output is not None:
        write_atomically(output, (text + "\n").encode())
    return text


def serve(
    *,
    exports: str = "exports",
    host: str = "127.0.0.1",
    port: int = 8080,
    runtime: str = "cpu",
    form: str | None = None,
    preprocessing: str = "numpy",
    threads: int = 2,
    memory_mb: float = 2000,
    engines: str | None = None,
    brain_extraction: str = "none",
    mask_quality: str = "refuse",
    queue: int = 4,
    body_mb: float = 100,
    body_seconds: float = 60,
    token_file: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> None:
    """Serve the model by HTTP until SIGTERM: a page at /, POST /v1/studies, the Open Inference Protocol at /v2, /metrics.

    Args:
        exports, runtime, form, preprocessing, threads, engines: as of predict.
        host: address; another than this machine's own only with a token or TLS.
        port: 0 for any that is free; the log says which.
        memory_mb: the most resident memory, the bodies of all requests that may wait included: a model that does not fit is
            refused, and so is a study.
        brain_extraction: of studies that come without masks: none, network or mask, as of predict.
        mask_quality: as of predict.
        queue: requests that may wait beside the one in work; more are answered 503.
        body_mb: the largest body of a request, 10^6 bytes.
        body_seconds: from a body's first byte to its last.
        token_file: its first line is the token that requests must bear.
        tls_cert: file of the certificate.
        tls_key: file of its key.
    """
    _check_numbers(
        port=(port, 0, 65535),
        threads=(threads, 1, 1024),
        queue=(queue, 0, 1000),
        memory_mb=(memory_mb, 1, None),
        body_mb=(body_mb, 0.001, None),
        body_seconds=(body_seconds, 0.1, None),
    )
    try:
        from etscnet_edge.server.body import BodyLimits
        from etscnet_edge.server.serve import run_server
    except ImportError as error:
        found, remedy = (
            f"the server's libraries are not installed ({error.name})",
            'pip install "etscnet-edge[server]".',
        )
        raise InputError(found, expected="starlette, uvicorn, prometheus-client", remedy=remedy) from error
    from etscnet_edge.classifier import Classifier

    bodies = int(queue) + 2  # the one in work, those that wait, and one twice for a moment
    for_the_model = memory_mb - bodies * body_mb
    if for_the_model <= 0:
        raise InputError(
            f"{bodies} bodies of {body_mb:g} MB",
            expected=f"less than the budget's {memory_mb:g} MB",
            remedy="Give more --memory_mb, or less --queue or --body_mb.",
        )
    if (tls_cert is None) != (tls_key is None):
        raise InputError("one of --tls_cert, --tls_key", expected="both", remedy="Give the other one, too.")
    run_server(
        lambda: Classifier(
            str(exports),
            runtime=runtime,
            form=form,
            preprocessing=preprocessing,
            threads=int(threads),
            memory_mb=for_the_model,
            engines=engines,
            brain_extraction=brain_extraction,
            mask_quality=mask_quality,
        ),
        host=str(host),
        port=int(port),
        waiting=int(queue),
        limits=BodyLimits(int(body_mb * 1e6), float(body_seconds)),
        token_file=token_file,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
    )


def build(
    *,
    exports: str = "exports",
    form: str = "gpu-fp32",
    engines: str | None = None,
    memory_mb: int | None = None,
    timing_cache: bool = True,
) -> str:
    """Build the TensorRT engine of an export on this device; prints its record as JSON.

    Args:
        exports: the folder of etscnet.json.
        form: the graph that it is built from: gpu-fp32, or gpu for float16.
        engines: where it is put, with its record, log and timing cache; by default beside the export.
        memory_mb: the most that a layer may use for itself, 10^6 bytes of device memory; by default all there is.
        timing_cache: use and keep the measured times of kernels; a second build takes less time.
    """
    from etscnet_edge.build import build as build_engine

    _check_numbers(memory_mb=(memory_mb, 1, None))

    return build_engine(str(exports), form=form, engines=engines, memory_mb=memory_mb, timing_cache=timing_cache)


def benchmark(
    *,
    exports: str = "exports",
    flair: str | None = None,
    t2w: str | None = None,
    flair_mask: str | None = None,
    t2w_mask: str | None = None,
    runtime: str = "cpu",
    form: str | None = None,
    threads: int = 2,
    memory_mb: float | None = None,
    engines: str | None = None,
    runs: int = 50,
    cold_runs: int = 5,
    output: str | None = None,
) -> str:
    """Time studies on this device, cold and warm; prints a table.

    Args:
        exports: the folder of etscnet.json; an export for timing will do.
        flair, t2w, flair_mask, t2w_mask: a pair and its masks; without, the golden case of the export.
        runtime, form, threads, memory_mb, engines: as of predict.
        runs: studies in one process.
        cold_runs: fresh processes.
        output: a file for the figures as JSON.
    """
    from etscnet_edge.benchmark import Settings, measure, table
    from etscnet_edge.files import write_atomically

    _check_numbers(
        threads=(threads, 1, 1024), memory_mb=(memory_mb, 1, None), runs=(runs, 1, None), cold_runs=(cold_runs, 0, None)
    )
    images = {name: str(path) for name, path in (("flair", flair), ("t2w", t2w)) if path is not None}
    masks = {name: str(path) for name, path in (("flair", flair_mask), ("t2w", t2w_mask)) if path is not None}
    settings = Settings(str(exports), runtime, form, int(threads), memory_mb, engines, images, masks)
    result = measure(settings, runs=int(runs), cold_runs=int(cold_runs))
    if output is not None:
        write_atomically(output, (json.dumps(result, indent=1) + "\n").encode())
    return table(result)


def _check_numbers(**options: tuple[object, float, float | None]) -> None:
    """Options with their least and largest values, None for no limit; an option of None was not given."""
    for name, (value, least, most) in options.items():
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if value is None or least <= number <= (sys.float_info.max if most is None else most):
            continue
        expected = f"a number from {least:g} on" if most is None else f"a number from {least:g} to {most:g}"
        raise InputError(f"--{name} {value}", expected=expected, remedy="Correct it.")


VERBS = {"predict": predict, "serve": serve, "build": build, "benchmark": benchmark}


def main(arguments: list[str] | None = None) -> None:
    """Run a verb; a fault in the input is one line on stderr, and status 1."""
    import fire

    try:
        fire.Fire(VERBS, command=arguments, name="etscnet-edge")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
