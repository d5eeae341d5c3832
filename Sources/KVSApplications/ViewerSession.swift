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
  private let measured: Mutex<ConnectionMetrics>

  init(
    clientID: String, connection: PeerConnection, publisher: ClipPublisher, metrics: ConnectionMetrics,
    offerArrival: Instant, logger: Logger
  ) {
    self.clientID = clientID
    self.connection = connection
    self.publisher = publisher
    self.offerArrival = offerArrival
    measured = Mutex(metrics)
    var logger = logger
    logger[metadataKey: "viewer"] = "\(clientID)"
    self.logger = logger
  }

  /// The durations so far.
  var metrics: ConnectionMetrics { measured.withLock { $0 } }

  // MARK: Negotiation

  /// Answers the viewer's offer.
  func answer(_ offer: String) async throws(PeerConnectionError) -> (answer: String, tracks: Tracks) {
    let video = try await connection.addTransceiver(
      .video,
      TransceiverInit(
        direction: .sendonly, codecs: [.h264ConstrainedBaseline], streamID: "camera", trackID: "video"))
    let audio = try await connection.addTransceiver(
      .audio, TransceiverInit(direction: .sendonly, codecs: [.opus], streamID: "camera", trackID: "audio"))
    try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: offer))
    let answer = try await connection.setLocalDescription()
    measured.withLock { $0[.gatherHost] = .zero }
    return (answer.sdp, Tracks(video: video, audio: audio))
  }

  /// The two things that a viewer gets.
  struct Tracks: Sendable {
    let video: Transceiver
    let audio: Transceiver
  }

  // MARK: Life

  /// Serves the viewer until its connection ends or the task is cancelled.
  func run(_ tracks: Tracks, sendCandidate: @escaping @Sendable (ICECandidateInit) -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.watchCandidates(sendCandidate) }
      group.addTask { await self.watchEvents() }
      group.addTask { await self.watchICE() }
      group.addTask {
        try? await Task.sleep(for: Self.connectTimeout)
        guard !Task.isCancelled, !self.hasConnected else { return }
        self.logger.info("the viewer did not connect within \(Self.connectTimeout)")
        await self.connection.close()
      }
      await serve(tracks)
      group.cancelAll()
    }
    await connection.close()
  }

  private let connected = Atomic<Bool>(false)
  private var hasConnected: Bool { connected.load(ordering: .relaxed) }

  private func serve(_ tracks: Tracks) async {
    var member: Broadcast.Member?
    var keyFrames: Task<Void, Never>?
    for await state in connection.connectionStates {
      logger.debug("connection \(state.rawValue)")
      switch state {
      case .connected where member == nil:
        connected.store(true, ordering: .relaxed)
        logger.info("the viewer is connected")
        let joined = await publisher.join(connection, [.video: tracks.video, .audio: tracks.audio])
        member = joined
        keyFrames = Task { [publisher] in
          for await _ in tracks.video.keyFrameRequests { await publisher.restart(joined) }
        }
      case .failed, .closed:
        logger.info("the viewer is gone: \(state.rawValue)")
        keyFrames?.cancel()
        if let member { await publisher.leave(member) }
        return
      default: break
      }
    }
    keyFrames?.cancel()
    if let member { await publisher.leave(member) }
  }

  private func watchCandidates(_ send: @escaping @Sendable (ICECandidateInit) -> Void) async {
    for await candidate in connection.candidates {
      if let candidate { send(candidate) }
    }
  }

  private func watchEvents() async {
    for await event in connection.events {
      guard case .firstPacketSent(_, let instant) = event else { continue }
      measured.withLock { metrics in
        if metrics[.firstFrame] == nil { metrics[.firstFrame] = Duration(instant - offerArrival) }
      }
    }
  }

  /// Times ICE from the answer to the first path, and DTLS from there.
  private func watchICE() async {
    let start = NetworkClock.now
    for await state in connection.iceConnectionStates where state == .connected || state == .completed {
      let found = NetworkClock.now
      measured.withLock { $0[.findPair] = Duration(found - start) }
      for await state in connection.connectionStates where state == .connected {
        measured.withLock { $0[.handshake] = Duration(NetworkClock.now - found) }
        return
      }
    }
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
}
