// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The messages that wait for the socket, and how fast they may leave it.
///
/// The service takes 5 descriptions and 20 candidates a second from one socket and drops what is more; a fifth less is
/// sent, because the service counts arrivals and the network bunches them. Descriptions leave first, oldest first.
struct SignalingQueue: Sendable {
  /// A message with the identifier that a status response would name.
  struct Entry: Hashable, Sendable {
    var frame: SignalingMessage.ClientFrame
    var enqueued: Instant
    var isRetry: Bool
  }

  /// Waiting messages of both kinds: a master's 10 viewers with 20 candidates each, and some.
  static let capacity = 256
  static let descriptionsPerSecond = 4
  static let candidatesPerSecond = 16
  /// The service's default for undelivered messages: who waits longer has given up.
  static let lifetime: TimeDelta = .seconds(60)

  private var descriptions: [Entry] = []
  private var candidates: [Entry] = []
  private var descriptionPace = Pace(limit: descriptionsPerSecond)
  private var candidatePace = Pace(limit: candidatesPerSecond)

  /// How many messages wait.
  var count: Int { descriptions.count + candidates.count }

  /// Appends a message; a full queue drops its oldest candidate, else its oldest description.
  mutating func append(_ entry: Entry) -> SignalingDropCause? {
    var cause: SignalingDropCause?
    if count >= Self.capacity {
      if candidates.isEmpty {
        descriptions.removeFirst()
        cause = .descriptionQueueFull
      } else {
        candidates.removeFirst()
        cause = .candidateQueueFull
      }
    }
    if entry.frame.kind.isDescription {
      descriptions.append(entry)
    } else {
      candidates.append(entry)
    }
    return cause
  }

  /// Forgets the pace: the limits are those of one socket, and the socket is another.
  mutating func socketOpened() {
    descriptionPace = Pace(limit: Self.descriptionsPerSecond)
    candidatePace = Pace(limit: Self.candidatesPerSecond)
  }

  /// Drops what is too old and counts it.
  mutating func dropExpired(at now: Instant) -> UInt64 {
    let before = count
    descriptions.removeAll { now - $0.enqueued > Self.lifetime }
    candidates.removeAll { now - $0.enqueued > Self.lifetime }
    return UInt64(before - count)
  }

  /// Takes out the next message that may leave now.
  mutating func popSendable(at now: Instant) -> Entry? {
    if !descriptions.isEmpty, descriptionPace.take(at: now) { return descriptions.removeFirst() }
    if let index = firstFreeCandidate, candidatePace.take(at: now) { return candidates.remove(at: index) }
    return nil
  }

  /// When the next message may leave; `nil` when none waits.
  func nextSend(at now: Instant) -> Instant? {
    Instant.earliest(
      descriptions.isEmpty ? nil : descriptionPace.nextSlot(at: now),
      firstFreeCandidate == nil ? nil : candidatePace.nextSlot(at: now))
  }

  /// The oldest candidate whose recipient waits for no description: a candidate never overtakes its own.
  private var firstFreeCandidate: Int? {
    let waiting = Set(descriptions.map(\.frame.recipientClientID))
    return candidates.firstIndex { !waiting.contains($0.frame.recipientClientID) }
  }
}

/// At most so many in any window of one second.
private struct Pace: Sendable {
  let limit: Int
  private var sent: [Instant] = []
  private static let window: TimeDelta = .seconds(1)

  init(limit: Int) { self.limit = limit }

  func nextSlot(at now: Instant) -> Instant {
    guard sent.count >= limit, let oldest = sent.first else { return now }
    return max(now, oldest + Self.window)
  }

  mutating func take(at now: Instant) -> Bool {
    guard nextSlot(at: now) <= now else { return false }
    if sent.count >= limit { sent.removeFirst() }
    sent.append(now)
    return true
  }
}
