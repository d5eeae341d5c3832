// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A candidate of our own and the socket that is its base (RFC 8445 §4, §5.1.1).
struct LocalCandidate: Sendable {
  /// What the peer is told.
  var candidate: ICECandidate
  /// The base.
  let socket: LocalSocket
  /// The local preference that its priority was made with; checks announce a peer-reflexive priority with it.
  let localPreference: UInt16
  /// The only address that its socket reaches, where that is a TCP connection.
  var connectedRemote: TransportAddress?

  /// Whether a server relays what is sent from it.
  var isRelayed: Bool { candidate.relayProtocol != nil }

  /// Whether the two can exchange anything: UDP with UDP, a connection with whom it was made to (RFC 6544
  /// §6.2).
  func mayPair(with remote: ICECandidate) -> Bool {
    guard let connectedRemote else { return remote.transport == .udp }
    return remote.transport == .tcpPassive && remote.address == connectedRemote
  }
}

/// Names a pair: with one component and bundled media its route does, in one ICE session (RFC 8445 §6.1.2).
struct PairID: Hashable, Sendable {
  let route: Route
  /// Which of the agent's sessions it belongs to; counts restarts.
  let generation: Int

  /// Our address and the peer's.
  var ends: [TransportAddress] { [route.socket.address, route.remote] }
}

/// What a path costs, in delay and in other people's bandwidth. A working pair of a lower cost replaces the
/// selected one.
enum PathCost: Int, Comparable, Sendable {
  case direct
  /// Direct, but one lost packet delays all that follow it.
  case stream
  case relayed

  static func < (left: PathCost, right: PathCost) -> Bool { left.rawValue < right.rawValue }
}

/// A request that waits for its response.
struct CheckInFlight: Sendable {
  /// The transaction; retransmissions repeat it.
  let id: STUNTransactionID
  /// When it is sent again or, after the last request, given up.
  var nextAt: Instant
  /// Whether no request is left: at `nextAt` the check has failed.
  var isLast: Bool
}

/// A local and a remote candidate, what checks found out about the path between them, and its consent.
struct CandidatePair: Sendable {
  /// The states of RFC 8445 §6.1.2.6.
  enum State: Sendable {
    /// Is not checked as long as the selected pair works and costs no more.
    case idle
    /// Waits until another pair of its foundation has succeeded or nothing better is left.
    case frozen
    /// May be checked as soon as the pace allows it.
    case waiting
    /// A check was sent; it is repeated until a response comes or its requests are spent.
    case inProgress(CheckInFlight)
    /// A check was answered: the pair is valid, data from and to it is welcome while consent lasts.
    case succeeded
    /// A check was refused or never answered.
    case failed
  }

  /// How far the pair got towards carrying the session's data (RFC 8445 §8.1).
  enum Nomination: Sendable {
    /// Nobody asked for it.
    case none
    /// We control: a check with USE-CANDIDATE is on its way.
    case inFlight(CheckInFlight)
    /// We control and are about to send it.
    case wanted
    /// The peer controls and has asked for it, but the pair is not valid yet.
    case requestedByPeer
    /// The pair is nominated.
    case done
  }

  var local: LocalCandidate
  var remote: ICECandidate
  let id: PairID
  var priority: UInt64 = 0
  var state = State.frozen
  var nomination = Nomination.none

  /// Whether an authenticated check of the peer came by this route.
  var hasRemoteChecked = false
  /// When the last authenticated check of the peer came.
  var lastRemoteCheckAt: Instant?
  /// When the peer last sent USE-CANDIDATE for this pair.
  var lastNominationByPeerAt: Instant?
  /// Requests that were sent before the pair became valid.
  var checkRequestsSent = 0
  /// Requests with USE-CANDIDATE that were sent.
  var nominationRequestsSent = 0
  /// When the last request of any kind was sent.
  var lastRequestAt: Instant?
  /// When the last authenticated success response came: consent lasts from here (RFC 7675 §5.1).
  var lastResponseAt: Instant?
  /// When the next consent check is due.
  var nextConsentCheckAt: Instant?
  /// Consent checks that were sent since the last response.
  var unansweredConsentChecks = 0
  /// When the first of them was sent.
  var firstUnansweredAt: Instant?
  /// The same, once its response is overdue.
  var suspectSince: Instant?
  /// Whether so many responses in a row were missed that the path counts as dead.
  var isSilent = false
  /// Whether consent was asked for and ended: nothing more is sent here under this session's credentials
  /// (RFC 7675 §5.1).
  var hasLostConsent = false
  /// Whether data that comes by this pair is processed: its address answered a check of ours once.
  var isWelcome = false
  /// The response times of requests that were sent once.
  var currentRoundTripTime: TimeDelta?
  var totalRoundTripTime = TimeDelta.zero
  /// Counters by their W3C names.
  var requestsSent: UInt64 = 0
  var requestsReceived: UInt64 = 0
  var responsesSent: UInt64 = 0
  var responsesReceived: UInt64 = 0
  var consentRequestsSent: UInt64 = 0

  init(local: LocalCandidate, remote: ICECandidate, id: PairID) {
    self.local = local
    self.remote = remote
    self.id = id
  }

  /// Our socket and the peer's address.
  var route: Route { id.route }

  var cost: PathCost {
    if local.isRelayed || remote.kind == .relayed { return .relayed }
    return local.connectedRemote == nil ? .direct : .stream
  }

  /// Equal for pairs that are likely to fail or succeed together (RFC 8445 §6.1.2.6).
  var foundation: String { local.candidate.foundation + ":" + remote.foundation }

  var isValid: Bool { if case .succeeded = state { true } else { false } }
  var isNominated: Bool { if case .done = nomination { true } else { false } }
  var isIdle: Bool { if case .idle = state { true } else { false } }
  var isWaiting: Bool { if case .waiting = state { true } else { false } }
  var isFrozen: Bool { if case .frozen = state { true } else { false } }
  var isFailed: Bool { if case .failed = state { true } else { false } }
  var isInProgress: Bool { if case .inProgress = state { true } else { false } }

  /// Whether a request may be sent to find out whether the pair works.
  var mayBeChecked: Bool { !hasLostConsent && checkRequestsSent < ICELimits.requestsPerPairMax }

  /// Whether a nomination of ours waits to be sent or answered.
  var isBeingNominated: Bool {
    switch nomination {
    case .wanted, .inFlight: true
    case .none, .requestedByPeer, .done: false
    }
  }

  /// Whether data may be sent now (RFC 7675 §5.1).
  func hasConsent(at now: Instant, lasting consent: TimeDelta) -> Bool {
    guard isValid, let lastResponseAt else { return false }
    return now - lastResponseAt < consent
  }

  /// RFC 8445 §6.1.2.3. A peer chooses its priorities, so the sum wraps rather than traps.
  mutating func updatePriority(role: ICERole) {
    let (ours, theirs) = (UInt64(local.candidate.priority), UInt64(remote.priority))
    let (controlling, controlled) = role == .controlling ? (ours, theirs) : (theirs, ours)
    priority = min(ours, theirs) << 32 &+ 2 * max(ours, theirs) &+ (controlling > controlled ? 1 : 0)
  }
}
