// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What happens when the selected path dies while the session lives, and when a cheaper one appears.
///
/// RFC 8445 ends with the nomination; networks do not. Consent checks notice within 2 s of the first that is
/// missed that a path is dead. The controlling agent then nominates the best other pair that still answers;
/// the controlled one follows. Where none does, everything that was left unchecked is checked, and a restart is
/// advised, since new addresses may be what is missing.
extension ICEAgent {
  /// Whether a pair of the current session is selected.
  var isSettled: Bool { selectedPair?.generation == generation }

  /// Whether the selected pair is dead or gone.
  var needsReplacement: Bool {
    guard let index = checklist.index(of: selectedPair) else { return selectedPair != nil }
    return checklist[index].isSilent || !checklist[index].isValid
  }

  /// Whether the selected pair has missed an answer.
  var isSelectedPairSuspect: Bool {
    checklist.index(of: selectedPair).map { checklist[$0].suspectSince != nil } ?? false
  }

  /// Whether a pair is to be checked of itself: while nothing is selected or what is selected is dead all are,
  /// later those that cost less.
  func isWorthChecking(_ pair: CandidatePair) -> Bool {
    guard isSettled, !needsReplacement, let selected = checklist.index(of: selectedPair) else { return true }
    return pair.cost < checklist[selected].cost
  }

  /// Controlling: the pair that shall be nominated in place of the selected one.
  func replacement(at now: Instant) -> Int? {
    let isNeeded = needsReplacement
    let selected = checklist.index(of: selectedPair)
    let since = selected.flatMap { checklist[$0].suspectSince } ?? Instant(nanoseconds: .min)
    return checklist.pairs.firstIndex { pair in
      guard pair.id != selectedPair, pair.id.generation == generation, !pair.isBeingNominated,
        pair.hasConsent(at: now, lasting: configuration.consentTimeout), pair.suspectSince == nil
      else { return false }
      if isNeeded { return pair.lastResponseAt.map { $0 >= since } ?? false }
      return selected.map { pair.cost < checklist[$0].cost } ?? true
    }
  }

  /// The valid pairs that are kept alive to take over, best first: such as share no address with the one in use
  /// or with each other before such as do, since a path seldom dies alone. Both sides see it alike.
  func standbyPairs(at now: Instant) -> [PairID] {
    let candidates = checklist.pairs.filter { pair in
      !isInUse(pair.id) && pair.hasConsent(at: now, lasting: configuration.consentTimeout)
        && (pair.id.generation == generation || isRestarting)
    }.map(\.id)
    var ends = Set([selectedPair, sendPair].compactMap { $0 }.flatMap(\.ends))
    let independent = candidates.filter { pair in
      guard ends.isDisjoint(with: pair.ends) else { return false }
      ends.formUnion(pair.ends)
      return true
    }
    let others = candidates.filter { !independent.contains($0) }
    return Array((independent + others).prefix(ICELimits.standbyPairsMax))
  }

  /// Sends a consent check on each pair that stands by: whoever answers is alive now.
  private mutating func probeStandbyPairs(at now: Instant) {
    for pair in standbyPairs(at: now) {
      guard let index = checklist.index(of: pair) else { continue }
      let sinceRequest = checklist[index].lastRequestAt.map { now - $0 }
      guard sinceRequest.map({ $0 >= configuration.consentAnswerTimeout }) ?? true else { continue }
      sendConsentCheck(on: index, at: now)
      checklist[index].nextConsentCheckAt = now + configuration.deadPathInterval
    }
  }

  /// The peer checks a pair that is not in use, for the first time or sooner than it would to keep it alive: its
  /// address may have changed, or the selected path may be dead as it sees it. Then we look too.
  mutating func noteUnexpectedCheck(on index: Int, at now: Instant) {
    let last = checklist[index].lastRemoteCheckAt
    checklist[index].lastRemoteCheckAt = now
    guard checklist[index].id != selectedPair else { return }
    let isSoon = last.map { now - $0 < configuration.standbyInterval * 2 / 3 } ?? true
    if isSoon { hastenConsentCheck(at: now) }
  }

  /// The answer to a consent check of a pair in use is overdue: the first makes it suspect, several make it
  /// silent.
  mutating func noteMissedAnswer(of pair: PairID, at now: Instant) {
    guard let index = checklist.index(of: pair), checklist[index].unansweredConsentChecks > 0 else { return }
    let isMain = pair == selectedPair ?? sendPair
    if checklist[index].suspectSince == nil {
      checklist[index].suspectSince = checklist[index].firstUnansweredAt
      if isMain {
        probeStandbyPairs(at: now)
        renominationTimeEnded(at: now)
      }
    }
    guard checklist[index].unansweredConsentChecks >= configuration.unansweredConsentChecksMax,
      !checklist[index].isSilent
    else { return }
    checklist[index].isSilent = true
    if pair == selectedPair ?? sendPair {
      resumeIdlePairs(at: now)
      seekAnotherPath(at: now)
    }
  }

  /// Lets all pairs be checked that still may be: the selected path is gone.
  mutating func resumeIdlePairs(at now: Instant) {
    for index in checklist.pairs.indices
    where checklist[index].id.generation == generation && checklist[index].mayBeChecked {
      switch checklist[index].state {
      case .idle, .failed: checklist[index].state = .waiting
      case .frozen, .waiting, .inProgress, .succeeded: break
      }
    }
    scheduleChecks(at: now)
  }

  /// Has another pair take over, or advises a restart where there is none.
  mutating func seekAnotherPath(at now: Instant) {
    probeStandbyPairs(at: now)
    updateSendRoute(at: now)
    considerNomination(at: now)
    let hasOther = checklist.pairs.contains { pair in
      pair.id != selectedPair && !pair.isSilent
        && pair.hasConsent(at: now, lasting: configuration.consentTimeout)
    }
    if hasOther {
      timers[.takeover] = now + configuration.takeoverTimeout
    } else {
      adviseRestart()
    }
  }

  mutating func takeoverTimeEnded(at now: Instant) {
    if selectedPair == nil || needsReplacement { adviseRestart() }
  }

  /// Advises a restart, once for each path that was selected and unless one is under way.
  private mutating func adviseRestart() {
    guard hasSelected, !hasAdvisedRestart, preparedSession == nil else { return }
    hasAdvisedRestart = true
    emit(.restartAdvised)
  }

  /// The selected pair answers again.
  mutating func selectedPairIsBack(at now: Instant) {
    timers[.takeover] = nil
    hasAdvisedRestart = false
    if isSettled { restOrdinaryChecks(at: now) }
  }

  /// Stops checking what is not needed any more: unchecked pairs rest, checks that are under way are not
  /// repeated. Pairs that the peer checks, and those that cost less than the selected one, go on.
  mutating func restOrdinaryChecks(at now: Instant) {
    for index in checklist.pairs.indices
    where !checklist[index].hasRemoteChecked && !isWorthChecking(checklist[index]) {
      switch checklist[index].state {
      case .waiting, .frozen: checklist[index].state = .idle
      case .inProgress(var check):
        check.isLast = true
        check.nextAt = min(check.nextAt, now + configuration.retransmissionTimeoutMin)
        checklist[index].state = .inProgress(check)
      case .idle, .succeeded, .failed: break
      }
    }
  }
}
