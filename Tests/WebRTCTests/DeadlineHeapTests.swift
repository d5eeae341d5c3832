// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import WebRTC

@Suite("DeadlineHeap")
struct DeadlineHeapTests {
  private func instant(_ nanoseconds: Int64) -> Instant { Instant(nanoseconds: nanoseconds) }

  @Test("an empty heap has no deadline and nothing expires")
  func empty() {
    var heap = DeadlineHeap()
    #expect(heap.nextDeadline == nil)
    #expect(heap[3] == nil)
    let expired = heap.popExpired(at: instant(.max))
    #expect(expired == nil)
    heap.set(nil, for: 7)
    #expect(heap.count == 0)
  }

  @Test("a deadline that moves is kept once")
  func moves() {
    var heap = DeadlineHeap()
    heap.set(instant(10), for: 0)
    heap.set(instant(20), for: 1)
    heap.set(instant(30), for: 0)
    #expect(heap.count == 2)
    #expect(heap.nextDeadline == instant(20))
    #expect(heap[0] == instant(30))
    heap.set(instant(5), for: 0)
    #expect(heap.nextDeadline == instant(5))
    heap.set(nil, for: 0)
    #expect(heap.nextDeadline == instant(20))
    #expect(heap.count == 1)
  }

  @Test("peers expire in the order of their deadlines, and not before them")
  func order() {
    var heap = DeadlineHeap()
    for (peer, deadline) in [40, 10, 30, 20].enumerated() { heap.set(instant(Int64(deadline)), for: peer) }
    var expired: [Int] = []
    while let peer = heap.popExpired(at: instant(30)) { expired.append(peer) }
    #expect(expired == [1, 3, 2])
    #expect(heap.nextDeadline == instant(40))
  }

  @Test("behaves as a plain table does, over random operations", arguments: 0..<20 as Range<UInt64>)
  func model(seed: UInt64) {
    var random = RandomSource(seed: seed)
    var heap = DeadlineHeap()
    var model: [Int: Instant] = [:]
    for _ in 0..<500 {
      let peer = Int.random(in: 0..<24, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        heap.set(nil, for: peer)
        model[peer] = nil
      case 1:
        let now = instant(Int64.random(in: 0..<1000, using: &random))
        let expired = heap.popExpired(at: now)
        let earliest = model.values.min()
        #expect((expired == nil) == (earliest.map { $0 > now } ?? true))
        if let expired {
          #expect(model[expired] == earliest)
          model[expired] = nil
        }
      default:
        let deadline = instant(Int64.random(in: 0..<1000, using: &random))
        heap.set(deadline, for: peer)
        model[peer] = deadline
      }
      #expect(heap.nextDeadline == model.values.min())
      #expect(heap.count == model.count)
    }
  }
}
