// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Choosing the pair that carries the data (RFC 8445 §8).
extension ICEAgent {
  /// Controlling: nominates the best valid pair, at once if none better is left to be checked, else after a
  /// short wait (regular nomination, RFC 8445 §8.1.1).
  mutating func considerNomination(at now: Instant) {
    guard isActive, role == .controlling, selectedRoute == nil else { return }
    var isBetterPossible = false
    for index in checklist.pairs.indices {
      switch checklist[index].nomination {
      case .wanted, .inFlight: return
      case .none, .requestedByPeer, .done: break
      }
    }
    for index in checklist.pairs.indices {
      let pair = checklist[index]
      if pair.hasConsent(at: now, lasting: configuration.consentTimeout) {
        guard !isBetterPossible || isNominationWaitOver else {
          timers[.nomination] = timers[.nomination] ?? now + configuration.nominationWait
          return
        }
        checklist[index].nomination = .wanted
        checklist[index].nominationRequestsSent = 0
        timers[.nomination] = nil
        return
      }
      if !pair.isFailed, !pair.isValid { isBetterPossible = true }
    }
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
      let lastNominationAt = checklist[selected].lastNominationByPeerAt ?? Instant(nanoseconds: 0)
      guard
        checklist[index].priority > checklist[selected].priority
          || now - lastNominationAt >= configuration.renominationQuietTime
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
