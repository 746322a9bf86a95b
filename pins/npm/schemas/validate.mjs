// Validates Kubernetes resources: `node validate.mjs FILE.yaml ...` next to node_modules. Prints a JSON
// array with `{ documents, problems }` for each file.
//
// Validates twice, because each check sees half: the JSON schemas of the packages check values but
// ignore unknown fields, the TypeScript types of the same resources reject unknown fields.
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { parseAllDocuments } from "yaml";

const PACKAGES = {
  "extensions.istio.io": "@kubernetes-models/istio",
  "networking.istio.io": "@kubernetes-models/istio",
  "security.istio.io": "@kubernetes-models/istio",
  "gateway.envoyproxy.io": "@kubernetes-models/envoy-gateway",
  "batch": "kubernetes-models",
};

const results = [];
// TypeScript programs that are not on disk, one for each file: name to source, and name to result.
const sources = new Map();
const owners = new Map();
for (const file of process.argv.slice(2)) {
  const result = { documents: [], problems: [] };
  results.push(result);
  let source = "";
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    for (const error of document.errors) throw error;
    const resource = document.toJS();
    result.documents.push(resource);
    const { apiVersion, kind, ...data } = resource;
    const [group] = String(apiVersion).split("/");
    const module = `${PACKAGES[group]}/${apiVersion}`;
    const Model = PACKAGES[group] && (await import(module))[kind];
    if (!Model) {
      result.problems.push(`no schema for ${kind} of ${apiVersion}`);
      continue;
    }
    try {
      new Model(data).validate();
    } catch (error) {
      result.problems.push(error.message);
    }
    source += `new (await import("${module}")).${kind}(${JSON.stringify(data)});\n`;
  }
  if (source === "") continue;
  const program = `${dirname(fileURLToPath(import.meta.url))}/${sources.size}.mts`;
  sources.set(program, `${source}export {};`);
  owners.set(program, result);
}

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
const program = sources.size > 0 && ts.createProgram([...sources.keys()], options, host);
for (const { file, messageText } of program ? ts.getPreEmitDiagnostics(program) : []) {
  // A diagnostic without a file is no resource's fault: the exception ends the run.
  owners.get(file.fileName).problems.push(ts.flattenDiagnosticMessageText(messageText, " "));
}
console.log(JSON.stringify(results));
