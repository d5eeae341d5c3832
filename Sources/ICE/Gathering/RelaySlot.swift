// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A place for one relay: an owner's, or a spare's.
struct RelaySlot: Sendable {
  /// What the place has.
  enum Phase: Sendable {
    /// Nothing; the next round begins at that time, or when servers or sockets change.
    case waiting(until: Instant?)
    /// Nothing, until the round of another slot has shown which way works.
    case queued
    /// Several connections, of which the best will be the relay.
    case racing(RelayRace)
    /// The relay.
    case standing(ServerConnectionID, since: Instant)
  }

  let id: Int
  let family: IPAddress.Family
  /// Whose place it is; `nil` for a spare's.
  var owner: Int?
  var phase = Phase.waiting(until: nil)
  /// Rounds in a row that gave no relay, or one that did not last.
  var failureCount = 0
  /// Whether a round has ended, one way or the other.
  var hasSettled = false

  init(id: Int, family: IPAddress.Family, owner: Int?) {
    self.id = id
    self.family = family
    self.owner = owner
  }

  var isRacing: Bool {
    if case .racing = phase { true } else { false }
  }

  /// Whether a round may begin.
  var isIdle: Bool {
    switch phase {
    case .waiting, .queued: true
    case .racing, .standing: false
    }
  }

  var isStanding: Bool {
    if case .standing = phase { true } else { false }
  }

  var nextDeadline: Instant? {
    switch phase {
    case .waiting(let until): until
    case .racing(let race): race.nextDeadline
    case .queued, .standing: nil
    }
  }
}

/// One round for one relay: ways that are tried side by side.
struct RelayRace: Sendable {
  /// A way that is not tried yet.
  struct Start: Sendable {
    let way: RelayWay
    var startAt: Instant
  }

  /// Whether no way is known to work, so that all are tried at once and a better one is waited for.
  let isFirst: Bool
  /// Sorted by time.
  private(set) var starts: [Start] = []
  /// All that was or will be tried.
  private(set) var ways: Set<RelayWay> = []
  /// Connections without an allocation so far.
  var running: [(id: ServerConnectionID, rank: Int)] = []
  /// The best allocation so far.
  var best: (id: ServerConnectionID, rank: Int)?
  /// Until when a better one is waited for.
  var graceEndsAt: Instant?
  /// Why each URL failed, in order.
  private(set) var failures: [(server: UsedServer, failure: TURNFailure, reason: String)] = []

  init(isFirst: Bool) { self.isFirst = isFirst }

  var nextDeadline: Instant? { Instant.earliest(starts.first?.startAt, graceEndsAt) }

  /// Whether a way that is under way or about to begin is better than what there is.
  var hasBetterAhead: Bool {
    guard let best else { return true }
    return running.contains { $0.rank < best.rank } || starts.contains { $0.way.transport.rank < best.rank }
  }

  /// Takes a way in, unless it is known.
  mutating func add(_ way: RelayWay, startAt: Instant) {
    guard ways.count < RelayLimits.waysMax, ways.insert(way).inserted else { return }
    let index = starts.firstIndex { startAt < $0.startAt } ?? starts.endIndex
    starts.insert(Start(way: way, startAt: startAt), at: index)
  }

  /// The ways whose time has come.
  mutating func takeDue(at now: Instant) -> [RelayWay] {
    let due = starts.prefix { $0.startAt <= now }
    starts.removeFirst(due.count)
    return due.map(\.way)
  }

  /// Notes that a connection came to nothing. What was to be tried in its place begins now: the next address of
  /// its name (RFC 8305 §5), and where it was the way that had worked before, everything.
  mutating func failed(
    _ id: ServerConnectionID?, _ way: RelayWay, _ failure: TURNFailure, reason: String, at now: Instant
  ) {
    running.removeAll { $0.id == id }
    note(way.server, failure, reason: reason)
    let index = starts.firstIndex { isFirst ? $0.way.server == way.server : true }
    guard let index else { return }
    for other in isFirst ? index...index : index...(starts.count - 1) { starts[other].startAt = now }
    starts.sort { $0.startAt < $1.startAt }
  }

  /// Notes why a URL failed; the last reason counts.
  mutating func note(_ server: UsedServer, _ failure: TURNFailure, reason: String) {
    failures.removeAll { $0.server == server }
    failures.append((server, failure, reason))
  }
}
