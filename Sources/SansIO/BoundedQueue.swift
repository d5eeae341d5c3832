// SPDX-License-Identifier: Apache-2.0

/// A first-in, first-out queue with a limit, in a ring that is allocated once.
///
/// A queue that is full refuses; whoever owns it decides what that means and counts it.
public struct BoundedQueue<Element> {
  private var storage: [Element?]
  private var head = 0
  /// How many elements are queued.
  public private(set) var count = 0

  /// Makes an empty queue for at most `capacity` elements, at least 1.
  public init(capacity: Int) {
    precondition(capacity > 0, "a queue holds at least one element")
    storage = Array(repeating: nil, count: capacity)
  }

  /// How many elements fit.
  public var capacity: Int { storage.count }
  /// Whether nothing is queued.
  public var isEmpty: Bool { count == 0 }
  /// Whether the next append will be refused.
  public var isFull: Bool { count == storage.count }
  /// The oldest element.
  public var first: Element? { storage[head] }

  /// Appends an element and returns true, or returns false when the queue is full.
  public mutating func append(_ element: Element) -> Bool {
    guard !isFull else { return false }
    storage[(head + count) % storage.count] = element
    count += 1
    return true
  }

  /// Takes the oldest element out.
  public mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    defer {
      head = (head + 1) % storage.count
      count -= 1
    }
    return storage[head].take()
  }

  /// Drops everything.
  public mutating func removeAll() {
    while popFirst() != nil {}
  }
}

extension BoundedQueue: Sendable where Element: Sendable {}
