// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Sending of connectivity checks: order, pace, repetition and giving up (RFC 8445 §6.1.4, §14).
extension ICEAgent {
  /// Has checks sent in this turn, as soon as the driver asks what there is to send: of all candidates that a
  /// description brings, the best pair goes first.
  mutating func scheduleChecks(at now: Instant) {
    guard isActive, session.remoteKey != nil else { return }
    areChecksScheduled = true
    timers[.check] = now
  }

  /// Sends what is due and allowed: at most one paced check, since the pace is never faster than calls come.
  mutating func runChecks(at now: Instant) {
    areChecksScheduled = false
    guard isActive, session.remoteKey != nil else { return }
    giveUpUnansweredChecks(at: now)
    guard isActive else { return }
    sendWantedNomination(at: now)
    if now >= nextCheckAt, sendNextCheck(at: now) { notePacedCheck(at: now) }
    armCheckTimer(at: now)
  }

  private mutating func notePacedCheck(at now: Instant) {
    checksSent += 1
    nextCheckAt = now + currentCheckInterval
  }

  /// 5 ms before each of the first checks, Ta afterwards.
  var currentCheckInterval: TimeDelta {
    checksSent < configuration.initialCheckCount
      ? configuration.initialCheckInterval : configuration.checkInterval
  }

  private mutating func armCheckTimer(at now: Instant) {
    var next: Instant? = hasUnsentChecks ? max(nextCheckAt, now) : nil
    for pair in checklist.pairs {
      guard let check = pair.checkInFlight else { continue }
      next = Instant.earliest(next, check.isLast ? check.nextAt : max(check.nextAt, nextCheckAt))
    }
    timers[.check] = next
  }

  /// Whether something could be sent as soon as the pace allows it.
  var hasUnsentChecks: Bool { checklist.hasUnsentChecks || hasTCPToAskFor }

  /// Sends a triggered check, else a repetition that is due, else an ordinary check, else asks for a
  /// connection, whose opening is as much as a check; returns whether anything was sent.
  private mutating func sendNextCheck(at now: Instant) -> Bool {
    while let index = checklist.popTriggered() {
      guard !checklist[index].isValid else { continue }
      if startCheck(at: index, at: now) { return true }
    }
    let due = checklist.pairs.indices.filter { index in
      guard let check = checklist[index].checkInFlight else { return false }
      return !check.isLast && check.nextAt <= now
    }
    if let index = due.min(by: { isDueEarlier($0, than: $1) }) {
      repeatCheck(at: index, at: now)
      return true
    }
    while let index = checklist.nextOrdinary() {
      if startCheck(at: index, at: now) { return true }
    }
    return askForTCPConnection()
  }

  private func isDueEarlier(_ left: Int, than right: Int) -> Bool {
    guard let left = checklist[left].nextRetransmission, let right = checklist[right].nextRetransmission
    else { return false }
    return left < right
  }

  /// Starts a check of a pair that is not valid, in place of one that is in progress (RFC 8445 §7.3.1.4: its
  /// response stays welcome). Returns false where the pair's requests are spent.
  private mutating func startCheck(at index: Int, at now: Instant) -> Bool {
    guard checklist[index].mayBeChecked else {
      if !checklist[index].isInProgress { checklist[index].state = .failed }
      return false
    }
    let id = makeTransactionID()
    checklist[index].checkRequestsSent += 1
    let timeout = retransmissionTimeout(of: index, count: checklist[index].checkRequestsSent)
    checklist[index].state = .inProgress(
      CheckInFlight(id: id, nextAt: now + timeout.delta, isLast: timeout.isLast))
    register(id, index, .check, at: now)
    sendRequest(id, on: index, .check, at: now)
    return true
  }

  /// Sends the request of the check or nomination that a pair waits for once more.
  private mutating func repeatCheck(at index: Int, at now: Instant) {
    guard let check = checklist[index].checkInFlight else { return }
    let isNomination = checklist[index].isValid
    let count: Int
    if isNomination {
      checklist[index].nominationRequestsSent += 1
      count = checklist[index].nominationRequestsSent
    } else {
      checklist[index].checkRequestsSent += 1
      count = checklist[index].checkRequestsSent
    }
    let timeout = retransmissionTimeout(of: index, count: count)
    checklist[index].checkInFlight = CheckInFlight(
      id: check.id, nextAt: now + timeout.delta, isLast: timeout.isLast)
    transactions.markRepeated(check.id)
    sendRequest(check.id, on: index, isNomination ? .nomination : .check, at: now)
  }

  /// Sends the check with USE-CANDIDATE of the pair that was chosen (RFC 8445 §8.1.1). It does not wait for
  /// the pace: its pair has answered already.
  private mutating func sendWantedNomination(at now: Instant) {
    for index in checklist.pairs.indices {
      guard case .wanted = checklist[index].nomination else { continue }
      let id = makeTransactionID()
      checklist[index].nominationRequestsSent += 1
      let timeout = retransmissionTimeout(of: index, count: checklist[index].nominationRequestsSent)
      checklist[index].nomination = .inFlight(
        CheckInFlight(id: id, nextAt: now + timeout.delta, isLast: timeout.isLast))
      register(id, index, .nomination, at: now)
      sendRequest(id, on: index, .nomination, at: now)
    }
  }

