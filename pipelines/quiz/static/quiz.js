// One image at a time: a cross, the image for as long as the quiz says, noise over it until there is an answer.

const CROSS_MS = 400;
const FRAME_MS = 1000 / 60;
const MOST_SIDE = 384;
const MOST_SCALE = 12; // beyond, one sees squares and no image

const element = (id) => document.getElementById(id);
const canvas = element("image");
const brush = canvas.getContext("2d");
const seat = {
  get person() { return sessionStorage.getItem("person"); },
  set person(secret) { secret ? sessionStorage.setItem("person", secret) : sessionStorage.removeItem("person"); },
};

let terms;
let asked = null; // the address of the image that an answer is awaited for
let retry;

function open(section, focused) {
  for (const each of document.querySelectorAll("section")) each.hidden = each.id !== section;
  if (focused) element(focused).focus();
}

// Whatever goes wrong, the person can try the same step again.
async function attempt(step) {
  try {
    await step();
  } catch (error) {
    asked = null;
    retry = error.gone ? start : step;
    element("reason").textContent = error.message;
    open("trouble", "trouble-title");
  }
}

async function reach(path, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Error("The quiz does not answer. If it has ended, your answers so far are kept.");
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    throw Object.assign(new Error(error ?? `The quiz says ${response.status}.`), { gone: response.status === 404 });
  }
  return response;
}

const askFor = async (path, body) => (await reach(path, body)).json();
const fetchImage = async (address) => createImageBitmap(await (await reach(`/images/${address}`)).blob());
const frame = () => new Promise(requestAnimationFrame);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function stretchCanvas() {
  const size = terms.image_size;
  canvas.width = canvas.height = size;
  // Whole multiples, so that all pixels have the same size.
  const room = Math.min(MOST_SIDE, canvas.parentElement.clientWidth);
  const scale = size <= room ? Math.min(MOST_SCALE, Math.floor(room / size)) : room / size;
  canvas.style.width = canvas.style.height = `${size * scale}px`;
}

function drawCross() {
  brush.clearRect(0, 0, canvas.width, canvas.height);
  const middle = canvas.width / 2, arm = canvas.width / 16;
  brush.strokeStyle = "#000";
  brush.lineWidth = canvas.width / 64;
  brush.beginPath();
  brush.moveTo(middle - arm, middle);
  brush.lineTo(middle + arm, middle);
  brush.moveTo(middle, middle - arm);
  brush.lineTo(middle, middle + arm);
  brush.stroke();
}

// Noise of the image's own grain, so that no after-image can be looked at.
function drawMask() {
  const noise = brush.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < noise.data.length; i += 4) {
    noise.data.fill(256 * Math.random(), i, i + 3);
    noise.data[i + 3] = 255;
  }
  brush.putImageData(noise, 0, 0);
}

const describe = (text) => canvas.setAttribute("aria-label", text);

function allowAnswers(allowed) {
  for (const id of ["real", "generated"]) element(id).setAttribute("aria-disabled", String(!allowed));
}

async function show(state) {
  if (state.result) return tell(state.result);
  const place = state.answered + 1;
  allowAnswers(false);
  element("progress").textContent = `Image ${place} of ${terms.images}`;
  element("bar").style.width = `${(100 * state.answered) / terms.images}%`;
  if (element("trial").hidden) open("trial", "question");
  stretchCanvas();
  describe("A cross: the image comes here");
  drawCross();
  const [picture] = await Promise.all([fetchImage(state.image), pause(CROSS_MS)]);
  const shownAt = await frame();
  brush.clearRect(0, 0, canvas.width, canvas.height);
  brush.drawImage(picture, 0, 0);
  describe(`Image ${place}: real or generated?`);
  asked = state.image;
  allowAnswers(true);
  if (!terms.exposure_ms) return;
  // What is drawn in a frame is seen from the next one on.
  while ((await frame()) - shownAt < terms.exposure_ms - FRAME_MS / 2) if (asked !== state.image) return;
  if (asked !== state.image) return;
  drawMask();
  describe(`Image ${place} was here: was it real or generated?`);
}

function say(generated) {
  if (asked === null) return;
  const image = asked;
  asked = null;
  allowAnswers(false);
  attempt(async () => show(await askFor("/answer", { person: seat.person, image, generated })));
}

const percent = (share) => `${Math.round(100 * share)} %`;

function tell(result) {
  const wrong = result.reals_taken_for_fake + result.fakes_taken_for_real;
  const { estimate, low, high, level } = result.error_rate;
  element("verdict").textContent = `You were wrong on ${wrong} of ${result.reals + result.fakes} images`;
  element("rate").textContent =
    `That is an error rate of ${percent(estimate)} (${percent(level)} interval ${percent(low)} to ${percent(high)}). ` +
    "Guessing would be wrong half of the time.";
  element("reals").textContent = result.reals;
  element("fakes").textContent = result.fakes;
  element("reals-wrong").textContent = result.reals_taken_for_fake;
  element("fakes-wrong").textContent = result.fakes_taken_for_real;
  open("result", "verdict");
}

function welcome() {
  element("images").textContent = terms.images;
  element("exposure").textContent = terms.exposure_ms
    ? `Each is shown for ${terms.exposure_ms / 1000} s and then covered; take your time for the answer.`
    : "Look at each as long as you like.";
  element("name").value = "";
  open("welcome", "name");
}

async function start() {
  terms = await askFor("/terms");
  if (!seat.person) return welcome();
  let state;
  try {
    state = await askFor("/resume", { person: seat.person });
  } catch (error) {
    if (error.gone) seat.person = null; // of a quiz that was here before
    throw error;
  }
  await show(state);
}

element("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = element("name").value;
  attempt(async () => {
    const state = await askFor("/begin", { name });
    seat.person = state.person;
    await show(state);
  });
});
element("real").addEventListener("click", () => say(false));
element("generated").addEventListener("click", () => say(true));
element("again").addEventListener("click", () => attempt(retry));
element("next-person").addEventListener("click", () => {
  seat.person = null;
  welcome();
});
document.addEventListener("keydown", (event) => {
  if (element("trial").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const generated = { r: false, arrowleft: false, g: true, arrowright: true }[event.key.toLowerCase()];
  if (generated === undefined) return;
  event.preventDefault();
  say(generated);
});
attempt(start);
