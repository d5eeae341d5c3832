// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO
import Testing

@testable import WebRTC

@Suite("ValueStream: a state and its changes", .timeLimit(.minutes(1)))
struct ValueStreamTests {
  @Test("a reader sees the present value, each change once, and the end")
  func changes() async {
    let stream = ValueStream(0)
    stream.set(1)
    let changes = stream.changes
    stream.set(1)
    stream.set(2)
    stream.finish(with: 9)
    stream.set(3)
    var seen: [Int] = []
    for await value in changes { seen.append(value) }
    #expect(seen == [1, 2, 9])
    #expect(stream.current == 9)
  }

  @Test("a reader that comes after the end sees the last value")
  func late() async {
    let stream = ValueStream("new")
    stream.finish(with: "closed")
    stream.finish(with: "again")
    var seen: [String] = []
    for await value in stream.changes { seen.append(value) }
    #expect(seen == ["closed"])
  }

  @Test("a reader that falls behind keeps the latest changes")
  func bounded() async {
    let stream = ValueStream(0)
    let changes = stream.changes
    for value in 1...1000 { stream.set(value) }
    stream.finish(with: 1000)
    var seen: [Int] = []
    for await value in changes { seen.append(value) }
    #expect(seen.count == ValueStream<Int>.bufferedChangesMax)
    #expect(seen.last == 1000)
  }

  @Test("readers do not take from each other, and one that leaves is forgotten")
  func severalReaders() async {
    let stream = ValueStream(0)
    let first = stream.changes
    do {
      var iterator = stream.changes.makeAsyncIterator()
      let seen = await iterator.next()
      #expect(seen == 0)
    }
    stream.finish(with: 1)
    var seen: [Int] = []
    for await value in first { seen.append(value) }
    #expect(seen == [0, 1])
  }
}

@Suite("RateLimitedLog")
struct RateLimitedLogTests {
  private enum Kind: Int, CaseIterable { case one, other }

  @Test("T43 a million occurrences within a second are one line; the next line counts them")
  func flood() {
    var log = RateLimitedLog<Kind>()
    var lines = 0
    for step in 0..<1_000_000 as Range<Int64> {
      if log.admit(.one, at: Instant(nanoseconds: step * 1000)) != nil { lines += 1 }
    }
    #expect(lines == 1)
    let other = log.admit(.other, at: Instant(nanoseconds: 5))
    #expect(other == 1)
    let later = log.admit(.one, at: .zero + .seconds(10))
    #expect(later == 1_000_000)
  }
}

@Suite("BurstRing: lent memory")
struct BurstRingTests {
  private let transmit: Transmit = {
    let address = TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 1)
    return Transmit(
      route: Route(receivedOn: LocalSocket(id: 0, address: address), from: address), segmentByteCount: 1)
  }()

  @Test("lends room for a burst, and memory is used again after a rewind")
  func reuse() {
    var ring = BurstRing()
    var addresses: Set<UnsafeRawPointer> = []
    for round in 0..<100 as Range<UInt8> {
      var capacity = 0
      let filled = ring.fill { out in
        capacity = out.freeCapacity
        out.write(round)
        return transmit
      }
      #expect(capacity >= BurstRing.burstByteCount)
      #expect(filled?.0.getInteger(at: 0, as: UInt8.self) == round)
      filled?.0.withUnsafeReadableBytes { bytes in
        if let base = bytes.baseAddress { addresses.insert(base) }
      }
      ring.rewind()
    }
    #expect(addresses.count == 1)
  }

  @Test("memory that still waits to be sent is not written over")
  func stillInUse() {
    var ring = BurstRing()
    var kept: [ByteBuffer] = []
    for round in 0..<200 {
      let filled = ring.fill { out in
        out.write(UInt8(round))
        return transmit
      }
      if let buffer = filled?.0 { kept.append(buffer) }
    }
    #expect(kept.map { $0.getInteger(at: 0, as: UInt8.self) } == (0..<200).map { UInt8($0) })
  }

  @Test("nothing written is nothing to send, and costs no place")
  func empty() {
    var ring = BurstRing()
    for _ in 0..<1000 {
      let filled = ring.fill { _ -> Int? in nil }
      #expect(filled?.1 == nil)
    }
    #expect(!ring.isExhausted)
  }
}
