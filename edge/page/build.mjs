// `npm run build -- [OUTPUT]`: the page's three files, minified, and the licences of what is bundled. `build.py` calls it.

import { build } from "esbuild";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const output = resolve(process.argv[2] ?? join(here, "../etscnet_edge/page"));
const read = (...path) => readFileSync(join(here, ...path), "utf8");

mkdirSync(output, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/page.js", "src/page.css"],
  outdir: output,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox115", "safari16.4"],
  alias: { zarrita: "./src/no-zarr.cjs" },
  legalComments: "none", // all licences are in LICENSES.txt
  metafile: true,
  logLevel: "warning",
});
writeFileSync(join(output, "index.html"), read("src/index.html").replace("SOURCES", process.env.PAGE_SOURCES ?? "by hand"));
writeFileSync(join(output, "LICENSES.txt"), licences(bundled(metafile)));

// the packages that are in the bundle, not all that are installed
function bundled({ inputs }) {
  const found = Object.keys(inputs).flatMap((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []);
  return [...new Set(found)].sort();
}

function licences(packages) {
  const parts = packages.map((name) => {
    const { version, license } = JSON.parse(read("node_modules", name, "package.json"));
    return part(`${name} ${version} (${license})`, licenceText(name));
  });
  parts.push(part("Roboto, the font of the image labels, within @niivue/niivue (Apache-2.0)", read("../../LICENSE")));
  return parts.join("\n");
}

function licenceText(name) {
  const folder = join("node_modules", name);
  const file = readdirSync(join(here, folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file) return read(folder, file);
  const ours = join("licences", `${name.split("/").pop()}.txt`); // its package holds none
  if (existsSync(join(here, ours))) return read(ours);
  throw new Error(`${name} is bundled and has no licence file; put its licence into edge/page/${ours}`);
}

function part(title, text) {
  return `${"=".repeat(78)}\n${title}\n${"=".repeat(78)}\n\n${text.trim()}\n`;
}
