// SPDX-License-Identifier: Apache-2.0

public import ICE
public import SDP
import SansIO
import Synchronization
public import WebRTCCore

#if DataChannels
  public import SCTP
#endif

/// What a connection can be told when it is made.
public struct PeerConnectionConfiguration: Sendable {
  /// The canonical name in RTCP (RFC 3550 §6.5.1); `nil` for a random one (RFC 7022).
  public var cname: String?
  /// The timings of ICE.
  public var ice: ICEAgent.Configuration
  /// Whether an offered m-line for which no transceiver was added gets one that receives, as in browsers.
  public var acceptsUnsolicitedMedia: Bool
  /// Whether the loop's sockets are used, or some for this connection alone.
  ///
  /// Datagrams are told apart by the peer's address. Two connections between the same two sockets cannot be:
  /// whoever opens several connections to one peer that shares its sockets (two viewers of one camera in one
  /// process) says `false` here. Browsers use sockets of their own for each connection.
  public var sharesSockets: Bool
  /// Bits per second at which media leaves at most.
  public var pacingRateBitsPerSecond: Int64
  /// Whether the next offer restarts ICE by itself when the path is lost for good;
  /// ``PeerConnectionEvent/negotiationNeeded`` asks for that offer.
  public var restartsICEAutomatically = true
  /// Whether our offer gives way to one of the peer's that crosses it. Applications that offer from both sides say
  /// `true` on one of them; see ``PeerConnection/setRemoteDescription(_:)``.
  public var isPolite = false
  #if DataChannels
    /// Who decides how fast data channels send.
    public var dataChannelCongestionAlgorithm = SCTPAssociation.Configuration.CongestionAlgorithm.cubic
  #endif

  /// The defaults of the specifications, and a pace that passes a key frame within some 20 ms.
  public init(
    cname: String? = nil, ice: ICEAgent.Configuration = ICEAgent.Configuration(),
    acceptsUnsolicitedMedia: Bool = true, sharesSockets: Bool = true,
    pacingRateBitsPerSecond: Int64 = 25_000_000
  ) {
    self.cname = cname
    self.ice = ice
    self.acceptsUnsolicitedMedia = acceptsUnsolicitedMedia
    self.sharesSockets = sharesSockets
    self.pacingRateBitsPerSecond = pacingRateBitsPerSecond
  }
}

/// A WebRTC connection to one peer (W3C WebRTC §4.4, RTCPeerConnection).
///
/// The names are those of the browsers' API; what is an event handler there is an asynchronous sequence here.
/// A connection lives on its ``NetworkLoop``. All members may be used from any task at any time; after the
/// end of the connection they throw ``PeerConnectionError/closed`` or do nothing. A connection that is
/// released without ``close()`` closes by itself.
///
/// An answering sender, from the offer to pictures:
///
/// ```swift
/// let loop = try await NetworkLoop()
/// let connection = try PeerConnection(on: loop)
/// let video = try await connection.addTransceiver(
///   .video, TransceiverInit(direction: .sendonly, codecs: [.h264ConstrainedBaseline]))
///
/// try await connection.setRemoteDescription(offer)          // as signaling brought it
/// let answer = try await connection.setLocalDescription()   // makes the answer
/// signaling.send(answer)
///
/// try await withThrowingTaskGroup(of: Void.self) { group in
///   group.addTask {
///     for await candidate in connection.candidates { signaling.send(candidate) }
///   }
///   group.addTask {
///     for await candidate in signaling.candidates { try await connection.addICECandidate(candidate) }
///   }
///   group.addTask {
///     for await state in connection.connectionStates where state == .connected { print("connected") }
///   }
///   group.addTask {
///     for await frame in camera.frames { video.send(frame) }
///   }
///   group.addTask {
///     for await _ in video.keyFrameRequests { camera.makeKeyFrame() }
///   }
///   try await group.waitForAll()
/// }
/// await connection.close()
/// await loop.shutdown()
/// ```
public final class PeerConnection: Sendable {
  /// What was set on both sides, and what the last complete exchange left, which a rollback returns to.
  private struct Descriptions {
    var local: SessionDescriptionInit?
    var remote: SessionDescriptionInit?
    private var current: (local: SessionDescriptionInit?, remote: SessionDescriptionInit?)

