// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Choosing the pair that carries the data (RFC 8445 §8).
extension ICEAgent {
  /// Controlling: nominates the best valid pair, at once if none better is left to be checked, else after a
  /// short wait (regular nomination, RFC 8445 §8.1.1). A pair that was selected is replaced where it is dead or
  /// costs more than another.
  mutating func considerNomination(at now: Instant) {
    guard isActive, role == .controlling else { return }
    // One that is not answered for long shall not keep the next best from its chance.
    let isUnderWay = checklist.pairs.contains { pair in
      pair.isBeingNominated && pair.nominationRequestsSent < ICELimits.takeoverRequestsMax
    }
    guard !isUnderWay else { return }
    if isSettled {
      if let index = replacement(at: now) { nominate(index, at: now) }
      return
    }
    let consent = configuration.consentTimeout
    let best = checklist.pairs.firstIndex { pair in
      pair.id.generation == generation && !pair.isBeingNominated && !pair.isSilent
        && pair.hasConsent(at: now, lasting: consent)
    }
    guard let best else { return }
    let isBest = checklist.pairs[..<best].allSatisfy { pair in
      pair.isFailed || pair.isValid || pair.isIdle || pair.id.generation != generation
    }
    guard isBest || isNominationWaitOver else {
      timers[.nomination] = timers[.nomination] ?? now + nominationWait(for: best)
      return
    }
    nominate(best, at: now)
  }

  private mutating func nominate(_ index: Int, at now: Instant) {
    checklist[index].nomination = .wanted
    checklist[index].nominationRequestsSent = 0
    timers[.nomination] = nil
    scheduleChecks(at: now)
  }

  private func nominationWait(for index: Int) -> TimeDelta {
    let unchecked = checklist.pairs[..<index].count { $0.isWaiting || $0.isFrozen }
    let roundTrips =
      2 * (checklist[index].currentRoundTripTime ?? configuration.nominationWaitMax).nanoseconds
    let checks = Int64(unchecked) * currentCheckInterval.nanoseconds
    let wait = max(configuration.nominationWaitMin.nanoseconds, roundTrips) &+ checks
    return TimeDelta(nanoseconds: min(wait, configuration.nominationWaitMax.nanoseconds))
  }

  mutating func nominationWaitEnded(at now: Instant) {
    isNominationWaitOver = true
    considerNomination(at: now)
    runChecks(at: now)
  }

  /// Controlled: the peer sent USE-CANDIDATE for a pair (RFC 8445 §7.3.1.5). It is followed once the pair is
  /// valid and we know that the peer still wants data there.
  mutating func notePeerNomination(of index: Int, at now: Instant) {
    checklist[index].lastNominationByPeerAt = now
    if checklist[index].hasConsent(at: now, lasting: configuration.consentTimeout) {
      followPeerNomination(of: index, at: now)
    } else if checklist[index].id != selectedPair {
      let mayAsk =
        checklist[index].lastRequestAt.map { now - $0 >= configuration.retransmissionTimeoutMin } ?? true
      if checklist[index].isValid, mayAsk { sendConsentCheck(on: index, at: now) }
      checklist[index].nomination = .requestedByPeer
    }
  }

  /// Controlled: selects a valid pair that the peer nominated, unless the selected one is what the peer
  /// means.
  ///
  /// A better pair is followed at once, a worse one too where the selected one misses answers. Otherwise the
  /// peer must have stopped naming the selected one before it named the other.
  mutating func followPeerNomination(of index: Int, at now: Instant) {
    guard role == .controlled, checklist[index].id != selectedPair else { return }
    guard isSettled, let selected = checklist.index(of: selectedPair), !needsReplacement,
      !isSelectedPairSuspect, checklist[index].priority <= checklist[selected].priority,
      let lastNamed = checklist[selected].lastNominationByPeerAt
    else { return select(index, at: now) }
    let quietUntil = lastNamed + configuration.renominationQuietTime
    let named = checklist[index].lastNominationByPeerAt ?? now
    if named >= quietUntil { return select(index, at: now) }
    guard named - lastNamed >= Self.separateNominationTime else {
      checklist[index].nomination = .none
      return
    }
    if now >= quietUntil { return select(index, at: now) }
    checklist[index].nomination = .requestedByPeer
    timers[.renomination] = quietUntil
  }

  /// Nominations that are as far apart are not of one go: checks of one go are under way at the same time. An
  /// agent like this one last names a pair 2 s before it gives it up.
  private static let separateNominationTime = TimeDelta.milliseconds(1500)

  /// Controlled: the selected pair is suspect, or was not named for so long that the last pair that was named
  /// after it is meant.
  mutating func renominationTimeEnded(at now: Instant) {
    let consent = configuration.consentTimeout
    let named = checklist.pairs.indices.filter { index in
      guard case .requestedByPeer = checklist[index].nomination else { return false }
      return checklist[index].hasConsent(at: now, lasting: consent)
    }
    let last = named.max { left, right in
      (checklist[left].lastNominationByPeerAt ?? .zero) < (checklist[right].lastNominationByPeerAt ?? .zero)
    }
    guard let last else { return }
    followPeerNomination(of: last, at: now)
    updateState()
  }

  /// Makes a valid pair the selected one. Other valid pairs stay valid for what arrives and to stand by; what
  /// was not checked yet and costs no less rests (RFC 8445 §8.1.2). A check of the peer wakes a pair.
  mutating func select(_ index: Int, at now: Instant) {
    let id = checklist[index].id
    for other in checklist.pairs.indices
    where checklist[other].id == selectedPair || checklist[other].isBeingNominated {
      checklist[other].nomination = .none
    }
    checklist[index].nomination = .done
    selectedPair = id
    hasSelected = true
    hasAdvisedRestart = false
    for timer in [Timer.nomination, .patience, .takeover, .renomination] { timers[timer] = nil }
    emit(.selectedRouteChanged(id.route))
    restOrdinaryChecks(at: now)
    updateSendRoute(at: now)
    if previousSession != nil { timers[.previousSession] = now + configuration.restartGrace }
  }
}
