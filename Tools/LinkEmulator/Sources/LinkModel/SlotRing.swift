// SPDX-License-Identifier: Apache-2.0

/// A first-in-first-out queue of slots in memory that was taken once.
struct SlotRing {
  private var slots: [Int32]
  private var head = 0
  private(set) var count = 0

  init(capacity: Int) {
    slots = Array(repeating: 0, count: capacity)
  }

  var first: Int32? { count > 0 ? slots[head] : nil }

  mutating func append(_ slot: Int32) {
    precondition(count < slots.count, "more packets wait than there are slots")
    slots[(head + count) % slots.count] = slot
    count += 1
  }

  mutating func removeFirst() -> Int32 {
    precondition(count > 0, "removing from an empty queue")
    let slot = slots[head]
    head = (head + 1) % slots.count
    count -= 1
    return slot
  }
}
