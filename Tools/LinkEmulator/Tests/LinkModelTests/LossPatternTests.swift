// SPDX-License-Identifier: Apache-2.0

import LinkModel
import Testing

/// Loss over 100,000 packets from a fixed seed: the bounds are some five standard deviations wide, so that they tell a
/// wrong model and not an unlucky seed.
@Suite("Loss on an emulated link")
struct LossPatternTests {
  /// For each packet whether it got lost.
  private func losses(_ conditions: String, seed: UInt64 = 11, count: Int = 100_000) throws -> [Bool] {
    var parsed = LinkConditions()
    try parsed.apply(conditions)
    var link = LinkDirection(conditions: parsed, seed: seed, packetsMax: 4)
    return try (0..<count).map { _ in
      let claimed = link.claimSlot()
      let slot = try #require(claimed)
      link.accept(slot, byteCount: 100, at: 0)
      guard let delivery = link.nextDelivery(at: 0) else { return true }
      link.release(delivery.slot)
      return false
    }
  }

  private func share(_ losses: [Bool]) -> Double {
    Double(losses.count { $0 }) / Double(losses.count)
  }

  private func meanBurst(_ losses: [Bool]) -> Double {
    let bursts = losses.indices.count { losses[$0] && ($0 == 0 || !losses[$0 - 1]) }
    return Double(losses.count { $0 }) / Double(bursts)
  }

  @Test("Random loss has its share, in bursts no longer than chance makes them")
  func random() throws {
    let lost = try losses("loss=5%")
    #expect(abs(share(lost) - 0.05) < 0.004)
    #expect(abs(meanBurst(lost) - 1 / 0.95) < 0.02)
  }

  @Test("Burst loss has its share and its mean length")
  func bursts() throws {
    let lost = try losses("loss=burst:5%:4")
    #expect(abs(share(lost) - 0.05) < 0.01)
    #expect(abs(meanBurst(lost) - 4) < 0.4)
  }

  @Test("The four numbers of the Gilbert-Elliott model each count")
  func gilbertElliott() throws {
    // A fifth of the time in the bad state (0.02 / (0.02 + 0.08)), half lost there, a tenth elsewhere.
    let lost = try losses("loss=gilbert:2%:8%:50%:10%")
    #expect(abs(share(lost) - (0.2 * 0.5 + 0.8 * 0.1)) < 0.015)
    let good = try losses("loss=gilbert:2%:8%:0%:10%")
    #expect(abs(share(good) - 0.08) < 0.01)
  }

  @Test("None and all are exact", arguments: [("loss=0%", 0.0), ("loss=100%", 1.0)])
  func extremes(conditions: String, expected: Double) throws {
    #expect(share(try losses(conditions, count: 10_000)) == expected)
  }
}
