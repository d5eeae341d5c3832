// SPDX-License-Identifier: Apache-2.0
//
// A browser's side of the data channel tests: a viewer that signals as any other, and what the tests ask of it. Each
// entry of `lab` is called by a test; an exception fails it. The master echoes, so what comes back went both ways.

window.lab = (() => {
  const PATIENCE = 60000;                  // ms that anything may take on a loaded machine
  const HIGH_WATER = 4 << 20;              // bytes handed to the browser ahead of what it sends
  const lab = { pc: null, channels: [] };

  function within(promise, what, patience = PATIENCE) {
    let timer;
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what}: not within ${patience} ms`)), patience);
    });
    return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
  }

  const event = (target, name, what) =>
    within(new Promise((resolve) => target.addEventListener(name, resolve, { once: true })), what ?? name);

  function check(condition, what) {
    if (!condition) throw new Error(what);
  }

  // ---- Signaling ---------------------------------------------------------------------------------------------------

  /** Speaks the signaling protocol over `url`; offers as a viewer, or answers as a master. */
  function signal(url, pc, isMaster) {
    const socket = new WebSocket(url);
    let recipientClientId = "", isDescribed = false;
    const held = [];
    const say = (action, payload) => socket.send(
      JSON.stringify({ action, recipientClientId, messagePayload: btoa(JSON.stringify(payload)) }));
    const described = (action) => {
      say(action, pc.localDescription);
      isDescribed = true;
      for (const candidate of held.splice(0)) say("ICE_CANDIDATE", candidate);
    };
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      if (isDescribed) say("ICE_CANDIDATE", candidate);
      else held.push(candidate);
    };
    let queue = Promise.resolve();
    socket.onmessage = ({ data }) => {
      if (!data) return;
      const message = JSON.parse(data);
      const payload = message.messagePayload ? JSON.parse(atob(message.messagePayload)) : null;
      queue = queue.then(async () => {
        if (message.messageType === "SDP_OFFER" && isMaster) {
          recipientClientId = message.senderClientId;
          await pc.setRemoteDescription(payload);
          await pc.setLocalDescription();
          described("SDP_ANSWER");
        }
        if (message.messageType === "SDP_ANSWER") await pc.setRemoteDescription(payload);
        if (message.messageType === "ICE_CANDIDATE") await pc.addIceCandidate(payload).catch(() => {});
      });
    };
    if (!isMaster) {
      socket.onopen = async () => {
        await pc.setLocalDescription();
        described("SDP_OFFER");
      };
    }
    return socket;
  }

  function makeConnection(configuration) {
    lab.pc?.close();
    const pc = lab.pc = new RTCPeerConnection(configuration);
    lab.channels = [];
    pc.ondatachannel = ({ channel }) => lab.channels.push(prepare(channel));
    return pc;
  }

  /** Connects as a viewer; with video, a picture plays meanwhile. */
  lab.connect = async (url, iceServers = [], withVideo = false) => {
    const pc = makeConnection({ iceServers });
    if (withVideo) {
      pc.addTransceiver("video", { direction: "recvonly" });
      const video = document.body.appendChild(Object.assign(document.createElement("video"), { muted: true }));
      pc.ontrack = ({ track }) => {
        video.srcObject = new MediaStream([track]);
        video.play();
      };
    }
    const first = prepare(pc.createDataChannel("first"));
    signal(url, pc, false);
    await event(first, "open", "the first channel opens");
  };

  /** Is a master whose viewer makes the connection; every channel's messages go back, and one of its own is opened. */
  lab.serve = (url, iceServers = []) => {
    const pc = makeConnection({ iceServers });
    pc.addEventListener("datachannel", ({ channel }) => {
      channel.addEventListener("message", ({ data }) => channel.send(data));
      lab.own ??= prepare(pc.createDataChannel("from the master"));
      lab.own.onopen = () => { lab.own.wasOpen = true; };
    });
    lab.socket = signal(url, pc, true);
    return event(lab.socket, "open", "the service's socket opens");
  };

  // ---- Channels ----------------------------------------------------------------------------------------------------

  /** Keeps what arrives until it is asked for. */
  function prepare(channel) {
    channel.binaryType = "arraybuffer";
    channel.inbox = [];
    channel.onmessage = ({ data }) => {
      channel.inbox.push(data);
      channel.wake?.();
    };
    channel.onclose = () => channel.wake?.();
    return channel;
  }

  /** The next message. */
  async function next(channel, what = "a message", patience = PATIENCE) {
    const end = performance.now() + patience;
    while (!channel.inbox.length) {
      if (channel.readyState === "closed") throw new Error(`${what}: the channel is closed`);
      await within(new Promise((resolve) => { channel.wake = resolve; }), what, end - performance.now());
    }
    return channel.inbox.shift();
  }

  async function open(label, options) {
    const channel = prepare(lab.pc.createDataChannel(label, options));
    await event(channel, "open", `channel ${label.slice(0, 40)} opens`);
    return channel;
  }

  async function close(channel) {
    const closed = event(channel, "close", `channel ${channel.label.slice(0, 40)} closes`);
    channel.close();
    await closed;
  }

  async function drain(channel) {
    if (channel.bufferedAmount <= HIGH_WATER) return;
    channel.bufferedAmountLowThreshold = HIGH_WATER / 2;
    await event(channel, "bufferedamountlow", "the buffer drains");
  }

  /** Bytes that tell by themselves which message they are. */
  function content(length, seed) {
    const bytes = new Uint8Array(length);
    const words = new Uint32Array(bytes.buffer, 0, length >> 2);
    let state = (seed * 2654435761 + length + 1) >>> 0;
    for (let index = 0; index < words.length; index++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      words[index] = state;
    }
    for (let index = words.length << 2; index < length; index++) bytes[index] = seed + index;
    return bytes;
  }

  function isEqual(left, right) {
    if (typeof left === "string" || typeof right === "string") return left === right;
    const [a, b] = [new Uint8Array(left), new Uint8Array(right)];
    return a.length === b.length && a.every((byte, index) => byte === b[index]);
  }

  const nameOf = (data) => (typeof data === "string" ? `a text of ${data.length}` : `${data.byteLength} bytes`);

  /** Sends a message and wants it back as it was: the same kind, the same bytes. */
  async function echo(channel, data) {
    channel.send(data);
    const answer = await next(channel, `the echo of ${nameOf(data)} on ${channel.label.slice(0, 40)}`);
    check(isEqual(data, answer), `${nameOf(data)} came back as ${nameOf(answer)}, or changed`);
  }

  // ---- What tests ask ----------------------------------------------------------------------------------------------

  /** Messages of all the given lengths, and texts, one after the other over a channel with these options. */
  lab.exchange = async (label, options, lengths) => {
    const channel = await open(label, options);
    for (const text of ["", "a", "Grüße, 世界 🎥", "\u0000"]) await echo(channel, text);
    for (const length of lengths) await echo(channel, content(length, length).buffer);
    await close(channel);
    return channel.id;
  };

  /** Hands in all at once; reliable channels bring back every message, ordered ones in their order. */
  lab.burst = async (options, lengths) => {
    const channel = await open("burst", options);
    const sent = lengths.map((length, index) => content(length, index));
    for (const bytes of sent) channel.send(bytes);
    const left = sent.slice();
    for (let count = 0; count < sent.length; count++) {
      const answer = await next(channel, `echo ${count} of the burst`);
      const index = left.findIndex((bytes) => isEqual(bytes, answer));
      check(index === 0 || (index > 0 && !channel.ordered), `message ${count} is not the one that is due`);
      left.splice(index, 1);
    }
    await close(channel);
  };

  /** The longest message both sides allow arrives; one byte more is refused, and the channel lives on. */
  lab.longest = async () => {
    const limit = lab.pc.sctp.maxMessageSize;
    const channel = await open("longest");
    await echo(channel, content(limit, 1).buffer);
    let refusal = null;
    try { channel.send(content(limit + 1, 1)); } catch (error) { refusal = error.name; }
    await echo(channel, "still here");
    await close(channel);
    return { limit, refusal };
  };

  /** A channel whose names are these opens, works and closes. */
  lab.names = async (label, protocol) => {
    const channel = await open(label, { protocol });
    await echo(channel, "x");
    await close(channel);
  };

  const connectionCounts = async () => {
    const report = [...(await lab.pc.getStats()).values()];
    const { dataChannelsOpened, dataChannelsClosed } = report.find((entry) => entry.type === "peer-connection");
    const open = report.filter((entry) => entry.type === "data-channel" && entry.state === "open").length;
    return { opened: dataChannelsOpened, closed: dataChannelsClosed, open };
  };

  /** Opens, uses and closes channels one after the other; gives the streams that served. */
  lab.turns = async (count) => {
    const before = await connectionCounts();
    const ids = new Set();
    for (let index = 0; index < count; index++) {
      const channel = await open(`turn ${index}`);
      await echo(channel, `used once, ${index}`);
      ids.add(channel.id);
      await close(channel);
    }
    const after = await connectionCounts();
    return {
      ids: [...ids], opened: after.opened - before.opened, closed: after.closed - before.closed, open: after.open,
    };
  };

  /** Opens many channels at a time, uses all and closes all. */
  lab.crowd = async (count) => {
    for (let round = 0; round < 2; round++) {
      const channels = await Promise.all(Array.from({ length: count }, (_, index) => open(`one of many, ${index}`)));
      check(new Set(channels.map((channel) => channel.id)).size === count, "two channels share a stream");
      await Promise.all(channels.map((channel, index) => echo(channel, content(1 + index * 7, index).buffer)));
      await Promise.all(channels.map(close));
    }
    return connectionCounts();
  };

  /** Sends `total` bytes in messages of `length`, which the master gives back; checks each. */
  lab.bulk = async (total, length, options = {}) => {
    const channel = await open("bulk", options);
    const count = Math.ceil(total / length);
    lab.echoed = 0;
    const sending = (async () => {
      for (let index = 0; index < count; index++) {
        await drain(channel);
        channel.send(content(length, index));
      }
    })();
    // Never fulfilled: it only tells that sending failed.
    const failure = sending.then(() => new Promise(() => {}));
    for (let index = 0; index < count; index++) {
      const answer = await Promise.race([next(channel, `bulk message ${index}`), failure]);
      check(isEqual(content(length, index), answer), `bulk message ${index} is not what was sent`);
      lab.echoed += answer.byteLength;
    }
    await sending;
    await close(channel);
    return lab.echoed;
  };

  /** Closes a channel on which much is still under way; the connection serves others as before. */
  lab.closeInTheMiddle = async () => {
    const channel = await open("cut short");
    for (let index = 0; index < 64; index++) channel.send(content(65536, index));
    await next(channel, "a first echo");
    await close(channel);
    await lab.names("after that", "");
  };

  lab.framesDecoded = async () => {
    for (const entry of (await lab.pc.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") return entry.framesDecoded ?? 0;
    }
    return 0;
  };

  lab.counts = connectionCounts;
  return lab;
})();