  /// How long the response to the `count`th request is waited for: at first 500 ms, then doubled, 16 times it
  /// for the last (RFC 8489 §6.2.1), but never less than all pending pairs take at our pace (RFC 8445 §14.3).
  ///
  /// The RFC would double that pace too, so that 100 pairs needed 400 s to fail; here it is a minute. Either way
  /// the queue sends no more than one request in Ta. A stream repeats by itself: one request is waited for as
  /// long as seven datagrams are (RFC 8489 §6.2.2).
  private func retransmissionTimeout(of index: Int, count: Int) -> (delta: TimeDelta, isLast: Bool) {
    guard checklist[index].local.connectedRemote == nil else { return (configuration.patience, true) }
    let pending = checklist.pairs.count { $0.isWaiting || $0.isInProgress }
    let paced = currentCheckInterval.nanoseconds &* Int64(pending)
    let first = configuration.retransmissionTimeoutMin.nanoseconds
    guard count < ICELimits.requestsPerPairMax else {
      return (TimeDelta(nanoseconds: max(first &* ICELimits.lastRequestTimeoutMultiplier, paced)), true)
    }
    return (TimeDelta(nanoseconds: max(first << Int64(max(count - 1, 0)), paced)), false)
  }

  private mutating func giveUpUnansweredChecks(at now: Instant) {
    for index in checklist.pairs.indices {
      guard let check = checklist[index].checkInFlight, check.isLast, check.nextAt <= now else { continue }
      failPair(at: index, at: now)
    }
    failIfNothingIsLeft()
  }

  /// A check of the pair failed: for a valid pair its nomination did, and it is valid no longer.
  mutating func failPair(at index: Int, at now: Instant) {
    let wasValid = checklist[index].isValid
    checklist[index].state = .failed
    checklist[index].nomination = .none
    guard wasValid else { return }
    checklist[index].isWelcome = false
    refreshWelcomeRoutes()
    updateSendRoute(at: now)
    considerNomination(at: now)
    updateState()
  }

  mutating func makeTransactionID() -> STUNTransactionID {
    let prefix = configuration.transactionPrefix ?? UInt32(truncatingIfNeeded: random.next())
    return STUNTransactionID(prefix: prefix, suffix: random.next())
  }

  mutating func register(
    _ id: STUNTransactionID, _ index: Int, _ purpose: CheckTransaction.Purpose, at now: Instant
  ) {
    transactions.insert(
      CheckTransaction(id: id, pair: checklist[index].id, purpose: purpose, role: role, sentAt: now))
  }

  /// Writes a Binding request for a pair (RFC 8445 §7.1, §7.2.2).
  mutating func sendRequest(
    _ id: STUNTransactionID, on index: Int, _ purpose: CheckTransaction.Purpose, at now: Instant
  ) {
    let pair = checklist[index]
    guard let session = session(of: pair.id), let remote = session.remote, let remoteKey = session.remoteKey
    else { return }
    let typePreference =
      pair.local.connectedRemote == nil
      ? ICECandidate.Kind.peerReflexive.typePreference : ICECandidate.tcpPeerReflexiveTypePreference
    let priority = ICECandidate.priority(
      typePreference: typePreference, localPreference: pair.local.localPreference, component: 1)
    var builder = STUNMessageBuilder(.request, transactionID: id)
    builder.append(.username, "\(remote.usernameFragment):\(session.local.usernameFragment)")
    builder.append(.priority, priority)
    builder.append(role == .controlling ? .iceControlling : .iceControlled, tieBreaker)
    // Consent checks of the selected pair repeat the nomination, as Chromium's do: a peer that missed it or
    // follows another pair comes round. Those of a pair that misses answers do not: it may soon be replaced.
    let isConfirmed = pair.id == selectedPair && pair.unansweredConsentChecks == 0
    let nominates = purpose == .nomination || (purpose == .consent && isConfirmed)
    if nominates, role == .controlling { builder.append(.useCandidate, []) }
    builder.appendIntegrity(with: remoteKey)
    builder.appendFingerprint()
    enqueue(builder.bytes, on: pair.route)
    checklist[index].requestsSent += 1
    checklist[index].lastRequestAt = now
  }

  /// Starts the time in which the agent does not give up (RFC 8863 §4).
  mutating func armPatience(at now: Instant) {
    isPatienceOver = false
    timers[.patience] = now + configuration.patience
  }

  mutating func patienceEnded(at now: Instant) {
    isPatienceOver = true
    failIfNothingIsLeft()
  }

  /// Fails once patience is over, no pair is valid and none is left to be checked.
  mutating func failIfNothingIsLeft() {
    guard isActive, isPatienceOver, !hasUnsentChecks,
      !checklist.pairs.contains(where: { $0.isValid || $0.isInProgress })
    else { return }
    fail(reasonOfFailure)
  }

  private var reasonOfFailure: ICEFailureReason {
    if hasBeenConnected { return .consentLost }
    if localCandidates.isEmpty { return .noLocalAddress }
    return remoteCandidates.isEmpty ? .noCandidates : .noAnswer
  }
}
