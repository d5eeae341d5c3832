// SPDX-License-Identifier: Apache-2.0

/// What bounds an agent's memory and what a peer can make it send.
enum ICELimits {
  /// Candidate pairs of an agent, RFC 8445 §6.1.2.5. What a description with thousands of candidates can make
  /// us send is this many pairs times ``requestsPerPairMax``.
  static let candidatePairsMax = 100
  /// Remote candidates that are remembered; more than pairs makes no sense with one socket.
  static let remoteCandidatesMax = 100
  /// Names in remote candidates that are asked to be resolved: a browser has one per address family and
  /// interface.
  static let remoteNamesMax = 16
  /// Candidates that wait for one name: UDP and TCP in two families, and some to spare.
  static let candidatesPerNameMax = 8
  /// Addresses of one name that are used.
  static let addressesPerNameMax = 4
  /// The longest label of a name, in bytes (RFC 1035 §2.3.4).
  static let labelByteCountMax = 63
  /// TCP connections to remote candidates that are asked for: each costs a socket, and they are the last
  /// resort.
  static let tcpConnectionsMax = 8
  /// Remote candidates that are kept for a session that a restart may bring: as many as come before a first
  /// description. The oldest give way.
  static let futureCandidatesMax = 50
  /// Routes of checks for a prepared session that are remembered.
  static let earlyChecksMax = 16
  /// Valid pairs that are kept alive beside the one in use. One would do for most faults; three leave a choice
  /// of networks and families, at a quarter of a check per second.
  static let standbyPairsMax = 3
  /// Changes of role per second because of conflicts. Two agents need one, with equal tie-breakers a few; a
  /// peer that always claims a conflict gets no more.
  static let roleChangesPerSecondMax = 10
  /// Requests of a nomination that may go unanswered before a dead path's other replacements are tried too.
  static let takeoverRequestsMax = 3
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
