// SPDX-License-Identifier: Apache-2.0

/// How the streams of an association share it (RFC 8260 §3).
public enum SchedulingPolicy: Hashable, Sendable {
  /// Messages leave in the order in which they were handed in (§3.1).
  case firstComeFirstServed
  /// One message, or one fragment with I-DATA, of each stream in turn (§3.2, §3.3).
  case roundRobin
  /// The most important stream first, until it has nothing to send (§3.4).
  case strictPriority
  /// Each stream gets bytes in proportion to its priority (§3.6); what RFC 8831 §6.4 wants of data channels.
  case weightedFair
}

/// Chooses the stream that may send next.
///
/// Each stream has a virtual time that runs ahead by what it sends, divided by its weight; the stream that is
/// furthest behind is next. A stream that was idle begins at the present, so it cannot claim the past.
struct StreamScheduler {
  /// What the scheduler knows of one stream.
  struct Entry {
    /// Weight or rank: 128 very low, 256 low, 512 medium, 1024 high (RFC 8831 §6.4).
    var priority: UInt16 = 256
    /// How much of the association's time the stream has used.
    var virtualTime: UInt64 = 0
    /// The place in the order of arrival of the message at its front.
    var arrival: UInt64 = 0
  }

  let policy: SchedulingPolicy
  private var present: UInt64 = 0

  init(policy: SchedulingPolicy) { self.policy = policy }

  /// A stream has something to send again.
  func activate(_ entry: inout Entry) { entry.virtualTime = max(entry.virtualTime, present) }

  /// Whether `left` sends before `right`.
  func precedes(_ left: Entry, _ right: Entry) -> Bool {
    switch policy {
    case .firstComeFirstServed: left.arrival < right.arrival
    case .roundRobin, .weightedFair: left.virtualTime < right.virtualTime
    case .strictPriority:
      left.priority == right.priority
        ? left.virtualTime < right.virtualTime : left.priority > right.priority
    }
  }

  /// A stream sent so many bytes.
  mutating func charge(_ entry: inout Entry, byteCount: Int) {
    present = entry.virtualTime
    switch policy {
    case .weightedFair:
      entry.virtualTime += (UInt64(byteCount) << 16) / UInt64(max(entry.priority, 1))
    case .roundRobin, .strictPriority: entry.virtualTime += 1
    case .firstComeFirstServed: break
    }
  }
}
