// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SansIO
import WebRTC

/// When the steps of a master's side of a connection began and ended, and how AWS' JavaScript test page is told.
///
/// Times are kept on the monotonic clock and become wall-clock times when they are told: a device that learns the time
/// of day after it was started still tells the right ones.
struct ConnectionTimeline: Sendable {
  /// A step, by its name in the page's messages; `Start` or `StartTime` and the like come after it.
  enum Step: CaseIterable {
    /// All of signaling, up to the open WebSocket.
    case signaling
    /// From the offer's arrival to the answer.
    case answer
    /// DescribeSignalingChannel.
    case describeChannel
    /// GetSignalingChannelEndpoint.
    case endpoints
    /// GetIceServerConfig.
    case iceServers
    /// Temporary credentials; not taken by a master with keys of its own.
    case credentials
    /// CreateSignalingChannel.
    case createChannel
    /// The WebSocket.
    case webSocket
    /// From the descriptions to the end of the handshake.
    case peerConnection
    /// Local candidates.
    case gathering

    fileprivate var names: (start: String, end: String) {
      switch self {
      case .signaling: ("signalingStartTime", "signalingEndTime")
      case .answer: ("offerReceiptTime", "sendAnswerTime")
      case .describeChannel: ("describeChannelStartTime", "describeChannelEndTime")
      case .endpoints: ("getSignalingChannelEndpointStartTime", "getSignalingChannelEndpointEndTime")
      case .iceServers: ("getIceServerConfigStartTime", "getIceServerConfigEndTime")
      case .credentials: ("getTokenStartTime", "getTokenEndTime")
      case .createChannel: ("createChannelStartTime", "createChannelEndTime")
      case .webSocket: ("connectStartTime", "connectEndTime")
      case .peerConnection: ("peerConnectionStartTime", "peerConnectionEndTime")
      case .gathering: ("candidateGatheringStartTime", "candidateGatheringEndTime")
      }
    }
  }

  /// When a step began and, unless it goes on, ended.
  struct Span: Hashable, Sendable {
    var start: Instant
    var end: Instant?
  }

  private var spans: [Step: Span] = [:]

  subscript(step: Step) -> Span? {
    get { spans[step] }
    set { spans[step] = newValue }
  }

  /// Notes a step unless it was taken before: steps that a later reconnection repeats are not what made this
  /// connection.
  mutating func note(_ step: Step, from start: Instant, to end: Instant? = nil) {
    if spans[step] == nil { spans[step] = Span(start: start, end: end) }
  }

  /// Ends a step that goes on.
  mutating func end(_ step: Step, at end: Instant) {
    if spans[step]?.end == nil { spans[step]?.end = end }
  }

  /// The three messages that the page draws a master's timeline from: signaling, connection, candidates. Numbers are
  /// milliseconds of Unix time, 0 for what did not happen; a step that goes on ends before it began.
  ///
  /// - Parameter unixMilliseconds: what turns an instant into wall-clock time.
  func messages(unixMilliseconds: (Instant) -> Int64) -> [String] {
    let groups: [[Step]] = [
      [
        .signaling, .answer, .describeChannel, .endpoints, .iceServers, .credentials, .createChannel,
        .webSocket,
      ], [.peerConnection], [.gathering],
    ]
    return groups.map { steps in
      let members = steps.flatMap { step in
        let span = spans[step]
        return [(step.names.start, span?.start), (step.names.end, span?.end)]
      }
      return "{" + members.map { #""\#($0)":\#($1.map(unixMilliseconds) ?? 0)"# }.joined(separator: ",") + "}"
    }
  }
}

/// The wall clock beside the monotonic one.
enum WallClock {
  /// Milliseconds of Unix time at an instant, as far as the wall clock knows now.
  static func unixMilliseconds(at instant: Instant) -> Int64 {
    let age = NetworkClock.now - instant
    return Int64(Date().timeIntervalSince1970 * 1000) - age.nanoseconds / 1_000_000
  }
}
