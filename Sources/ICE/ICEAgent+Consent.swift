// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Keeping the peer's consent to be sent data, and noticing that it is gone (RFC 7675).
///
/// Only authenticated responses to our own checks count. Media that arrives or is sent changes nothing here,
/// and once consent has ended no late response brings it back. The pair in use is checked every 5 s, a few
/// others more slowly, so that they can take over.
extension ICEAgent {
  /// Decides anew where data is sent, and guards consent there.
  mutating func updateSendRoute(at now: Instant) {
    guard isActive else { return }
    let pair = pairForData(at: now)
    if pair != sendPair {
      sendPair = pair
      if let index = checklist.index(of: pair) {
        let due = (checklist[index].lastResponseAt ?? now) + nextConsentInterval()
        checklist[index].nextConsentCheckAt =
          checklist[index].unansweredConsentChecks == 0
          ? due : Instant.earliest(due, checklist[index].nextConsentCheckAt)
      }
    }
    armConsentTimers()
  }

  /// The selected pair while it works, else what works best. RFC 8445 §12.1 would stay with the selected pair;
  /// but one that is dead is of no use to anybody, and data is welcome on every valid pair.
  private func pairForData(at now: Instant) -> PairID? {
    let lasting = configuration.consentTimeout
    let selected = checklist.index(of: selectedPair).flatMap { index in
      checklist[index].hasConsent(at: now, lasting: lasting) ? index : nil
    }
    if let selected, !checklist[selected].isSilent { return selectedPair }
    let others = checklist.pairs.filter { $0.hasConsent(at: now, lasting: lasting) && $0.id != selectedPair }
    if let selected {
      // Only a pair that has answered since then is known to have outlived the selected one.
      let since = checklist[selected].suspectSince ?? now
      let survivor = others.first { !$0.isSilent && ($0.lastResponseAt ?? .zero) >= since }
      return survivor?.id ?? selectedPair
    }
    return (others.first { !$0.isSilent } ?? others.first)?.id
  }

  /// Sets the timers to what is due first among all valid pairs.
  mutating func armConsentTimers() {
    var (check, expiry): (Instant?, Instant?)
    for pair in checklist.pairs where pair.isValid {
      check = Instant.earliest(check, pair.nextConsentCheckAt)
      expiry = Instant.earliest(expiry, pair.lastResponseAt.map { $0 + configuration.consentTimeout })
    }
    timers[.consentCheck] = check
    timers[.consentExpiry] = expiry
  }

  /// 0.8 to 1.2 times the interval, at random, so that peers do not fall in step (RFC 7675 §5.1).
  private mutating func nextConsentInterval() -> TimeDelta { randomized(configuration.consentInterval) }

  private mutating func randomized(_ interval: TimeDelta) -> TimeDelta {
    let permille = Int64.random(in: 800...1200, using: &random)
    return TimeDelta(nanoseconds: interval.nanoseconds / 1000 &* permille)
  }

  /// Whether data is sent by a pair, or is meant to be.
  func isInUse(_ pair: PairID) -> Bool { pair == selectedPair || pair == sendPair }

  /// Sends the consent checks that are due. Each is a transaction of its own and is not repeated (RFC 7675
  /// §5.1); one that is not answered in time is followed by another.
  mutating func consentCheckIsDue(at now: Instant) {
    let due = checklist.pairs.filter { $0.isValid && $0.nextConsentCheckAt.map { $0 <= now } ?? false }
    for pair in due.map(\.id) {
      if isInUse(pair) { noteMissedAnswer(of: pair, at: now) }
      guard isActive, let index = checklist.index(of: pair), checklist[index].isValid else { continue }
      if isInUse(pair) {
        sendConsentCheck(on: index, at: now)
        checklist[index].nextConsentCheckAt = now + timeToNextCheck(of: index)
      } else {
        if standbyPairs(at: now).contains(pair) { sendConsentCheck(on: index, at: now) }
        let isUrgent = isSelectedPairSuspect
        checklist[index].nextConsentCheckAt =
          now + (isUrgent ? configuration.deadPathInterval : randomized(configuration.standbyInterval))
      }
    }
    armConsentTimers()
    runChecks(at: now)
    updateState()
  }

