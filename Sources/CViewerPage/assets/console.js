// SPDX-License-Identifier: Apache-2.0
//
// The console beside the picture: messages to and from the camera over data channels, files, and how long a message
// takes there and back.
//
// Two channels are offered with each connection. "console" is reliable and ordered and carries texts and files. "rtt"
// is neither: while the panel is open, a measurement crosses it once a second. A measurement is the first of the
// time-stamp messages that AWS' test page and masters exchange, so masters of any make that know those answer it.

const LOG_KEPT = 200;                 // lines in the log
const LOG_CHARACTERS = 2000;          // of one message
const PING_INTERVAL = 1000;           // ms
const PING_TIMEOUT = 5000;            // ms after which an answer is not waited for any more
const TRIPS_KEPT = 60;
const CHUNK = 64 * 1024;              // bytes of a message of a file; less where the camera takes less
const BUFFER_HIGH = 1024 * 1024;      // bytes that may wait in the browser before the file is read on
const BUFFER_LOW = 256 * 1024;

const element = (id) => document.getElementById(id);
const panel = element("console");

const state = {
  channel: null,          // for texts and files
  pings: null,            // for measurements
  file: null,             // the transfer under way, or the last one
  lines: [],
  trips: [],              // ms
  pending: new Map(),     // a measurement's text: when it left
};

// What a test or a curious person may ask.
export const consoleFigures = {
  get isOpen() { return state.channel?.readyState === "open"; },
  get lines() { return state.lines.slice(); },
  get roundTrips() { return state.trips.slice(); },
  get file() {
    if (!state.file) return null;
    const { name, size, crc32, sent, returned, result } = state.file;
    return { name, size, crc32, sent, returned, result };
  },
};

// ---- The channels' life --------------------------------------------------------------------------------------------

/** Makes the channels of a connection; before its offer, so that the offer speaks of them. */
export function openConsole(pc) {
  closeConsole();
  const channel = pc.createDataChannel("console");
  channel.binaryType = "arraybuffer";
  channel.bufferedAmountLowThreshold = BUFFER_LOW;
  state.maxMessageSize = () => pc.sctp?.maxMessageSize || CHUNK;
  state.channel = channel;
  state.pings = pc.createDataChannel("rtt", { ordered: false, maxRetransmits: 0 });
  channel.onopen = () => {
    if (channel === state.channel) showState("open", "The channel to the camera is open.");
  };
  channel.onclose = () => {
    if (channel === state.channel) showClosed();
  };
  channel.onmessage = ({ data }) => receive(data);
  state.pings.onmessage = ({ data }) => receivePong(data);
  pc.ondatachannel = ({ channel: offered }) => {
    offered.binaryType = "arraybuffer";
    offered.onmessage = ({ data }) => logIn(`${offered.label}: `, data);
  };
  showState("opening");
}

/** The connection is over. */
export function closeConsole() {
  const { channel } = state;
  if (!channel) return;
  state.channel = state.pings = null;
  const wasOpen = channel.readyState === "open";
  endFile("The connection ended.");
  state.pending.clear();
  showState("not connected", wasOpen ? "The connection ended." : "");
}

function showClosed() {
  endFile("The camera closed the channel.");
  showState("closed", "This camera takes no messages, or closed the channel.");
}

function showState(text, line) {
  element("console-state").textContent = text;
  const isOpen = text === "open";
  element("console-text").disabled = element("console-send").disabled = !isOpen;
  element("console-file").disabled = !isOpen || isSending();
  if (line) log("note", line);
}

// ---- The log -------------------------------------------------------------------------------------------------------

