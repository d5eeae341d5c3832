// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Responses to our checks (RFC 8445 §7.2.5).
extension ICEAgent {
  /// Takes a response: only one that belongs to a request of ours, came back the way that the request went,
  /// and is authentic changes anything.
  mutating func handleResponse(_ message: borrowing STUNMessage, on route: Route, at now: Instant) {
    guard let transaction = transactions.find(message.transactionID) else {
      drops[.unknownTransaction] += 1
      return
    }
    guard transaction.pair.route == route else {
      drops[.asymmetricResponse] += 1
      return
    }
    guard let remoteKey = session(of: transaction.pair)?.remoteKey, message.isAuthentic(with: remoteKey)
    else {
      drops[.unauthenticatedResponse] += 1
      return
    }
    transactions.remove(transaction.id)
    guard let index = checklist.index(of: transaction.pair) else { return }
    if message.messageClass == .errorResponse {
      drops[.errorResponse] += 1
      handleError(message.errorCode, to: transaction, at: index, at: now)
    } else {
      handleSuccess(to: transaction, at: index, mapped: message.xorMappedAddress, at: now)
    }
  }

  private mutating func handleSuccess(
    to transaction: CheckTransaction, at index: Int, mapped: TransportAddress?, at now: Instant
  ) {
    noteResponse(to: transaction, at: index, at: now)
    if transaction.purpose == .check, !checklist[index].isValid {
      learnLocalCandidate(mapped, of: index)
      checklist[index].state = .succeeded
      checklist[index].isWelcome = true
      refreshWelcomeRoutes()
      checklist.unfreeze(foundation: checklist[index].foundation)
    }
    renewConsent(of: index, at: now)
    switch checklist[index].nomination {
    case .inFlight where transaction.purpose == .nomination: select(index, at: now)
    case .requestedByPeer: followPeerNomination(of: index, at: now)
    case .none, .wanted, .inFlight, .done: break
    }
    updateSendRoute(at: now)
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }

  private mutating func noteResponse(to transaction: CheckTransaction, at index: Int, at now: Instant) {
    checklist[index].responsesReceived += 1
    guard !transaction.wasRepeated else { return }
    let roundTripTime = now - transaction.sentAt
    checklist[index].currentRoundTripTime = roundTripTime
    let total = checklist[index].totalRoundTripTime.nanoseconds &+ roundTripTime.nanoseconds
    checklist[index].totalRoundTripTime = TimeDelta(nanoseconds: total)
  }

  /// A mapped address that is none of ours is a peer-reflexive candidate of ours (RFC 8445 §7.2.5.3.1). The
  /// pair keeps its priority: an order among pairs that exist anyway.
  private mutating func learnLocalCandidate(_ mapped: TransportAddress?, of index: Int) {
    let local = checklist[index].local
    guard let mapped, mapped != local.socket.address else { return }
    let known = reflexiveLocalCandidates.first {
      $0.socket == local.socket && $0.candidate.address == mapped
    }
    if let known {
      checklist[index].local = known
      return
    }
    let candidate = ICECandidate(
      foundation: "prflx\(nextFoundation)",
      priority: ICECandidate.priority(
        kind: .peerReflexive, localPreference: local.localPreference, component: 1),
      host: .ip(mapped.ip), port: mapped.port, kind: .peerReflexive, relatedAddress: local.socket.address,
      usernameFragment: localCredentials.usernameFragment)
    nextFoundation += 1
    let learnt = LocalCandidate(
      candidate: candidate, socket: local.socket, localPreference: local.localPreference)
    if reflexiveLocalCandidates.count < ICELimits.reflexiveLocalCandidatesMax {
      reflexiveLocalCandidates.append(learnt)
    }
    checklist[index].local = learnt
  }

  private mutating func handleError(
    _ error: STUNErrorCode?, to transaction: CheckTransaction, at index: Int, at now: Instant
  ) {
    if error == .roleConflict {
      handleRoleConflict(claimedBy: transaction, at: index, at: now)
    } else if transaction.purpose != .consent, checklist[index].checkInFlight?.id == transaction.id {
      failPair(at: index, at: now)
      failIfNothingIsLeft()
    }
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }

  /// The peer keeps the role that we claimed too (RFC 8445 §7.2.5.1). A new tie-breaker ends a draw.
  private mutating func handleRoleConflict(
    claimedBy transaction: CheckTransaction, at index: Int, at now: Instant
  ) {
    if transaction.role == role, yieldRole(at: now) { tieBreaker = random.next() }
    guard transaction.purpose == .check, let index = checklist.index(of: transaction.pair),
      !checklist[index].isValid
    else { return }
    checklist[index].state = .waiting
    checklist.trigger(transaction.pair)
  }
}
