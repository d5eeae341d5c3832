// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing
import WebRTCTesting

/// The simulator's links do what their conditions say, and the same thing each time.
@Suite("Links and firewalls of the simulated network")
struct LinkTests {
  static let source = TransportAddress.simulated(host: 1)
  static let destination = TransportAddress.simulated(host: 2)

  /// Sends packets of so many bytes at intervals and gives the number and delay of each that arrived.
  private func arrivals(
    _ conditions: LinkConditions, count: Int, byteCount: Int = 100, interval: TimeDelta = .milliseconds(1),
    seed: UInt64 = 1
  ) -> [(number: Int, delay: TimeDelta)] {
    var network = SimulatedNetwork(conditions: conditions, seed: seed)
    for number in 0..<count {
      let bytes = [UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]
      let packet = bytes + [UInt8](repeating: 0, count: byteCount - 2)
      network.send(packet, from: Self.source, to: Self.destination, at: .zero + interval * Int64(number))
    }
    var result: [(Int, TimeDelta)] = []
    while let delivery = network.receive(at: .zero + .seconds(3600)) {
      let number = Int(delivery.bytes[0]) | Int(delivery.bytes[1]) << 8
      result.append((number, delivery.arrival - (.zero + interval * Int64(number))))
    }
    return result
  }

  @Test("Losses come alone or in bursts, as often as they should")
  func loses() {
    let count = 20_000
    func gaps(_ conditions: LinkConditions) -> [Int] {
      let numbers = [-1] + arrivals(conditions, count: count).map(\.number) + [count]
      return zip(numbers, numbers.dropFirst()).map { $1 - $0 - 1 }.filter { $0 > 0 }
    }
    let alone = gaps(LinkConditions(lossProbability: 0.05))
    #expect((800...1200).contains(alone.reduce(0, +)))
    #expect(Double(alone.reduce(0, +)) / Double(alone.count) < 1.2)
    // One in a hundred packets begins a burst of ten: about 9 % are lost.
    let bursts = gaps(LinkConditions(burstLoss: BurstLoss(startProbability: 0.01, endProbability: 0.1)))
    #expect((1400...2300).contains(bursts.reduce(0, +)), "\(bursts.reduce(0, +))")
    #expect((7.0...13).contains(Double(bursts.reduce(0, +)) / Double(bursts.count)))
  }

  @Test("A rate spaces packets, and its queue drops what would wait too long")
  func limitsRate() {
    // 100 + 28 bytes at 1.024 Mbit/s: a packet each millisecond; they are sent four times as fast.
    let conditions = LinkConditions(
      delay: .milliseconds(10), rateBitsPerSecond: 1_024_000, queueDelayMax: .milliseconds(50))
    let result = arrivals(conditions, count: 400, interval: .microseconds(250))
    #expect(result.first?.delay == .milliseconds(11))
    #expect(result.allSatisfy { $0.delay <= .milliseconds(62) })
    #expect((145...155).contains(result.count), "\(result.count)")
    #expect(result.map(\.number) == result.map(\.number).sorted())
  }

  @Test("Packets larger than the MTU vanish, others pass; the headers count")
  func limitsSize() {
    let conditions = LinkConditions(packetByteCountMax: 1280)
    #expect(arrivals(conditions, count: 3, byteCount: 1252).count == 3)
    #expect(arrivals(conditions, count: 3, byteCount: 1253).isEmpty)
  }

  @Test("Reordered and jittered packets come late and out of order, doubled ones twice")
  func disturbs() {
    let late = arrivals(LinkConditions(delay: .milliseconds(10), reorderingProbability: 0.1), count: 1000)
    #expect(late.map(\.number) != late.map(\.number).sorted())
    #expect(Set(late.map(\.delay)) == [.milliseconds(10), .milliseconds(30)])
    let jittery = arrivals(LinkConditions(delay: .milliseconds(10), jitter: .milliseconds(5)), count: 1000)
    #expect(jittery.allSatisfy { (10.0...15).contains($0.delay.inMilliseconds) })
    let doubled = arrivals(LinkConditions(duplicationProbability: 0.5), count: 1000)
    #expect((1400...1600).contains(doubled.count))
  }

