// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import KinesisVideo
  import Logging
  import SDP
  import SansIO
  import Synchronization
  import WebRTC

  /// A viewer's connection to the master of a channel, from the offer to the end.
  final class MasterSession: Sendable {
    /// A path that is lost is waited for so long: the master looks for another one meanwhile.
    static let recoveryTimeout = Duration.seconds(30)
    /// The master's candidates that may come before its answer: more than a host has.
    private static let earlyCandidatesMax = 64

    private let connection: PeerConnection
    private let loop: NetworkLoop
    private let signaling: SignalingClient
    private let logger: Logger
    private let earlyCandidates = Mutex<[ICECandidatePayload]>([])

    init(connection: PeerConnection, on loop: NetworkLoop, signaling: SignalingClient, logger: Logger) {
      self.connection = connection
      self.loop = loop
      self.signaling = signaling
      self.logger = logger
    }

    /// Whether a master has answered.
    private var isAnswered: Bool { connection.remoteDescription != nil }

    /// What was too late after a time.
    func lateness(after waited: Duration) -> ViewerError {
      isAnswered ? .noConnection(waited: waited) : .noAnswer(waited: waited)
    }

    /// Makes the offer and sends it; the service keeps it for a master that comes a little later.
    func offer() async throws {
      signaling.send(.offer(sdp: try await connection.setLocalDescription().sdp, to: nil))
    }

    /// Trickles our candidates.
    func sendCandidates() async {
      for await candidate in connection.candidates {
        if let candidate { signaling.send(.candidate(ICECandidatePayload(candidate), to: nil)) }
      }
    }

    /// Takes what the master says until the session with the service ends.
    ///
    /// - Throws: ``ViewerError/refused``, ``PeerConnectionError`` for an answer that cannot be used.
    func followSignaling() async throws {
      for await event in signaling.events {
        switch event {
        case .answer(let sdp, _): try await accept(answer: sdp)
        case .iceCandidate(let candidate, _): await add(candidate)
        case .offer(let sdp, _): await accept(offer: sdp)
        // Relays' passwords have an end, and new ones come before it.
        case .iceServers(let servers): await loop.update(iceServers: ConnectivityServers.make(of: servers))
        case .connected, .disconnected, .statusResponse, .stepTimed: break
        }
      }
    }

    /// Waits until the path is lost for good, or the connection is closed.
    ///
    /// - Throws: ``ViewerError/lost``.
    func watchPath() async throws {
      while await connection.connectionStates.first(where: { $0 == .failed || $0 == .closed }) == .failed {
        logger.notice("the path to the master is lost")
        let isBack = await withTaskGroup(of: Bool.self) { group in
          group.addTask {
            await self.connection.connectionStates.first { $0 == .connected || $0 == .closed } != nil
          }
          group.addTask {
            try? await Task.sleep(for: Self.recoveryTimeout)
            return false
          }
          defer { group.cancelAll() }
          return await group.next() ?? false
        }
        guard isBack else { throw ViewerError.lost }
      }
    }

    private func accept(answer: String) async throws {
      // An answer to an offer that was delivered twice comes twice.
      guard connection.signalingState == .haveLocalOffer else { return }
      let description = try? SessionDescription(parsing: answer)
      if let media = description?.media, media.allSatisfy({ $0.port == 0 && !$0.isBundleOnly }) {
        throw ViewerError.refused
      }
      try await connection.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: answer))
      for candidate in earlyCandidates.withLock({ early in
        defer { early = [] }
        return early
      }) { await add(candidate) }
    }

    /// The master looks for another path.
    private func accept(offer: String) async {
      guard isAnswered else { return }
      do {
        try await connection.setRemoteDescription(SessionDescriptionInit(type: .offer, sdp: offer))
        signaling.send(.answer(sdp: try await connection.setLocalDescription().sdp, to: nil))
      } catch { logger.info("an offer of the master was refused: \(error)") }
    }

    private func add(_ candidate: ICECandidatePayload) async {
      guard isAnswered else {
        earlyCandidates.withLock { if $0.count < Self.earlyCandidatesMax { $0.append(candidate) } }
        return
      }
      do { try await connection.addICECandidate(ICECandidateInit(candidate)) } catch {
        logger.debug("a candidate was ignored: \(error)")
      }
    }
  }
#endif
