"""The verbs of the command line with their options: `VERBS`. What they do is in `__main__.py`."""

from __future__ import annotations

from etscnet_edge.options import Options, number, statuses, truth

PREDICT = Options(
    "etscnet-edge predict",
    "Score one pair of images and print its result as JSON.",
    "--exports exports --flair sub-01_FLAIR.nii.gz --t2w sub-01_T2w.nii.gz --picture study.png",
)
PREDICT.add_images(needed=True)
PREDICT.add_exports()
PREDICT.add_brain_extraction(
    "network: the exports' brain_extraction.onnx finds the brains of images with skull; mask: the masks that are given; "
    "none: the images hold the brain alone. By default mask with masks, else none",
    default=None,
)
PREDICT.add_runtime(memory_mb=None)
PREDICT.add_preprocessing()
PREDICT.add("output", "JSON file for the result, too; written whole or not at all")
PREDICT.add("picture", "PNG file of the study on one page")

SERVE = Options(
    "etscnet-edge serve",
    "Serve the model by HTTP until SIGTERM: a page at /, POST /v1/studies, the Open Inference Protocol at /v2, /metrics.",
    "--exports exports --port 8080 --memory_mb 2000",
)
SERVE.add_exports()
SERVE.add(
    "host",
    "address; another than this machine's own only with a token or TLS",
    default="127.0.0.1",
    shown="ADDRESS",
)
SERVE.add("port", "0 for any that is free; the log says which", kind=number(int, 0, 65535), default=8080, shown="INT")
SERVE.add_brain_extraction("of studies that come without masks, as `predict` has it", default="none")
SERVE.add_runtime(memory_mb=2000)
SERVE.add_preprocessing()
SERVE.add(
    "queue",
    "requests that may wait beside the one in work; more are answered 503",
    kind=number(int, 0, 1000),
    default=4,
    shown="INT",
)
SERVE.add(
    "body_mb",
    "the largest body of a request, 10^6 bytes; --memory_mb holds for those of all requests that may wait, too",
    kind=number(float, 0.001),
    default=100,
    shown="NUMBER",
)
SERVE.add(
    "body_timeout_s",
    "seconds from a body's first byte to its last",
    kind=number(float, 0.1),
    default=60,
    shown="NUMBER",
)
SERVE.add("token_file", "its first line is the token that requests must bear")
SERVE.add("tls_cert", "file of the certificate, with --tls_key")
SERVE.add("tls_key", "file of its key")

BUILD = Options(
    "etscnet-edge build",
    "Build the TensorRT engine of an export on this device and print its record as JSON.",
    "--exports exports --form gpu-fp32",
)
BUILD.add_exports()
BUILD.add("form", "the graph that it is built from: gpu-fp32, or gpu for float16", default="gpu-fp32", shown="NAME")
BUILD.add("engines", "folder of the engine, its record, log and timing cache; by default beside the export")
BUILD.add(
    "memory_mb",
    "the most that a layer may use for itself, 10^6 bytes of device memory; by default all there is",
    kind=number(int, 1),
    shown="INT",
)
BUILD.add(
    "timing_cache",
    "use and keep the measured times of kernels; a second build takes less time",
    kind=truth,
    default=True,
    shown="True|False",
)

BENCHMARK = Options(
    "etscnet-edge benchmark",
    "Time studies on this device, cold and warm, and print a table.",
    "--exports exports --runs 50 --output benchmark.json",
)
BENCHMARK.add_exports()
BENCHMARK.add_images(needed=False, otherwise="; without images the golden case of the export")
BENCHMARK.add_runtime(memory_mb=None)
BENCHMARK.add("runs", "studies in one process", kind=number(int, 1), default=50, shown="INT")
BENCHMARK.add("cold_runs", "fresh processes", kind=number(int, 0), default=5, shown="INT")
BENCHMARK.add("output", "JSON file for the figures, too")
BENCHMARK.add_json()

VERBS = {"predict": PREDICT, "serve": SERVE, "build": BUILD, "benchmark": BENCHMARK}


def overview() -> str:
    """Every verb with what it does."""
    lines = ["usage: etscnet-edge VERB [--option VALUE ...]", "       etscnet-edge VERB --help", ""]
    lines += [f"  {name:<11}{options.summary}" for name, options in VERBS.items()]
    return "\n".join([*lines, "", statuses()])
