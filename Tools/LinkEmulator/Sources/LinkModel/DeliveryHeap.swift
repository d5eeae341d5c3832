// SPDX-License-Identifier: Apache-2.0

/// Packets under way, the next to arrive on top; among equal times the one that was sent first.
struct DeliveryHeap {
  struct Entry {
    var arrival: Nanoseconds
    var order: UInt64
    var slot: Int32

    func precedes(_ other: Entry) -> Bool {
      arrival != other.arrival ? arrival < other.arrival : order < other.order
    }
  }

  private var entries: [Entry] = []
  private var nextOrder: UInt64 = 0

  /// Memory for `capacity` entries is taken now; the heap's user sees to it that there are never more.
  init(capacity: Int) {
    entries.reserveCapacity(capacity)
  }

  var first: Entry? { entries.first }

  mutating func insert(slot: Int32, arrival: Nanoseconds) {
    let entry = Entry(arrival: arrival, order: nextOrder, slot: slot)
    nextOrder += 1
    var child = entries.count
    entries.append(entry)
    while child > 0 {
      let parent = (child - 1) / 2
      guard entry.precedes(entries[parent]) else { break }
      entries[child] = entries[parent]
      child = parent
    }
    entries[child] = entry
  }

  mutating func removeFirst() -> Entry {
    precondition(!entries.isEmpty, "removing from an empty heap")
    let removed = entries[0]
    let last = entries.removeLast()
    if !entries.isEmpty { sink(last) }
    return removed
  }

  /// Puts `entry` where it belongs, beginning at the top.
  private mutating func sink(_ entry: Entry) {
    var parent = 0
    while true {
      var child = 2 * parent + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1].precedes(entries[child]) { child += 1 }
      guard entries[child].precedes(entry) else { break }
      entries[parent] = entries[child]
      parent = child
    }
    entries[parent] = entry
  }
}
