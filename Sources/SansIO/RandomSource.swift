// SPDX-License-Identifier: Apache-2.0

/// The randomness of a core: the system's source in production, a seeded generator in the simulator.
///
/// It is a parameter of every core that needs any, so that a simulated run repeats exactly.
public struct RandomSource: RandomNumberGenerator, Sendable {
  private enum Origin: Sendable {
    case system
    case seeded(SplitMix64)
  }

  private var origin: Origin

  /// The operating system's cryptographically secure source; the only one for production.
  public static var system: RandomSource { RandomSource(origin: .system) }

  /// A repeatable sequence for tests and simulations. Never for keys, passwords or identifiers on a network.
  public init(seed: UInt64) { origin = .seeded(SplitMix64(state: seed)) }

  private init(origin: Origin) { self.origin = origin }

  /// Whether the sequence comes from a seed.
  public var isSeeded: Bool {
    if case .seeded = origin { true } else { false }
  }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    switch origin {
    case .system:
      var generator = SystemRandomNumberGenerator()
      return generator.next()
    case .seeded(var generator):
      defer { origin = .seeded(generator) }
      return generator.next()
    }
  }

  /// `count` random bytes.
  public mutating func bytes(_ count: Int) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(count)
    while result.count < count {
      let word = next()
      for shift in 0..<min(8, count - result.count) {
        result.append(UInt8(truncatingIfNeeded: word >> (8 * shift)))
      }
    }
    return result
  }

  /// A source of its own for a part of the system, so that one part's use does not shift another's sequence.
  public mutating func split() -> RandomSource {
    switch origin {
    case .system: .system
    case .seeded: RandomSource(seed: next())
    }
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, good enough to drive a simulation.
private struct SplitMix64: Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
}
