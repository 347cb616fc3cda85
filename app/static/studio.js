import { curlKey, get, refusal, unlessAborted, whenKeyGiven } from './service.js';

const MAX_SEED = 4294967295;
const MAX_IN_FLIGHT = 8;
const TILE = { width: 128, height: 128 };
const DEFAULTS = { model: 'default', seed: 0, truncation: 1, size: '512' };

const $ = (id) => document.getElementById(id);
const phone = matchMedia('(max-width: 32rem)'); // as in studio.css: three columns instead of four
const pageSize = () => (phone.matches ? 12 : 16);
const isSeed = (value) => Number.isInteger(value) && value >= 0 && value <= MAX_SEED;

// ---- the view, as the URL's hash tells it

let view = DEFAULTS;
let drawn = null; // what the grid shows of it

function parseSize(text) {
  const match = /^\s*([1-9]\d*)(?:\s*[x×]\s*([1-9]\d*))?\s*$/i.exec(text);
  return match && { width: Number(match[1]), height: Number(match[2] ?? match[1]) };
}

function readHash() {
  const told = new URLSearchParams(location.hash.slice(1));
  const [model, seed, truncation, size] = Object.keys(DEFAULTS).map((key) => told.get(key) ?? '');
  const read = { ...DEFAULTS };
  // The name goes into a shell line that people copy: only what a model may be called gets there.
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/.test(model)) read.model = model;
  if (/^\d+$/.test(seed)) read.seed = Math.min(Number(seed), MAX_SEED);
  if (truncation && truncation >= 0 && truncation <= 1) read.truncation = Number(truncation);
  if (parseSize(size)) read.size = size.trim();
  return read;
}

function change(changes, { turn = false } = {}) {
  view = { ...view, ...changes };
  // The back button turns a page back; trying out a slider leaves no trail.
  history[turn ? 'pushState' : 'replaceState'](null, '', `#${new URLSearchParams(view)}`);
  showView();
}

function showView() {
  clearMessage();
  fillControls();
  const wanted = JSON.stringify([view.model, view.seed, view.truncation, pageSize()]);
  if (wanted !== drawn) drawGrid();
  drawn = wanted;
}

// ---- what went wrong

function tell(error) {
  clearMessage();
  $('message').textContent = error.message;
  if (error.field) $(error.field).setAttribute('aria-invalid', 'true');
}

function clearMessage() {
  $('message').textContent = '';
  for (const field of document.querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
}

// ---- asking for pictures

let inFlight = 0;
const waiting = [];

async function inTurn(work, { urgent = false } = {}) {
  if (inFlight < MAX_IN_FLIGHT) inFlight += 1;
  else await new Promise((go) => waiting[urgent ? 'unshift' : 'push'](go));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next(); // takes over this place, so the count stays
    else inFlight -= 1;
  }
}

function bodyFor(seed, { width, height }) {
  const resolution = width === height ? width : [width, height];
  return JSON.stringify({ seed, resolution, truncation: view.truncation, model: view.model });
}

async function requestPicture(body, signal) {
  signal.throwIfAborted(); // it may have waited for its turn until nobody wanted it
  const started = performance.now();
  const headers = { 'Content-Type': 'application/json' };
  const answer = await get('generate', { method: 'POST', headers, body, signal });
  const blob = await answer.blob().catch(unlessAborted('The picture broke off on its way.'));
  signal.throwIfAborted();
  return { blob, headers: answer.headers, milliseconds: Math.round(performance.now() - started) };
}

async function loadImage(url, alt) {
  const image = Object.assign(new Image(), { alt, src: url });
  await image.decode().catch(unlessAborted('This browser cannot show the picture.'));
  return image;
}

// ---- the grid

let gridRun = new AbortController();
const gridUrls = [];

