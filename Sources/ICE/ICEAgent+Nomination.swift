// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Choosing the pair that carries the data (RFC 8445 §8).
extension ICEAgent {
  /// Controlling: nominates the best valid pair, at once if none better is left to be checked, else after a
  /// short wait (regular nomination, RFC 8445 §8.1.1).
  mutating func considerNomination(at now: Instant) {
    guard isActive, role == .controlling, selectedRoute == nil else { return }
    let isUnderWay = checklist.pairs.contains { pair in
      switch pair.nomination {
      case .wanted, .inFlight: true
      case .none, .requestedByPeer, .done: false
      }
    }
    let consent = configuration.consentTimeout
    guard !isUnderWay,
      let best = checklist.pairs.firstIndex(where: { $0.hasConsent(at: now, lasting: consent) })
    else { return }
    let isBest = checklist.pairs[..<best].allSatisfy { $0.isFailed || $0.isValid }
    guard isBest || isNominationWaitOver else {
      timers[.nomination] = timers[.nomination] ?? now + nominationWait(for: best)
      return
    }
    checklist[best].nomination = .wanted
    checklist[best].nominationRequestsSent = 0
    timers[.nomination] = nil
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
    } else if checklist[index].route != selectedRoute {
      let mayAsk =
        checklist[index].lastRequestAt.map { now - $0 >= configuration.retransmissionTimeoutMin } ?? true
      if checklist[index].isValid, mayAsk { sendConsentCheck(on: index, at: now) }
      checklist[index].nomination = .requestedByPeer
    }
  }

  /// Controlled: selects a valid pair that the peer nominated, unless the selected one is what the peer
  /// means.
  mutating func followPeerNomination(of index: Int, at now: Instant) {
    guard role == .controlled, checklist[index].route != selectedRoute else { return }
    if let selectedRoute, let selected = checklist.index(of: selectedRoute), !isSilent {
      let isBetter = checklist[index].priority > checklist[selected].priority
      let quietTime = checklist[selected].lastNominationByPeerAt.map { now - $0 }
      guard
        isBetter || quietTime ?? configuration.renominationQuietTime >= configuration.renominationQuietTime
      else { return }
    }
    select(index, at: now)
  }

  /// Makes a valid pair the selected one. Other valid pairs stay valid for what arrives; what was not checked
  /// yet is dropped (RFC 8445 §8.1.2). A check of the peer brings a pair back.
  mutating func select(_ index: Int, at now: Instant) {
    let route = checklist[index].route
    checklist[index].nomination = .done
    selectedRoute = route
    timers[.nomination] = nil
    timers[.patience] = nil
    emit(.selectedRouteChanged(route))
    stopOrdinaryChecks(at: now)
    updateSendRoute(at: now)
  }

  private mutating func stopOrdinaryChecks(at now: Instant) {
    checklist.removeAll { ($0.isWaiting || $0.isFrozen) && !$0.hasRemoteChecked }
    for index in checklist.pairs.indices where !checklist[index].hasRemoteChecked {
      guard case .inProgress(var check) = checklist[index].state else { continue }
      check.isLast = true
      check.nextAt = min(check.nextAt, now + configuration.retransmissionTimeoutMin)
      checklist[index].state = .inProgress(check)
    }
  }
}
