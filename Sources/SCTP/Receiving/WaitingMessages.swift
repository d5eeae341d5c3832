// SPDX-License-Identifier: Apache-2.0

/// The messages of one stream that wait for an earlier one, the lowest number first: a binary heap.
///
/// Whatever order a peer chooses, adding and taking one costs a few steps; messages that come in order cost one.
struct WaitingMessages {
  private struct Entry {
    var number: Int64
    var message: AssembledMessage
  }

  private var entries: [Entry] = []

  var count: Int { entries.count }

  /// The lowest number that waits.
  var lowest: Int64? { entries.first?.number }

  /// Adds a message; two of one number may wait, and whoever takes the second knows that it is one.
  mutating func insert(_ message: AssembledMessage, number: Int64) {
    entries.append(Entry(number: number, message: message))
    var child = entries.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard entries[child].number < entries[parent].number else { return }
      entries.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the message with the lowest number.
  mutating func popLowest() -> AssembledMessage? {
    guard let last = entries.popLast() else { return nil }
    guard let lowest = entries.first else { return last.message }
    entries[0] = last
    var parent = 0
    while true {
      var least = parent
      let (left, right) = (2 * parent + 1, 2 * parent + 2)
      if left < entries.count, entries[left].number < entries[least].number { least = left }
      if right < entries.count, entries[right].number < entries[least].number { least = right }
      guard least != parent else { return lowest.message }
      entries.swapAt(parent, least)
      parent = least
    }
  }

  /// What they weigh together.
  var chargedByteCount: Int { entries.reduce(0) { $0 + $1.message.chargedByteCount } }
}
