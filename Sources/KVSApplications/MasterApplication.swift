// SPDX-License-Identifier: Apache-2.0

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
    /// Whether the durations of each connection are printed when it ends.
    public var printsMetrics: Bool
    /// The sockets.
    public var network: NetworkLoop.Configuration

    /// Makes a configuration with ten viewers.
    public init(
      signaling: SignalingClient.Configuration, clip: MediaClip, viewersMax: Int = 10,
      printsMetrics: Bool = false, network: NetworkLoop.Configuration = NetworkLoop.Configuration()
    ) {
      self.signaling = signaling
      self.clip = clip
      self.viewersMax = viewersMax
      self.printsMetrics = printsMetrics
      self.network = network
    }
  }

  private let configuration: Configuration
  private let logger: Logger
  private let onConnected: @Sendable () async throws -> Void
  private var slots: ViewerSlots<ViewerSession, ICECandidatePayload>
  private var sessionMetrics = ConnectionMetrics()

  /// Makes a master.
  ///
  /// - Parameter onConnected: called each time its WebSocket stands.
  public init(
    configuration: Configuration, logger: Logger,
    onConnected: @escaping @Sendable () async throws -> Void = {}
  ) {
    self.configuration = configuration
    self.logger = logger
    self.onConnected = onConnected
    slots = ViewerSlots(limit: configuration.viewersMax)
  }

  /// Serves viewers until the task is cancelled; then says goodbye to each of them.
  ///
  /// - Throws: ``KinesisVideoError`` when the service refuses from the start, ``NetworkError`` without sockets.
  public func run() async throws {
    let loop = try await NetworkLoop(configuration: configuration.network, logger: logger)
    let publisher = ClipPublisher(clip: configuration.clip, logger: logger)
    let signaling = SignalingClient(
      configuration: configuration.signaling, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
      httpClient: nil, logger: logger)
    do {
      try await withThrowingDiscardingTaskGroup { group in
        group.addTask { await publisher.run() }
        group.addTask { try await signaling.run() }
        for await event in signaling.events {
          try await handle(event, Context(loop: loop, publisher: publisher, signaling: signaling), in: &group)
        }
        group.cancelAll()
      }
    } catch {
      await end(loop)
      guard error is CancellationError else { throw error }
      return
    }
    await end(loop)
  }

  /// What serving a viewer takes.
  private struct Context: Sendable {
    let loop: NetworkLoop
    let publisher: ClipPublisher
    let signaling: SignalingClient
  }

  private func end(_ loop: NetworkLoop) async {
    for session in slots.releaseAll() { await session.connection.close() }
    await loop.shutdown()
  }

  // MARK: Signaling

  private func handle(
    _ event: SignalingEvent, _ context: Context, in group: inout ThrowingDiscardingTaskGroup<any Error>
  ) async throws {
    switch event {
    case .connected:
      logger.info("connected to the signaling service")
      try await onConnected()
    case .disconnected(let reason, let retryIn):
      logger.notice("the signaling connection ended: \(reason)\(retryIn.map { ", again in \($0)" } ?? "")")
    case .offer(let sdp, let clientID): await receive(offer: sdp, from: clientID, context, in: &group)
    case .iceCandidate(let candidate, let clientID?): await receive(candidate, from: clientID)
    case .statusResponse(let status):
      logger.warning("the service refused a message: \(status.errorType), \(status.description)")
    case .stepTimed(let step, let duration): note(step, duration)
    case .iceServers, .answer, .iceCandidate: break
    }
  }

  private func note(_ step: SignalingStep, _ duration: Duration) {
    switch step {
    case .describe: sessionMetrics[.describeChannel] = duration
    case .endpoints: sessionMetrics[.getEndpoints] = duration
    case .iceServers: sessionMetrics[.getICEServers] = duration
    case .webSocket: sessionMetrics[.connectWebSocket] = duration
    case .create: break
    }
  }

  // MARK: Viewers

  private func receive(
    offer: String, from clientID: String, _ context: Context,
    in group: inout ThrowingDiscardingTaskGroup<any Error>
  ) async {
    let arrival = NetworkClock.now
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
            configuration: PeerConnectionConfiguration(acceptsUnsolicitedMedia: false), on: context.loop),
          publisher: context.publisher, metrics: sessionMetrics, offerArrival: arrival, logger: logger)
        slots.occupy(clientID, with: session)
        group.addTask { await self.serve(session, offer: offer, early: early, context) }
      } catch {
        logger.error("no connection could be made: \(error)")
      }
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
      let (answer, tracks) = try await session.answer(offer)
      context.signaling.send(.answer(sdp: answer, to: clientID))
      for candidate in early { await session.add(candidate) }
      await session.run(tracks) { candidate in
        let payload = ICECandidatePayload(
          candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
          usernameFragment: candidate.usernameFragment)
        context.signaling.send(.candidate(payload, to: clientID))
      }
    } catch {
      logger.warning("an offer was refused: \(error)", metadata: ["viewer": "\(clientID)"])
      await session.connection.close()
    }
    slots.release(clientID) { $0 === session }
    if configuration.printsMetrics { printMetrics(of: session) }
  }

  private func printMetrics(of session: ViewerSession) {
    print((["Metrics of viewer \(session.clientID):"] + session.metrics.lines).joined(separator: "\n"))
  }

  private func receive(_ candidate: ICECandidatePayload, from clientID: String) async {
    switch slots.candidate(candidate, from: clientID) {
    case .deliver(let session): await session.add(candidate)
    case .held: break
    case .dropped:
      logger.debug("a viewer's early candidate was dropped", metadata: ["viewer": "\(clientID)"])
    }
  }
}
