"use strict";

const SHOWN = 20;
const SMALL_PX = 96;
const element = (id) => document.getElementById(id);
let model = null;

function address(values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== "") query.set(name, value);
  }
  return `sample?${query}`;
}

function seedIn(input) {
  const value = Number.parseInt(input.value, 10);
  const most = Number(input.max);
  return Number.isFinite(value) ? Math.min(Math.max(value, 0), most) : 0;
}

function show(image, link, values, name) {
  image.src = link.href = address(values);
  link.download = name;
}

function labelOf(index) {
  const chosen = element("class").value;
  return model.classes.length ? chosen || model.classes[index % model.classes.length] : null;
}

function showSamples() {
  const truncation = element("truncation").value;
  const first = seedIn(element("seed"));
  element("truncation-value").textContent = truncation;
  Array.from(element("samples").querySelectorAll("a")).forEach((link, index) => {
    const seed = first + index;
    const label = labelOf(index);
    const [image, caption] = link.children;
    image.alt = label === null ? `Sample, seed ${seed}` : `Sample of class ${label}, seed ${seed}`;
    caption.textContent = label === null ? `seed ${seed}` : `${label}, seed ${seed}`;
    show(image, link, { seed, label, truncation }, `${model.name}-${model.version}-seed-${seed}.png`);
  });
}

function showBetween() {
  const mix = element("mix").value;
  const values = {
    seed: seedIn(element("start")),
    toward_seed: seedIn(element("end")),
    mix,
    label: element("class").value || (model.classes.length ? model.classes[0] : null),
    truncation: element("truncation").value,
  };
  element("mix-value").textContent = mix;
  const name = `${model.name}-${model.version}-seeds-${values.seed}-${values.toward_seed}-at-${mix}.png`;
  show(element("between"), element("between-link"), values, name);
}

function complain(text) {
  element("problem").textContent = text;
  element("problem").hidden = false;
}

// A browser does not tell why an image is missing: the server is asked once more.
async function explain(event) {
  const answer = await fetch(event.target.src).catch(() => null);
  if (answer === null) complain("The server does not answer; start it again and reload this page.");
  else if (!answer.ok) complain((await answer.json()).error);
}

function slots() {
  for (let index = 0; index < SHOWN; index += 1) {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    const image = link.appendChild(document.createElement("img"));
    link.appendChild(document.createElement("span"));
    image.addEventListener("error", explain);
    image.classList.toggle("small-pixels", model.image_size <= SMALL_PX);
    element("samples").append(item);
  }
  element("between").classList.toggle("small-pixels", model.image_size <= SMALL_PX);
  element("between").addEventListener("error", explain);
}

async function start() {
  const answer = await fetch("model").catch(() => null);
  if (answer === null || !answer.ok) {
    complain("The server does not answer; start it again and reload this page.");
    return;
  }
  model = await answer.json();
  document.title = `Gallery of ${model.name}`;
  element("model").textContent =
    `${model.name}, version ${model.version}; ${model.image_size} × ${model.image_size} pixels; ` +
    `made by a machine: generator ${model.generator_sha256.slice(0, 12)}…`;
  for (const name of model.classes) element("class").add(new Option(name, name));
  element("class-field").hidden = model.classes.length === 0;
  element("truncation").max = model.highest_truncation;
  element("truncation").value = model.highest_truncation;
  slots();
  const both = () => { showSamples(); showBetween(); };
  for (const id of ["class", "truncation"]) element(id).addEventListener("input", both);
  element("seed").addEventListener("input", showSamples);
  for (const id of ["start", "end", "mix"]) element(id).addEventListener("input", showBetween);
  element("more").addEventListener("click", () => {
    element("seed").value = (seedIn(element("seed")) + SHOWN) % Number(element("seed").max);
    showSamples();
  });
  both();
}

start();
