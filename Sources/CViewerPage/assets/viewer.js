// SPDX-License-Identifier: Apache-2.0
//
// The viewer: it asks the server for a signed address, speaks the Kinesis Video signaling protocol over a WebSocket,
// plays what the master sends, shows live figures, and finds the master again when it went away.
//
// A *session* is one attempt: one WebSocket, one offer, one RTCPeerConnection. It either becomes live or ends, and
// an ended session is followed by a new one as long as somebody wants to watch.

import { closeConsole, consoleFigures, openConsole } from "/console.js";

const ANSWER_TIMEOUT = 5000;          // ms from the offer to the answer
const FIRST_FRAME_TIMEOUT = 12000;    // ms from the answer to the first picture
const DISCONNECTED_TIMEOUT = 3000;    // ms that a peer connection may be "disconnected"
const RESTART_TIMEOUT = 8000;         // ms that a new search for a path may take before all begins anew
const STALL_TIMEOUT = 4000;           // ms without a single new byte of media
const FETCH_TIMEOUT = 8000;           // ms for an HTTP request
const STABLE_AFTER = 5000;            // ms of live picture after which the back-off starts over
const BACKOFF_FIRST = 1000, BACKOFF_LAST = 15000;
const FULL_FIRST = 10000, FULL_LAST = 60000;
const MASTER_POLL = 2000;             // ms between looks whether a master has joined
const CHANNELS_POLL = 5000;           // ms between looks at the channel list while idle
const ERRORS_KEPT = 50;
const CHART_POINTS = 60;

const app = {
  state: "idle",          // idle, connecting, live, reconnecting, full, error
  channel: "",
  session: null,          // the current attempt
  wasLive: false,         // whether this viewing has ever shown a picture
  attempts: 0,            // sessions offered since View was pressed
  restarts: 0,            // searches for a new path within a session, by either side, since View was pressed
  failures: 0,            // attempts in a row that came to nothing: the back-off's exponent
  fullAnswers: 0,
  retryTimer: null,
  retryAt: null,
  errors: [],
  pressedAt: null,
  bitrates: [],
  wantsSound: true,
  isRelayOnly: false,     // whether media may take no other way than through a relay
};

const element = (id) => document.getElementById(id);
const video = element("video");

// What a test or a curious person in the console may ask.
window.kvs = {
  get state() { return app.state; },
  get pc() { return app.session?.pc ?? null; },
  get channel() { return app.channel; },
  get attempts() { return app.attempts; },
  get restarts() { return app.restarts; },
  restart: () => recover(app.session, "A new path was asked for.", false),
  get errors() { return app.errors.slice(); },
  stats: () => collectStatistics(app.session),
  console: consoleFigures,
};

// ---- What the person sees ------------------------------------------------------------------------------------------

const PILL = {
  idle: "Ready", connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", full: "Full", error: "Trouble",
};

function show(state, headline, detail) {
  app.state = state;
  document.body.dataset.state = state;
  setText("pill-text", PILL[state]);
  setText("headline", headline);
  setText("detail", detail);
  const isWatching = state !== "idle";
  const view = element("view");
  view.textContent = isWatching ? "Stop" : "View";
  view.classList.toggle("stop", isWatching);
  element("sound").hidden = state !== "live";
  element("fullscreen").hidden = state !== "live";
  showRetry();
  document.title = (state === "live" ? `${app.channel} · live` : "Viewer") + " · swift-kvs-webrtc";
}

/** Sets a text only when it changed, so that a screen reader does not repeat it. */
function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

/** Connecting the first time, or getting back what was lost: the same steps under two names. */
const effort = () => (app.wasLive ? "reconnecting" : "connecting");

function showProgress(detail) {
  show(effort(), app.wasLive ? "Reconnecting …" : "Connecting …", detail);
}

function showRetry() {
  const isWaiting = app.retryAt !== null;
  element("retry").hidden = !isWaiting;
  element("countdown").hidden = !isWaiting;
  if (!isWaiting) return;
  const seconds = Math.max(1, Math.ceil((app.retryAt - performance.now()) / 1000));
  setText("countdown", `Next try in ${seconds} s`);
}