function drawGrid() {
  gridRun.abort();
  gridRun = new AbortController();
  for (const url of gridUrls.splice(0)) URL.revokeObjectURL(url);
  $('retry').hidden = true;
  const seeds = Array.from({ length: pageSize() }, (_, index) => view.seed + index).filter(isSeed);
  const tiles = seeds.map(makeTile);
  $('grid').replaceChildren(...tiles);
  $('range').textContent = `Seeds ${seeds[0]} – ${seeds.at(-1)}`;
  $('previous').disabled = view.seed === 0;
  $('next').disabled = seeds.at(-1) === MAX_SEED;
  tiles.forEach((tile) => fillTile(tile, gridRun));
}

function makeTile(seed) {
  const tile = $('tile').content.firstElementChild.cloneNode(true);
  tile.dataset.seed = seed;
  tile.setAttribute('aria-label', `Open seed ${seed}`);
  tile.append(seed);
  return tile;
}

async function fillTile(tile, run) {
  const picture = tile.querySelector('.picture');
  const body = bodyFor(Number(tile.dataset.seed), TILE);
  try {
    const { blob } = await inTurn(() => requestPicture(body, run.signal));
    const url = URL.createObjectURL(blob);
    gridUrls.push(url);
    picture.replaceChildren(await loadImage(url, ''));
    picture.className = 'picture';
  } catch (error) {
    picture.className = 'picture failed';
    if (run.signal.aborted) return;
    run.abort(); // the other tiles ask the same of the same model: they would be refused as well
    drawn = null;
    $('retry').hidden = false;
    tell(error);
  }
}

// ---- the viewer

let viewerRun = new AbortController();
let viewerSeed = 0;
let viewerUrl = null;

const tileOf = (seed) => document.querySelector(`.tile[data-seed="${seed}"]`);
const fileName = (seed) => `seed${String(seed).padStart(4, '0')}.png`;
const curlLine = (seed, body) =>
  `curl -o ${fileName(seed)} ${new URL('generate', document.baseURI)} -H 'Content-Type: application/json'${curlKey()} -d '${body}'`;

async function openViewer(seed) {
  const size = parseSize(view.size);
  const body = bodyFor(seed, size);
  emptyViewer();
  prepareViewer(seed, size, body);
  if (!$('viewer').open) $('viewer').showModal();
  const { signal } = viewerRun;
  try {
    const picture = await inTurn(() => requestPicture(body, signal), { urgent: true });
    viewerUrl = URL.createObjectURL(picture.blob);
    Object.assign($('viewer-download'), { href: viewerUrl, download: fileName(seed), hidden: false });
    const image = await loadImage(viewerUrl, `Seed ${seed}`);
    signal.throwIfAborted();
    fillViewer(seed, image, picture);
  } catch (error) {
    if (signal.aborted) return;
    caption(error.message, 'refused');
    tell(error); // the field to correct is on the page behind
  }
}

function emptyViewer() {
  viewerRun.abort();
  viewerRun = new AbortController();
  if (viewerUrl) URL.revokeObjectURL(viewerUrl);
  viewerUrl = null;
  $('viewer-frame').replaceChildren();
  $('viewer-download').hidden = true;
}

function prepareViewer(seed, { width, height }, body) {
  viewerSeed = seed;
  $('viewer-title').textContent = `Seed ${seed}`;
  caption('Drawing…', 'waiting');
  $('viewer-curl').textContent = curlLine(seed, body);
  $('viewer-copy').textContent = 'Copy';
  $('viewer-previous').disabled = seed === 0;
  $('viewer-next').disabled = seed === MAX_SEED;
  const { style } = $('viewer-frame');
  style.cssText = `--width: ${width}; --height: ${height}`;
  const preview = tileOf(seed)?.querySelector('img');
  style.backgroundImage = preview ? `url("${preview.src}")` : '';
}

function caption(text, state = '') {
  $('viewer').className = state;
  $('viewer-caption').textContent = text;
}

