// SPDX-License-Identifier: Apache-2.0

import LinkModel
import Testing

private let millisecond: Nanoseconds = 1_000_000

/// A direction with conditions in words.
private func makeDirection(_ conditions: String, seed: UInt64 = 7, packetsMax: Int = 4_096) throws
  -> LinkDirection
{
  var parsed = LinkConditions()
  try parsed.apply(conditions)
  return LinkDirection(conditions: parsed, seed: seed, packetsMax: packetsMax)
}

/// Sends one packet; returns its slot, which tells the packets of a test apart while none was given back.
@discardableResult
private func send(_ byteCount: Int, into link: inout LinkDirection, at now: Nanoseconds) throws -> Int32 {
  let claimed = link.claimSlot()
  let slot = try #require(claimed)
  link.accept(slot, byteCount: byteCount, at: now)
  return slot
}

/// Everything that arrives until `end`, taken at the very times that the link names.
private func drain(_ link: inout LinkDirection, until end: Nanoseconds, releasing: Bool = true)
  -> [LinkDirection.Delivery]
{
  var deliveries: [LinkDirection.Delivery] = []
  while let deadline = link.nextDeadline, deadline <= end {
    while let delivery = link.nextDelivery(at: deadline) {
      deliveries.append(delivery)
      if releasing { link.release(delivery.slot) }
    }
  }
  return deliveries
}

@Suite("A direction of an emulated link")
struct LinkDirectionTests {
  @Test("A perfect link delivers at once, in order, and asks for no later turn")
  func perfect() throws {
    var link = try makeDirection("perfect")
    let slots = try (0..<5).map { _ in try send(100, into: &link, at: 0) }
    let deliveries = drain(&link, until: 0)
    #expect(deliveries.map(\.slot) == slots)
    #expect(deliveries.allSatisfy { $0.arrival == 0 && $0.byteCount == 100 })
    let deadline = link.nextDeadline
    #expect(deadline == nil)
  }

  @Test("A delay is exact, and nothing arrives before it")
  func delay() throws {
    var link = try makeDirection("delay=50ms")
    try send(100, into: &link, at: 3 * millisecond)
    let early = link.nextDelivery(at: 53 * millisecond - 1)
    #expect(early == nil)
    let due = link.nextDelivery(at: 53 * millisecond)
    #expect(due?.arrival == 53 * millisecond)
  }

  @Test("The rate spaces packets by their size, and an idle bottleneck saves up nothing")
  func rate() throws {
    var link = try makeDirection("rate=1mbit queue=1s")
    for _ in 0..<3 { try send(1_250, into: &link, at: 0) }
    var arrivals = drain(&link, until: 100 * millisecond).map(\.arrival)
    #expect(arrivals == [10 * millisecond, 20 * millisecond, 30 * millisecond])
    for _ in 0..<2 { try send(625, into: &link, at: 500 * millisecond) }
    arrivals = drain(&link, until: 600 * millisecond).map(\.arrival)
    #expect(arrivals == [505 * millisecond, 510 * millisecond])
  }

  @Test("The queue holds what its limit says, drops what comes on top, and has room again as it drains")
  func queue() throws {
    var link = try makeDirection("rate=1mbit queue=2500B")
    for _ in 0..<5 { try send(1_250, into: &link, at: 0) }
    var statistics = link.statistics
    #expect(statistics.queueDrops == 3)
    #expect(statistics.queueBytesPeak == 2_500)
    try send(1_250, into: &link, at: 10 * millisecond)
    statistics = link.statistics
    #expect(statistics.queueDrops == 3)
    let deliveries = drain(&link, until: 100 * millisecond)
    #expect(deliveries.count == 3)
    #expect(deliveries.last?.arrival == 30 * millisecond)
  }

  @Test("A queue limit in time follows the rate, and an idle bottleneck passes what is larger than its queue")
  func queueInTime() throws {
    var link = try makeDirection("rate=1mbit queue=20ms")
    for _ in 0..<4 { try send(1_250, into: &link, at: 0) }
    let drops = link.statistics.queueDrops
    #expect(drops == 2)
    var narrow = try makeDirection("rate=1mbit queue=10B")
    try send(1_250, into: &narrow, at: 0)
    let delivered = drain(&narrow, until: 100 * millisecond).count
    #expect(delivered == 1)
  }

  @Test("A change of rate takes effect on what waits and on the rest of what is passing")
  func rateChange() throws {
    var link = try makeDirection("rate=1mbit queue=1s")
    for _ in 0..<2 { try send(1_250, into: &link, at: 0) }
    var slower = link.conditions
    try slower.apply("rate=500kbit")
    link.change(to: slower, at: 5 * millisecond)
    let arrivals = drain(&link, until: 100 * millisecond).map(\.arrival)
    #expect(arrivals == [15 * millisecond, 35 * millisecond])
  }

  @Test("Without a bottleneck any more, what waited leaves at once and in order")
  func rateLifted() throws {
    var link = try makeDirection("rate=1mbit queue=1s delay=1ms")
    let slots = try (0..<3).map { _ in try send(1_250, into: &link, at: 0) }
    link.change(to: LinkConditions(), at: 4 * millisecond)
    let deliveries = drain(&link, until: 4 * millisecond)
    #expect(deliveries.map(\.slot) == slots)
    #expect(deliveries.allSatisfy { $0.arrival == 4 * millisecond })
  }

