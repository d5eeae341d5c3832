// SPDX-License-Identifier: Apache-2.0

import LinkModel
import Testing

@Suite("Conditions in words")
struct ParsingTests {
  @Test("Every condition is understood")
  func all() throws {
    var conditions = LinkConditions()
    try conditions.apply(
      "delay=50ms,jitter=500us loss=2% reorder=1%:30ms, duplicate=0.5% rate=2.5mbit queue=64kB")
    var expected = LinkConditions()
    expected.delay = 50_000_000
    expected.jitter = 500_000
    expected.loss = .random(0.02)
    expected.reordering = 0.01
    expected.reorderingDelay = 30_000_000
    expected.duplication = 0.005
    expected.rateBitsPerSecond = 2_500_000
    expected.queueLimit = .bytes(64_000)
    #expect(conditions == expected)
  }

  @Test("What is not named stays; 'perfect' forgets all")
  func incremental() throws {
    var conditions = LinkConditions()
    try conditions.apply("delay=1s rate=1gbit")
    try conditions.apply("rate=unlimited queue=150ms")
    #expect(conditions.delay == 1_000_000_000)
    #expect(conditions.rateBitsPerSecond == nil)
    #expect(conditions.queueLimit == .duration(150_000_000))
    try conditions.apply("perfect jitter=1ms")
    #expect(conditions.delay == 0)
    #expect(conditions.jitter == 1_000_000)
  }

  @Test("Loss in bursts, by its mean and by the model's own numbers")
  func loss() throws {
    var conditions = LinkConditions()
    try conditions.apply("loss=burst:20%:4")
    #expect(conditions.loss == .gilbertElliott(GilbertElliott(toBad: 0.0625, toGood: 0.25)))
    try conditions.apply("loss=gilbert:1%:25%:90%:3%")
    #expect(
      conditions.loss
        == .gilbertElliott(GilbertElliott(toBad: 0.01, toGood: 0.25, lossInBad: 0.9, lossInGood: 0.03)))
    try conditions.apply("loss=gilbert:1%:25%")
    #expect(conditions.loss == .gilbertElliott(GilbertElliott(toBad: 0.01, toGood: 0.25)))
  }

  @Test(
    "What means nothing is refused",
    arguments: [
      "delay", "delay=", "delay=5", "delay=-5ms", "delay=nanms", "delay=infs", "delay=2000000s",
      "speed=1mbit",
      "loss=101%", "loss=2", "loss=burst:2%", "loss=burst:100%:4", "loss=burst:2%:0.5", "loss=gilbert:1%",
      "rate=0mbit", "rate=2", "rate=99999999gbit", "queue=5", "reorder=1%:x", "perfect=1",
    ])
  func refused(text: String) {
    var conditions = LinkConditions()
    #expect(throws: LinkSyntaxError.self) { try conditions.apply(text) }
  }

  @Test("A schedule has times, directions and conditions, blank lines and comments")
  func schedule() throws {
    let schedule = try LinkSchedule(
      parsing: """
        # an uplink breaks down
        0s    both   delay=25ms rate=5mbit

        10s   forth  rate=500kbit   # here
        10.5s back   loss=1%
        """)
    #expect(schedule.entries.map(\.time) == [0, 10_000_000_000, 10_500_000_000])
    #expect(schedule.entries.map(\.change.directions) == [.both, .forth, .back])
    let changed = schedule.entries[1].change.applied(to: LinkConditions())
    #expect(changed.rateBitsPerSecond == 500_000)
  }

  @Test("A direction says which way it is meant for")
  func directions() {
    #expect(LinkDirections.forth.includesForth && !LinkDirections.forth.includesBack)
    #expect(!LinkDirections.back.includesForth && LinkDirections.back.includesBack)
    #expect(LinkDirections.both.includesForth && LinkDirections.both.includesBack)
  }

  @Test(
    "A damaged schedule is refused",
    arguments: [
      "10s", "10s forth", "10s forth speed=1", "soon both delay=1ms", "5s sideways delay=1ms",
      "5s both delay=1ms\n4s both delay=2ms",
    ])
  func refusedSchedule(text: String) {
    #expect(throws: LinkSyntaxError.self) { try LinkSchedule(parsing: text) }
  }
}
