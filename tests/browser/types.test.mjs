// The package's types: an example of what people write has to pass the compiler, and what is wrong in it has to be refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const file = (path) => fileURLToPath(new URL(path, import.meta.url));

test("an example type-checks, and its mistakes are seen", () => {
  const options = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
    paths: { foveal: [file("../../crates/web/js/foveal.d.ts")] },
    types: [],
  };
  const program = ts.createProgram([file("types/example.ts")], options);
  const found = ts.getPreEmitDiagnostics(program).map(({ messageText, file: source, start }) => {
    const line = source && start !== undefined ? source.getLineAndCharacterOfPosition(start).line + 1 : "";
    return `${source?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
  assert.deepEqual(found, []);
});
