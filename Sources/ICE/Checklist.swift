// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The pairs of an agent, best first, and the order in which they are checked (RFC 8445 §6.1.2, §6.1.4).
struct Checklist: Sendable {
  /// Sorted by falling priority.
  private(set) var pairs: [CandidatePair] = []
  /// Routes of pairs that are to be checked before all others, oldest first; each at most once.
  private var triggered: [PairID] = []

  /// The place of a pair; `nil` for none.
  func index(of id: PairID?) -> Int? { pairs.firstIndex { $0.id == id } }

  /// The pair at a place. Do not change its priority here.
  subscript(index: Int) -> CandidatePair {
    _read { yield pairs[index] }
    _modify { yield &pairs[index] }
  }

  /// Adds a pair and says whether there was room; a pair that was never checked or is long dead makes room
  /// for a better one. The list must not have it.
  mutating func insert(_ pair: CandidatePair, keeping kept: [PairID], at now: Instant) -> Bool {
    if pairs.count >= ICELimits.candidatePairsMax {
      guard let victim = leastUseful(than: pair, keeping: kept, at: now) else { return false }
      remove(at: victim)
    }
    let place = pairs.firstIndex { $0.priority < pair.priority } ?? pairs.endIndex
    pairs.insert(pair, at: place)
    return true
  }

  private func leastUseful(than pair: CandidatePair, keeping kept: [PairID], at now: Instant) -> Int? {
    pairs.lastIndex { candidate in
      guard !kept.contains(candidate.id) else { return false }
      switch candidate.state {
      case .idle, .frozen, .waiting:
        return candidate.requestsSent == 0 && (candidate.priority < pair.priority || pair.hasRemoteChecked)
          && !candidate.hasRemoteChecked
      case .inProgress: return false
      case .succeeded, .failed:
        let lastUse = candidate.lastRequestAt ?? .zero
        return now - lastUse > Self.idleTime && now - (candidate.lastResponseAt ?? lastUse) > Self.idleTime
      }
    }
  }

  /// How long a pair out of use keeps its place: longer than any check lasts, so that making room never lets
  /// a peer draw more requests than the pairs of one check's duration.
  private static let idleTime = TimeDelta.seconds(60)

  mutating func remove(at index: Int) {
    let id = pairs[index].id
    triggered.removeAll { $0 == id }
    pairs.remove(at: index)
  }

  mutating func removeAll(where predicate: (CandidatePair) -> Bool) {
    pairs.removeAll(where: predicate)
    triggered.removeAll { id in !pairs.contains { $0.id == id } }
  }

  /// Computes all priorities anew, after a change of role or of a remote candidate.
  mutating func updatePriorities(role: ICERole) {
    for index in pairs.indices { pairs[index].updatePriority(role: role) }
    pairs.sort { $0.priority > $1.priority }
  }

  /// Replaces what is known of a remote candidate in all its pairs.
  mutating func replace(_ old: ICECandidate, with candidate: ICECandidate, role: ICERole) {
    for index in pairs.indices where pairs[index].remote == old { pairs[index].remote = candidate }
    updatePriorities(role: role)
  }

  /// Queues a pair for a triggered check (RFC 8445 §7.3.1.4).
  mutating func trigger(_ id: PairID) {
    if !triggered.contains(id) { triggered.append(id) }
  }

  /// Takes the pair that has waited longest for a triggered check.
  mutating func popTriggered() -> Int? {
    while !triggered.isEmpty {
      if let index = index(of: triggered.removeFirst()) { return index }
    }
    return nil
  }

  /// The state in which a pair joins the list (RFC 8838 §12): waiting, unless one of its foundation is being
  /// found out about already.
  func initialState(for pair: CandidatePair) -> CandidatePair.State {
    let foundation = pair.foundation
    var isPending = false
    for other in pairs where other.foundation == foundation && other.id.generation == pair.id.generation {
      if other.isValid { return .waiting }
      if other.isWaiting || other.isInProgress { isPending = true }
    }
    return isPending ? .frozen : .waiting
  }

  /// Lets all frozen pairs of a foundation go (RFC 8445 §7.2.5.3.3).
  mutating func unfreeze(foundation: String) {
    for index in pairs.indices where pairs[index].isFrozen && pairs[index].foundation == foundation {
      pairs[index].state = .waiting
    }
  }

  /// The pair that an ordinary check is for: the best waiting one, else the best frozen one of a foundation
  /// that is not being checked, else the best frozen one (RFC 8445 §6.1.4.2).
  ///
  /// The RFC would leave the last kind frozen until its foundation's check has failed, which takes 39.5 s.
  /// With one checklist freezing is but an order, and the pace bounds what is sent: nothing waits while we
  /// are idle.
  func nextOrdinary() -> Int? {
    if let index = pairs.firstIndex(where: \.isWaiting) { return index }
    guard let frozen = pairs.firstIndex(where: \.isFrozen) else { return nil }
    let busy = Set(pairs.filter(\.isInProgress).map(\.foundation))
    return pairs.firstIndex { $0.isFrozen && !busy.contains($0.foundation) } ?? frozen
  }

  /// Whether a check could be sent as soon as the pace allows it.
  var hasUnsentChecks: Bool { !triggered.isEmpty || pairs.contains { $0.isWaiting || $0.isFrozen } }

  /// When the earliest retransmission or failure of a check is due.
  var nextRetransmission: Instant? {
    var earliest: Instant?
    for pair in pairs { earliest = Instant.earliest(earliest, pair.nextRetransmission) }
    return earliest
  }
}

extension CandidatePair {
  /// The check of the pair that waits for a response.
  var checkInFlight: CheckInFlight? {
    get {
      if case .inProgress(let check) = state { return check }
      if case .inFlight(let check) = nomination { return check }
      return nil
    }
    set {
      guard let newValue else { return }
      if case .inProgress = state {
        state = .inProgress(newValue)
      } else if case .inFlight = nomination {
        nomination = .inFlight(newValue)
      }
    }
  }

  /// When the check that waits for a response is sent again or given up.
  var nextRetransmission: Instant? { checkInFlight?.nextAt }
}
