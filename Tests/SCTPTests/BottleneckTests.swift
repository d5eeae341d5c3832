// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

typealias CongestionAlgorithm = SCTPAssociation.Configuration.CongestionAlgorithm

/// Goal: each congestion controller uses what a path can carry, and leaves others their part. Method: associations
/// that always have something to send, over one bottleneck in virtual time, so that the shares are exact.
@Suite("Associations on paths with a bottleneck, a queue and losses")
struct BottleneckTests {
  /// The part of the path's capacity that each flow had after some seconds, in percent.
  private static func shares(
    of algorithms: [CongestionAlgorithm], on path: Path, after warmUp: Int64, for seconds: Int64
  ) -> (shares: [Int], flows: [SharedPath.Flow]) {
    var shared = SharedPath(path)
    for algorithm in algorithms { shared.add(algorithm) }
    shared.run(for: .seconds(warmUp))
    shared.run(for: .seconds(seconds))
    let capacity = Int(seconds * path.bytesPerSecond)
    return (shared.flows.map { $0.byteCount * 100 / capacity }, shared.flows)
  }

  /// Payload is 97.4 % of what a packet's bytes are: the rest is headers.
  @Test(
    "100 Mbit/s at 40 ms with a queue of one product of both are filled, without a pause of 200 ms",
    arguments: [CongestionAlgorithm.newReno, .cubic, .modelBased])
  func bottleneck(algorithm: CongestionAlgorithm) {
    let (shares, flows) = Self.shares(of: [algorithm], on: Path(), after: 1, for: 2)
    #expect(shares[0] >= 92, "\(shares)")
    let (gap, timeouts) = (flows[0].longestGap, flows[0].sender.currentStatistics.timeouts)
    #expect(gap < .milliseconds(200))
    #expect(timeouts == 0)
  }

  @Test("Slow start overshoots by less than one product of rate and round-trip time")
  func slowStart() {
    let (_, flows) = Self.shares(of: [.cubic], on: Path(), after: 0, for: 1)
    let retransmitted = flows[0].sender.currentStatistics.chunksRetransmitted
    // Of 1,160 bytes each, beyond a queue that holds another such product.
    #expect(retransmitted < 500_000 / 1160)
  }

  @Test("A tenth of that queue is enough for a model, and a third for CUBIC, which is ahead of NewReno there")
  func shallowQueue() {
    let model = Self.shares(of: [.modelBased], on: Path(queueByteCount: 50_000), after: 1, for: 2).shares[0]
    let path = Path(bytesPerSecond: 2_500_000, queueByteCount: 33_000)
    let cubic = Self.shares(of: [.cubic], on: path, after: 3, for: 12).shares[0]
    let newReno = Self.shares(of: [.newReno], on: path, after: 3, for: 12).shares[0]
    #expect(model >= 60)
    #expect(cubic >= 80)
    #expect(cubic > newReno)
  }

  @Test("A model keeps queues short: the round trip stays that of the empty path")
  func shortQueue() {
    let path = Path(queueByteCount: 2_500_000)
    let (shares, flows) = Self.shares(of: [.modelBased], on: path, after: 1, for: 2)
    let roundTrip = flows[0].sender.currentStatistics.smoothedRoundTripTime ?? .zero
    #expect(shares[0] >= 92, "\(shares)")
    #expect(roundTrip < .milliseconds(50))
  }

  @Test("One packet lost in a hundred leaves a model nearly the whole path, and CUBIC a twentieth")
  func randomLoss() {
    let path = Path(lossPerMille: 10, seed: 7)
    let model = Self.shares(of: [.modelBased], on: path, after: 1, for: 2).shares[0]
    let cubic = Self.shares(of: [.cubic], on: path, after: 1, for: 10).shares[0]
    #expect(model >= 85)
    #expect(cubic <= 10)
  }

  @Test("Ten packets lost in a hundred are the sign of a full queue to a model too, and it goes on")
  func heavyLoss() {
    let path = Path(bytesPerSecond: 1_250_000, queueByteCount: 50_000, lossPerMille: 100, seed: 7)
    let (shares, _) = Self.shares(of: [.modelBased], on: path, after: 2, for: 10)
    #expect(shares[0] >= 5, "\(shares)")
  }

  @Test(
    "Beside a model NewReno keeps a third of its part at least, whoever was there first",
    arguments: [[CongestionAlgorithm.modelBased, .newReno], [.newReno, .modelBased], [.cubic, .newReno]])
  func fairness(algorithms: [CongestionAlgorithm]) {
    var shared = SharedPath(Path(bytesPerSecond: 2_500_000, queueByteCount: 100_000))
    shared.add(algorithms[0])
    shared.add(algorithms[1], startingAt: .seconds(1))
    shared.run(for: .seconds(4))
    shared.run(for: .seconds(30))
    for (algorithm, flow) in zip(algorithms, shared.flows) {
      let share = flow.byteCount * 100 / (30 * 2_500_000)
      #expect(share >= 100 / 2 / 3, "\(algorithm) of \(algorithms)")
    }
  }

