// SPDX-License-Identifier: Apache-2.0

/// Which candidates an agent uses and tells its peer of (W3C RTCIceTransportPolicy).
public enum ICETransportPolicy: String, CaseIterable, Hashable, Sendable {
  /// All.
  case all
  /// Relayed ones only: the peer learns no address of ours, and none but relays carries a byte to it.
  case relay
}

/// Why an agent failed: for logs and statistics.
public enum ICEFailureReason: String, Hashable, Sendable {
  /// The peer named no candidate that could be checked, and none of its checks came.
  case noCandidates
  /// No pair answered, for as long as it was tried.
  case noAnswer
  /// What worked has stopped answering, and consent ended (RFC 7675 §5.1).
  case consentLost
  /// All our sockets are gone.
  case noLocalAddress
}
