// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
public import RTP
import SDP
import SRTP
public import SansIO

/// The way in: datagrams, deadlines, and what follows from them.
extension PeerConnectionCore {
  /// Takes one datagram. Whatever is wrong with it, it is counted and dropped.
  public mutating func receive(_ datagram: RawSpan, on route: Route, at now: Instant) {
    guard !isClosed else { return }
    traffic.packetsReceived += 1
    traffic.bytesReceived += UInt64(datagram.byteCount)
    switch PacketKind(datagram) {
    case .stun:
      ice.receive(datagram, on: route, at: now)
      advance(at: now)
    case .dtls: receiveDTLS(datagram, on: route, at: now)
    case .rtp: receiveMedia(datagram, isRTCP: false, on: route, at: now)
    case .rtcp: receiveMedia(datagram, isRTCP: true, on: route, at: now)
    case .unknown: drops[.unknownKind] += 1
    }
  }

  /// Does what is due at `now`.
  public mutating func handleTimeout(at now: Instant) {
    guard !isClosed else { return }
    ice.handleTimeout(at: now)
    dtls?.handleTimeout(at: now)
    media.handleTimeout(at: now)
    data.handleTimeout(at: now)
    advance(at: now)
    takeMediaEvents()
  }

  /// When ``handleTimeout(at:)`` wants to be called; it may change with every call.
  public var nextDeadline: Instant? {
    guard !isClosed else { return nil }
    // Media neither leaves nor is taken in without the handshake, so it has no time to keep either.
    let mediaDeadline =
      dtlsState == .connected ? media.nextDeadline(canTransmit: ice.sendRoute != nil) : nil
    let deadline = Instant.earliest(
      Instant.earliest(ice.nextDeadline, mediaDeadline), data.nextDeadline)
    switch dtls {
    case .some(let transport): return Instant.earliest(deadline, transport.nextDeadline)
    case .none: return deadline
    }
  }

  /// Lets each layer follow from the one below: ICE's events, DTLS over a path that stands, keys for SRTP, SCTP.
  mutating func advance(at now: Instant) {
    _ = takeICEEvents(at: now)
    notePath(at: now)
    if let roundTripTime = ice.roundTripTime { media.roundTripTime = roundTripTime }
    startDTLSIfReady(at: now)
    deliverHeldDTLS(at: now)
    takeDTLSEvents(at: now)
    updateConnectionState()
  }

  /// Passes on what ICE has to say; returns whether that was anything.
  mutating func takeICEEvents(at now: Instant) -> Bool {
    var hasAny = false
    while let event = ice.pollEvent() {
      hasAny = true
      switch event {
      case .connectionStateChanged(let state): emit(.iceConnectionStateChanged(state))
      case .selectedRouteChanged: selectedCandidatePairChanges += 1
      case .nameNeedsResolving(let name): emit(.nameNeedsResolving(name))
      case .tcpConnectionWanted(let local, let remote): emit(.tcpConnectionWanted(from: local, to: remote))
      case .restartAdvised: if configuration.restartsICEAutomatically { restartICE(at: now) }
      }
    }
    return hasAny
  }

  // MARK: DTLS

  /// Starts the handshake in the very turn in which ICE finds a path (RFC 8842 §5).
  private mutating func startDTLSIfReady(at now: Instant) {
    guard dtlsState == .new, let agreed = transport, ice.sendRoute != nil else { return }
    do throws(DTLSError) {
      var transport = try DTLSTransport(
        context: configuration.dtls, certificate: configuration.certificate, role: agreed.localRole,
        remoteFingerprints: agreed.remote.fingerprints, initialTimeout: firstDTLSTimeout,
        requiresSRTP: hasMedia)
      transport.start(at: now)
      dtls = consume transport
      dtlsState = .connecting
    } catch {
      dtlsState = .failed
    }
  }

  /// Whether anything but data channels was negotiated.
  private var hasMedia: Bool { transceivers.contains { $0.negotiated.map { !$0.isRejected } ?? false } }

  /// The handshake's first retransmission timer: two round trips, at least 50 ms, at most the 1 s of RFC 6347.
  private var firstDTLSTimeout: TimeDelta {
    let measured = (ice.roundTripTime ?? .milliseconds(100)) * 2
    return min(max(measured, .milliseconds(50)), .seconds(1))
  }

  private mutating func receiveDTLS(_ datagram: RawSpan, on route: Route, at now: Instant) {
    guard transport != nil else {
      drops[.dtlsBeforeDescription] += 1
      return
    }
    if ice.isValid(route), dtls != nil {
      data.receive(datagram, through: &dtls, at: now)
      takeDTLSEvents(at: now)
      updateConnectionState()
    } else if ice.isAuthenticated(route) {
      if !heldDTLS.hold(datagram, on: route, at: now) { drops[.heldDTLSOverflow] += 1 }
    } else {
      drops[.dtlsFromUnauthenticatedAddress] += 1
    }
  }

  private mutating func deliverHeldDTLS(at now: Instant) {
    guard !heldDTLS.isEmpty, dtls != nil else { return }
    for held in heldDTLS.take(at: now, where: { ice.isValid($0) }) {
      dtls?.receive(held.bytes.rawSpan, at: now)
    }
  }

  private mutating func takeDTLSEvents(at now: Instant) {
    while dtls != nil, let event = dtls?.pollEvent() {
      switch event {
      case .connected(let connected): installKeys(connected, at: now)
      case .failed:
        if dtlsState != .closed { dtlsState = .failed }
        data.close(through: &dtls, at: now)
      case .closed: closeByPeer(at: now)
      }
    }
    data.follow(
      dtlsState == .connected ? dtlsInfo?.role : nil, on: ice.isPathSilent ? nil : ice.sendRoute, at: now)
    drops[.dataBeforeAgreement] += data.takeQueued(from: &dtls, at: now)
  }

