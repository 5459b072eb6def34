#!/usr/bin/env bash
# The edge package's evidence, benchmarks/records/EDGE.md: against MONAI at the paper's size and at the shipped weights', a volume's
# preprocessing, the import. Needs ../shared/mri. About ten minutes on two cores, which nothing else should use. A step
# whose result lies in results/edge is not run again.
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

step() { # RESULT COMMAND...: the command's output becomes the result, whole or not at all; a result that is there is kept
  local result=$out/$1
  shift
  if [[ -f $result ]]; then return; fi
  "$@" > "$result.tmp"
  mv "$result.tmp" "$result"
}

machine() {
  printf '%s, %s, %s cores' "$(sed -n 's/^model name\t*: //p' /proc/cpuinfo | head -1)" \
    "$(grep -o -w -m1 -E 'avx512f|avx2' /proc/cpuinfo | sort -r | head -1)" "$(nproc)"
}

step machine.md machine
step full.md python -m benchmarks.edge --mri ../shared/mri --exports "$full" --output_dir "$out/full"
step shipped.md python -m benchmarks.edge --mri ../shared/mri --exports "$shipped" --output_dir "$out/shipped"
step volume_full.md python -m benchmarks.edge_volume --mri ../shared/mri --exports "$full"
step volume_shipped.md python -m benchmarks.edge_volume --mri ../shared/mri --exports "$shipped"
step import.md imports

{
  printf '# Records of the edge package\n\nThe output of `bash benchmarks/edge.sh` on: %s.\n' "$(cat "$out/machine.md")"
  printf '\n## Against MONAI and its stock ONNX export: a real pair, a fresh process each\n\n'
  cat "$out/shipped.md" && printf '\n' && cat "$out/full.md"
  printf '\n## One volume read, resized, normalised: milliseconds, MB beyond the libraries\n\n'
  cat "$out/volume_shipped.md" && printf '\n' && cat "$out/volume_full.md"
  printf '\n## Import\n\n'
  cat "$out/import.md"
} > "$record.tmp"
mv "$record.tmp" "$record"
cat "$record"
