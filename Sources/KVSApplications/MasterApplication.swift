// SPDX-License-Identifier: Apache-2.0

import ICE
public import KinesisVideo
public import Logging
public import MediaFiles
import NIOPosix
import SDP
import SansIO
public import WebRTC
import WebRTCCore

/// Sends a clip to every viewer of a channel.
public actor MasterApplication {
  /// What a master is made with.
  public struct Configuration: Sendable {
    /// The signaling session.
    public var signaling: SignalingClient.Configuration
    /// What is played.
    public var clip: MediaClip
    /// Viewers served at once.
    public var viewersMax: Int
    /// What becomes of viewers' data channels.
    public var dataChannels: DataChannelPolicy
    /// The sockets.
    public var network: NetworkLoop.Configuration

    /// Makes a configuration with ten viewers.
    public init(
      signaling: SignalingClient.Configuration, clip: MediaClip, viewersMax: Int = 10,
      dataChannels: DataChannelPolicy = .standard,
      network: NetworkLoop.Configuration = NetworkLoop.Configuration()
    ) {
      self.signaling = signaling
      self.clip = clip
      self.viewersMax = viewersMax
      self.dataChannels = dataChannels
      self.network = network
    }
  }

  /// Bytes of a candidate's text at most, several times a long one's: early ones are kept.
  static let candidateBytesMax = 1024

  private let configuration: Configuration
  private let logger: Logger
  private let onViewerEnd: @Sendable (_ clientID: String, ConnectionMetrics) -> Void
  private let onConnected: @Sendable () throws -> Void
  private let onAddresses: @Sendable ([TransportAddress]) async -> Void
  private var slots: ViewerSlots<ViewerSession, ICECandidatePayload>
  private var sessionMetrics = ConnectionMetrics()
  private var sessionTimeline = ConnectionTimeline()
  private var hasConnected = false
  private var refusedOffers = 0
  private var toldAddresses: [TransportAddress]?

  /// Makes a master.
  ///
  /// - Parameters:
  ///   - onViewerEnd: called with a viewer's durations after it has gone.
  ///   - onConnected: called once, when its WebSocket stands for the first time; what it throws ends the master.
  ///   - onAddresses: called with the addresses of its sockets, before the first viewer and when they have changed.
  public init(
    configuration: Configuration, logger: Logger,
    onViewerEnd: @escaping @Sendable (_ clientID: String, ConnectionMetrics) -> Void = { _, _ in },
    onConnected: @escaping @Sendable () throws -> Void = {},
    onAddresses: @escaping @Sendable ([TransportAddress]) async -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.logger = logger
    self.onViewerEnd = onViewerEnd
    self.onConnected = onConnected
    self.onAddresses = onAddresses
    slots = ViewerSlots(limit: configuration.viewersMax)
  }

  /// Serves viewers until the task is cancelled; then says goodbye to each of them.
  ///
  /// - Throws: ``KinesisVideoError`` when the service refuses from the start, ``NetworkError`` without sockets.
  public func run() async throws {
    let start = NetworkClock.now
    let loop = try await NetworkLoop(configuration: configuration.network, logger: logger)
    sessionMetrics[.gatherHost] = Duration(NetworkClock.now - start)
    let publisher = ClipPublisher(clip: configuration.clip, logger: logger)
    let responder = DataChannelResponder(echoes: configuration.dataChannels == .echo)
    let signaling = SignalingClient(
      configuration: configuration.signaling, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
      httpClient: nil, logger: logger)
    do {
      try await withThrowingDiscardingTaskGroup { group in
        group.addTask { await publisher.run() }
        group.addTask { try await signaling.run() }
        for await event in signaling.events {
          let context = Context(loop: loop, publisher: publisher, responder: responder, signaling: signaling)
          try await handle(event, context, in: &group)
        }
        group.cancelAll()
      }
    } catch {
      await loop.shutdown()
      guard error is CancellationError else { throw error }
      return
    }
    await loop.shutdown()
  }

  /// What serving a viewer takes.
  private struct Context: Sendable {
    let loop: NetworkLoop
    let publisher: ClipPublisher
    let responder: DataChannelResponder
    let signaling: SignalingClient
  }

  // MARK: Signaling

  private func handle(
    _ event: SignalingEvent, _ context: Context, in group: inout ThrowingDiscardingTaskGroup<any Error>
  ) async throws {
    switch event {
    case .connected:
      guard !hasConnected else { return }
      hasConnected = true
      await tellAddresses(of: context.loop)
      try onConnected()
    case .offer(let sdp, let clientID): await receive(offer: sdp, from: clientID, context, in: &group)
    case .answer(let sdp, let clientID?): await slots.session(of: clientID)?.accept(answer: sdp)
    case .iceCandidate(let candidate, let clientID?): await receive(candidate, from: clientID)
    case .stepTimed(let step, let duration): note(step, duration)
    case .iceServers(let servers): await context.loop.update(iceServers: connectivityServers(servers))
    // The signaling client logs what happens to its connection.
    case .disconnected, .statusResponse, .answer, .iceCandidate: break
    }
  }

  private func connectivityServers(_ servers: [KinesisVideo.ICEServer]) -> [ICE.ICEServer] {
    ConnectivityServers.make(of: servers) { url in
      logger.notice(
        "the address of a server was not understood", metadata: ["url": "\(LogText.escaped(url))"])
    }
  }

  /// Tells whoever wants to know where viewers' packets come to, unless it knows.
  private func tellAddresses(of loop: NetworkLoop) async {
    let addresses = loop.localAddresses
    guard addresses != toldAddresses else { return }
    toldAddresses = addresses
    await onAddresses(addresses)
  }

  private func note(_ step: SignalingStep, _ duration: Duration) {
    let end = NetworkClock.now
    let start = end - TimeDelta(duration)
    switch step {
    case .describe:
      sessionMetrics[.describeChannel] = duration
      sessionTimeline.note(.describeChannel, from: start, to: end)
      sessionTimeline.note(.signaling, from: start)
    case .endpoints:
      sessionMetrics[.getEndpoints] = duration
      sessionTimeline.note(.endpoints, from: start, to: end)
    case .iceServers:
      sessionMetrics[.getICEServers] = duration
      sessionTimeline.note(.iceServers, from: start, to: end)
    case .webSocket:
      sessionMetrics[.connectWebSocket] = duration
      sessionTimeline.note(.webSocket, from: start, to: end)
      sessionTimeline.end(.signaling, at: end)
    case .create: sessionTimeline.note(.createChannel, from: start, to: end)
    }
  }

  // MARK: Viewers

  private func receive(
    offer: String, from clientID: String, _ context: Context,
    in group: inout ThrowingDiscardingTaskGroup<any Error>
  ) async {
    let arrival = NetworkClock.now
    await tellAddresses(of: context.loop)
    slots.release(where: \.isOver)
    if let standing = slots.session(of: clientID), standing.isContinued(by: offer) {
      await renegotiate(standing, offer: offer, context)
      return
    }
    // Whoever may come back keeps the place only as long as nobody else wants it.
    if slots.isFull {
      for lost in slots.release(where: \.hasFailed) { await lost.connection.close() }
    }
    switch slots.offer(from: clientID) {
    case .refuse(let isNews):
      if isNews {
        logger.notice(
          "a viewer was turned away: all \(slots.limit) places are taken (--max-viewers)",
          metadata: ["viewer": "\(clientID)"])
      }
      refuse(offer, from: clientID, context)
    case .admit(let standing, let early):
      if let standing { await standing.connection.close() }
      do {
        let session = ViewerSession(
          clientID: clientID,
          connection: try PeerConnection(
            configuration: connectionConfiguration, on: context.loop),
          publisher: context.publisher, responder: context.responder, metrics: sessionMetrics,
          timeline: sessionTimeline,
          offerArrival: arrival, logger: logger)
        slots.occupy(clientID, with: session)
        group.addTask { await self.serve(session, offer: offer, early: early, context) }
      } catch {
        logger.error("no connection could be made: \(error)")
      }
    }
  }

  /// A viewer decides what it takes; where its offer crosses one of ours, ours gives way.
  private var connectionConfiguration: PeerConnectionConfiguration {
    var connection = PeerConnectionConfiguration(acceptsUnsolicitedMedia: false)
    connection.isPolite = true
    connection.acceptsDataChannels = configuration.dataChannels != .refuse
    return connection
  }

  /// Answers one more offer of a viewer that is served.
  private func renegotiate(_ session: ViewerSession, offer: String, _ context: Context) async {
    do {
      let answer = try await session.renegotiate(offer)
      context.signaling.send(.answer(sdp: answer, to: session.clientID))
    } catch {
      if !session.isOver { noteRefusal(error, of: session.clientID) }
    }
  }

  /// Answers with every m-line rejected, which tells a viewer that the camera is full.
  private func refuse(_ offer: String, from clientID: String, _ context: Context) {
    do {
      let answer = try PeerConnectionCore.rejectingAnswer(
        to: SessionDescriptionInit(type: .offer, sdp: offer))
      context.signaling.send(.answer(sdp: answer.sdp, to: clientID))
    } catch {
      logger.debug("an offer could not be answered: \(error)", metadata: ["viewer": "\(clientID)"])
    }
  }

  private func serve(
    _ session: ViewerSession, offer: String, early: [ICECandidatePayload], _ context: Context
  ) async {
    let clientID = session.clientID
    do {
      let agreement = try await session.answer(offer)
      context.signaling.send(.answer(sdp: agreement.answer, to: clientID))
      for candidate in early { await session.add(candidate) }
      await session.run(agreement) { signal in
        switch signal {
        case .offer(let sdp): context.signaling.send(.offer(sdp: sdp, to: clientID))
        case .candidate(let candidate):
          context.signaling.send(.candidate(ICECandidatePayload(candidate), to: clientID))
        }
      }
    } catch {
      if !session.isOver { noteRefusal(error, of: clientID) }
      await session.connection.close()
    }
    slots.release { $0 === session }
    onViewerEnd(clientID, session.metrics)
  }

  /// Logs the first bad offer, the second, the fourth and so on: a viewer with a fault must not fill the disk.
  private func noteRefusal(_ error: PeerConnectionError, of clientID: String) {
    refusedOffers += 1
    guard refusedOffers.nonzeroBitCount == 1 else { return }
    logger.warning(
      "an offer was refused: \(error)", metadata: ["viewer": "\(clientID)", "times": "\(refusedOffers)"])
  }

  private func receive(_ candidate: ICECandidatePayload, from clientID: String) async {
    guard candidate.textByteCount <= Self.candidateBytesMax else { return }
    slots.release(where: \.isOver)
    switch slots.candidate(candidate, from: clientID) {
    case .deliver(let session): await session.add(candidate)
    case .held: break
    case .dropped:
      logger.debug("a viewer's early candidate was dropped", metadata: ["viewer": "\(clientID)"])
    }
  }
}

extension ICECandidatePayload {
  fileprivate var textByteCount: Int {
    [candidate, sdpMid, usernameFragment].reduce(0) { $0 + ($1?.utf8.count ?? 0) }
  }
}