  @Test("A model's flow that pauses goes on at the rate it had")
  func pause() throws {
    var pair = SimulatedPair.connected(
      Link(delay: .milliseconds(20), bytesPerSecond: 2_500_000, queue: .milliseconds(40)),
      left: Self.modelBased)
    let message = [UInt8](repeating: 1, count: 250_000)
    for _ in 0..<10 { try pair.left.association.send(message, on: 1, payloadProtocol: binary, at: pair.now) }
    pair.run(seconds: 5) { $0.right.messages.count == 10 }
    pair.run(seconds: 3)
    let start = pair.now
    for _ in 0..<2 { try pair.left.association.send(message, on: 1, payloadProtocol: binary, at: pair.now) }
    pair.run(seconds: 5) { $0.right.messages.count == 12 }
    let elapsed = pair.now - start
    // 200 ms at the full rate, and the way.
    #expect(elapsed < .milliseconds(350))
  }

  private static var modelBased: SCTPAssociation.Configuration {
    var configuration = SCTPAssociation.Configuration()
    configuration.congestionAlgorithm = .modelBased
    return configuration
  }
}

@Suite("Congestion controllers and what they measure")
struct CongestionControlTests {
  /// A SACK of the whole window, in 40 ms.
  private static func round(_ window: Int, at now: Instant) -> Acknowledgement {
    Acknowledgement(
      byteCount: window, previousInFlightByteCount: window, roundTripTime: .milliseconds(40),
      isCumulative: true,
      time: now)
  }

  @Test("CUBIC is back at the window of a loss after K seconds, and beyond it only then (RFC 9438 §4.2)")
  func cubicCurve() {
    var cubic = Cubic(packetByteCount: 1000)
    var now = Instant.zero
    while cubic.window < 1_280_000 {
      now += .milliseconds(40)
      cubic.acknowledged(Self.round(cubic.window, at: now))
    }
    cubic.lossDetected()
    let reduced = cubic.window
    #expect(reduced == 896_000)
    // K is the cube root of 1,280 packets * 0.3 / 0.4: 9.87 s.
    let start = now
    var back: TimeDelta?
    while now - start < .seconds(11) {
      now += .milliseconds(40)
      cubic.acknowledged(Self.round(cubic.window, at: now))
      if back == nil, cubic.window >= 1_279_000 { back = now - start }
    }
    let elapsed = back ?? .zero
    #expect(elapsed > .milliseconds(8000) && elapsed < .milliseconds(10_100))
  }

  @Test("The delivery rate is that of the path, however acknowledgements are bundled")
  func deliveryRate() {
    var delivery = DeliveryRate()
    var now = Instant.zero
    var measured: [Double] = []
    // 1,000 bytes each millisecond, acknowledged 20 ms later, ten at a time.
    for packet in Int64(1)...400 {
      delivery.sent(packet, inFlightByteCount: packet == 1 ? 0 : 20_000, at: now)
      now += .milliseconds(1)
      guard packet > 20, packet % 10 == 0 else { continue }
      let sample = delivery.acknowledged(10_000, newest: packet - 20, shortest: .milliseconds(20), at: now)
      if let rate = sample?.bytesPerSecond { measured.append(rate) }
    }
    #expect(measured.count > 30)
    let areRight = measured.dropFirst(3).allSatisfy { $0 > 900_000 && $0 < 1_100_000 }
    #expect(areRight, "\(measured)")
  }

  @Test("What was sent while there was too little to send says so")
  func drySpell() {
    var delivery = DeliveryRate()
    delivery.sent(1, inFlightByteCount: 0, at: .zero)
    delivery.ranDry(inFlightByteCount: 1000)
    delivery.sent(2, inFlightByteCount: 1000, at: .zero + .milliseconds(1))
    let first = delivery.acknowledged(1000, newest: 1, shortest: nil, at: .zero + .milliseconds(20))
    let second = delivery.acknowledged(1000, newest: 2, shortest: nil, at: .zero + .milliseconds(21))
    delivery.sent(3, inFlightByteCount: 0, at: .zero + .milliseconds(22))
    let third = delivery.acknowledged(1000, newest: 3, shortest: nil, at: .zero + .milliseconds(42))
    #expect(first?.isFromDrySpell == false)
    #expect(second?.isFromDrySpell == true)
    #expect(third?.isFromDrySpell == false)
  }

  @Test("A pacer lets a burst of a millisecond go at once, and the rate over time")
  func pacer() {
    var pacer = Pacer(packetByteCount: 1000)
    var now = Instant.zero
    var sent = 0
    while now < .zero + .seconds(1) {
      while pacer.mayTransmit(at: now, rate: 10_000_000) {
        pacer.transmitted(1000)
        sent += 1000
      }
      let next = pacer.nextBurst(after: now, rate: 10_000_000)
      #expect(next > now)
      now = next
    }
    #expect(sent > 9_900_000 && sent < 10_100_000)
  }
}
