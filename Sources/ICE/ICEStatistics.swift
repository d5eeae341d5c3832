// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Why an agent did not act on something. Most of it comes from the network and means nothing by itself.
public enum ICEDropCause: Int, CaseIterable, Sendable {
  /// A datagram that is no STUN message was handed to the agent.
  case notSTUN
  /// STUN with a structure, length or fingerprint that is wrong.
  case malformed
  /// A method that ICE does not use.
  case unknownMethod
  /// A datagram on a socket that is none of the agent's.
  case unknownSocket
  /// A datagram from an address that may not be sent to.
  case unsendableSource
  /// A request without user name or integrity, answered 400.
  case missingIntegrity
  /// A request for other credentials, answered 401.
  case wrongUsername
  /// A request with a wrong integrity, answered 401.
  case wrongIntegrity
  /// An authentic request with attributes that we would have to know, answered 420.
  case unknownAttribute
  /// An error response that was not sent, because too many were.
  case errorResponseRateLimited
  /// A response to no request of ours, or too late.
  case unknownTransaction
  /// A response that came by another route than its request went (RFC 8445 §7.2.5.2.1).
  case asymmetricResponse
  /// A response without a right integrity.
  case unauthenticatedResponse
  /// An authentic error response.
  case errorResponse
  /// A Binding indication, a keep-alive without consequences.
  case indication
  /// A datagram after the agent failed or was closed.
  case inactive
  /// A remote candidate with a name that is not resolved: not of mDNS, one too many, or without an address.
  case candidateName
  /// A remote candidate for another component than 1.
  case candidateComponent
  /// A remote candidate over TCP that accepts no connections, or one too many.
  case candidateTransport
  /// A remote candidate with an address or port that may not be sent to.
  case candidateAddress
  /// A remote candidate of another ICE session; a restart that brings the session uses it still.
  case candidateGeneration
  /// More remote candidates than are remembered.
  case candidateLimit
  /// More pairs than may be checked.
  case pairLimit
  /// Remote credentials that are empty or too long.
  case invalidCredentials
  /// A message that did not fit into the outgoing queue.
  case outgoingQueueFull
  /// A role conflict that was not resolved, because too many were.
  case roleConflictLimited
}

/// The states of a pair by their W3C names (webrtc-stats, RTCStatsIceCandidatePairState).
public enum ICECandidatePairState: String, Hashable, Sendable {
  /// Not checked yet, behind another of its foundation.
  case frozen
  /// Not checked yet.
  case waiting
  /// Being checked.
  case inProgress = "in-progress"
  /// Refused or without answer.
  case failed
  /// Valid.
  case succeeded
}

/// One pair of an agent, by the names of webrtc-stats' RTCIceCandidatePairStats.
public struct ICECandidatePairStatistics: Sendable {
  /// The way between the two candidates.
  public let route: Route
  /// Place in ``ICEAgentStatistics/localCandidates``.
  public let localCandidateIndex: Int
  /// Place in ``ICEAgentStatistics/remoteCandidates``.
  public let remoteCandidateIndex: Int
  /// What checks found out.
  public let state: ICECandidatePairState
  /// Whether the pair is nominated.
  public let nominated: Bool
  /// RFC 8445 §6.1.2.3.
  public let priority: UInt64
  /// Checks sent, retransmissions and consent checks included.
  public let requestsSent: UInt64
  /// Authenticated checks received.
  public let requestsReceived: UInt64
  /// Success responses sent.
  public let responsesSent: UInt64
  /// Authenticated success responses received.
  public let responsesReceived: UInt64
  /// Consent checks sent.
  public let consentRequestsSent: UInt64
  /// The last response time; `nil` before the first.
  public let currentRoundTripTime: TimeDelta?
  /// The sum of all response times.
  public let totalRoundTripTime: TimeDelta
}

/// What an agent knows at one moment.
public struct ICEAgentStatistics: Sendable {
  /// Our candidates, learnt ones included; relayed ones name their `relayProtocol`.
  public let localCandidates: [ICECandidate]
  /// The peer's candidates, learnt ones included.
  public let remoteCandidates: [ICECandidate]
  /// All pairs, best first.
  public let pairs: [ICECandidatePairStatistics]
  /// Place of the selected pair in `pairs`.
  public let selectedPairIndex: Int?
}

extension ICEAgent {
  /// What the agent knows now. It copies: ask a few times a second at most.
  public var statistics: ICEAgentStatistics {
    var locals = localCandidates.map(\.candidate)
    var remotes = remoteCandidates
    func place(of candidate: ICECandidate, in candidates: inout [ICECandidate]) -> Int {
      if let index = candidates.firstIndex(of: candidate) { return index }
      candidates.append(candidate)
      return candidates.count - 1
    }
    let pairs = checklist.pairs.map { pair in
      ICECandidatePairStatistics(
        route: pair.route, localCandidateIndex: place(of: pair.local.candidate, in: &locals),
        remoteCandidateIndex: place(of: pair.remote, in: &remotes), state: pair.statisticsState,
        nominated: pair.isNominated, priority: pair.priority, requestsSent: pair.requestsSent,
        requestsReceived: pair.requestsReceived, responsesSent: pair.responsesSent,
        responsesReceived: pair.responsesReceived, consentRequestsSent: pair.consentRequestsSent,
        currentRoundTripTime: pair.currentRoundTripTime, totalRoundTripTime: pair.totalRoundTripTime)
    }
    return ICEAgentStatistics(
      localCandidates: locals, remoteCandidates: remotes, pairs: pairs,
      selectedPairIndex: checklist.index(of: selectedPair))
  }
}

extension CandidatePair {
  /// The state by its W3C name.
  fileprivate var statisticsState: ICECandidatePairState {
    switch state {
    case .idle, .frozen: .frozen
    case .waiting: .waiting
    case .inProgress: .inProgress
    case .succeeded: .succeeded
    case .failed: .failed
    }
  }
}
