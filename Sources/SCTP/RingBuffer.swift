// SPDX-License-Identifier: Apache-2.0

/// A queue in a ring that grows by doubling; whoever owns it bounds what goes in.
///
/// Elements are reached by their distance from the front. In steady state it allocates nothing.
struct RingBuffer<Element> {
  private var storage: [Element?] = []
  private var head = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }
  var first: Element? { count == 0 ? nil : storage[head] }

  @inline(__always)
  private func slot(_ index: Int) -> Int { (head &+ index) & (storage.count &- 1) }

  /// The element `index` places behind the front.
  subscript(index: Int) -> Element {
    @inline(__always)
    get {
      precondition(index >= 0 && index < count, "outside of the ring")
      guard let element = storage[slot(index)] else { preconditionFailure("a hole in the ring") }
      return element
    }
    @inline(__always)
    set {
      precondition(index >= 0 && index < count, "outside of the ring")
      storage[slot(index)] = newValue
    }
  }

  mutating func append(_ element: Element) {
    if count == storage.count { grow() }
    storage[slot(count)] = element
    count &+= 1
  }

  @discardableResult
  mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    let element = storage[head].take()
    head = (head &+ 1) & (storage.count &- 1)
    count &-= 1
    return element
  }

  mutating func removeAll() {
    storage = []
    head = 0
    count = 0
  }

  private mutating func grow() {
    var larger: [Element?] = []
    larger.reserveCapacity(max(8, storage.count * 2))
    for index in 0..<count { larger.append(storage[slot(index)].take()) }
    while larger.count < max(8, storage.count * 2) { larger.append(nil) }
    storage = larger
    head = 0
  }
}

extension RingBuffer: Sendable where Element: Sendable {}