function log(kind, text) {
  const list = element("console-log");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text.length > LOG_CHARACTERS ? text.slice(0, LOG_CHARACTERS) + "…" : text;
  list.append(item);
  state.lines.push({ kind, text: item.textContent });
  if (state.lines.length > LOG_KEPT) {
    state.lines.shift();
    list.firstElementChild.remove();
  }
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function logIn(prefix, data) {
  log("in", prefix + (typeof data === "string" ? data : `${count(data.byteLength)} bytes`));
}

function count(number) {
  return number.toLocaleString("en");
}

// ---- Texts ---------------------------------------------------------------------------------------------------------

function sendText(text) {
  if (state.channel?.readyState !== "open") return;
  try {
    state.channel.send(text);
    log("out", text);
  } catch (error) {
    log("note", `Not sent: ${error.message}`);
  }
}

function receive(data) {
  if (!receiveFile(data)) logIn("", data);
}

// ---- Files ---------------------------------------------------------------------------------------------------------
//
// A file is a text `{"file":{"name":…,"size":…,"crc32":…}}` and then its bytes, in as many messages as it takes. A camera
// that echoes sends all of it back; then the page tells whether it came back as it went.

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 (ISO 3309) of further bytes; 0 to begin with. The page's own, for browsers hide theirs from plain HTTP. */
function crc32(sum, bytes) {
  let value = ~sum;
  for (let index = 0; index < bytes.length; index += 1) value = CRC_TABLE[(value ^ bytes[index]) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

const isSending = () => state.file !== null && state.file.result === null;

async function sendFile(source) {
  const { channel } = state;
  if (channel?.readyState !== "open" || isSending()) return;
  const file = state.file = {
    name: source.name, size: source.size, crc32: 0, sent: 0, returned: 0, returnedCRC32: 0, isEchoed: false, header: "",
    result: null, channel, startedAt: 0, endedAt: 0,
  };
  showFile("Reading …");
  try {
    for await (const chunk of chunks(file, source)) file.crc32 = crc32(file.crc32, chunk);
    file.header = JSON.stringify({ file: { name: file.name, size: file.size, crc32: file.crc32 } });
    file.startedAt = performance.now();
    channel.send(file.header);
    log("out", file.header);
    for await (const chunk of chunks(file, source)) {
      await roomIn(file);
      channel.send(chunk);
      file.sent += chunk.length;
      showFile();
    }
    while (channel.bufferedAmount > 0 && file.result === null) await bufferFalls(file, 0);
    file.endedAt = performance.now();
    if (file.result === null && !file.isEchoed) await answerOrPause();
    if (file.result === null && !file.isEchoed) endFile(`Sent: ${rate(file)}.`);
    else finishEcho(file);
  } catch (error) {
    if (state.file === file) endFile(`The file was not sent: ${error.message}`);
  }
}

/** The pieces of a file, one after the other; ends when the transfer does. */
async function* chunks(file, source) {
  const length = Math.min(CHUNK, state.maxMessageSize());
  for (let start = 0; start < source.size && file.result === null; start += length) {
    yield new Uint8Array(await source.slice(start, start + length).arrayBuffer());
  }
}

async function roomIn(file) {
  while (file.channel.bufferedAmount > BUFFER_HIGH && file.result === null) await bufferFalls(file, BUFFER_LOW);
  if (file.result !== null) throw new Error(file.result);
}

/** Resolves when little enough waits, or when it will not any more. */
function bufferFalls({ channel }, threshold) {
  return new Promise((resolve) => {
    channel.bufferedAmountLowThreshold = threshold;
    const done = () => {
      channel.removeEventListener("bufferedamountlow", done);
      channel.removeEventListener("close", done);
      resolve();
    };
    channel.addEventListener("bufferedamountlow", done);
    channel.addEventListener("close", done);
    if (channel.bufferedAmount <= threshold || channel.readyState !== "open") done();
  });
}

/** A camera that echoes has sent something by then. */
const answerOrPause = () => new Promise((resolve) => { setTimeout(resolve, 1000); });

/** Takes what belongs to the file that was sent; tells whether it did. */
function receiveFile(data) {
  const { file } = state;
  if (!isSending()) {
    // The rest of an echo whose transfer was stopped.
    if (typeof data === "string" || !file?.isEchoed || file.returned >= file.sent) return false;
    file.returned += data.byteLength;
    return true;
  }
  if (typeof data === "string") {
    if (data !== file.header) return false;
    file.isEchoed = true;
    log("in", data);
  } else {
    if (!file.isEchoed) return false;
    file.returned += data.byteLength;
    file.returnedCRC32 = crc32(file.returnedCRC32, new Uint8Array(data));
  }
  finishEcho(file);
  return true;
}

function finishEcho(file) {
  if (file.result !== null) return;
  if (file.returned < file.size || file.sent < file.size || !file.isEchoed) return showFile();
  file.endedAt = performance.now();
  const isIntact = file.returned === file.size && file.returnedCRC32 === file.crc32;
  endFile(isIntact ? `Came back intact: ${rate(file)} each way.` : "Came back damaged.");
}

function endFile(result) {
  if (!isSending()) return;
  state.file.result = result;
  log("note", `${state.file.name}: ${result}`);
  showFile(result);
  element("console-file").value = "";
  element("console-file").disabled = state.channel?.readyState !== "open";
}

function rate({ size, startedAt, endedAt }) {
  const seconds = Math.max((endedAt - startedAt) / 1000, 0.001);
  return `${count(size)} bytes in ${seconds.toFixed(2)} s, ${((size * 8) / seconds / 1e6).toFixed(1)} Mbit/s`;
}

function showFile(text) {
  const { file } = state;
  const isUnderWay = file.result === null;
  const progress = element("console-progress");
  progress.hidden = element("console-stop").hidden = !isUnderWay;
  element("console-file").disabled = isUnderWay || state.channel?.readyState !== "open";
  const gone = Math.max(0, file.sent - (file.channel.bufferedAmount ?? 0));
  const done = file.isEchoed ? (gone + file.returned) / 2 : gone;
  progress.value = file.size ? done / file.size : 1;
  element("console-file-state").textContent = text
    ?? `${count(gone)} of ${count(file.size)} bytes sent${file.isEchoed ? `, ${count(file.returned)} came back` : ""}`;
}

// ---- Round trips ---------------------------------------------------------------------------------------------------

function ping() {
  const now = performance.now();
  for (const [stamp, leftAt] of state.pending) if (now - leftAt > PING_TIMEOUT) state.pending.delete(stamp);
  if (!panel.open || document.hidden || state.pings?.readyState !== "open") return;
  const stamp = String(Date.now());
  state.pending.set(stamp, performance.now());
  state.pings.send(JSON.stringify({
    content: "ping", firstMessageFromViewerTs: stamp, firstMessageFromMasterTs: "", secondMessageFromViewerTs: "",
    secondMessageFromMasterTs: "", lastMessageFromViewerTs: "",
  }));
}

/** Whatever comes back of a measurement: the camera's answer, its echo, or a text that quotes it. */
function receivePong(data) {
  const now = performance.now();
  const stamp = /"firstMessageFromViewerTs":"(\d+)"/.exec(data)?.[1];
  const leftAt = state.pending.get(stamp);
  if (leftAt === undefined) return;
  state.pending.delete(stamp);
  state.trips.push(now - leftAt);
  if (state.trips.length > TRIPS_KEPT) state.trips.shift();
  const sorted = [...state.trips].sort((left, right) => left - right);
  showTrip("trip-last", now - leftAt);
  showTrip("trip-least", sorted[0]);
  showTrip("trip-median", sorted[sorted.length >> 1]);
}

function showTrip(id, milliseconds) {
  element(id).textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

// ---- Buttons -------------------------------------------------------------------------------------------------------

element("console-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = element("console-text");
  if (input.value === "") return;
  sendText(input.value);
  input.value = "";
});

element("console-file").addEventListener("change", ({ target }) => {
  if (target.files.length > 0) sendFile(target.files[0]);
});

element("console-stop").addEventListener("click", () => endFile("Stopped."));

panel.addEventListener("toggle", ping);
setInterval(ping, PING_INTERVAL);