    mutating func note(_ description: SessionDescriptionInit, isLocal: Bool) {
      // An offer takes the place of one that crossed it.
      if description.type != .answer { (local, remote) = current }
      guard description.type != .rollback else { return }
      if isLocal { local = description } else { remote = description }
      if description.type == .answer { current = (local, remote) }
    }
  }

  let handle: ConnectionHandle
  private let streams: PeerEvents
  private let descriptions = Mutex(Descriptions())

  /// Makes a connection on a loop, whose sockets become its host candidates.
  ///
  /// - Throws: ``NetworkError/shutDown``, ``NetworkError/tooManyConnections(limit:)``,
  ///   ``NetworkError/certificate(_:)``.
  public init(
    configuration: PeerConnectionConfiguration = PeerConnectionConfiguration(), on loop: NetworkLoop
  ) throws(NetworkError) {
    let reservation = try loop.reserveConnection()
    var coreConfiguration = PeerConnectionCore.Configuration(
      dtls: loop.dtls, certificate: reservation.certificate, random: .system,
      transactionPrefix: reservation.transactionPrefix,
      wallClockNanosecondsAtZero: NetworkClock.wallClockNanosecondsAtZero)
    coreConfiguration.cname = configuration.cname
    coreConfiguration.ice = configuration.ice
    if loop.iceTransportPolicy == .relay { coreConfiguration.ice.transportPolicy = .relay }
    coreConfiguration.acceptsUnsolicitedMedia = configuration.acceptsUnsolicitedMedia
    coreConfiguration.pacingRateBitsPerSecond = configuration.pacingRateBitsPerSecond
    coreConfiguration.restartsICEAutomatically = configuration.restartsICEAutomatically
    coreConfiguration.isPolite = configuration.isPolite
    #if DataChannels
      coreConfiguration.dataChannels.association.congestionAlgorithm =
        configuration.dataChannelCongestionAlgorithm
    #endif
    let core = PeerConnectionCore(configuration: coreConfiguration, at: NetworkClock.now)
    streams = PeerEvents()
    let peer = PeerDriver(
      core: core, events: streams, sharesSockets: configuration.sharesSockets, on: loop)
    handle = ConnectionHandle(peer, on: loop)
    let driver = handle.driver
    loop.post { state, now in state.add(driver.value, at: now) }
  }

  deinit { handle.postClose() }

  // MARK: States and events

  /// ICE and DTLS taken together, now.
  public var connectionState: PeerConnectionState { streams.connectionState.current }
  /// The present state and all later ones; a stream of its own for each use. It ends with `closed`.
  public var connectionStates: AsyncStream<PeerConnectionState> { streams.connectionState.changes }
  /// The state of ICE, now.
  public var iceConnectionState: ICEConnectionState { streams.iceConnectionState.current }
  /// The present state and all later ones; a stream of its own for each use. It ends with `closed`.
  public var iceConnectionStates: AsyncStream<ICEConnectionState> { streams.iceConnectionState.changes }
  /// How far the search for our candidates is, now.
  public var iceGatheringState: ICEGatheringState { streams.iceGatheringState.current }
  /// The present state and all later ones; a stream of its own for each use.
  public var iceGatheringStates: AsyncStream<ICEGatheringState> { streams.iceGatheringState.changes }
  /// Where offer and answer stand, now.
  public var signalingState: SignalingState { streams.signalingState.current }
  /// The present state and all later ones; a stream of its own for each use. It ends with `closed`.
  public var signalingStates: AsyncStream<SignalingState> { streams.signalingState.changes }

  /// Local candidates to be signaled (trickle ICE, RFC 8838); `nil` says that there are no more. For one
  /// reader.
  public var candidates: AsyncStream<ICECandidateInit?> { streams.candidates }
  /// What else happens; for one reader. It ends with the connection.
  public var events: AsyncStream<PeerConnectionEvent> { streams.events }

  // MARK: Media

  /// The transceivers in the order of their creation; none after the end of the connection.
  public var transceivers: [Transceiver] { streams.transceivers }

  /// Adds a transceiver; the next offer carries it, or the next answer where the peer's offer has a place for
  /// it.
  ///
  /// - Throws: ``PeerConnectionError/closed``.
  @discardableResult
  public func addTransceiver(
    _ kind: MediaKind, _ parameters: TransceiverInit
  ) async throws(PeerConnectionError) -> Transceiver {
    try await handle.perform { driver, _ in driver.addTransceiver(kind, parameters) }
  }

