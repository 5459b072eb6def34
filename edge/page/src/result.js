// A study's result on the page. The decision is the server's: nothing is computed from the scores here.

import { displayName } from "./card.js";

const MEANING = {
  controlled: "Seizures are predicted to be controlled after one year of anti-seizure medication.",
  uncontrolled: "Seizures are predicted not to be controlled after one year of anti-seizure medication.",
};
const STAGES = {
  load: "Loading of the model",
  read: "Reading and checks",
  preprocess: "Preprocessing",
  wait_for_load: "Waiting for the model",
  network: "Network",
};

/**
 * Fill the section; returns the result in one sentence, its numbers written as there.
 * @param {HTMLElement} section
 * @param {object} result the server's answer
 * @returns {string}
 */
export function fillResult(section, result) {
  const find = (selector) => section.querySelector(selector);
  const digits = enoughDigits(result);
  const written = (score) => score.toFixed(digits);
  const above = result.score >= result.threshold;

  find(".score").textContent = written(result.score);
  find(".decision").textContent = result.decision;
  find(".decision").dataset.side = above ? "above" : "below";
  find(".meaning").textContent = MEANING[result.decision] ?? "";
  find(".rule").textContent =
    `The score is ${above ? "at or above" : "below"} the threshold ${written(result.threshold)}; ` +
    "from the threshold on: controlled.";

  const warnings = result.warnings.map((text) => element("li", text));
  find(".warnings").replaceChildren(...warnings);

  const rows = [["Fused", result.score, "fused"]];
  for (const [name, score] of Object.entries(result.branch_scores)) rows.push([displayName(name), score, "branch"]);
  find(".scale").style.setProperty("--threshold", result.threshold);
  find(".scale tbody").replaceChildren(...rows.map(([name, score, kind]) => scaleRow(name, written(score), score, kind)));
  find(".threshold-label").textContent = `threshold ${written(result.threshold)}`;

  const facts = Object.entries(result.milliseconds).map(([stage, ms]) => [STAGES[stage] ?? stage, `${grouped(ms)} ms`]);
  if (result.peak_memory_mb != null) facts.push(["Peak memory", `${grouped(result.peak_memory_mb)} MB`]);
  const { version, form, runtime, sha256 } = result.model;
  facts.push(["Model", version], ["Form", form], ["Runtime", runtime], ["SHA-256", sha256]);
  find(".facts").replaceChildren(...facts.filter(([, value]) => value != null).map(fact));
  return `Scored ${written(result.score)}: ${result.decision}.`;
}

/** Save the result as it came, as a file of the user's. */
export function saveResult(result) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(result, null, 2) + "\n"], { type: "application/json" }));
  const link = element("a");
  link.href = url;
  link.download = "etscnet-result.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download reads it after the click
}

// A score just below the threshold must not be written like it.
function enoughDigits({ score, threshold }) {
  for (let digits = 3; digits < 9; digits++) {
    if (score >= threshold || Number(score.toFixed(digits)) < Number(threshold.toFixed(digits))) return digits;
  }
  return 9;
}

function scaleRow(name, written, score, kind) {
  const row = element("tr");
  row.className = kind;
  const head = element("th", name);
  head.scope = "row";
  const track = element("td");
  track.className = "track";
  track.setAttribute("aria-hidden", "true"); // the number beside it says it
  const mark = element("span");
  mark.className = "mark";
  mark.style.setProperty("--at", score);
  track.append(mark);
  const number = element("td", written);
  number.className = "number";
  row.append(head, number, track);
  return row;
}

function fact([name, value]) {
  const pair = element("div");
  const shown = element("dd", String(value));
  if (name === "SHA-256") {
    shown.textContent = `${value.slice(0, 12)}\u2026`;
    shown.title = value;
  }
  pair.append(element("dt", name), shown);
  return pair;
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  return made;
}

function grouped(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f"); // 12 345
}
