// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
public import SansIO

/// The descriptions of an exchange and of the one before it (RFC 8829 §4.1.12).
struct Descriptions {
  /// What ``PeerConnectionCore/createOffer(iceRestart:at:)`` or its sibling handed out last.
  var created: SessionDescriptionInit?
  /// The candidates that stand in it.
  var createdCandidates: [ICECandidate] = []
  var pendingLocal: SessionDescription?
  var pendingRemote: SessionDescription?
  var currentLocal: SessionDescription?
  var currentRemote: SessionDescription?
}

extension PeerConnectionCore {
  // MARK: Creating

  /// Writes an offer for all transceivers (RFC 8829 §5.2).
  ///
  /// - Parameter iceRestart: look for all paths anew, under new ICE credentials (RFC 8829 §5.2.3.1). So does also
  ///   the first offer after ``restartICE(at:)``, and one in place of an offer that does and is not answered yet.
  public mutating func createOffer(
    iceRestart: Bool = false, at now: Instant
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    try requireSignalingState(.stable, .haveLocalOffer)
    let restarts = transport != nil && (iceRestart || restart.isWanted || restart.isOffered)
    let local = localTransportDescription(restarts ? prepareRestart() : credentials)
    let offer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeOffer(
        transceivers: transceivers.map(\.description), local: local, previous: descriptions.currentLocal,
        options: negotiationOptions)
    }
    return try noteCreated(.offer, offer, candidates: local.candidates)
  }

  /// Writes the answer to the peer's offer (RFC 8829 §5.3). It restarts ICE if the offer does.
  ///
  /// - Parameter rejectAll: refuse every m-line, politely and validly.
  public mutating func createAnswer(
    rejectAll: Bool = false, at now: Instant
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    try requireSignalingState(.haveRemoteOffer)
    guard let offer = descriptions.pendingRemote else { throw .wrongSignalingState(signalingState) }
    let local = localTransportDescription(restart.isAskedFor ? prepareRestart() : credentials)
    let options = negotiationOptions
    let answer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeAnswer(
        to: offer, transceivers: transceivers.map(\.description), local: local, rejectAll: rejectAll,
        options: options)
    }
    return try noteCreated(.answer, answer, candidates: local.candidates)
  }

  private var negotiationOptions: NegotiationOptions {
    var options = NegotiationOptions()
    options.establishedRole = transport?.localRole
    options.acceptsDataChannels =
      DataTransport.isAvailable && (configuration.acceptsDataChannels || data.isWanted)
    options.acceptsMedia = dtlsInfo.map { $0.srtp != nil } ?? true
    options.offersDataChannels = data.isWanted
    options.maxMessageSize = data.messageByteCountMax
    return options
  }

  private mutating func noteCreated(
    _ type: SDPType, _ description: SessionDescription, candidates: [ICECandidate]
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    sessionVersion += 1
    let created = SessionDescriptionInit(type: type, sdp: try Self.serialize(description))
    descriptions.created = created
    descriptions.createdCandidates = candidates
    return created
  }

  private func localTransportDescription(_ credentials: ICECredentials) -> LocalTransportDescription {
    LocalTransportDescription(
      credentials: credentials, fingerprint: configuration.certificate.fingerprint, cname: cname,
      candidates: localCandidates(of: credentials), hasAllCandidates: iceGatheringState == .complete,
      sessionID: sessionID, sessionVersion: sessionVersion)
  }

  // MARK: Setting

  /// Takes what ``createOffer(iceRestart:at:)`` or ``createAnswer(rejectAll:at:)`` wrote as our side (RFC 8829 §5.9),
  /// or takes an offer back.
  public mutating func setLocalDescription(
    _ description: SessionDescriptionInit, at now: Instant
  ) throws(PeerConnectionError) {
    guard description.type != .rollback else { return try rollBack(at: now) }
    guard description == descriptions.created else { throw .unknownLocalDescription }
    let parsed = try Self.parse(description.sdp)
    switch description.type {
    case .offer:
      try requireSignalingState(.stable, .haveLocalOffer)
      setLocalOffer(parsed)
    case .answer:
      try requireSignalingState(.haveRemoteOffer)
      guard let remote = descriptions.pendingRemote else { throw .wrongSignalingState(signalingState) }
      try apply(local: parsed, remote: remote, localIsOffer: false, at: now)
    case .rollback: break
    }
  }

  private mutating func setLocalOffer(_ offer: SessionDescription) {
    if transport == nil { ice.setRole(.controlling) }
    let prepared = restart.prepared?.usernameFragment
    restart.isOffered =
      prepared != nil
      && offer.media.indices.contains {
        offer.transportAttributes(ofMedia: $0).iceUsernameFragment == prepared
      }
    descriptions.pendingLocal = offer
    noteCandidatesInDescription()
    change(to: .haveLocalOffer)
    announceLocalCandidates()
  }

  /// Takes the peer's offer or answer (RFC 8829 §5.10), or takes an offer back.
  ///
  /// An offer that crosses ours is taken if we are polite, our own then being taken back
  /// (``Configuration/isPolite``).
  public mutating func setRemoteDescription(
    _ description: SessionDescriptionInit, at now: Instant
  ) throws(PeerConnectionError) {
    guard description.type != .rollback else { return try rollBack(at: now) }
    let parsed = try Self.parse(description.sdp)
    switch description.type {
    case .offer: try setRemoteOffer(parsed)
    case .answer:
      try requireSignalingState(.haveLocalOffer)
      guard let local = descriptions.pendingLocal else { throw .wrongSignalingState(signalingState) }
      try apply(local: local, remote: parsed, localIsOffer: true, at: now)
    case .rollback: break
    }
  }

  private mutating func setRemoteOffer(_ offer: SessionDescription) throws(PeerConnectionError) {
    if signalingState == .haveLocalOffer, !configuration.isPolite { throw .offerCollision }
    try requireSignalingState(.stable, .haveLocalOffer, .haveRemoteOffer)
    let isRestart = try isRestart(offer)
    if signalingState == .haveLocalOffer { withdrawLocalOffer() } else { forgetCreated() }
    restart.isAskedFor = isRestart
    addTransceivers(for: offer)
    descriptions.pendingRemote = offer
    change(to: .haveRemoteOffer)
  }

  /// RFC 8829 §5.10: an offered m-line that no transceiver fits gets one that receives.
  private mutating func addTransceivers(for offer: SessionDescription) {
    guard configuration.acceptsUnsolicitedMedia else { return }
    let matches = Negotiation.matchTransceivers(transceivers.map(\.description), with: offer)
    for (media, match) in zip(offer.media, matches) where match == nil && !media.isRejected {
      let withdrawn = transceivers.firstIndex { $0.kind == media.kind && $0.origin == .withdrawnOffer }
      if let withdrawn {
        transceivers[withdrawn].origin = .pendingOffer
        emit(.transceiverAdded(TransceiverID(rawValue: withdrawn)))
        continue
      }
      guard transceivers.count < Self.transceiversMax else { return }
      let codecs: [RTPCodec]
      switch media.kind {
      case .audio: codecs = [.opus]
      case .video: codecs = [.h264ConstrainedBaseline]
      default: continue
      }
      let id = appendTransceiver(media.kind, TransceiverInit(direction: .recvonly, codecs: codecs))
      transceivers[id.rawValue].origin = .pendingOffer
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
        transceivers: transceivers.map(\.description), establishedRole: transport?.localRole)
    }
    let change = try transportChange(by: session, local: local, remote: remote)
    if !localIsOffer { noteCandidatesInDescription() }
    descriptions.currentLocal = local
    descriptions.currentRemote = remote
    descriptions.pendingLocal = nil
    descriptions.pendingRemote = nil
    for media in session.media {
      guard let index = media.transceiverIndex, transceivers.indices.contains(index) else { continue }
      transceivers[index].mid = media.mid
      transceivers[index].negotiated = media
      transceivers[index].origin = .application
    }
    configureMedia(session)
    followData(session, offer: localIsOffer ? local : remote, at: now)
    restart.isOffered = false
    restart.isAskedFor = false
    follow(change, in: session, localIsOffer: localIsOffer, at: now)
    // Credentials that were made for a description which was never set.
    if restart.prepared != nil { forgetCreated() }
    becomeStable(at: now)
  }

  private mutating func followData(
    _ session: NegotiatedSession, offer: SessionDescription, at now: Instant
  ) {
    let isOffered = offer.media.contains { $0.kind == .application && !$0.isRejected }
    data.follow(DataAgreement(session), isOffered: isOffered, random: &random, at: now)
  }

  // MARK: Helpers

  private func requireSignalingState(_ allowed: SignalingState...) throws(PeerConnectionError) {
    guard signalingState != .closed else { throw .closed }
    guard allowed.contains(signalingState) else { throw .wrongSignalingState(signalingState) }
  }

  mutating func change(to state: SignalingState) {
    guard signalingState != state else { return }
    signalingState = state
    emit(.signalingStateChanged(state))
  }

  static func parse(_ sdp: String) throws(PeerConnectionError) -> SessionDescription {
    do throws(SDPError) { return try SessionDescription(parsing: sdp) } catch {
      throw .malformedDescription(error)
    }
  }

  static func serialize(_ description: SessionDescription) throws(PeerConnectionError) -> String {
    do throws(SDPError) { return try description.serialized() } catch { throw .malformedDescription(error) }
  }

  static func negotiating<Result>(
    _ body: () throws(NegotiationError) -> Result
  ) throws(PeerConnectionError) -> Result {
    do throws(NegotiationError) { return try body() } catch { throw .unacceptableDescription(error) }
  }
}
