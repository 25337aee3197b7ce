// Part 2: the operators' cases against the reference.

import { $, copyButton, count, make, problem, startStop, time, tiny } from "../dom.js";

/** Failures that are shown in full. */
const SHOWN = 8;

/** Cases that are listed while the check runs: a longer list would take the page too long to lay out. */
const LISTED = 40;

export function mountCheck(session) {
  const button = $("check-run");
  const body = $("check-table").tBodies[0];
  const summary = $("check-summary");
  const bar = $("check-progress");
  const queue = [];
  let frame = 0;
  let results = [];

  session.addEventListener("state", () => {
    button.disabled = session.state !== "ready" && !("running" in button.dataset);
    const why = $("check-why");
    why.hidden = session.state !== "none";
    $("check-card").hidden = session.state === "none";
    why.textContent = "The check compares a GPU with the CPU, and there is no GPU here, so it cannot run.";
  });

  const run = startStop(button, start, { wait: () => session.job });
  $("check-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!button.disabled) run();
  });

  async function start(signal, running) {
    const random = Number($("check-kind").value) || undefined;
    const options = {
      operator: $("check-operator").value || undefined,
      cases: random ? undefined : $("check-name").value.trim() || undefined,
      random,
      seed: random ? 1 + Math.floor(Math.random() * 1e6) : undefined,
    };
    const tally = { passed: 0, failed: 0, skipped: 0, done: 0, total: 0, worst: 0 };
    summary.textContent = session.job ? `Waiting for: ${session.job}` : "Starting";
    bar.value = 0;
    try {
      await session.exclusive("the check", async () => {
        if (signal.aborted) return;
        running();
        body.replaceChildren();
        $("check-failures").replaceChildren();
        const onProgress = (result, done, total) => {
          tally[result.status] += 1;
          const errors = result.variants.map((variant) => variant.relRmse).filter(Number.isFinite);
          tally.worst = Math.max(tally.worst, ...(result.status === "passed" ? errors : []));
          Object.assign(tally, { done, total });
          queue.push(result);
          results.push(result);
          frame ||= requestAnimationFrame(draw);
        };
        const draw = () => {
          frame = 0;
          // A few a frame: the page stays quick however fast the cases come.
          const batch = queue.splice(0, 6);
          body.prepend(...batch.reverse().map(row));
          shorten();
          fail(batch.filter((result) => result.status === "failed"));
          bar.max = tally.total;
          bar.value = tally.done;
          if (!summary.dataset.final) say(tally, `${count(tally.done)} of ${count(tally.total)}`);
          if (queue.length > 0) frame = requestAnimationFrame(draw);
          else if (summary.dataset.final) offer();
        };
        delete summary.dataset.final;
        results = [];
        const result = await session.call("check", options, { signal, onProgress });
        if (result.cases.length === 0) {
          summary.textContent = signal.aborted ? "Stopped." : "No case has a name that contains this.";
        } else {
          summary.dataset.final = "yes";
          say({ ...tally, ...result }, signal.aborted ? "Stopped after" : "Done:");
          if (!frame) offer();
        }
      });
      if (signal.aborted && tally.done === 0) summary.textContent = "Stopped.";
    } catch (error) {
      summary.textContent = problem(error);
    } finally {
      button.disabled = session.state !== "ready";
    }
  }

  /** Takes the oldest cases off the list, but none that failed. */
  function shorten() {
    const old = [...body.rows].slice(LISTED).filter((line) => line.dataset.status !== "failed");
    for (const line of old) line.remove();
  }

  /** A way to see all cases once they are done. */
  function offer() {
    if (body.rows.length >= results.length) return;
    const all = make("button", { type: "button", class: "small" }, `Show all ${count(results.length)}`);
    all.addEventListener("click", () => {
      body.replaceChildren();
      const rest = results.map(row).reverse();
      const more = () => {
        body.append(...rest.splice(0, 10));
        if (rest.length > 0) requestAnimationFrame(more);
      };
      more();
    });
    body.append(make("tr", {}, make("td", { colspan: "5" }, all)));
  }

  /** The first failures in full; where everything fails, more would not help. */
  function fail(results) {
    const place = $("check-failures");
    for (const result of results) {
      if (place.childElementCount < SHOWN) place.append(failure(result));
      else if (place.childElementCount === SHOWN) place.append(make("p", { class: "failure" }, "More cases failed; they are marked in the list below."));
    }
  }

  function say({ passed, failed, skipped, worst }, start) {
    const text = [`${start} `, make("span", { class: "passed" }, `${count(passed)} passed`), ", ", make("span", { class: failed > 0 ? "failed" : "" }, `${count(failed)} failed`)];
    if (skipped > 0) text.push(`, ${count(skipped)} skipped`);
    if (worst > 0) text.push(`; largest error ${tiny(worst)}`);
    summary.replaceChildren(...text);
  }
}

function row({ operator, name, problem: words, status, variants, milliseconds }) {
  const tried = variants.filter((variant) => Number.isFinite(variant.relRmse));
  const worst = tried.length > 0 ? tiny(Math.max(...tried.map((variant) => variant.relRmse))) : "";
  const detail = variants.map((variant) => `${variant.variant}: ${Number.isFinite(variant.relRmse) ? `error ${tiny(variant.relRmse)}` : (variant.reason ?? variant.status)}`).join("\n");
  const result = status === "passed" ? `right by ${variants.filter((variant) => variant.status === "passed").length} of ${variants.length}` : status;
  return make(
    "tr",
    { title: detail, "data-status": status },
    make("td", {}, make("code", {}, `${operator}/${name}`), make("span", { class: "narrow", "aria-hidden": "true" }, words)),
    make("td", {}, words),
    make("td", { class: "num" }, worst),
    make("td", { class: "num" }, time(milliseconds)),
    make("td", {}, make("span", { class: `mark ${status}` }, result)),
  );
}

function failure({ operator, name, variants, repro }) {
  const reasons = variants.filter((variant) => variant.status === "failed").map((variant) => `${variant.variant}: ${variant.reason ?? `error ${tiny(variant.relRmse)}`}`);
  return make("div", { class: "failure" }, make("strong", {}, `${operator}/${name} is wrong`), make("p", {}, reasons.join("; ")), make("pre", { tabindex: "0" }, repro), copyButton(() => repro, "Copy the code"));
}