function noteError(text) {
  console.warn(text);
  app.errors.push(text);
  if (app.errors.length > ERRORS_KEPT) app.errors.shift();
}

// ---- The server's own two requests ---------------------------------------------------------------------------------

async function fetchJSON(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(FETCH_TIMEOUT) })
    .catch(() => { throw new Error("The server does not answer."); });
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const error = new Error(body?.message ?? `The server answered with status ${response.status}.`);
  error.type = body?.error; // the service's own error type
  throw error;
}

async function refreshChannels() {
  const { channels } = await fetchJSON("/api/channels");
  fillPicker(channels);
  return channels;
}

function fillPicker(channels) {
  const picker = element("channel");
  const chosen = app.channel || picker.value;
  const names = channels.map((channel) => channel.name);
  if (chosen && !names.includes(chosen)) channels = [{ name: chosen, hasMaster: null }, ...channels];
  const options = channels.map((channel) => {
    const option = document.createElement("option");
    option.value = channel.name;
    option.textContent = channelLabel(channel);
    return option;
  });
  const labels = (list) => [...list].map((option) => option.value + "\n" + option.textContent).join("\n");
  if (options.length && labels(options) !== labels(picker.options)) picker.replaceChildren(...options);
  if (chosen) picker.value = chosen;
  picker.disabled = options.length === 0 || app.state !== "idle";
  element("view").disabled = options.length === 0;
  if (options.length === 0) picker.replaceChildren(new Option("No channel yet", ""));
  showHint(names.length === 0);
}

function channelLabel(channel) {
  if (channel.hasMaster === null) return `${channel.name} (not known here)`;
  if (!channel.hasMaster) return `${channel.name} (no master)`;
  if (!(channel.maxViewers > 0)) return channel.name;
  return `${channel.name} (${channel.viewerCount} watching)`;
}

function showHint(isEmpty) {
  const hint = element("hint");
  if (!isEmpty) return hint.replaceChildren();
  const command = document.createElement("code");
  command.textContent = `kvs-webrtc master --channel front-door --create-channel --endpoint-url ${location.origin}`;
  hint.replaceChildren("Start a camera with ", command);
}

// ---- Starting, stopping, trying again ------------------------------------------------------------------------------

function startViewing(channel) {
  stopViewing();
  Object.assign(app, {
    channel, wasLive: false, attempts: 0, restarts: 0, failures: 0, fullAnswers: 0, errors: [], pressedAt: performance.now(),
  });
  history.replaceState(null, "", `?channel=${encodeURIComponent(channel)}${app.isRelayOnly ? "&relay=only" : ""}`);
  element("channel").disabled = true;
  attempt();
}

function stopViewing() {
  cancelRetry();
  endSession(app.session);
  app.channel = "";
  video.srcObject = null;
  clearFigures();
  element("channel").disabled = false;
  show("idle", "Pick a camera", "Choose a channel below and press View.");
}

function cancelRetry() {
  clearTimeout(app.retryTimer);
  app.retryTimer = app.retryAt = null;
}

/** Tries again after `delay` milliseconds; the countdown is shown unless the wait is a silent look around. */
function retryAfter(delay, isShown = true) {
  cancelRetry();
  app.retryAt = isShown ? performance.now() + delay : null;
  app.retryTimer = setTimeout(attempt, delay);
  showRetry();
}

/** Exponential, from 1 s to 15 s, spread by a quarter up and down so that many viewers do not come at once. */
function backOff() {
  const planned = BACKOFF_FIRST * 2 ** Math.min(app.failures, 10);
  app.failures += 1;
  return clamp(planned * (0.75 + 0.5 * Math.random()), BACKOFF_FIRST, BACKOFF_LAST);
}

