// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import Logging
import SDP
import SansIO
import Synchronization
import WebRTC
import WebRTCCore

/// One viewer of a master: its connection, from the offer to the end.
final class ViewerSession: Sendable {
  /// A viewer that is not connected after this long is given up: signaling, checks and handshake together.
  static let connectTimeout = Duration.seconds(30)
  /// A viewer whose path is lost is waited for so long: either side may look for another one meanwhile.
  static let recoveryTimeout = Duration.seconds(20)

  let clientID: String
  let connection: PeerConnection
  private let publisher: ClipPublisher
  private let responder: DataChannelResponder
  private let logger: Logger
  private let offerArrival: Instant
  private let measured: Mutex<Measured>

  private struct Measured {
    var metrics: ConnectionMetrics
    var timeline: ConnectionTimeline
    var negotiation: Instant?
    var path: Instant?
    /// Whether an offer of ours is due as soon as the path turns out to be lost.
    var isRestartNeeded = false
  }

  init(
    clientID: String, connection: PeerConnection, publisher: ClipPublisher, responder: DataChannelResponder,
    metrics: ConnectionMetrics,
    timeline: ConnectionTimeline, offerArrival: Instant, logger: Logger
  ) {
    self.clientID = clientID
    self.connection = connection
    self.publisher = publisher
    self.responder = responder
    self.offerArrival = offerArrival
    measured = Mutex(Measured(metrics: metrics, timeline: timeline))
    var logger = logger
    logger[metadataKey: "viewer"] = "\(clientID)"
    self.logger = logger
  }

  /// Whether the connection has come to its end, by either side.
  var isOver: Bool { connection.connectionState == .closed }
  /// Whether the path is lost; another one may be found yet.
  var hasFailed: Bool { connection.connectionState == .failed }

  private static func isEnd(_ state: PeerConnectionState) -> Bool { state == .failed || state == .closed }

  // MARK: Negotiation

  /// What the viewer takes, after its offer was answered.
  struct Agreement: Sendable {
    /// The answer, as it is to be sent.
    let answer: String
    /// Those of picture and sound.
    let tracks: [Broadcast.Track: Transceiver]
    /// Whether there are data channels.
    let hasData: Bool
  }

