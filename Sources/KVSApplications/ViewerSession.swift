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

  let clientID: String
  let connection: PeerConnection
  private let publisher: ClipPublisher
  private let logger: Logger
  private let offerArrival: Instant
  private let measured: Mutex<Measured>

  private struct Measured {
    var metrics: ConnectionMetrics
    var negotiation: Instant?
    var path: Instant?
  }

  init(
    clientID: String, connection: PeerConnection, publisher: ClipPublisher, metrics: ConnectionMetrics,
    offerArrival: Instant, logger: Logger
  ) {
    self.clientID = clientID
    self.connection = connection
    self.publisher = publisher
    self.offerArrival = offerArrival
    measured = Mutex(Measured(metrics: metrics))
    var logger = logger
    logger[metadataKey: "viewer"] = "\(clientID)"
    self.logger = logger
  }

  /// Whether the connection has come to its end, by either side.
  var isOver: Bool { Self.isEnd(connection.connectionState) }

  private static func isEnd(_ state: PeerConnectionState) -> Bool { state == .failed || state == .closed }

  // MARK: Negotiation

  /// Answers the viewer's offer.
  ///
  /// - Returns: the answer, and those of picture and sound that the viewer takes.
  func answer(
    _ offer: String
  ) async throws(PeerConnectionError) -> (answer: String, tracks: [Broadcast.Track: Transceiver]) {
    let video = try await connection.addTransceiver(
      .video,
      TransceiverInit(
        direction: .sendonly, codecs: [.h264ConstrainedBaseline], streamID: "camera", trackID: "video"))
    let audio = try await connection.addTransceiver(
      .audio, TransceiverInit(direction: .sendonly, codecs: [.opus], streamID: "camera", trackID: "audio"))
    try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: offer))
    measured.withLock { $0.negotiation = NetworkClock.now }
    let answer = try await connection.setLocalDescription()
    var tracks: [Broadcast.Track: Transceiver] = [:]
    for (track, transceiver) in [(Broadcast.Track.video, video), (.audio, audio)] {
      guard let media = try await transceiver.negotiatedMedia(), !media.isRejected else { continue }
      tracks[track] = transceiver
    }
    return (answer.sdp, tracks)
  }

  /// Applies a candidate that the viewer trickled; a bad one is noted and ignored.
  func add(_ candidate: ICECandidatePayload) async {
    do {
      try await connection.addICECandidate(
        ICECandidateInit(
          candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
          usernameFragment: candidate.usernameFragment))
    } catch {
      logger.debug("a candidate was ignored: \(error)")
    }
  }

  // MARK: Life

  /// Serves the viewer until its connection ends or the task is cancelled, then closes the connection.
  func run(
    _ tracks: [Broadcast.Track: Transceiver], sendCandidate: @escaping @Sendable (ICECandidateInit) -> Void
  ) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.watchCandidates(sendCandidate) }
      group.addTask { await self.watchEvents() }
      if tracks.isEmpty {
        logger.notice("a viewer takes neither H.264 video nor Opus audio")
      } else if await isConnectedInTime() {
        await serve(tracks)
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
    let member = await publisher.join(connection, tracks)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [publisher] in
        guard let requests = tracks[.video]?.keyFrameRequests else { return }
        for await _ in requests { await publisher.restart(member) }
      }
      _ = await connection.connectionStates.first(where: Self.isEnd)
      group.cancelAll()
    }
    await publisher.leave(member)
    logger.info("the viewer is gone", metadata: ["state": "\(connection.connectionState)"])
  }

  private func watchCandidates(_ send: @escaping @Sendable (ICECandidateInit) -> Void) async {
    for await candidate in connection.candidates {
      if let candidate { send(candidate) }
    }
  }

  // MARK: Durations

  /// The durations so far.
  var metrics: ConnectionMetrics { measured.withLock { $0.metrics } }

  /// Takes the times from the network's loop, so that no task's delay is measured with them.
  private func watchEvents() async {
    for await event in connection.events { measured.withLock { note(event, in: &$0) } }
  }

  private func note(_ event: PeerConnectionEvent, in measured: inout Measured) {
    switch event {
    case .iceConnected(let time):
      guard measured.path == nil, let negotiation = measured.negotiation else { return }
      measured.path = time
      measured.metrics[.findPair] = Duration(time - negotiation)
    case .dtlsConnected(let time):
      guard let path = measured.path else { return }
      measured.metrics[.handshake] = Duration(time - path)
    case .firstPacketSent(_, let time):
      guard measured.metrics[.firstFrame] == nil else { return }
      measured.metrics[.firstFrame] = Duration(time - offerArrival)
    case .negotiationNeeded, .transceiverAdded: break
    }
  }
}