/** Ends a session that came to nothing and plans the next one. `kind` is "error" or "quiet". */
function fail(session, reason, kind = "error") {
  if (session.isOver) return;
  noteError(reason);
  endSession(session);
  if (app.wasLive) show("reconnecting", "Reconnecting …", reason);
  else if (kind === "quiet") show("connecting", "Still trying …", reason);
  else show("error", "Cannot connect", reason);
  retryAfter(backOff());
}

/** All places are taken: the master rejected every m-line, or the service takes no more viewers. */
function failFull(session) {
  if (session.isOver) return;
  noteError("This camera is full.");
  endSession(session);
  const delay = Math.min(FULL_FIRST * 1.5 ** app.fullAnswers, FULL_LAST);
  app.fullAnswers += 1;
  show("full", "This camera is full", "All of its viewer places are taken. The picture starts by itself when one is free.");
  retryAfter(delay * (1 + 0.2 * Math.random()));
}

function waitForMaster(session) {
  endSession(session);
  show(effort(), "No master is connected", `The picture starts by itself as soon as a master joins ${app.channel}.`);
  retryAfter(MASTER_POLL * (0.85 + 0.3 * Math.random()), false);
}

// ---- One session ---------------------------------------------------------------------------------------------------

function beginSession() {
  endSession(app.session);
  const now = performance.now();
  app.session = {
    isOver: false, pc: null, socket: null, stream: null, clientId: "",
    startedAt: app.pressedAt ?? now,
    offer: null, isDescriptionSent: false, answerTimer: null, answeredAt: null, hasVideo: true,
    heldLocal: [], heldRemote: [],          // candidates that wait for our description to leave, for the answer to come
    isMakingOffer: false, restartedAt: null, restartReason: "",
    liveAt: null, firstFrameAfter: null, disconnectedAt: null,
    bytes: 0, bytesChangedAt: now, bitrate: null, level: null, previous: null,
  };
  app.pressedAt = null; // only the first session counts from the press
  return app.session;
}

function endSession(session) {
  if (!session || session.isOver) return;
  session.isOver = true;
  clearTimeout(session.answerTimer);
  session.socket?.close();
  if (session.pc) closeConsole();
  session.pc?.close();
}

async function attempt() {
  cancelRetry();
  const session = beginSession();
  if (app.state !== "connecting" && app.state !== "reconnecting") showProgress("Asking the server …");
  try {
    if (!(await hasMaster())) {
      if (!session.isOver) waitForMaster(session);
      return;
    }
    const connection = await fetchJSON(`/api/connect?channel=${encodeURIComponent(app.channel)}`);
    if (session.isOver) return;
    session.clientId = connection.clientId;
    openPeerConnection(session, connection.iceServers ?? []);
    openSocket(session, connection.url);
    await makeOffer(session);
  } catch (error) {
    // The service has a limit of its own, beside the master's.
    if (error.type === "ClientLimitExceededException") failFull(session);
    else fail(session, error.message);
  }
}

/** Without a master an offer would only grow old in the service, so look first. */
async function hasMaster() {
  const channels = await refreshChannels();
  return channels.find((channel) => channel.name === app.channel)?.hasMaster ?? true;
}

function openPeerConnection(session, iceServers) {
  const pc = session.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: transportPolicy() });
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  openConsole(pc);
  session.stream = new MediaStream();
  pc.ontrack = ({ track }) => {
    session.stream.addTrack(track);
    if (track.kind === "video") watchFirstFrame(session);
  };
  pc.onicecandidate = ({ candidate }) => {
    if (candidate?.candidate) sendCandidate(session, candidate);
  };
  pc.onconnectionstatechange = () => connectionStateChanged(session);
}

const transportPolicy = () => (app.isRelayOnly ? "relay" : "all");

async function makeOffer(session, options) {
  session.isMakingOffer = true;
  try {
    session.isDescriptionSent = false;
    const offer = await session.pc.createOffer(options);
    if (session.isOver) return;
    session.offer = { type: offer.type, sdp: offer.sdp };
    await session.pc.setLocalDescription(offer);
  } finally {
    session.isMakingOffer = false;
  }
  sendOfferWhenReady(session);
}

