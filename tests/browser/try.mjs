import { open, missing } from "./browser.mjs";
console.log(missing());
const b = await open();
const page = await b.page();
try {
const r = await page.evaluate(async () => {
  const out = {};
  const f = await import("/package/foveal.js");
  const t0 = performance.now();
  const engine = await f.Engine.create();
  out.create = performance.now() - t0;
  out.info = engine.info;
  const inputs = await f.inputs("attention", "1x2x64x32", {});
  const t1 = performance.now();
  const { o } = await engine.attention({ ...inputs, mask: "causal" });
  out.first = performance.now() - t1;
  const t2 = performance.now();
  await engine.attention({ ...inputs, mask: "causal" });
  out.second = performance.now() - t2;
  const t3 = performance.now();
  const ref = await f.reference("attention", { ...inputs, mask: "causal" });
  out.ref = performance.now() - t3;
  out.diff = Math.max(...o.data.map((x, i) => Math.abs(x - ref.o.data[i])));
  const li = await f.inputs("linear", "1x2x64x32", { rule: "delta" });
  const t4 = performance.now();
  const l = await engine.linear({ ...li, rule: "delta" });
  out.lin = performance.now() - t4;
  const lr = await f.reference("linear", { ...li, rule: "delta" });
  out.ldiff = Math.max(...l.o.data.map((x, i) => Math.abs(x - lr.o.data[i])));
  try { await engine.attention({ ...inputs, mask: "causal & windw(3,0)" }); } catch (e) { out.e = [e.kind, e.argument, e.message, e.column, e.length]; }
  try { await engine.attention({ ...inputs, bogus: inputs.q }); } catch (e) { out.e2 = [e.kind, e.message]; }
  const p = engine.attention({ ...inputs, mask: "causal & window(3,0)" });
  engine.destroy();
  try { await p; out.e3 = "no" } catch (e) { out.e3 = [e.kind, e.message]; }
  try { await engine.attention(inputs); out.e3 = "no" } catch (e) { out.e4 = [e.kind, e.message]; }
  out.lost = (await engine.lost).kind;
  return out;
});
console.log(JSON.stringify(r, null, 1));
} catch (e) { console.log(e) }
console.log(page.complaints);
await b.close();
