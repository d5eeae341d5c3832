// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// INIT, INIT ACK, COOKIE ECHO, COOKIE ACK (RFC 9260 §5).
///
/// ```
///   A                                  B
///   | -------------- INIT ------------> |   B stores nothing
///   | <---- INIT ACK (state cookie) --- |
///   | ----- COOKIE ECHO, DATA --------> |   B has its association
///   | <---- COOKIE ACK, SACK ---------- |
/// ```
///
/// In WebRTC both sides begin at once, so what §5.2 calls collisions is the usual case.
extension SCTPAssociation {
  /// Begins the handshake; both sides may. Does nothing once it began.
  public mutating func connect(at now: Instant) {
    guard state == .closed, !isOver else { return }
    localTag = freshTag()
    localInitialTSN = UInt32(truncatingIfNeeded: random.next())
    state = .cookieWait
    handshakeAttempts = 0
    handshakeBeganAt = now
    sendInit(at: now)
  }

  private mutating func freshTag() -> UInt32 { UInt32.random(in: 1 ... .max, using: &random) }

  private var offeredCapabilities: Capabilities {
    var offered: Capabilities = [.partialReliability, .reconfiguration]
    if configuration.offersInterleaving { offered.insert(.interleaving) }
    if configuration.offersZeroChecksum { offered.insert(.zeroChecksum) }
    return offered
  }

  private func initChunk(tag: UInt32, initialTSN: UInt32) -> InitChunk {
    InitChunk(
      initiateTag: tag, window: UInt32(clamping: window.byteCount),
      outboundStreamCount: configuration.streamCount,
      inboundStreamCount: configuration.streamCount, initialTSN: initialTSN,
      capabilities: offeredCapabilities)
  }

  private mutating func sendInit(at now: Instant) {
    let chunk = initChunk(tag: localTag, initialTSN: localInitialTSN)
    reply(chunk.array(.initiation), tag: 0)
    handshakeSentAt = now
    timers[.handshake] = now + timeout.timeout
  }

  /// Queues a packet of its own: with another tag than the association's, always with a checksum.
  mutating func reply(_ chunk: [UInt8], tag: UInt32) {
    guard replies.count < SCTPLimits.repliesMax else {
      drops[.replyQueueFull] += 1
      return
    }
    let header = CommonHeader(
      sourcePort: configuration.localPort, destinationPort: configuration.remotePort, verificationTag: tag)
    replies.append(
      [UInt8](writing: CommonHeader.byteCount + chunk.count) { writer in
        header.write(into: &writer)
        writer.write(chunk)
        CommonHeader.seal(&writer, from: 0)
      })
  }

  /// T1 ran out (§5.1).
  mutating func handshakeTimedOut(at now: Instant) {
    handshakeAttempts += 1
    guard now - handshakeBeganAt <= SCTPLimits.silenceMax else { return finish(.unreachable) }
    timeout.backOff()
    switch state {
    case .cookieWait: sendInit(at: now)
    case .cookieEchoed:
      isCookieEchoPending = true
      retransmissions.timedOut(isRepeated: false, queue: &sendQueue, at: now)
      timers[.handshake] = now + timeout.timeout
    default: break
    }
  }

  // MARK: INIT

  /// Answers an INIT without keeping anything of it (§5.1, §5.2.1, §5.2.2).
  mutating func receiveInit(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    var reader = ByteReader(chunk.value)
    let peer = try InitChunk(parsing: &reader)
    guard peer.initiateTag != 0 else { throw .invalid("initiate tag") }
    guard peer.isUsable else {
      return reply(Chunk.array(.abort, value: ErrorCause.invalidParameter.array()), tag: peer.initiateTag)
    }
    guard !isOver else { return reply(Chunk.array(.abort), tag: peer.initiateTag) }
    // §9.2: an INIT while we wait for the end of a shutdown means that our SHUTDOWN ACK got lost.
    if state == .shutdownAckSent {
      queueControl(Chunk.array(.shutdownAck))
      return
    }
    // Before anything is computed: a flood is not worth it.
    guard replies.count < SCTPLimits.repliesMax else {
      drops[.replyQueueFull] += 1
      return
    }
    // §5.2.1: who has an INIT under way answers with the same tag, so that both handshakes make one association.
    let isSimultaneous = state == .cookieWait || state == .cookieEchoed
    let tag = isSimultaneous ? localTag : freshTag()
    let initialTSN = isSimultaneous ? localInitialTSN : UInt32(truncatingIfNeeded: random.next())
    let isStanding = state != .closed
    let cookie = StateCookie(
      createdAt: now, localTag: tag, localInitialTSN: initialTSN, peer: peer,
      outboundStreamCount: min(configuration.streamCount, peer.inboundStreamCount),
      inboundStreamCount: min(configuration.streamCount, peer.outboundStreamCount),
      capabilities: offeredCapabilities.intersection(peer.capabilities),
      localTieTag: isStanding ? localTag : 0, peerTieTag: isStanding ? peerTag : 0)
    var answer = initChunk(tag: tag, initialTSN: initialTSN)
    answer.cookie = cookie.sealed(with: cookieKey)
    reply(answer.array(.initiationAck, reporting: peer.unrecognized), tag: peer.initiateTag)
  }