function connectionStateChanged(session) {
  if (session.isOver) return;
  const state = session.pc.connectionState;
  session.disconnectedAt = state === "disconnected" ? performance.now() : null;
  if (state === "failed") recover(session, "The media path broke.");
  if (state === "closed") fail(session, "The camera closed the connection.");
  if (state === "connected") watchTransport(session);
}

/** Looks for a new path within the session (an ICE restart), and begins a new session when there is no way to. */
async function recover(session, reason, isBroken = true) {
  if (!session || session.isOver || session.restartedAt !== null) return;
  const canRestart = session.liveAt !== null && session.socket.readyState === WebSocket.OPEN
    && session.pc.signalingState === "stable" && !session.isMakingOffer;
  if (!canRestart) return fail(session, reason);
  session.restartedAt = performance.now();
  session.restartReason = reason;
  app.restarts += 1;
  noteError(`${reason} Looking for another path.`);
  if (isBroken) show("reconnecting", "Reconnecting …", "Looking for another path to the camera …");
  try {
    if (!(await hasMaster())) return fail(session, reason);
    // The relays' passwords of the beginning may have grown too old for a new allocation.
    const { iceServers = [] } = await fetchJSON(`/api/connect?channel=${encodeURIComponent(app.channel)}`);
    if (session.isOver) return;
    session.pc.setConfiguration({ iceServers, iceTransportPolicy: transportPolicy() });
    await makeOffer(session, { iceRestart: true });
  } catch {
    fail(session, reason);
  }
}

/** A master that ends properly closes DTLS: that is known at once, without waiting for a timeout. */
function watchTransport(session) {
  const transport = session.pc.getReceivers()[0]?.transport;
  if (!transport) return;
  transport.onstatechange = () => {
    if (transport.state === "closed") fail(session, "The camera ended the stream.");
    if (transport.state === "failed") fail(session, "The encrypted connection broke.");
  };
}

// ---- Signaling -----------------------------------------------------------------------------------------------------

function openSocket(session, url) {
  const socket = session.socket = new WebSocket(url);
  socket.onopen = () => sendOfferWhenReady(session);
  socket.onmessage = ({ data }) => receive(session, data);
  // Media does not need the socket: once there is an answer, its end does not matter.
  socket.onclose = () => {
    if (session.answeredAt === null) fail(session, "The signaling connection was closed.");
  };
}

function send(session, action, payload, correlationId) {
  if (session.socket.readyState !== WebSocket.OPEN) return;
  const messagePayload = btoa(JSON.stringify(payload));
  session.socket.send(JSON.stringify({ action, recipientClientId: "", messagePayload, correlationId }));
}

function sendOfferWhenReady(session) {
  if (session.isOver || session.isDescriptionSent || !session.offer) return;
  if (session.socket.readyState !== WebSocket.OPEN) return;
  const isFirst = session.answeredAt === null;
  if (isFirst) {
    app.attempts += 1;
    showProgress("Waiting for the camera's answer …");
  }
  send(session, "SDP_OFFER", session.offer, `offer-${app.attempts}-${app.restarts}`);
  descriptionSent(session);
  if (!isFirst) return; // The watchdog ends a restart that gets no answer.
  session.answerTimer = setTimeout(
    () => fail(session, "The camera has not answered yet.", "quiet"), ANSWER_TIMEOUT);
}

/** The camera takes candidates only after the description that they belong to. */
function descriptionSent(session) {
  session.isDescriptionSent = true;
  for (const candidate of session.heldLocal.splice(0)) sendCandidate(session, candidate);
}

function sendCandidate(session, candidate) {
  if (!session.isDescriptionSent) session.heldLocal.push(candidate);
  else send(session, "ICE_CANDIDATE", candidate.toJSON());
}