  @Test("Each link on the way adds its own, in each direction its own")
  func addsUp() throws {
    var network = SimulatedNetwork(conditions: LinkConditions(delay: .milliseconds(20)), seed: 3)
    let home = network.addSite(
      SimulatedSite(
        up: LinkConditions(delay: .milliseconds(5)), down: LinkConditions(delay: .milliseconds(2)),
        inside: LinkConditions(delay: .milliseconds(1))))
    let office = network.addSite(SimulatedSite(down: LinkConditions(delay: .milliseconds(9))))
    let (here, there) = (TransportAddress.ip("2001:db8::1", 1), TransportAddress.ip("2001:db8:1::1", 1))
    let neighbour = TransportAddress.ip("2001:db8::2", 1)
    _ = network.addHost(here.ip, neighbour.ip, in: home)
    _ = network.addHost(there.ip, in: office)
    network.send([1], from: here, in: home, to: there, at: .zero)
    network.send([2], from: there, in: office, to: here, at: .zero)
    network.send([3], from: here, in: home, to: neighbour, at: .zero)
    var arrivals: [UInt8: Double] = [:]
    while let delivery = network.receive(at: .zero + .seconds(1)) {
      arrivals[delivery.bytes[0]] = (delivery.arrival - .zero).inMilliseconds
    }
    // Up, Internet, down; and back, where the home's own net comes last.
    #expect(arrivals == [1: 5 + 20 + 9, 2: 20 + 2 + 1, 3: 1])
  }

  @Test("A stateful firewall lets answers in and nothing else, as long as its state lives")
  func firewallsIPv6() {
    var network = SimulatedNetwork(conditions: LinkConditions(delay: .milliseconds(1)), seed: 4)
    let home = network.addSite(SimulatedSite(firewall: .stateful))
    let (host, server) = (TransportAddress.ip("2001:db8::1", 1), TransportAddress.ip("2001:db8:1::1", 1))
    _ = network.addHost(host.ip, in: home)
    _ = network.addHost(server.ip)
    func sends(_ network: inout SimulatedNetwork, fromPort port: UInt16, after seconds: Int64) -> Bool {
      let now = Instant.zero + .seconds(seconds)
      network.send([1], from: TransportAddress(ip: server.ip, port: port), to: host, at: now)
      return network.receive(at: now + .milliseconds(1)) != nil
    }
    let unasked = sends(&network, fromPort: 1, after: 0)
    network.send([1], from: host, in: home, to: server, at: .zero + .seconds(1))
    let hasLeft = network.receive(at: .zero + .seconds(2)) != nil
    let (answer, fromOtherPort) = (
      sends(&network, fromPort: 1, after: 3), sends(&network, fromPort: 2, after: 4)
    )
    let late = sends(&network, fromPort: 1, after: 122)
    #expect([unasked, hasLeft, answer, fromOtherPort, late] == [false, true, true, false, false])
    network.update(home) { $0.firewall = .withoutUDP }
    network.send([1], from: host, in: home, to: server, at: .zero + .seconds(200))
    let stillLeaves = network.receive(at: .zero + .seconds(201)) != nil
    #expect(!stillLeaves)
  }

  @Test("The same seed gives the same digest of all arrivals, another seed another")
  func repeats() {
    func digest(_ seed: UInt64) -> UInt64 {
      var network = SimulatedNetwork(
        conditions: LinkConditions(jitter: .milliseconds(5), lossProbability: 0.1), seed: seed)
      for number in 0..<100 {
        network.send([UInt8(number)], from: Self.source, to: Self.destination, at: .zero)
      }
      while network.receive(at: .zero + .seconds(1)) != nil {}
      return network.digest
    }
    #expect(digest(1) == digest(1))
    #expect(digest(1) != digest(2))
  }
}