  // MARK: INIT ACK

  /// Takes the peer's parameters and sends its cookie back (§5.1 C).
  mutating func receiveInitAck(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    guard state == .cookieWait else {
      drops[.unexpected] += 1
      return
    }
    var reader = ByteReader(chunk.value)
    let peer = try InitChunk(parsing: &reader)
    guard peer.initiateTag != 0, peer.isUsable else {
      return refuse(peer, .invalidParameter)
    }
    guard !peer.cookie.isEmpty, peer.cookie.count + 16 <= configuration.packetByteCountMax else {
      // §3.3.10.2: one parameter is missing, the state cookie.
      return refuse(peer, .missingParameter, information: [0, 0, 0, 1, 0, 7])
    }
    if handshakeAttempts == 0 { timeout.measured(now - handshakeSentAt) }
    adopt(
      peerTag: peer.initiateTag, peerInitialTSN: peer.initialTSN, peerWindow: peer.window,
      outbound: min(configuration.streamCount, peer.inboundStreamCount),
      inbound: min(configuration.streamCount, peer.outboundStreamCount),
      capabilities: offeredCapabilities.intersection(peer.capabilities))
    if !peer.unrecognized.isEmpty {  // §3.2.1: told beside the COOKIE ECHO.
      let cause = ErrorCause.unrecognizedParameters.array(information: peer.unrecognized)
      queueControl(Chunk.array(.error, value: cause))
    }
    cookieEcho = Chunk.array(.cookieEcho, value: peer.cookie)
    isCookieEchoPending = true
    handshakeAttempts = 0
    state = .cookieEchoed
    timers[.handshake] = now + timeout.timeout
  }

  /// An INIT ACK with which no association can be made (§3.3.3).
  private mutating func refuse(_ peer: InitChunk, _ cause: ErrorCause, information: [UInt8] = []) {
    if peer.initiateTag != 0 {
      reply(Chunk.array(.abort, value: cause.array(information: information)), tag: peer.initiateTag)
    }
    finish(.aborted(cause))
  }

  /// Sets the association up for this peer. Chunks that went out with a COOKIE ECHO stay under way: our own
  /// numbers do not change.
  private mutating func adopt(
    peerTag: UInt32, peerInitialTSN: UInt32, peerWindow: UInt32, outbound: UInt16, inbound: UInt16,
    capabilities: Capabilities
  ) {
    self.peerTag = peerTag
    self.peerWindow = Int(peerWindow)
    self.capabilities = capabilities
    outboundStreamCount = outbound
    inboundStreamCount = inbound
    let isInterleaved = capabilities.contains(.interleaving)
    received = ReceivedTSNs(initial: peerInitialTSN)
    reassembly = ReassemblyQueue(messageByteCountMax: configuration.messageByteCountMax)
    inboundStreams = InboundStreams(isInterleaved: isInterleaved)
    sendQueue.begunByteCountMax = max(self.peerWindow / 2, SCTPLimits.begunByteCountMin)
    resets = StreamResets(localInitialTSN: localInitialTSN, peerInitialTSN: peerInitialTSN)
    for stream in sendQueue.knownStreams where stream.rawValue >= outbound { sendQueue.discard(stream) }
    guard retransmissions.isEmpty else { return }
    sendQueue.isInterleaved = isInterleaved
    retransmissions = RetransmissionQueue(
      initialTSN: localInitialTSN, isInterleaved: isInterleaved,
      mayGiveUp: capabilities.contains(.partialReliability))
  }

  // MARK: COOKIE ECHO

  /// Opens a cookie and takes what it says, by the table of §5.2.4. Returns whether the packet's further
  /// chunks belong to the association.
  mutating func receiveCookieEcho(
    _ chunk: borrowing Chunk, tag: UInt32, at now: Instant
  ) throws(ParseError) -> Bool {
    guard let cookie = try? StateCookie(opening: chunk.value, with: cookieKey), cookie.localTag == tag,
      !isOver
    else {
      drops[.cookie] += 1
      return false
    }
    let isPresent = state != .closed && cookie.localTag == localTag && cookie.peerTag == peerTag
    guard now - cookie.createdAt <= SCTPLimits.cookieLifetime || isPresent else {
      drops[.cookie] += 1
      let age = (now - cookie.createdAt - SCTPLimits.cookieLifetime).nanoseconds / 1000
      let staleness = [UInt8](writing: 4) { $0.write(UInt32(clamping: age)) }
      reply(
        Chunk.array(.error, value: ErrorCause.staleCookie.array(information: staleness)),
        tag: cookie.peerTag)
      return false
    }
    guard state != .closed else {
      localTag = cookie.localTag
      localInitialTSN = cookie.localInitialTSN
      adopt(cookie)
      establish(at: now)
      return true
    }
    return collide(with: cookie, isPresent: isPresent, at: now)
  }

