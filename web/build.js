// Builds the page: src/ into ../ztxexp/report/static/, or into the folder that is named.
//
//     npm ci && node build.js [FOLDER]
//
// The same sources and lock give the same bytes on every machine.

import { build } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "ztxexp", "report", "static");
mkdirSync(out, { recursive: true });

const result = await build({
  absWorkingDir: here,
  entryPoints: { report: "src/main.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome110", "firefox113", "safari16.4"],
  charset: "ascii",
  legalComments: "none",
  define: { "process.env.NODE_ENV": '"production"' },
  metafile: true,
  write: false,
});

for (const file of result.outputFiles) {
  // The page holds both inside of <script> and <style>.
  for (const end of ["</script", "</style", "<!--"]) {
    if (file.text.toLowerCase().includes(end)) throw new Error(`${file.path} holds ${end}`);
  }
  writeFileSync(file.path, file.text);
}
writeFileSync(join(out, "THIRD_PARTY.txt"), licences());

function licences() {
  const texts = ["uplot", "tabulator-tables", "echarts", "zrender", "tslib"].map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = { uplot: ["LICENSE"], "tabulator-tables": ["LICENSE"], echarts: ["LICENSE", "NOTICE", "licenses/LICENSE-d3"], zrender: ["LICENSE"], tslib: ["LICENSE.txt"] }[name];
    const parts = files.map((file) => `--- ${file}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`);
    return `${"=".repeat(80)}\n${name} ${version} (${license})\n${"=".repeat(80)}\n\n${parts.join("\n")}`;
  });
  return `report.js and report.css hold the software below, beside that of ztxexp.\n\n${texts.join("\n")}`.replace(/\r\n/g, "\n").replace(/[ \t]+$/gm, "");
}

for (const file of result.outputFiles) console.log(file.path.slice(out.length + 1), file.contents.length);
const sizes = {};
for (const [path, { bytesInOutput }] of Object.entries(result.metafile.outputs).flatMap(([, output]) => Object.entries(output.inputs))) {
  const part = /node_modules\/([^/]+)/.exec(path)?.[1] ?? "own";
  sizes[part] = (sizes[part] ?? 0) + bytesInOutput;
}
console.log(sizes);