  // MARK: Offer and answer

  /// The description on our side: the one that was set last and not taken back.
  public var localDescription: SessionDescriptionInit? { descriptions.withLock { $0.local } }
  /// The description on the peer's side: the one that was set last and not taken back.
  public var remoteDescription: SessionDescriptionInit? { descriptions.withLock { $0.remote } }

  /// Makes an offer; nothing begins before ``setLocalDescription(_:)``.
  ///
  /// - Parameter iceRestart: look for all paths anew, as after ``restartICE()``.
  /// - Throws: ``PeerConnectionError``.
  public func createOffer(iceRestart: Bool = false) async throws(PeerConnectionError)
    -> SessionDescriptionInit
  {
    try await handle.perform { driver, now throws(PeerConnectionError) in
      try driver.core.createOffer(iceRestart: iceRestart, at: now)
    }
  }

  /// Has the next offer restart ICE; ``PeerConnectionEvent/negotiationNeeded`` asks for it. Media goes on meanwhile,
  /// as far as the old path works. A connection whose path has failed comes back this way.
  ///
  /// - Throws: ``PeerConnectionError/closed``.
  public func restartICE() async throws(PeerConnectionError) {
    try await handle.perform { driver, now in driver.core.restartICE(at: now) }
  }

  /// Makes an answer to the peer's offer.
  ///
  /// - Parameter rejectAll: refuse every m-line, as a sender does that is full.
  /// - Throws: ``PeerConnectionError``.
  public func createAnswer(rejectAll: Bool = false) async throws(PeerConnectionError)
    -> SessionDescriptionInit
  {
    try await handle.perform { driver, now throws(PeerConnectionError) in
      try driver.core.createAnswer(rejectAll: rejectAll, at: now)
    }
  }

  /// Sets our description: the one given, or, as the signaling state asks for, an answer or an offer made
  /// now. ``SessionDescriptionInit/rollback`` takes back an offer that is not answered yet.
  ///
  /// - Returns: the description that was set.
  /// - Throws: ``PeerConnectionError``.
  @discardableResult
  public func setLocalDescription(
    _ description: SessionDescriptionInit? = nil
  ) async throws(PeerConnectionError) -> SessionDescriptionInit {
    let set = try await handle.perform { driver, now throws(PeerConnectionError) in
      try driver.setLocalDescription(description, at: now)
    }
    descriptions.withLock { $0.note(set, isLocal: true) }
    return set
  }

  /// Sets the peer's description as signaling brought it.
  ///
  /// When the peer's offer crosses ours, the polite side (``PeerConnectionConfiguration/isPolite``) takes its own back
  /// and the peer's in; the other throws ``PeerConnectionError/offerCollision``: then forget the peer's offer, it will
  /// answer ours.
  ///
  /// - Throws: ``PeerConnectionError``.
  public func setRemoteDescription(
    _ description: SessionDescriptionInit
  ) async throws(PeerConnectionError) {
    try await handle.perform { driver, now throws(PeerConnectionError) in
      try driver.core.setRemoteDescription(description, at: now)
    }
    descriptions.withLock { $0.note(description, isLocal: false) }
  }

  /// Adds a candidate of the peer; `nil` says that there are no more.
  ///
  /// A candidate that cannot be sent to (port 0, a group, another family) is accepted and never used.
  ///
  /// - Throws: ``PeerConnectionError``.
  public func addICECandidate(_ candidate: ICECandidateInit?) async throws(PeerConnectionError) {
    try await handle.perform { driver, now throws(PeerConnectionError) in
      try driver.core.addICECandidate(candidate, at: now)
    }
  }

  // MARK: Statistics and end

  /// A snapshot with the names of W3C webrtc-stats.
  ///
  /// - Throws: ``PeerConnectionError/closed``.
  public func statistics() async throws(PeerConnectionError) -> StatisticsReport {
    try await handle.perform { driver, now in driver.core.statistics(at: now) }
  }

  /// Says goodbye to the peer (RTCP BYE, DTLS close_notify) and ends all streams. Calling it again does
  /// nothing.
  public func close() async {
    let driver = handle.driver
    await handle.loop.run { state, now in driver.value.close(in: state, at: now) }
  }
}
