// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

private enum Alarm: Int, CaseIterable, Sendable { case first, second, third }

@Suite("Timers, queues, counters, sequence numbers, randomness")
struct CollectionTests {
  @Test("A timer table gives the earliest deadline and pops what is due once")
  func timers() {
    var timers = TimerTable<Alarm>()
    #expect(timers.nextDeadline == nil)
    timers[.second] = Instant(nanoseconds: 20)
    timers[.third] = Instant(nanoseconds: 10)
    #expect(timers.nextDeadline == Instant(nanoseconds: 10))
    let early = timers.popExpired(at: Instant(nanoseconds: 9))
    let due = (0..<3).map { _ in timers.popExpired(at: Instant(nanoseconds: 20)) }
    #expect(early == nil)
    #expect(due == [.second, .third, nil])
    timers[.first] = .zero
    timers.stopAll()
    #expect(timers.nextDeadline == nil)
  }

  @Test("A bounded queue keeps order over many turns of its ring and refuses when full")
  func queue() {
    var queue = BoundedQueue<Int>(capacity: 3)
    var expected = 0
    for value in 0..<100 {
      let isAccepted = queue.append(value)
      #expect(isAccepted)
      if queue.isFull {
        let isAcceptedWhenFull = queue.append(-1)
        #expect(!isAcceptedWhenFull)
        let oldest = queue.popFirst()
        #expect(oldest == expected)
        expected += 1
      }
    }
    #expect(queue.first == expected)
    queue.removeAll()
    #expect(queue.isEmpty)
    let none = queue.popFirst()
    #expect(none == nil)
  }

  @Test("Counters count by cause")
  func counters() {
    var drops = DropCounters<Alarm>()
    drops[.second] += 2
    #expect(drops.total == 2)
    #expect(drops.nonZero.map(\.cause) == [.second])
  }

  @Test("Sequence numbers extend over several wraps, forwards and late", arguments: [0, 1, 65_535, 32_768])
  func extendsSequence(start: UInt16) {
    var extender = SequenceExtender()
    let first = extender.extend(SequenceNumber(rawValue: start))
    for step in 1...200_000 {
      let number = SequenceNumber(rawValue: start &+ UInt16(truncatingIfNeeded: step))
      let extended = extender.extend(number)
      guard extended == first + Int64(step) else {
        Issue.record("wrong at step \(step)")
        return
      }
    }
    let late = SequenceNumber(rawValue: start &+ UInt16(truncatingIfNeeded: 200_000 - 30_000))
    let extendedLate = extender.extend(late)
    #expect(extendedLate == first + 170_000)
    #expect(extender.highest == first + 200_000)
  }

  @Test("A seed repeats its sequence, the system's source does not")
  func randomness() {
    var (left, right) = (RandomSource(seed: 7), RandomSource(seed: 7))
    let (leftBytes, rightBytes) = (left.bytes(33), right.bytes(33))
    #expect(leftBytes == rightBytes)
    var child = left.split()
    let (childWord, leftWord) = (child.next(), left.next())
    #expect(childWord != leftWord)
    var (one, two) = (RandomSource.system, RandomSource.system)
    let (oneBytes, twoBytes) = (one.bytes(16), two.bytes(16))
    #expect(oneBytes != twoBytes)
    #expect(!RandomSource.system.isSeeded)
  }

  @Test("Instants and spans add up, and clamp what does not fit")
  func time() {
    let start = Instant(nanoseconds: 5)
    #expect(start + .milliseconds(2) - start == .microseconds(2000))
    #expect(TimeDelta(.milliseconds(1500)) == TimeDelta(seconds: 1.5))
    #expect(TimeDelta(.seconds(Int64.max)).nanoseconds == .max)
    #expect(Duration(.seconds(2)) == .seconds(2))
    #expect(Instant.earliest(nil, start) == start)
    #expect(Instant.earliest(start + .seconds(1), start) == start)
  }
}