  /// Has the selected pair checked now, unless that was done lately or is under way.
  mutating func hastenConsentCheck(at now: Instant) {
    guard isSettled, let index = checklist.index(of: selectedPair), checklist[index].isValid,
      checklist[index].unansweredConsentChecks == 0,
      checklist[index].lastRequestAt.map({ now - $0 >= configuration.deadPathInterval }) ?? true
    else { return }
    checklist[index].nextConsentCheckAt = now
    armConsentTimers()
  }

  /// How long the answer to the consent check that was just sent is waited for.
  private func timeToNextCheck(of index: Int) -> TimeDelta {
    if checklist[index].isSilent { return configuration.deadPathInterval }
    let roundTrips = (checklist[index].currentRoundTripTime ?? .zero) * 2
    return min(max(configuration.consentAnswerTimeout, roundTrips), configuration.deadPathInterval)
  }

  mutating func sendConsentCheck(on index: Int, at now: Instant) {
    let id = makeTransactionID()
    register(id, index, .consent, at: now)
    sendRequest(id, on: index, .consent, at: now)
    checklist[index].consentRequestsSent += 1
    if checklist[index].unansweredConsentChecks == 0 { checklist[index].firstUnansweredAt = now }
    checklist[index].unansweredConsentChecks += 1
  }

  /// An authenticated response came by a valid pair: consent lasts on from here.
  mutating func renewConsent(of index: Int, at now: Instant) {
    let wasAsked = checklist[index].unansweredConsentChecks > 0
    let wasSilent = checklist[index].isSilent
    checklist[index].lastResponseAt = now
    checklist[index].unansweredConsentChecks = 0
    checklist[index].suspectSince = nil
    checklist[index].isSilent = false
    if isInUse(checklist[index].id), wasAsked {
      let next = (checklist[index].lastRequestAt ?? now) + nextConsentInterval()
      checklist[index].nextConsentCheckAt = max(next, now)
    } else if checklist[index].nextConsentCheckAt == nil {
      checklist[index].nextConsentCheckAt = now + randomized(configuration.standbyInterval)
    }
    if wasSilent, checklist[index].id == selectedPair { selectedPairIsBack(at: now) }
  }

  /// Consent ended on one pair or more. The session goes on while another valid pair has it.
  mutating func consentEnded(at now: Instant) {
    let lasting = configuration.consentTimeout
    for index in checklist.pairs.indices
    where checklist[index].isValid && !checklist[index].hasConsent(at: now, lasting: lasting) {
      endConsent(of: index)
    }
    refreshWelcomeRoutes()
    updateSendRoute(at: now)
    if checklist.pairs.contains(where: \.isValid) {
      considerNomination(at: now)
      runChecks(at: now)
    } else if isSettled {
      fail(.consentLost)
    } else {
      failIfNothingIsLeft()
    }
    updateState()
  }

  /// Where the peer was asked and did not answer, nothing is sent any more under these credentials (RFC 7675
  /// §5.1). A pair that was not in use and not asked may be checked anew when it is needed.
  private mutating func endConsent(of index: Int) {
    let wasAsked = checklist[index].unansweredConsentChecks > 0
    checklist[index].state = wasAsked ? .failed : .idle
    checklist[index].hasLostConsent = wasAsked
    if checklist[index].id != selectedPair { checklist[index].nomination = .none }
    checklist[index].nextConsentCheckAt = nil
    checklist[index].checkRequestsSent = 0
    guard wasAsked else { return }
    checklist[index].isWelcome = false
    transactions.removeAll(of: checklist[index].id)
  }
}