function receive(session, data) {
  if (session.isOver) return;
  let message, payload;
  try {
    if (!data) return;
    message = JSON.parse(data);
    payload = message.messagePayload ? JSON.parse(atob(message.messagePayload)) : null;
  } catch {
    return noteError("A signaling message could not be read.");
  }
  switch (message.messageType) {
    case "SDP_ANSWER": return acceptAnswer(session, payload);
    case "SDP_OFFER": return acceptOffer(session, payload);
    case "ICE_CANDIDATE": return acceptCandidate(session, payload);
    case "STATUS_RESPONSE": return acceptStatus(session, message.statusResponse ?? {});
    case "GO_AWAY":
      // The service is about to close this socket. Media goes on; an unanswered offer has to be made again.
      if (session.answeredAt === null) fail(session, "The service asked to connect again.", "quiet");
      return;
    case "RECONNECT_ICE_SERVER": return; // The next session asks for fresh servers anyway.
  }
}

async function acceptAnswer(session, answer) {
  if (!answer?.sdp) return;
  if (session.answeredAt !== null) return acceptLaterAnswer(session, answer);
  session.answeredAt = performance.now();
  clearTimeout(session.answerTimer);
  if (isEveryLineRejected(answer.sdp)) return failFull(session);
  session.hasVideo = !/^m=video 0 /m.test(answer.sdp);
  showProgress("Opening the media path …");
  try {
    await session.pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    while (session.heldRemote.length) await addCandidate(session, session.heldRemote.shift());
    session.heldRemote = null;
  } catch (error) {
    fail(session, `The camera's answer was refused: ${error.message}`);
  }
}

/** The answer to a restart: the old path carries media until a new one stands. */
async function acceptLaterAnswer(session, answer) {
  if (session.pc.signalingState !== "have-local-offer") return;
  if (!isSameCamera(session, answer.sdp)) return fail(session, "The camera was started again.");
  try {
    await session.pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  } catch (error) {
    fail(session, `The camera's answer was refused: ${error.message}`);
  }
}

/** A camera that was started again has a new certificate, and nothing of this session. */
function isSameCamera(session, sdp) {
  const certificates = (text) => [...new Set(text.match(/^a=fingerprint:.*$/gm))].sort().join();
  return certificates(sdp) === certificates(session.pc.currentRemoteDescription.sdp);
}

/** The camera looks for a new path. When two offers cross, the camera takes its own back, so ours stands. */
async function acceptOffer(session, offer) {
  if (!offer?.sdp || session.answeredAt === null) return;
  if (session.isMakingOffer || session.pc.signalingState !== "stable") return;
  app.restarts += 1;
  try {
    session.isDescriptionSent = false;
    await session.pc.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    await session.pc.setLocalDescription();
    const { type, sdp } = session.pc.localDescription;
    if (session.isOver) return;
    send(session, "SDP_ANSWER", { type, sdp });
    descriptionSent(session);
  } catch (error) {
    fail(session, `The camera's offer was refused: ${error.message}`);
  }
}

function isEveryLineRejected(sdp) {
  const ports = [...sdp.matchAll(/^m=\S+ (\d+)/gm)].map((match) => match[1]);
  return ports.length > 0 && ports.every((port) => port === "0");
}

function acceptCandidate(session, candidate) {
  if (session.heldRemote) session.heldRemote.push(candidate);
  else addCandidate(session, candidate);
}

async function addCandidate(session, candidate) {
  // One bad candidate is no reason to give up: there are others.
  await session.pc.addIceCandidate(candidate).catch((error) => noteError(`Candidate ignored: ${error.message}`));
}

function acceptStatus(session, status) {
  if (String(status.statusCode) === "200" || status.success === true) return;
  const reason = `The service refused a message: ${status.errorType ?? status.statusCode}. ${status.description ?? ""}`;
  if (session.answeredAt === null) fail(session, reason.trim());
  else noteError(reason.trim());
}

// ---- The first picture ---------------------------------------------------------------------------------------------

function watchFirstFrame(session) {
  video.srcObject = session.stream;
  play();
  video.requestVideoFrameCallback?.(() => becomeLive(session));
}