  /// Answers the viewer's offer.
  func answer(_ offer: String) async throws(PeerConnectionError) -> Agreement {
    let video = try await connection.addTransceiver(
      .video,
      TransceiverInit(
        direction: .sendonly, codecs: [.h264ConstrainedBaseline], streamID: "camera", trackID: "video"))
    let audio = try await connection.addTransceiver(
      .audio, TransceiverInit(direction: .sendonly, codecs: [.opus], streamID: "camera", trackID: "audio"))
    try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: offer))
    let negotiation = NetworkClock.now
    measured.withLock { measured in
      measured.negotiation = negotiation
      measured.timeline.note(.peerConnection, from: negotiation)
      measured.timeline.note(.gathering, from: negotiation)
    }
    let answer = try await connection.setLocalDescription()
    measured.withLock { $0.timeline.note(.answer, from: offerArrival, to: NetworkClock.now) }
    var tracks: [Broadcast.Track: Transceiver] = [:]
    for (track, transceiver) in [(Broadcast.Track.video, video), (.audio, audio)] {
      guard let media = try await transceiver.negotiatedMedia(), !media.isRejected else { continue }
      tracks[track] = transceiver
    }
    return Agreement(answer: answer.sdp, tracks: tracks, hasData: Self.acceptsData(in: answer.sdp))
  }

  private static func acceptsData(in answer: String) -> Bool {
    let media = (try? SessionDescription(parsing: answer))?.media ?? []
    return media.contains { $0.kind == .application && $0.port != 0 }
  }

  /// Whether an offer is one more of the connection that stands: the viewer looks for a new path.
  func isContinued(by offer: String) -> Bool {
    guard let standing = connection.remoteDescription.flatMap({ SessionIdentity(of: $0.sdp) }) else {
      return false
    }
    return SessionIdentity(of: offer) == standing
  }

  /// Answers one more offer; ours gives way when the two cross.
  func renegotiate(_ offer: String) async throws(PeerConnectionError) -> String {
    try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: offer))
    return try await connection.setLocalDescription().sdp
  }

  /// Takes the viewer's answer to an offer of ours; a bad one is noted, and the session goes on as it was.
  func accept(answer: String) async {
    do {
      try await connection.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: answer))
    } catch {
      logger.info("an answer was refused: \(error)")
    }
  }

  /// Applies a candidate that the viewer trickled; a bad one is noted and ignored.
  func add(_ candidate: ICECandidatePayload) async {
    do {
      try await connection.addICECandidate(ICECandidateInit(candidate))
    } catch {
      logger.debug("a candidate was ignored: \(error)")
    }
  }

  // MARK: Life

  /// Serves the viewer until its connection ends or the task is cancelled, then closes the connection.
  func run(_ agreement: Agreement, send: @escaping @Sendable (Signal) -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.watchCandidates(send) }
      group.addTask { await self.watchEvents(send) }
      group.addTask {
        for await _ in self.connection.connectionStates { await self.restartIfDue(send) }
      }
      group.addTask { await self.watchGathering() }
      if agreement.tracks.isEmpty, !agreement.hasData {
        logger.notice("a viewer takes neither H.264 video nor Opus audio")
      } else if await isConnectedInTime() {
        await serve(agreement.tracks)
      } else {
        logger.info("the viewer did not connect", metadata: ["state": "\(connection.connectionState)"])
      }
      group.cancelAll()
    }
    await connection.close()
  }

  private func isConnectedInTime() async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        await self.connection.connectionStates.first { $0 == .connected || Self.isEnd($0) } == .connected
      }
      group.addTask {
        try? await Task.sleep(for: Self.connectTimeout)
        return false
      }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
  }

  private func serve(_ tracks: [Broadcast.Track: Transceiver]) async {
    logger.info("the viewer is connected")
    if tracks.isEmpty {
      await waitForEnd()
    } else {
      await publish(tracks)
    }
    logger.info("the viewer is gone", metadata: ["state": "\(connection.connectionState)"])
  }

  private func publish(_ tracks: [Broadcast.Track: Transceiver]) async {
    let member = await publisher.join(connection, tracks)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [publisher] in
        guard let requests = tracks[.video]?.keyFrameRequests else { return }
        for await _ in requests { await publisher.restart(member) }
      }
      await waitForEnd()
      group.cancelAll()
    }
    await publisher.leave(member)
  }

  /// Waits until the connection is closed, or has failed and did not come back in time.
  private func waitForEnd() async {
    while let end = await connection.connectionStates.first(where: Self.isEnd), end == .failed {
      logger.info("the viewer's path is lost")
      let isBack = await withTaskGroup(of: Bool.self) { group in
        group.addTask {
          await self.connection.connectionStates.first { $0 == .connected || $0 == .closed } == .connected
        }
        group.addTask {
          try? await Task.sleep(for: Self.recoveryTimeout)
          return false
        }
        defer { group.cancelAll() }
        return await group.next() ?? false
      }
      guard isBack else { return }
      logger.info("the viewer is back on another path")
    }
  }

  // MARK: What the viewer is told

  /// What a session has to tell its viewer.
  enum Signal: Sendable {
    case offer(String)
    case candidate(ICECandidateInit)
  }

  private func watchCandidates(_ send: @escaping @Sendable (Signal) -> Void) async {
    for await candidate in connection.candidates {
      if let candidate { send(.candidate(candidate)) }
    }
  }

  /// Offers to look for a new path once the present one is lost.
  ///
  /// Nothing else is worth an offer of ours: what the viewer does not take is not forced upon it.
  private func restartIfDue(_ send: @escaping @Sendable (Signal) -> Void) async {
    let state = connection.connectionState
    guard state == .disconnected || state == .failed else { return }
    let isDue = measured.withLock { measured in
      defer { measured.isRestartNeeded = false }
      return measured.isRestartNeeded
    }
    guard isDue else { return }
    do {
      let offer = try await connection.setLocalDescription()
      guard offer.type == .offer else { return }
      logger.info("looking for another path to the viewer")
      send(.offer(offer.sdp))
    } catch {
      logger.debug("no offer could be made: \(error)")
    }
  }

  // MARK: Durations

  /// The durations so far.
  var metrics: ConnectionMetrics { measured.withLock { $0.metrics } }

  /// How the connection came about, so far.
  var timeline: ConnectionTimeline { measured.withLock { $0.timeline } }

  private func watchGathering() async {
    guard await connection.iceGatheringStates.first(where: { $0 == .complete }) != nil else { return }
    measured.withLock { $0.timeline.end(.gathering, at: NetworkClock.now) }
  }

  /// Takes the times from the network's loop, so that no task's delay is measured with them.
  private func watchEvents(_ send: @escaping @Sendable (Signal) -> Void) async {
    await withDiscardingTaskGroup { group in
      for await event in connection.events {
        #if DataChannels
          if case .dataChannelAdded(let channel) = event {
            group.addTask {
              await self.responder.serve(channel, timeline: { self.timeline }, logger: self.logger)
            }
            continue
          }
        #endif
        measured.withLock { note(event, in: &$0) }
        await restartIfDue(send)
      }
    }
  }

  private func note(_ event: PeerConnectionEvent, in measured: inout Measured) {
    switch event {
    case .iceConnected(let time):
      guard measured.path == nil, let negotiation = measured.negotiation else { return }
      measured.path = time
      measured.metrics[.findPair] = Duration(time - negotiation)
    case .dtlsConnected(let time):
      measured.timeline.end(.peerConnection, at: time)
      guard let path = measured.path else { return }
      measured.metrics[.handshake] = Duration(time - path)
    case .firstPacketSent(_, let time):
      guard measured.metrics[.firstFrame] == nil else { return }
      measured.metrics[.firstFrame] = Duration(time - offerArrival)
    case .negotiationNeeded:
      // Before there was a path it is about transceivers, which the viewer's offer decides on.
      if measured.path != nil { measured.isRestartNeeded = true }
    default: break
    }
  }
}
