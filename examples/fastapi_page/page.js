"use strict";

const $ = (id) => document.getElementById(id);
const cards = new Map(); // id of a song → its element
const uploads = new Map(); // name of an upload → its element
let limit = Infinity;

const STAGES = {
  queued: "Waiting for a free place", uploading: "Sending it to the service", fetching: "The service fetches it",
  waiting: "In the service's queue", distributing: "Separating", processing: "Separating", merging: "Putting together",
  done: "Fetching the stems", downloading: "Fetching the stems", finished: "Fetching the stems",
};

function time(seconds) {
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`;
  return `about ${Math.round(seconds / 60)} min`;
}

function stateOf(song) {
  if (song.stage === "cancelled") return "Cancelled";
  if (song.error) return `That did not work: ${song.error}`;
  if (song.over) return `Done: ${song.stems.length} stems`;
  const parts = [STAGES[song.stage] ?? song.stage];
  if (song.stage === "queued" && song.place !== null) parts.push(`${song.place} before it`);
  if (song.stage === "waiting" && song.queue_position) parts.push(`${song.queue_position} of ${song.queue_length}`);
  if (song.fraction) parts.push(`${Math.round(song.fraction * 100)} %`);
  if (song.stage === "queued" && song.starts_in) parts.push(`starts in ${time(song.starts_in)}`);
  else if (song.seconds_left) parts.push(`${time(song.seconds_left)} left`);
  return parts.join(" · ");
}

function newCard(title) {
  const card = $("song").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = title;
  $("songs").prepend(card);
  $("heading").hidden = false;
  return card;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showStems(card, stems) {
  const list = card.querySelector(".stems");
  if (list.childElementCount === stems.length) return;
  list.replaceChildren(...stems.map(({ name, url }) => {
    const row = $("stem").content.firstElementChild.cloneNode(true);
    row.querySelector(".name").textContent = name;
    const audio = row.querySelector("audio");
    audio.src = url;
    audio.setAttribute("aria-label", name);
    audio.onplay = audio.onpause = () => labelTogether(card);
    row.querySelector("a").href = url;
    return row;
  }));
  card.querySelector(".together").hidden = stems.length < 2;
}

function show(song) {
  let card = cards.get(song.id);
  if (song.removed) {
    card?.remove();
    cards.delete(song.id);
    $("heading").hidden = cards.size + uploads.size === 0;
    return;
  }
  if (!card) {
    card = newCard(song.title);
    cards.set(song.id, card);
    card.dataset.at = song.at ?? 0;
    card.querySelector(".remove").onclick = () => call(`songs/${song.id}`, { method: "DELETE" });
    card.querySelector(".together").onclick = () => playTogether(card);
    place(card);
  }
  const failed = Boolean(song.error);
  card.className = `song ${failed ? "failed" : song.over ? "done" : "running"}`;
  set(card.querySelector(".state"), stateOf(song));
  set(card.querySelector(".remove"), failed || song.over ? "Remove" : "Cancel");
  const bar = card.querySelector("progress");
  bar.hidden = failed || song.over;
  if (song.fraction === null) bar.removeAttribute("value");
  else bar.value = song.fraction;
  showStems(card, failed ? [] : song.stems);
}

/** Put a card where it belongs: the newest song first, uploads above all. */
function place(card) {
  const later = [...$("songs").children].find((one) => one !== card && Number(one.dataset.at ?? Infinity) < Number(card.dataset.at));
  $("songs").insertBefore(card, later ?? null);
}

function playTogether(card) {
  const players = [...card.querySelectorAll("audio")];
  const playing = players.some((one) => !one.paused);
  const at = players[0].currentTime;
  for (const player of players) {
    if (playing) player.pause();
    else {
      player.currentTime = at;
      player.play();
    }
  }
}

function labelTogether(card) {
  const playing = [...card.querySelectorAll("audio")].some((one) => !one.paused);
  set(card.querySelector(".together"), playing ? "Pause all" : "Play together");
}

function complain(text) {
  $("message").textContent = text;
  $("message").hidden = false;
}

async function call(url, options) {
  try {
    const answer = await fetch(url, options);
    if (!answer.ok) complain(await reason(answer.status, await answer.text()));
    return answer;
  } catch {
    complain("The server does not answer. Is it running?");
  }
}

function reason(status, text) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
  } catch { /* no JSON: a page of a proxy */ }
  return `The server refused it (${status}).`;
}

function upload(file) {
  if (file.size > limit * 2 ** 20) return complain(`${file.name} is larger than ${limit} MB.`);
  const card = newCard(file.name.replace(/\.[^.]+$/, ""));
  const key = Symbol(file.name);
  uploads.set(key, card);
  card.classList.add("running");
  const request = new XMLHttpRequest(); // fetch does not tell how much is sent
  const end = (problem) => {
    card.remove();
    uploads.delete(key);
    if (problem) complain(`${file.name}: ${problem}`);
  };
  card.querySelector(".remove").textContent = "Cancel";
  card.querySelector(".remove").onclick = () => request.abort();
  request.upload.onprogress = ({ loaded, total }) => {
    card.querySelector("progress").value = loaded / total;
    set(card.querySelector(".state"), `Uploading · ${Math.round((100 * loaded) / total)} %`);
  };
  request.onload = () => {
    end(request.status === 202 ? null : reason(request.status, request.responseText));
    if (request.status === 202) show(JSON.parse(request.responseText));
  };
  request.onerror = () => end("the connection was lost, please try again.");
  request.onabort = () => end(null);
  const query = new URLSearchParams({ name: file.name, preset: $("preset").value });
  request.open("POST", `songs?${query}`);
  request.send(file);
}

function addFiles(files) {
  $("message").hidden = true;
  for (const file of files) upload(file);
}

async function start() {
  const settings = await (await call("settings"))?.json();
  limit = settings.max_upload_mb;
  $("limit").textContent = `of up to ${limit} MB`;
  for (const { name, about } of settings.presets) $("preset").append(new Option(about[0].toUpperCase() + about.slice(1), name));
  const events = new EventSource("events");
  events.onmessage = ({ data }) => show(JSON.parse(data));
  events.onopen = () => { $("offline").hidden = true; };
  events.onerror = () => { $("offline").hidden = false; };
}

$("files").onchange = ({ target }) => {
  addFiles(target.files);
  target.value = "";
};
for (const type of ["dragover", "dragenter"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) document.addEventListener(type, () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  addFiles(event.dataTransfer.files);
});
start();