/** Plays with sound where the browser allows it (after a press it does), else muted with a button for the sound. */
async function play() {
  setMuted(!app.wantsSound);
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError" || video.muted) return;
    setMuted(true);
    video.play().catch(() => { /* A page in the background plays when it comes to the front. */ });
  }
}

function setMuted(isMuted) {
  video.muted = isMuted;
  element("sound").setAttribute("aria-pressed", String(!isMuted));
  setText("sound-text", isMuted ? "Sound on" : "Sound off");
}

function becomeLive(session) {
  if (session.isOver || session.liveAt !== null) return;
  session.liveAt = session.bytesChangedAt = performance.now();
  session.firstFrameAfter = session.liveAt - session.startedAt;
  app.wasLive = true;
  app.fullAnswers = 0;
  show("live", "Live", app.channel);
}

// ---- The watchdog: once a second -----------------------------------------------------------------------------------

async function tick() {
  const session = app.session;
  showRetry();
  if (!session?.pc || session.isOver) return;
  const statistics = await collectStatistics(session).catch(() => null);
  if (session.isOver || !statistics) return;
  measure(session, statistics);
  if (session.liveAt === null && hasStarted(session, statistics)) becomeLive(session);
  if (session.liveAt !== null) showFigures(session, statistics);
  checkHealth(session);
}

/** The fallback of requestVideoFrameCallback, which sleeps in hidden pages; and masters without a picture. */
function hasStarted(session, statistics) {
  return session.hasVideo ? statistics.framesDecoded > 0 : statistics.bytesReceived > 0;
}

/** The states alone do not tell: they stay "connected" while a new path is looked for beside a silent one. */
function hasRecovered({ pc, bytesChangedAt, restartedAt, isMakingOffer }) {
  return pc.connectionState === "connected" && pc.signalingState === "stable" && !isMakingOffer
    && bytesChangedAt > restartedAt;
}

function checkHealth(session) {
  const now = performance.now();
  if (session.restartedAt !== null) {
    if (hasRecovered(session)) {
      session.restartedAt = null;
      show("live", "Live", app.channel);
    } else if (now - session.restartedAt > RESTART_TIMEOUT) {
      fail(session, session.restartReason);
    }
  } else if (session.disconnectedAt !== null && now - session.disconnectedAt > DISCONNECTED_TIMEOUT) {
    recover(session, "The connection to the camera was lost.");
  } else if (session.liveAt !== null && now - session.bytesChangedAt > STALL_TIMEOUT) {
    recover(session, "Nothing arrives from the camera any more.");
  } else if (session.liveAt === null && session.answeredAt !== null && now - session.answeredAt > FIRST_FRAME_TIMEOUT) {
    fail(session, "The camera answered, but no picture arrived.");
  } else if (session.liveAt !== null && now - session.liveAt > STABLE_AFTER) {
    app.failures = 0;
  }
}

/** Derives rates from two looks at the counters. */
function measure(session, statistics) {
  const now = performance.now();
  if (statistics.bytesReceived !== session.bytes) {
    session.bytes = statistics.bytesReceived;
    session.bytesChangedAt = now;
  }
  const previous = session.previous;
  session.previous = { at: now, ...statistics };
  if (!previous || now - previous.at < 200) return;
  const seconds = (now - previous.at) / 1000;
  session.bitrate = Math.max(0, statistics.bytesReceived - previous.bytesReceived) * 8 / seconds;
  const duration = statistics.totalSamplesDuration - previous.totalSamplesDuration;
  const energy = statistics.totalAudioEnergy - previous.totalAudioEnergy;
  session.level = duration > 0 ? Math.sqrt(Math.max(0, energy) / duration) : null;
}

// ---- Statistics ----------------------------------------------------------------------------------------------------

