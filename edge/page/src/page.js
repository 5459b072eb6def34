// The page: one card a modality of the server's model, a button, a result. Its one rule: a score never stands beside other images
// than its own, so every change of a file takes the result away and stops a request that is under way.

import { Card } from "./card.js";
import { fillResult, saveResult } from "./result.js";
import { readModel, scoreStudy, useToken } from "./server.js";

const at = (id) => document.getElementById(id);
const [cardTemplate, cardList, scoreButton, cancelButton] = ["card", "cards", "score", "cancel"].map(at);
const [statusLine, elapsed, progress, alertBox] = ["status", "elapsed", "progress", "alert"].map(at);
const [access, tokenField, resultSection] = ["access", "token", "result"].map(at);

let cards = [];
let result = null;
let underway = null; // AbortController of the request for a score

async function start() {
  let model;
  try {
    model = await readModel();
  } catch (error) {
    if (error.status === 503) {
      const wait = error.retryAfter ?? 5; // seconds; the model is being loaded, as a rule
      say(`Waiting for the server. ${error.message}`);
      setTimeout(start, 1000 * wait);
    } else fail(error);
    return;
  }
  hideAlert();
  const asked = !access.hidden;
  access.hidden = true;
  if (cards.length) {
    say("The token is accepted. Score again.");
    scoreButton.focus();
    return;
  }
  showModel(model);
  if (asked) cards[0].focus();
}

function showModel(model) {
  const { modalities, intended_use: use, warnings = [], model_version: version } = model.parameters;
  at("model").textContent = `Model ${version ?? [model.name, ...model.versions].join(" ")}`;
  const standing = at("research").textContent;
  at("about").textContent = [use, ...warnings].filter((text) => text && text !== standing).join(" ");
  cards = modalities.map((name) => new Card(cardTemplate, name, { change: onFiles, shown: onShown, move: onMove }));
  cardList.replaceChildren(...cards.map((card) => card.element));
  for (const card of cards) card.start();
  onFiles();
}

function onFiles() {
  underway?.abort();
  clearResult();
  hideAlert();
  scoreButton.disabled = missing().length > 0;
  say(nextStep());
}

function onShown(card) {
  for (const other of cards) if (other !== card && other.mm) card.goTo(other.mm);
  if (!underway && !result && alertBox.hidden) say(`${card.name} is shown. ${nextStep()}`);
}

function missing() {
  return cards.filter((card) => !card.image).map((card) => card.name);
}

function nextStep() {
  const names = missing();
  return names.length ? `Choose the ${names.join(" and the ")} image.` : "Ready to score.";
}

// The other images follow, for a pair of one session shares its world.
function onMove(card, mm) {
  for (const other of cards) if (other !== card) other.goTo(mm);
}

async function score() {
  if (underway || scoreButton.disabled) return;
  clearResult();
  hideAlert();
  const controller = new AbortController();
  const working = busy(controller);
  try {
    const answer = await scoreStudy(new Map(cards.flatMap((card) => card.files)), controller.signal);
    if (controller.signal.aborted) return;
    showResult(answer);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped: there is no score.");
    else fail(error);
  } finally {
    working.end();
  }
}

function busy(controller) {
  const begun = performance.now();
  const tick = () => (elapsed.textContent = `${Math.floor((performance.now() - begun) / 1000)} s`);
  const timer = setInterval(tick, 1000);
  underway = controller;
  scoreButton.setAttribute("aria-disabled", "true"); // not `disabled`, which would drop the keyboard's focus
  cancelButton.hidden = progress.hidden = elapsed.hidden = false;
  tick();
  say("Scoring: the images are read, checked and run through the network.");
  return {
    end() {
      clearInterval(timer);
      underway = null;
      scoreButton.removeAttribute("aria-disabled");
      if (document.activeElement === cancelButton) scoreButton.focus();
      cancelButton.hidden = progress.hidden = elapsed.hidden = true;
    },
  };
}

function showResult(answer) {
  const sentence = fillResult(resultSection, answer);
  result = answer;
  resultSection.hidden = false;
  resultSection.scrollIntoView({ block: "nearest" });
  say(sentence);
}

function clearResult() {
  result = null;
  resultSection.hidden = true;
}

function fail(error) {
  let text = error.message;
  if (error.status === 401) {
    text = access.hidden ? "The server wants an access token." : "The server did not accept the token.";
    access.hidden = false;
    tokenField.focus();
  } else if (error.status === 503) {
    const wait = error.retryAfter === null ? "soon" : `in ${error.retryAfter} s`;
    text = `The server is busy. ${text}${text.includes(wait) ? "" : ` Try again ${wait}.`}`;
  }
  say("There is no score.");
  alertBox.textContent = text;
  alertBox.hidden = false;
}

function hideAlert() {
  alertBox.hidden = true;
  alertBox.textContent = "";
}

function say(text) {
  statusLine.textContent = text;
}

access.addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(tokenField.value);
  start();
});
scoreButton.addEventListener("click", score);
cancelButton.addEventListener("click", () => underway?.abort());
at("save").addEventListener("click", () => result && saveResult(result));
// a file dropped beside a card would open in the place of the page
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

start();
