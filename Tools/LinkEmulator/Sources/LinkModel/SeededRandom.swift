// SPDX-License-Identifier: Apache-2.0

/// The SplitMix64 generator: small, quick, and the same numbers for the same seed everywhere.
public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Makes a generator; equal seeds give equal sequences.
  public init(seed: UInt64) {
    state = seed
  }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// A number in 0..<1, from the upper 53 bits, which a `Double` holds exactly.
  mutating func nextUnit() -> Double {
    Double(next() >> 11) * 0x1p-53
  }

  /// Whether an event of this probability happens now. One number is drawn whatever the probability is, so that
  /// changing one condition of a link does not shift the fate of later packets.
  mutating func happens(_ probability: Double) -> Bool {
    nextUnit() < probability
  }
}
