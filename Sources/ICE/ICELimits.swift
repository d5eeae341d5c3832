// SPDX-License-Identifier: Apache-2.0

/// What bounds an agent's memory and what a peer can make it send.
enum ICELimits {
  /// Candidate pairs of an agent, RFC 8445 §6.1.2.5. What a description with thousands of candidates can make
  /// us send is this many pairs times ``requestsPerPairMax``.
  static let candidatePairsMax = 100
  /// Remote candidates that are remembered; more than pairs makes no sense with one socket.
  static let remoteCandidatesMax = 100
  /// Learnt local candidates that are remembered for statistics: one per NAT that a path crosses.
  static let reflexiveLocalCandidatesMax = 16
  /// Requests to a pair that has not answered yet, retransmissions and triggered checks included: Rc of
  /// RFC 8489 §6.2.1.
  static let requestsPerPairMax = 7
  /// How many initial time-outs the last request of a transaction is waited for: Rm of RFC 8489 §6.2.1.
  static let lastRequestTimeoutMultiplier: Int64 = 16
  /// Requests whose response is still accepted: 7 for each of the pairs that were tried at about the same
  /// time, consent checks included.
  static let transactionsMax = 256
  /// Messages that wait for their driver to take them. A driver takes them after every call.
  static let outgoingMessagesMax = 64
  /// Events that wait for their driver to take them; the oldest give way.
  static let eventsMax = 64
  /// Error responses a second, so that a flood of forged requests is not answered with another.
  static let errorResponsesPerSecondMax = 10
  /// Types that an UNKNOWN-ATTRIBUTES lists, so that an answer stays shorter than its request.
  static let unknownAttributesListedMax = 8
  /// RFC 8839 §5.4: a user fragment has 4 to 256 characters.
  static let usernameFragmentByteCountMax = 256
  /// RFC 8839 §5.4: a password has 22 to 256 characters.
  static let passwordByteCountMax = 256
  /// The longest candidate line that is parsed, in bytes.
  static let candidateLineByteCountMax = 1024
  /// The longest name that stands for an address, in bytes (RFC 1035 §2.3.4).
  static let hostNameByteCountMax = 255
}
