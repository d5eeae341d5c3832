// SPDX-License-Identifier: Apache-2.0

/// The twelve durations that users of the C application know from its metrics option.
public enum ConnectionStep: String, CaseIterable, Sendable {
  /// DescribeSignalingChannel.
  case describeChannel = "Describe Signaling Channel"
  /// GetSignalingChannelEndpoint.
  case getEndpoints = "Get Signaling Endpoints"
  /// GetIceServerConfig.
  case getICEServers = "Get Ice Server List"
  /// The WebSocket, from connect to upgraded.
  case connectWebSocket = "Connect Websocket Server"
  /// Temporary credentials.
  case getCredentials = "Get Authentication Temporary Credentials"
  /// Joining a storage session.
  case joinStorage = "Join Storage Session"
  /// Host candidates: interfaces looked up and sockets bound, which a master does once, before any viewer.
  case gatherHost = "Gather ICE Host Candidate"
  /// Server-reflexive candidates.
  case gatherServerReflexive = "Gather ICE Srflx Candidate"
  /// Relayed candidates.
  case gatherRelay = "Gather ICE Relay Candidate"
  /// From the descriptions to ICE's first path.
  case findPair = "Find Peer-To-Peer Connection"
  /// From that path to the end of the handshake.
  case handshake = "DTLS Handshaking"
  /// From the offer to the first media packet.
  case firstFrame = "First Frame"
}

/// The durations of one connection; those of the signaling session are shared by all its connections.
public struct ConnectionMetrics: Sendable {
  private var durations: [ConnectionStep: Duration] = [:]

  /// Nothing measured yet.
  public init() {}

  /// The duration of a step, `nil` where it was not taken.
  public subscript(step: ConnectionStep) -> Duration? {
    get { durations[step] }
    set { durations[step] = newValue }
  }

  /// Twelve lines, `-` where a step was not taken.
  public var lines: [String] {
    ConnectionStep.allCases.map { step in
      "Duration of \(step.rawValue): \(durations[step].map { "\(Self.milliseconds($0)) ms" } ?? "-")"
    }
  }

  /// What is printed when a viewer has gone.
  func text(ofViewer clientID: String) -> String {
    (["Metrics of viewer \(clientID):"] + lines).joined(separator: "\n")
  }

  private static func milliseconds(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let tenths = seconds * 10_000 + (attoseconds + 50_000_000_000_000) / 100_000_000_000_000
    return "\(tenths / 10).\(tenths % 10)"
  }
}