  @Test("A shorter delay does not let later packets overtake those under way")
  func shorterDelay() throws {
    var link = try makeDirection("delay=100ms")
    let first = try send(100, into: &link, at: 0)
    link.change(to: LinkConditions(), at: millisecond)
    let second = try send(100, into: &link, at: 2 * millisecond)
    let deliveries = drain(&link, until: 200 * millisecond)
    #expect(deliveries.map(\.slot) == [first, second])
    #expect(deliveries.map(\.arrival) == [100 * millisecond, 100 * millisecond])
  }

  @Test(
    "Jitter stays within its bounds, uses their width, and keeps the order", arguments: [1, 2, 3] as [UInt64])
  func jitter(seed: UInt64) throws {
    var link = try makeDirection("delay=50ms jitter=10ms", seed: seed)
    var travels: [Nanoseconds] = []
    var arrivals: [Nanoseconds] = []
    for index in 0..<1_000 {
      // 40 ms apart, so that no packet waits for the one before it.
      let sent = Nanoseconds(index) * 40 * millisecond
      try send(100, into: &link, at: sent)
      for delivery in drain(&link, until: sent + 40 * millisecond - 1 + 50 * millisecond) {
        arrivals.append(delivery.arrival)
        travels.append(delivery.arrival - sent)
      }
    }
    #expect(arrivals == arrivals.sorted())
    #expect(travels.allSatisfy { (40 * millisecond...60 * millisecond).contains($0) })
    let shortest = try #require(travels.min())
    let longest = try #require(travels.max())
    #expect(shortest < 41 * millisecond && longest > 59 * millisecond)
  }

  @Test("Packets that leave together arrive in order however much jitter there is")
  func jitterKeepsOrder() throws {
    var link = try makeDirection("delay=50ms jitter=50ms")
    let slots = try (0..<500).map { try send(100, into: &link, at: Nanoseconds($0) * 1_000) }
    let deliveries = drain(&link, until: 1_000 * millisecond, releasing: false)
    #expect(deliveries.map(\.slot) == slots)
  }

  @Test("A packet that is held back is overtaken by those within its delay, and by no others")
  func reordering() throws {
    var link = try makeDirection("delay=10ms reorder=100%:5ms")
    let held = try send(100, into: &link, at: 0)
    var inOrder = link.conditions
    try inOrder.apply("reorder=0%")
    link.change(to: inOrder, at: 0)
    let overtaking = try send(100, into: &link, at: 4 * millisecond)
    let behind = try send(100, into: &link, at: 6 * millisecond)
    let deliveries = drain(&link, until: 100 * millisecond)
    #expect(deliveries.map(\.slot) == [overtaking, held, behind])
    let reordered = link.statistics.reordered
    #expect(reordered == 1)
  }

  @Test("A doubled packet comes twice, and its slot is free only after both")
  func duplication() throws {
    var link = try makeDirection("duplicate=100%", packetsMax: 1)
    let slot = try send(100, into: &link, at: 0)
    for _ in 0..<2 {
      let none = link.claimSlot()
      #expect(none == nil)
      let arrived = link.nextDelivery(at: 0)
      let delivery = try #require(arrived)
      #expect(delivery.slot == slot)
      link.release(delivery.slot)
    }
    let again = link.claimSlot()
    #expect(again == slot)
  }

  @Test("Slots run out, and come back from drops, losses and deliveries alike")
  func slots() throws {
    var link = try makeDirection("loss=30% rate=1mbit queue=5000B", packetsMax: 16)
    var now: Nanoseconds = 0
    for _ in 0..<1_000 {
      try send(1_250, into: &link, at: now)
      now += 3 * millisecond
      _ = drain(&link, until: now)
    }
    _ = drain(&link, until: now + 1_000 * millisecond)
    var free = 0
    while link.claimSlot() != nil { free += 1 }
    #expect(free == 16)
    let statistics = link.statistics
    #expect(statistics.queueDrops > 0 && statistics.losses > 0)
    #expect(
      statistics.packetsReceived == statistics.packetsDelivered + statistics.queueDrops + statistics.losses)
  }

  @Test("The same seed gives the same fates, another seed others")
  func seeds() throws {
    func arrivals(seed: UInt64) throws -> [Nanoseconds] {
      var link = try makeDirection("delay=20ms jitter=5ms loss=10% reorder=5% duplicate=5%", seed: seed)
      for index in 0..<300 { try send(100, into: &link, at: Nanoseconds(index) * millisecond) }
      return drain(&link, until: 1_000 * millisecond).map(\.arrival)
    }
    let first = try arrivals(seed: 1)
    #expect(try arrivals(seed: 1) == first)
    #expect(try arrivals(seed: 2) != first)
  }

  @Test("Another jitter does not change which packets are lost")
  func separateChance() throws {
    func survivors(_ conditions: String) throws -> [Int32] {
      var link = try makeDirection(conditions)
      for index in 0..<300 { try send(100, into: &link, at: Nanoseconds(index) * millisecond) }
      return drain(&link, until: 1_000 * millisecond, releasing: false).map(\.slot).sorted()
    }
    let plain = try survivors("loss=10%")
    #expect(plain.count < 300)
    #expect(try survivors("loss=10% delay=9ms jitter=3ms reorder=4%") == plain)
  }
}