  private mutating func installKeys(_ connected: DTLSTransport.Connected, at now: Instant) {
    do throws(SRTPError) {
      if let keying = connected.srtp {
        guard let profile = SRTPProtectionProfile(rawValue: keying.profile) else {
          dtlsState = .failed
          return
        }
        let keys = try SRTPKeys.split(
          keying.material, profile: profile, isClient: connected.role == .client)
        media.install(
          protector: try SRTPProtector(profile: profile, keys: keys.local),
          unprotector: try SRTPUnprotector(profile: profile, keys: keys.remote), at: now)
      }
      dtlsInfo = connected
      dtlsState = .connected
      emit(.dtlsConnected)
    } catch {
      dtlsState = .failed
    }
  }

  // MARK: Media

  func configuredStreams(of session: NegotiatedSession) -> [NegotiatedMedia] {
    session.media.filter { !$0.isRejected && $0.transceiverIndex != nil }
  }

  mutating func configureMedia(_ session: NegotiatedSession) {
    let streams = configuredStreams(of: session)
    for index in transceivers.indices where !streams.contains(where: { $0.transceiverIndex == index }) {
      media.stop(TransceiverID(rawValue: index))
    }
    for negotiated in streams {
      guard let index = negotiated.transceiverIndex, transceivers.indices.contains(index) else { continue }
      media.configure(
        transceivers[index], id: TransceiverID(rawValue: index), negotiated: negotiated)
    }
  }

  private mutating func receiveMedia(
    _ datagram: RawSpan, isRTCP: Bool, on route: Route, at now: Instant
  ) {
    guard ice.isValid(route) else {
      drops[.mediaFromInvalidPath] += 1
      return
    }
    guard dtlsState == .connected else {
      drops[.mediaBeforeHandshake] += 1
      return
    }
    if isRTCP {
      media.receiveRTCP(datagram, at: now)
    } else {
      media.receiveRTP(datagram, at: now)
    }
    takeMediaEvents()
  }

  mutating func takeMediaEvents() {
    while let event = media.pollEvent() {
      switch event {
      case .frame(let id, let frame): emit(.frameReceived(id, frame))
      case .keyFrameRequested(let id): emit(.keyFrameRequested(id))
      case .firstPacketSent(let id): emit(.firstPacketSent(id))
      }
    }
  }

  /// Media that waited longer than this for a path is thrown away: it would be late, and fill the new path.
  static var pathlessMediaAgeMax: TimeDelta { .seconds(1) }

  /// Lets what is sent begin anew after a time without any path.
  private mutating func notePath(at now: Instant) {
    guard dtlsState == .connected else { return }
    guard ice.sendRoute != nil else {
      pathLostAt = pathLostAt ?? now
      return
    }
    if let lostAt = pathLostAt, now - lostAt > Self.pathlessMediaAgeMax { media.startOver(at: now) }
    pathLostAt = nil
    takeMediaEvents()
  }

  /// Queues a frame of a sending transceiver. Before the connection stands it is dropped.
  ///
  /// The frame object is shared: nothing of it is copied, whatever the number of connections that send it.
  public mutating func send(_ frame: PacketizedFrame, on id: TransceiverID, at now: Instant) {
    guard dtlsState == .connected, !isClosed else { return }
    media.send(frame, on: id, at: now)
  }

  /// Asks the peer for a key frame (RFC 4585 §6.3.1), at most twice a second.
  public mutating func requestKeyFrame(_ id: TransceiverID, at now: Instant) {
    guard dtlsState == .connected else { return }
    media.requestKeyFrame(id, at: now)
  }

  // MARK: States

  mutating func updateConnectionState() {
    guard connectionState != .closed else { return }
    let state = derivedConnectionState
    guard state != connectionState else { return }
    connectionState = state
    emit(.connectionStateChanged(state))
  }

  /// W3C WebRTC §4.3.3. A failed handshake is final; what ICE lost it may find again after a restart.
  private var derivedConnectionState: PeerConnectionState {
    switch (ice.connectionState, dtlsState) {
    case (_, .failed), (.failed, _): .failed
    case (.disconnected, _): .disconnected
    case (.new, .new), (.closed, _): .new
    case (.connected, .connected), (.completed, .connected): .connected
    default: .connecting
    }
  }

  // MARK: Closing

  /// Ends the connection: RTCP BYE, SCTP's ABORT and DTLS close_notify stand ready for ``pollTransmit(into:at:)``.
  public mutating func close(at now: Instant) {
    guard !isClosed else { return }
    closingRoute = ice.sendRoute
    media.close(saysGoodbye: true)
    data.close(through: &dtls, at: now)
    dtls?.close(at: now)
    finishClosing()
  }

  private mutating func closeByPeer(at now: Instant) {
    guard !isClosed else { return }
    closingRoute = ice.sendRoute
    media.close(saysGoodbye: false)
    data.close(through: &dtls, at: now)
    dtls?.close(at: now)
    finishClosing()
  }

  private mutating func finishClosing() {
    ice.close()
    while ice.pollEvent() != nil {}
    heldDTLS = HeldDatagrams()
    heldCandidates = HeldCandidates()
    restart = ICERestart()
    dtlsState = .closed
    signalingState = .closed
    connectionState = .closed
    emit(.iceConnectionStateChanged(.closed))
    emit(.signalingStateChanged(.closed))
    emit(.connectionStateChanged(.closed))
  }
}
