// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The deadlines of a loop's peers: a binary heap that knows where each peer stands in it.
///
/// One per network loop, so that one scheduled task serves all peers. Setting, moving and removing a deadline
/// take logarithmic time; it holds at most one deadline for each peer.
struct DeadlineHeap {
  private struct Entry {
    var deadline: Instant
    var peer: Int
  }

  private var entries: [Entry] = []
  /// Where each peer's entry is, -1 for none; indexed by peer.
  private var positions: [Int] = []

  /// How many peers have a deadline.
  var count: Int { entries.count }

  /// The earliest deadline of all peers.
  var nextDeadline: Instant? { entries.first?.deadline }

  /// The deadline of a peer.
  subscript(peer: Int) -> Instant? {
    peer < positions.count && positions[peer] >= 0 ? entries[positions[peer]].deadline : nil
  }

  /// Sets, moves or (with `nil`) removes the deadline of a peer.
  mutating func set(_ deadline: Instant?, for peer: Int) {
    precondition(peer >= 0, "peers are numbered from 0")
    while positions.count <= peer { positions.append(-1) }
    let position = positions[peer]
    switch (deadline, position >= 0) {
    case (nil, false): break
    case (nil, true): remove(at: position)
    case (let deadline?, false):
      entries.append(Entry(deadline: deadline, peer: peer))
      positions[peer] = entries.count - 1
      siftUp(from: entries.count - 1)
    case (let deadline?, true):
      entries[position].deadline = deadline
      restore(at: position)
    }
  }

  /// Removes and returns one peer whose deadline has come, the earliest first.
  mutating func popExpired(at now: Instant) -> Int? {
    guard let first = entries.first, first.deadline <= now else { return nil }
    remove(at: 0)
    return first.peer
  }

  private mutating func remove(at position: Int) {
    positions[entries[position].peer] = -1
    let last = entries.removeLast()
    guard position < entries.count else { return }
    entries[position] = last
    positions[last.peer] = position
    restore(at: position)
  }

  private mutating func restore(at position: Int) {
    siftDown(from: siftUp(from: position))
  }

  @discardableResult
  private mutating func siftUp(from start: Int) -> Int {
    var position = start
    while position > 0 {
      let parent = (position - 1) / 2
      guard entries[position].deadline < entries[parent].deadline else { break }
      exchange(position, parent)
      position = parent
    }
    return position
  }

  private mutating func siftDown(from start: Int) {
    var position = start
    while true {
      var smallest = position
      let left = 2 * position + 1
      for child in left..<max(left, min(left + 2, entries.count)) {
        if entries[child].deadline < entries[smallest].deadline { smallest = child }
      }
      guard smallest != position else { return }
      exchange(position, smallest)
      position = smallest
    }
  }

  private mutating func exchange(_ left: Int, _ right: Int) {
    entries.swapAt(left, right)
    positions[entries[left].peer] = left
    positions[entries[right].peer] = right
  }
}
