#!/usr/bin/env bash
# The edge package's evidence, benchmarks/records/EDGE.md: against MONAI at the paper's size and at the shipped weights', a volume's
# preprocessing, the import. Needs ../shared/mri. About ten minutes on two cores, which nothing else should use.
set -euo pipefail
cd "$(dirname "$0")/.."
. .venv/bin/activate
export ORT_DISABLE_TELEMETRY=1
out=results/edge
record=benchmarks/records/EDGE.md
mkdir -p "$out"
shipped=results/exports-shipped full=results/exports
[[ -f $shipped/etscnet.json ]] || python -m export onnx --output_dir "$shipped" --lean >&2
[[ -f $full/etscnet.json ]] || python -m export onnx --output_dir "$full" --spatial_size "[256,256,128]" --lean >&2

imports() { # median milliseconds of seven processes that import the package's command line, and of seven that import nothing
  python - <<'PYTHON'
import statistics, subprocess, sys, time

def median(code):
    spent = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd="edge")
        spent.append((time.perf_counter() - start) * 1e3)
    return statistics.median(spent)

print(f"A Python that imports `etscnet_edge.__main__`: {median('import etscnet_edge.__main__'):.0f} ms; one that imports nothing: {median('pass'):.0f} ms.")
PYTHON
}

{
  printf '# Records of the edge package\n\nThe output of `bash benchmarks/edge.sh` on: %s, %s cores.\n' \
    "$(sed -n 's/^model name\t*: //p' /proc/cpuinfo | head -1), $(grep -o -w -m1 -E 'avx512f|avx2' /proc/cpuinfo | sort -r | head -1)" "$(nproc)"
  printf '\n## Against MONAI and its stock ONNX export: a real pair, a fresh process each\n\n'
  python -m benchmarks.edge ../shared/mri "$full" "$out/full"
  printf '\n'
  python -m benchmarks.edge ../shared/mri "$shipped" "$out/shipped"
  printf '\n## One volume read, resized, normalised: milliseconds, MB beyond the libraries\n\n'
  python -m benchmarks.edge_volume ../shared/mri "$full"
  printf '\n'
  python -m benchmarks.edge_volume ../shared/mri "$shipped"
  printf '\n## Import\n\n'
  imports
} > "$record.tmp"
mv "$record.tmp" "$record"
cat "$record"
