// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
public import SansIO

/// The descriptions of an exchange and of the one before it (RFC 8829 §4.1.12).
struct Descriptions {
  /// What ``PeerConnectionCore/createOffer(at:)`` or its sibling handed out last.
  var created: SessionDescriptionInit?
  var pendingLocal: SessionDescription?
  var pendingRemote: SessionDescription?
  var currentLocal: SessionDescription?
  var currentRemote: SessionDescription?
  var session: NegotiatedSession?
  /// The mid of the m-line whose transport all others share (RFC 9143 §7.2).
  var transportMID: String?
  var transportMLineIndex: Int?
}

extension PeerConnectionCore {
  /// Candidates that may arrive before the description they belong to (threat T36).
  static var earlyCandidatesMax: Int { 50 }

  // MARK: Creating

  /// Writes an offer for all transceivers (RFC 8829 §5.2).
  public mutating func createOffer(at now: Instant) throws(PeerConnectionError) -> SessionDescriptionInit {
    try requireSignalingState(.stable, .haveLocalOffer)
    let offer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeOffer(
        transceivers: transceivers.map(\.description), local: localTransportDescription,
        previous: descriptions.currentLocal)
    }
    return try noteCreated(.offer, offer)
  }

  /// Writes the answer to the peer's offer (RFC 8829 §5.3).
  ///
  /// - Parameter rejectAll: refuse every m-line, politely and validly.
  public mutating func createAnswer(
    rejectAll: Bool = false, at now: Instant
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    try requireSignalingState(.haveRemoteOffer)
    guard let offer = descriptions.pendingRemote else { throw .wrongSignalingState(signalingState) }
    let answer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeAnswer(
        to: offer, transceivers: transceivers.map(\.description), local: localTransportDescription,
        rejectAll: rejectAll)
    }
    return try noteCreated(.answer, answer)
  }

  private mutating func noteCreated(
    _ type: SDPType, _ description: SessionDescription
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    sessionVersion += 1
    let created = SessionDescriptionInit(type: type, sdp: try Self.serialize(description))
    descriptions.created = created
    return created
  }

  private var localTransportDescription: LocalTransportDescription {
    LocalTransportDescription(
      credentials: ice.localCredentials, fingerprint: configuration.certificate.fingerprint, cname: cname,
      candidates: localCandidates, sessionID: sessionID, sessionVersion: sessionVersion)
  }

  // MARK: Setting

  /// Takes what ``createOffer(at:)`` or ``createAnswer(rejectAll:at:)`` wrote as our side (RFC 8829 §5.9).
  public mutating func setLocalDescription(
    _ description: SessionDescriptionInit, at now: Instant
  ) throws(PeerConnectionError) {
    guard description == descriptions.created else { throw .unknownLocalDescription }
    let parsed = try Self.parse(description.sdp)
    switch description.type {
    case .offer:
      try requireSignalingState(.stable, .haveLocalOffer)
      if descriptions.session == nil { ice.setRole(.controlling) }
      descriptions.pendingLocal = parsed
      change(to: .haveLocalOffer)
    case .answer:
      try requireSignalingState(.haveRemoteOffer)
      guard let remote = descriptions.pendingRemote else { throw .wrongSignalingState(signalingState) }
      try apply(local: parsed, remote: remote, localIsOffer: false, at: now)
    }
  }

  /// Takes the peer's offer or answer (RFC 8829 §5.10).
  public mutating func setRemoteDescription(
    _ description: SessionDescriptionInit, at now: Instant
  ) throws(PeerConnectionError) {
    let parsed = try Self.parse(description.sdp)
    switch description.type {
    case .offer:
      try requireSignalingState(.stable, .haveRemoteOffer)
      addTransceivers(for: parsed)
      descriptions.pendingRemote = parsed
      change(to: .haveRemoteOffer)
    case .answer:
      try requireSignalingState(.haveLocalOffer)
      guard let local = descriptions.pendingLocal else { throw .wrongSignalingState(signalingState) }
      try apply(local: local, remote: parsed, localIsOffer: true, at: now)
    }
  }

  /// RFC 8829 §5.10: an offered m-line that no transceiver fits gets one that receives.
  private mutating func addTransceivers(for offer: SessionDescription) {
    guard configuration.acceptsUnsolicitedMedia else { return }
    let matches = Negotiation.matchTransceivers(transceivers.map(\.description), with: offer)
    for (media, match) in zip(offer.media, matches) where match == nil && !media.isRejected {
      guard transceivers.count < Self.transceiversMax else { return }
      let codecs: [RTPCodec]
      switch media.kind {
      case .audio: codecs = [.opus]
      case .video: codecs = [.h264ConstrainedBaseline]
      default: continue
      }
      let id = appendTransceiver(media.kind, TransceiverInit(direction: .recvonly, codecs: codecs))
      emit(.transceiverAdded(id))
    }
  }

  /// Transceivers of one connection at most, so that an offer of a thousand m-lines costs little (threat T29).
  static var transceiversMax: Int { 16 }

  private mutating func apply(
    local: SessionDescription, remote: SessionDescription, localIsOffer: Bool, at now: Instant
  ) throws(PeerConnectionError) {
    let session = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.negotiate(
        local: local, remote: remote, localIsOffer: localIsOffer,
        transceivers: transceivers.map(\.description))
    }
    if let standing = descriptions.session, descriptions.transportMID != nil {
      guard standing.remoteCredentials == session.remoteCredentials,
        standing.remoteFingerprints == session.remoteFingerprints
      else { throw .restartNotSupported }
    }
    descriptions.currentLocal = local
    descriptions.currentRemote = remote
    descriptions.pendingLocal = nil
    descriptions.pendingRemote = nil
    descriptions.session = session
    for media in session.media {
      guard let index = media.transceiverIndex, transceivers.indices.contains(index) else { continue }
      transceivers[index].mid = media.mid
      transceivers[index].negotiated = media
    }
    configureMedia(session)
    change(to: .stable)
    // The first exchange may have rejected everything.
    if descriptions.transportMID == nil { startTransport(session, at: now) }
    updateConnectionState()
  }

  private mutating func startTransport(_ session: NegotiatedSession, at now: Instant) {
    guard let index = session.media.firstIndex(where: { !$0.isRejected }) else { return }
    descriptions.transportMLineIndex = index
    descriptions.transportMID = session.media[index].mid
    for candidate in session.remoteCandidates { ice.addRemoteCandidate(candidate, at: now) }
    ice.setRemoteCredentials(session.remoteCredentials, at: now)
    let early = earlyCandidates
    earlyCandidates = []
    for candidate in early { addToTransport(candidate, at: now) }
    if session.remoteEndOfCandidates || hasEarlyEndOfCandidates { ice.setEndOfRemoteCandidates(at: now) }
    advance(at: now)
  }

  // MARK: Candidates

  /// Adds a bound socket as a host candidate.
  ///
  /// Candidates that are known when a description is written stand in it; later ones come as events.
  public mutating func addLocalSocket(_ socket: LocalSocket, at now: Instant) {
    guard !isClosed else { return }
    guard let candidate = ice.addLocalCandidate(socket: socket, at: now) else { return }
    localCandidates.append(candidate)
    guard descriptions.created != nil else { return }
    emit(
      .localCandidate(
        ICECandidateInit(
          candidate: candidate.attributeValue, sdpMid: descriptions.transportMID ?? "0",
          sdpMLineIndex: descriptions.transportMLineIndex ?? 0, usernameFragment: localUsernameFragment)))
    advance(at: now)
  }

  /// Says that no more local candidates will come.
  public mutating func setEndOfLocalCandidates(at now: Instant) {
    guard !isClosed else { return }
    emit(.endOfLocalCandidates)
  }

  /// Adds a trickled candidate of the peer (RFC 8838); `nil` or an empty one ends them.
  ///
  /// One that comes before the description is kept until then. One of an m-line that was bundled away or of
  /// another ICE generation is ignored, a name that we cannot resolve likewise.
  public mutating func addICECandidate(
    _ candidate: ICECandidateInit?, at now: Instant
  ) throws(PeerConnectionError) {
    guard !isClosed else { throw .closed }
    guard let candidate, !candidate.candidate.isEmpty else {
      guard descriptions.session != nil else {
        hasEarlyEndOfCandidates = true
        return
      }
      ice.setEndOfRemoteCandidates(at: now)
      advance(at: now)
      return
    }
    do throws(ParseError) { _ = try ICECandidate(parsing: candidate.candidate) } catch {
      throw .malformedCandidate
    }
    guard descriptions.session != nil else {
      guard earlyCandidates.count < Self.earlyCandidatesMax else {
        drops[.earlyCandidateOverflow] += 1
        return
      }
      earlyCandidates.append(candidate)
      return
    }
    addToTransport(candidate, at: now)
    advance(at: now)
  }

  private mutating func addToTransport(_ candidate: ICECandidateInit, at now: Instant) {
    guard let session = descriptions.session else { return }
    let isOfTransport =
      if let mid = candidate.sdpMid {
        mid == descriptions.transportMID
      } else {
        candidate.sdpMLineIndex == nil || candidate.sdpMLineIndex == descriptions.transportMLineIndex
      }
    let generation = candidate.usernameFragment ?? session.remoteCredentials.usernameFragment
    guard isOfTransport, generation == session.remoteCredentials.usernameFragment,
      let parsed = try? ICECandidate(parsing: candidate.candidate), parsed.component == 1
    else { return }
    ice.addRemoteCandidate(parsed, at: now)
  }

  // MARK: Helpers

  private func requireSignalingState(_ allowed: SignalingState...) throws(PeerConnectionError) {
    guard signalingState != .closed else { throw .closed }
    guard allowed.contains(signalingState) else { throw .wrongSignalingState(signalingState) }
  }

  private mutating func change(to state: SignalingState) {
    guard signalingState != state else { return }
    signalingState = state
    emit(.signalingStateChanged(state))
  }

  private static func parse(_ sdp: String) throws(PeerConnectionError) -> SessionDescription {
    do throws(SDPError) { return try SessionDescription(parsing: sdp) } catch {
      throw .malformedDescription(error)
    }
  }

  private static func serialize(_ description: SessionDescription) throws(PeerConnectionError) -> String {
    do throws(SDPError) { return try description.serialized() } catch { throw .malformedDescription(error) }
  }

  private static func negotiating<Result>(
    _ body: () throws(NegotiationError) -> Result
  ) throws(PeerConnectionError) -> Result {
    do throws(NegotiationError) { return try body() } catch { throw .unacceptableDescription(error) }
  }
}

extension PeerConnectionCore {
  /// An answer that refuses every m-line of an offer, for an application that has no connection to spare.
  ///
  /// It is valid SDP of the offer's shape (RFC 3264 §6): a browser takes it and has nothing to connect.
  public static func rejectingAnswer(
    to offer: SessionDescriptionInit
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    var random = RandomSource.system
    // Some peers insist on credentials and a fingerprint, which nobody will ever use.
    guard let fingerprint = CertificateFingerprint(hashFunction: .sha256, digest: random.bytes(32)) else {
      throw .unknownLocalDescription
    }
    let local = LocalTransportDescription(
      credentials: ICECredentials.generate(using: &random), fingerprint: fingerprint, cname: "-",
      candidates: [], sessionID: random.next() >> 1, sessionVersion: 1)
    let parsed = try parse(offer.sdp)
    let answer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeAnswer(to: parsed, transceivers: [], local: local, rejectAll: true)
    }
    return SessionDescriptionInit(type: .answer, sdp: try serialize(answer))
  }
}
