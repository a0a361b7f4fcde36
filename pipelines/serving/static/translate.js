"use strict";

const element = (id) => document.getElementById(id);

function complain(text) {
  element("problem").textContent = text;
  element("problem").hidden = text === "";
}

// Images come as data, which the page's policy allows.
function dataOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function translate() {
  const file = element("file").files[0];
  complain("");
  if (file === undefined) {
    complain("Choose an image first.");
    return;
  }
  const seed = Math.max(0, Number.parseInt(element("seed").value, 10) || 0);
  const to = element("to").value;
  element("translate").disabled = true;
  element("state").textContent = "Translating …";
  try {
    const answer = await fetch(`translate?${new URLSearchParams({ seed, to })}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
    });
    if (!answer.ok) {
      element("pair").hidden = true;
      complain((await answer.json()).error);
    } else {
      element("given").src = await dataOf(file);
      element("made").src = element("link").href = await dataOf(await answer.blob());
      element("link").download = `${file.name.replace(/\.[^.]*$/, "")}-${to}-seed-${seed}.png`;
      element("pair").hidden = false;
    }
  } catch {
    complain("The server does not answer; start it again and reload this page.");
  }
  element("state").textContent = "";
  element("translate").disabled = false;
}

async function start() {
  const answer = await fetch("model").catch(() => null);
  if (answer === null || !answer.ok) {
    complain("The server does not answer; start it again and reload this page.");
    return;
  }
  const model = await answer.json();
  document.title = `Translate with ${model.name}`;
  element("model").textContent =
    `${model.name}, version ${model.version}; images of at most ${model.most_pixels.toLocaleString("en")} pixels; ` +
    `translations are made by a machine: generator ${model.generator_sha256.slice(0, 12)}…`;
  for (const kind of model.makes) element("to").add(new Option(kind, kind));
  element("to-field").hidden = model.makes.length < 2;
  element("translate").addEventListener("click", translate);
}

start();
