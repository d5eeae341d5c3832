// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Whole calls between every two kinds of NAT boxes: connected whenever theory says that there is a path, failed with
/// a reason when not, never wedged.
@Suite("Every pair of NAT kinds, RFC 4787 and RFC 8445")
struct NATMatrixTests {
  /// Two boxes, the first not behind the second in the list of all kinds.
  struct Pair: Sendable, CustomTestStringConvertible {
    let left: NATBehaviour
    let right: NATBehaviour

    var testDescription: String { "\(left) and \(right)" }

    static let all = NATBehaviour.all.indices.flatMap { index in
      NATBehaviour.all[index...].map { Pair(left: NATBehaviour.all[index], right: $0) }
    }
  }

  @Test("Without a relay two boxes connect exactly where theory has a path", arguments: Pair.all)
  func connectsDirectly(pair: Pair) throws {
    for seed in Seeds.few {
      let scenario = try Scenario(
        seed: seed, viewer: .init(nat: pair.left), master: .init(nat: pair.right), servers: .stun)
      let outcome = try scenario.outcome()
      if PathTheory.isDirectPathPossible(pair.left, pair.right) {
        #expect(outcome == .connected, "seed \(seed)")
        let carriesMedia = scenario.carriesMedia()
        #expect(carriesMedia, "seed \(seed)")
      } else {
        #expect(outcome == .failed(.noAnswer, .noAnswer), "seed \(seed)")
      }
    }
  }

  @Test("With a relay any two boxes connect, directly where theory has a path", arguments: Pair.all)
  func connectsByRelay(pair: Pair) throws {
    for seed in Seeds.few {
      let scenario = try Scenario(seed: seed, viewer: .init(nat: pair.left), master: .init(nat: pair.right))
      let outcome = try scenario.outcome(within: .seconds(15))
      #expect(outcome == .connected, "seed \(seed)")
      let carriesMedia = scenario.carriesMedia()
      #expect(carriesMedia, "seed \(seed)")
    }
  }

  @Test("The theory says of well-known pairs what everybody knows")
  func theoryIsPlausible() {
    func kind(_ mapping: NATBehaviour.Mapping, _ filtering: NATBehaviour.Filtering) -> NATBehaviour {
      NATBehaviour(mapping: mapping, filtering: filtering)
    }
    let fullCone = kind(.endpointIndependent, .endpointIndependent)
    let restricted = kind(.endpointIndependent, .addressDependent)
    let portRestricted = kind(.endpointIndependent, .addressAndPortDependent)
    let symmetric = kind(.addressAndPortDependent, .addressAndPortDependent)
    let carrier = kind(.pooled, .addressAndPortDependent)
    let connected = [
      (fullCone, symmetric), (fullCone, carrier), (restricted, symmetric), (portRestricted, portRestricted),
    ]
    let unconnected = [(portRestricted, symmetric), (symmetric, symmetric), (restricted, carrier)]
    for (left, right) in connected { #expect(PathTheory.isDirectPathPossible(left, right)) }
    for (left, right) in unconnected { #expect(!PathTheory.isDirectPathPossible(left, right)) }
  }
}
