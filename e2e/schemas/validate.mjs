// Validates Kubernetes resources: `node validate.mjs FILE.yaml ...` beside node_modules.
//
// Twice, as each sees half: the packages' JSON schemas check values but let unknown fields pass,
// TypeScript's types of the same resources refuse unknown fields.
import { readFileSync } from "node:fs";
import ts from "typescript";
import { parseAllDocuments } from "yaml";

const PACKAGES = {
  "extensions.istio.io": "@kubernetes-models/istio",
  "networking.istio.io": "@kubernetes-models/istio",
  "security.istio.io": "@kubernetes-models/istio",
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway",
};

let problems = 0;
function problem(file, text) {
  console.error(`${file}: ${text}`);
  problems += 1;
}

// Programs that are not on disk, one for each file, and what they are of.
const sources = new Map();
const files = new Map();
for (const file of process.argv.slice(2)) {
  let source = "";
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const { apiVersion, kind, ...data } = document.toJS();
    const [group] = String(apiVersion).split("/");
    const module = `${PACKAGES[group]}/${apiVersion}`;
    const Model = PACKAGES[group] && (await import(module))[kind];
    if (!Model) {
      problem(file, `no schema for ${kind} of ${apiVersion}`);
      continue;
    }
    try {
      new Model(data).validate();
    } catch (error) {
      problem(file, error.message);
    }
    source += `new (await import("${module}")).${kind}(${JSON.stringify(data)});\n`;
  }
  const program = `${import.meta.dirname}/${sources.size}.mts`;
  sources.set(program, `${source}export {};`);
  files.set(program, file);
}
if (sources.size === 0) problem("validate.mjs", "no files to validate");

const options = {
  strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
};
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (name) => sources.has(name) || fileExists(name);
host.getSourceFile = (name, version) => sources.has(name)
  ? ts.createSourceFile(name, sources.get(name), version)
  : getSourceFile(name, version);
const program = ts.createProgram([...sources.keys()], options, host);
for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
  problem(files.get(file?.fileName), ts.flattenDiagnosticMessageText(messageText, " "));
}
process.exit(problems === 0 ? 0 : 1);