  private mutating func adopt(_ cookie: StateCookie) {
    adopt(
      peerTag: cookie.peerTag, peerInitialTSN: cookie.peerInitialTSN, peerWindow: cookie.peerWindow,
      outbound: cookie.outboundStreamCount, inbound: cookie.inboundStreamCount,
      capabilities: cookie.capabilities)
  }

  /// A cookie although there is an association already: actions A to D of §5.2.4.
  private mutating func collide(with cookie: StateCookie, isPresent: Bool, at now: Instant) -> Bool {
    let isOpening = state == .cookieWait || state == .cookieEchoed
    if isPresent {  // D: the peer's handshake is the one we are in.
      if isOpening { establish(at: now) } else { queueControl(Chunk.array(.cookieAck)) }
      return true
    }
    if cookie.localTag == localTag, isOpening {  // B: both began at once, and the peer's cookie came first.
      adopt(cookie)
      establish(at: now)
      return true
    }
    let isTied = cookie.localTieTag == localTag && cookie.peerTieTag == peerTag
    // B when we stand already: the peer began anew while we opened, and the other cookie came first.
    let isRestart =
      cookie.peerTag != peerTag && (cookie.localTag == localTag || isTied) && peerTag != 0
    guard isRestart, !isOpening else {  // C: an old cookie.
      drops[.cookie] += 1
      return false
    }
    guard state != .shutdownAckSent else {
      queueControl(Chunk.array(.shutdownAck))
      queueControl(Chunk.array(.error, value: ErrorCause.cookieWhileShuttingDown.array()))
      return false
    }
    restart(with: cookie, at: now)  // A: the peer lost its state and began anew.
    return true
  }

  private mutating func restart(with cookie: StateCookie, at now: Instant) {
    timers.stopAll()
    localTag = cookie.localTag
    localInitialTSN = cookie.localInitialTSN
    sendQueue = SendQueue(policy: configuration.schedulingPolicy)
    retransmissions = RetransmissionQueue(initialTSN: localInitialTSN, isInterleaved: false)
    congestion = CongestionController(
      configuration.congestionAlgorithm, packetByteCount: configuration.packetByteCountMax)
    recoveryPoint = nil
    recoveryCredit = 0
    noteAnswer()
    isForwardTSNPending = false
    isShutdownDue = false
    controlChunks = []
    adopt(cookie)
    state = .established
    queueControl(Chunk.array(.cookieAck))
    heartbeatNonce = nil
    timers[.heartbeat] = now + SCTPLimits.heartbeatInterval
    tell(.restarted)
  }

  /// The peer proved that it has our tag.
  private mutating func establish(at now: Instant) {
    queueControl(Chunk.array(.cookieAck))
    enterEstablished(at: now)
  }

  /// Who sends data or acknowledges ours has opened our cookie: the COOKIE ACK was lost, or overtaken.
  mutating func impliesCookieAck(at now: Instant) {
    if state == .cookieEchoed { enterEstablished(at: now) }
  }

  /// COOKIE ACK (§5.1 E).
  mutating func receiveCookieAck(at now: Instant) {
    guard state == .cookieEchoed else {
      drops[.unexpected] += 1
      return
    }
    enterEstablished(at: now)
  }

  private mutating func enterEstablished(at now: Instant) {
    state = .established
    isCookieEchoPending = false
    cookieEcho = []
    noteAnswer()
    timers[.handshake] = nil
    if !retransmissions.isEmpty { timers[.retransmission] = now + timeout.timeout }
    timers[.heartbeat] = now + SCTPLimits.heartbeatInterval
    tell(.connected)
  }

  /// A peer that finds our cookie stale: begin again (§5.2.6).
  mutating func cookieWasStale(at now: Instant) {
    guard state == .cookieEchoed, staleCookieCount < SCTPLimits.staleCookiesMax else { return }
    staleCookieCount += 1
    isCookieEchoPending = false
    retransmissions.timedOut(isRepeated: false, queue: &sendQueue, at: now)
    state = .cookieWait
    peerTag = 0
    sendInit(at: now)
  }
}