/** A flat snapshot of getStats(): what the page shows and what a test asks for. Resolves to null without a session. */
async function collectStatistics(session) {
  if (!session?.pc) return null;
  const entries = [...(await session.pc.getStats()).values()];
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  const inbound = (kind) => entries.find((entry) => entry.type === "inbound-rtp" && entry.kind === kind) ?? {};
  const picture = inbound("video"), sound = inbound("audio");
  const transport = entries.find((entry) => entry.type === "transport") ?? {};
  const pair = byId.get(transport.selectedCandidatePairId)
    ?? entries.find((entry) => entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded");
  const sum = (name) => (picture[name] ?? 0) + (sound[name] ?? 0);
  return {
    state: app.state,
    timeToFirstFrame: session.firstFrameAfter,
    width: picture.frameWidth ?? 0,
    height: picture.frameHeight ?? 0,
    framesPerSecond: picture.framesPerSecond ?? null,
    framesDecoded: picture.framesDecoded ?? 0,
    framesDropped: picture.framesDropped ?? 0,
    keyFramesDecoded: picture.keyFramesDecoded ?? 0,
    bytesReceived: sum("bytesReceived"),
    packetsReceived: sum("packetsReceived"),
    packetsLost: sum("packetsLost"),
    nackCount: picture.nackCount ?? 0,
    pliCount: picture.pliCount ?? 0,
    bitrate: session.bitrate,
    roundTripTime: pair?.currentRoundTripTime ?? null,
    audioLevel: session.level,
    totalAudioEnergy: sound.totalAudioEnergy ?? 0,
    totalSamplesDuration: sound.totalSamplesDuration ?? 0,
    local: describeCandidate(byId.get(pair?.localCandidateId)),
    remote: describeCandidate(byId.get(pair?.remoteCandidateId)),
    iceState: transport.iceState ?? session.pc.iceConnectionState,
    dtlsState: transport.dtlsState ?? null,
    dtlsVersion: transport.tlsVersion ?? null,
    dtlsCipher: transport.dtlsCipher ?? null,
    srtpCipher: transport.srtpCipher ?? null,
  };
}

function describeCandidate(candidate) {
  if (!candidate) return null;
  const { candidateType: type, protocol, port, relayProtocol = null } = candidate;
  return { type, protocol, address: candidate.address ?? candidate.ip ?? "", port, relayProtocol };
}

// ---- The live figures ----------------------------------------------------------------------------------------------

function showFigures(session, s) {
  setFigure("firstFrame", Math.round(s.timeToFirstFrame), "ms");
  setFigure("resolution", s.width ? `${s.width}×${s.height}` : "–");
  setFigure("frameRate", s.framesPerSecond === null ? "–" : Math.round(s.framesPerSecond), "fps");
  setFigure("bitrate", ...formatBitrate(session.bitrate));
  setFigure("loss", s.packetsLost.toLocaleString("en"), `of ${(s.packetsReceived + s.packetsLost).toLocaleString("en")}`);
  setFigure("roundTrip", s.roundTripTime === null ? "–" : formatMilliseconds(s.roundTripTime), "ms");
  setFigure("framesDecoded", s.framesDecoded.toLocaleString("en"));
  setFigure("audioLevel", ...formatLevel(session.level));
  setFigure("path", formatPath(s.local, s.remote));
  setFigure("localAddress", formatAddress(s.local));
  setFigure("remoteAddress", formatAddress(s.remote));
  setFigure("dtls", formatDTLS(s));
  setFigure("srtp", s.srtpCipher ?? "–");
  drawChart(session.bitrate);
  const decibels = session.level > 0 ? 20 * Math.log10(session.level) : -60;
  element("meter").style.transform = `scaleX(${clamp((decibels + 60) / 60, 0, 1)})`;
}

function setFigure(name, value, unit = "") {
  const target = document.querySelector(`[data-figure=${name}]`);
  target.replaceChildren(String(value));
  if (!unit || value === "–") return;
  const small = document.createElement("small");
  small.textContent = ` ${unit}`;
  target.append(small);
}

function clearFigures() {
  for (const target of document.querySelectorAll("[data-figure]")) target.textContent = "–";
  app.bitrates = [];
  drawChart(null);
  element("meter").style.transform = "";
}

function formatBitrate(bitsPerSecond) {
  if (bitsPerSecond === null) return ["–"];
  if (bitsPerSecond >= 1e6) return [(bitsPerSecond / 1e6).toFixed(2), "Mbit/s"];
  return [Math.round(bitsPerSecond / 1e3), "kbit/s"];
}

function formatMilliseconds(seconds) {
  const milliseconds = seconds * 1000;
  return milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
}

function formatLevel(level) {
  if (level === null) return ["–"];
  if (video.muted) return ["muted"]; // browsers measure what they play, so there is nothing to measure
  if (level < 0.0001) return ["silent"];
  return [Math.round(20 * Math.log10(level)).toString().replace("-", "−"), "dB"];
}

const CANDIDATE = { host: "direct", srflx: "reflexive", prflx: "peer-reflexive", relay: "relayed" };

function formatPath(local, remote) {
  if (!local || !remote) return "–";
  const protocol = (local.relayProtocol ?? local.protocol ?? "").toUpperCase();
  return `${CANDIDATE[local.type] ?? local.type} ↔ ${CANDIDATE[remote.type] ?? remote.type} · ${protocol}`;
}

function formatAddress(candidate) {
  if (!candidate) return "–";
  if (!candidate.address) return `hidden by the browser, port ${candidate.port}`;
  return candidate.address.includes(":") ? `[${candidate.address}]:${candidate.port}` : `${candidate.address}:${candidate.port}`;
}

function formatDTLS({ dtlsState, dtlsVersion, dtlsCipher }) {
  const version = { FEFF: "1.0", FEFD: "1.2", FEFC: "1.3" }[dtlsVersion?.toUpperCase()];
  const cipher = dtlsCipher?.replace(/^TLS_/, "").replace("_WITH_", " ");
  return [version ?? dtlsState, cipher].filter(Boolean).join(" · ") || "–";
}

/** The bitrate of the last minute as a line. */
function drawChart(bitrate) {
  if (bitrate !== null) app.bitrates.push(bitrate);
  if (app.bitrates.length > CHART_POINTS) app.bitrates.shift();
  const top = Math.max(...app.bitrates, 1) * 1.15;
  const points = app.bitrates.map((value, index) => {
    const x = (index / Math.max(app.bitrates.length - 1, 1)) * CHART_POINTS;
    return `${x.toFixed(2)},${(20 - (value / top) * 19).toFixed(2)}`;
  });
  document.querySelector("#chart polyline").setAttribute("points", points.join(" "));
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

// ---- Buttons, and the start ----------------------------------------------------------------------------------------

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (app.state !== "idle") {
    stopViewing();
    history.replaceState(null, "", location.pathname);
  } else if (element("channel").value) {
    startViewing(element("channel").value);
  }
});

element("retry").addEventListener("click", attempt);

element("relay").addEventListener("change", () => {
  app.isRelayOnly = element("relay").checked;
  if (app.channel) startViewing(app.channel);
});

element("sound").addEventListener("click", () => {
  app.wantsSound = video.muted;
  play();
});

element("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (element("stage").requestFullscreen) element("stage").requestFullscreen();
  else video.webkitEnterFullscreen?.(); // iPhones know only this one
});

addEventListener("online", () => {
  if (app.retryTimer !== null) attempt();
});
addEventListener("pagehide", () => endSession(app.session)); // gives the viewer place back at once
addEventListener("pageshow", (event) => {
  if (event.persisted && app.channel) startViewing(app.channel); // back from the browser's page cache
});

async function keepChannelsFresh() {
  if (app.state !== "idle" || document.hidden) return;
  try {
    await refreshChannels();
  } catch (error) {
    setText("hint", error.message);
  }
}

setInterval(tick, 1000);
setInterval(keepChannelsFresh, CHANNELS_POLL);

const query = new URLSearchParams(location.search);
app.isRelayOnly = element("relay").checked = query.get("relay") === "only";
const wanted = query.get("channel");
if (wanted) startViewing(wanted);
else keepChannelsFresh();
