// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What is to happen at a time: a binary heap by time, and by order of insertion among equals.
struct TimedQueue<Element> {
  private struct Entry {
    let time: Instant
    let order: UInt64
    let element: Element

    static func < (left: Entry, right: Entry) -> Bool {
      left.time == right.time ? left.order < right.order : left.time < right.time
    }
  }

  private var heap: [Entry] = []
  private var nextOrder: UInt64 = 0

  var count: Int { heap.count }
  /// The earliest time of all.
  var nextTime: Instant? { heap.first?.time }

  mutating func insert(_ element: Element, at time: Instant) {
    heap.append(Entry(time: time, order: nextOrder, element: element))
    nextOrder += 1
    var child = heap.count - 1
    while child > 0, heap[child] < heap[(child - 1) / 2] {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Takes the earliest element if its time has come.
  mutating func popFirst(at now: Instant) -> Element? {
    guard let first = heap.first, first.time <= now else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child] < heap[smallest] {
        smallest = child
      }
      guard smallest != parent else { return first.element }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
