// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOPosix
import RTP
import SDP
import SansIO
import Testing
import WebRTC
import WebRTCCore

/// A viewer's place in the channel; connections come and go.
final class TestViewer: Sendable {
  let clientID: String
  private let stage: Stage
  private let signaling: SignalingClient
  private let session: Task<Void, any Error>

  /// Enters the channel.
  init(_ clientID: String, on stage: Stage) async throws {
    self.clientID = clientID
    self.stage = stage
    let signaling = SignalingClient(
      configuration: stage.signaling(.viewer(clientID: clientID)),
      eventLoopGroup: MultiThreadedEventLoopGroup.singleton, httpClient: nil, logger: stage.log.logger)
    self.signaling = signaling
    session = Task { try await signaling.run() }
    try await within("\(clientID) is connected to the channel") {
      for await event in signaling.events where event == .connected { return }
      throw Missed("\(clientID) was not let in")
    }
  }

  deinit { session.cancel() }

  func send(offer: String) { signaling.send(.offer(sdp: offer, to: nil)) }

  func send(candidate: ICECandidatePayload) { signaling.send(.candidate(candidate, to: nil)) }

  /// - Parameter kind: of the first m-line, where answers to several offers may come.
  func nextAnswer(startingWith kind: MediaKind = .video) async throws -> String {
    try await within("an answer for \(clientID)") { [signaling] in
      for await event in signaling.events {
        if case .answer(let sdp, _) = event, TestReceiver.kinds(in: sdp).first == kind { return sdp }
      }
      throw Missed("the session ended")
    }
  }

  /// A connection that wants to see and hear, with its offer.
  func makeReceiver(startingWith kind: MediaKind = .video) async throws -> TestReceiver {
    try await TestReceiver(on: stage.viewerLoop, startingWith: kind)
  }

  /// Offers, takes the answer, and waits until media may flow.
  func connect() async throws -> TestReceiver {
    let receiver = try await makeReceiver()
    send(offer: receiver.offer)
    try await receiver.take(answer: try await nextAnswer())
    try await receiver.wait(for: .connected)
    return receiver
  }

  /// Leaves the channel; connections stay.
  func leave() async throws {
    session.cancel()
    try await within("\(clientID) left") { [session] in try await session.value }
  }
}

/// The receiving end of a connection.
final class TestReceiver: Sendable {
  let connection: PeerConnection
  let video: Transceiver
  let audio: Transceiver
  let offer: String

  init(on loop: NetworkLoop, startingWith kind: MediaKind) async throws {
    // Sockets of its own, as browsers have.
    connection = try PeerConnection(
      configuration: PeerConnectionConfiguration(sharesSockets: false), on: loop)
    let video = TransceiverInit(direction: .recvonly, codecs: [.h264ConstrainedBaseline])
    let audio = TransceiverInit(direction: .recvonly, codecs: [.opus])
    if kind == .video {
      self.video = try await connection.addTransceiver(.video, video)
      self.audio = try await connection.addTransceiver(.audio, audio)
    } else {
      self.audio = try await connection.addTransceiver(.audio, audio)
      self.video = try await connection.addTransceiver(.video, video)
    }
    offer = try await connection.setLocalDescription().sdp
  }

  func take(answer: String) async throws {
    try await connection.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: answer))
  }

  /// Waits for a state, and returns all that were seen on the way.
  @discardableResult
  func wait(for wanted: PeerConnectionState, seconds: Int64 = 60) async throws -> [PeerConnectionState] {
    try await within(seconds: seconds, "the viewer is \(wanted)") { [connection] in
      var seen: [PeerConnectionState] = []
      for await state in connection.connectionStates {
        seen.append(state)
        if state == wanted { return seen }
      }
      throw Missed("the viewer went through \(seen) and is not \(wanted)")
    }
  }

  /// The next frames of one kind.
  func frames(_ count: Int, of transceiver: Transceiver) async throws -> [MediaFrame] {
    try await within("\(count) frames of \(transceiver.kind)") {
      var frames: [MediaFrame] = []
      for await frame in transceiver.frames {
        frames.append(frame)
        if frames.count == count { return frames }
      }
      throw Missed("\(frames.count) frames of \(transceiver.kind) instead of \(count)")
    }
  }

  /// The port of each m-line of a description; 0 says that it is rejected.
  static func ports(in description: String) -> [Int] {
    mediaLines(in: description).compactMap { $0.dropFirst().first.flatMap { Int($0) } }
  }

  static func kinds(in description: String) -> [MediaKind] {
    mediaLines(in: description).compactMap { $0.first.map { MediaKind(name: String($0.dropFirst(2))) } }
  }

  private static func mediaLines(in description: String) -> [[Substring]] {
    description.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("m=") }.map {
      $0.split(separator: " ")
    }
  }
}