function fillViewer(seed, image, { headers, milliseconds }) {
  const model = headers.get('X-Model') ?? view.model;
  const pixels = `${image.naturalWidth} × ${image.naturalHeight} px`;
  caption([`seed ${seed}`, model, pixels, `${milliseconds} ms`].join(' · '));
  $('viewer-caption').title = headers.get('Server-Timing') ?? '';
  $('viewer-frame').style.backgroundImage = '';
  $('viewer-frame').replaceChildren(image);
}

const step = (by) => $('viewer').open && isSeed(viewerSeed + by) && openViewer(viewerSeed + by);

async function copyCurl() {
  const line = $('viewer-curl');
  getSelection().selectAllChildren(line);
  // Off https there is no clipboard API; the old command copies what is selected.
  const asked = navigator.clipboard?.writeText(line.textContent) ?? Promise.reject();
  const copied = await asked.then(() => true, () => document.execCommand('copy'));
  $('viewer-copy').textContent = copied ? 'Copied' : 'Press Ctrl+C';
}

// ---- the controls

const modelOption = (name) => [...$('model').options].find((option) => option.value === name);
const showTruncation = () => { $('truncation-value').value = Number($('truncation').value).toFixed(2); };
const turnPage = (by) => change({ seed: Math.max(0, view.seed + by * pageSize()) }, { turn: true });
const jump = () => change({ seed: crypto.getRandomValues(new Uint32Array(1))[0] }, { turn: true });

function fillControls() {
  if (!modelOption(view.model)) $('model').add(new Option(view.model, view.model));
  for (const field of Object.keys(view)) $(field).value = view[field];
  showTruncation();
}

function takeControls() {
  const seed = $('seed').value === '' ? NaN : Number($('seed').value);
  if (!isSeed(seed)) return tell(refusal(`Seed: give a whole number from 0 to ${MAX_SEED}.`, 'seed'));
  const size = $('size').value.trim();
  if (!parseSize(size)) return tell(refusal('Size: give pixels, as 512 or as 333x200.', 'size'));
  change({ model: $('model').value, seed, truncation: Number($('truncation').value), size });
}

async function loadModels(url = 'models') {
  const { items, next_cursor: next } = await (await get(url)).json();
  for (const { name, preset, resolution, kimg } of items) {
    if (!modelOption(name)) $('model').add(new Option(name, name));
    const title = `trained at ${resolution} px on ${Math.round(kimg)} kimg`;
    Object.assign(modelOption(name), { text: `${name} (${preset})`, title });
  }
  if (next) await loadModels(`models?cursor=${encodeURIComponent(next)}`);
}

const on = (id, event, act) => $(id).addEventListener(event, act);
on('controls', 'change', takeControls);
on('controls', 'submit', (event) => event.preventDefault());
on('truncation', 'input', showTruncation);
on('random', 'click', jump);
on('previous', 'click', () => turnPage(-1));
on('next', 'click', () => turnPage(1));
on('retry', 'click', showView);
on('grid', 'click', ({ target }) => {
  const tile = target.closest('.tile');
  if (tile) openViewer(Number(tile.dataset.seed));
});
on('viewer', 'click', ({ target }) => { if (target === $('viewer')) $('viewer').close(); });
on('viewer', 'close', () => { emptyViewer(); tileOf(viewerSeed)?.focus(); });
on('viewer-previous', 'click', () => step(-1));
on('viewer-next', 'click', () => step(1));
on('viewer-close', 'click', () => $('viewer').close());
on('viewer-copy', 'click', copyCurl);
addEventListener('keydown', ({ key, altKey }) => altKey || step({ ArrowLeft: -1, ArrowRight: 1 }[key]));
addEventListener('hashchange', () => { $('viewer').close(); view = readHash(); showView(); });
phone.addEventListener('change', showView);

function begin() {
  showView();
  loadModels().catch((error) => $('message').textContent || tell(error));
}

whenKeyGiven(begin);
view = readHash();
begin();
