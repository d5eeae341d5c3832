// SPDX-License-Identifier: Apache-2.0

/// How a link loses packets.
public enum LossPattern: Equatable, Sendable {
  /// Each packet by itself, with this probability.
  case random(Double)
  /// In bursts.
  case gilbertElliott(GilbertElliott)
}

/// The two-state loss model of Gilbert (1960) and Elliott (1963): a good and a bad state, each with its own loss, and
/// the probabilities, per packet, of going from one to the other.
public struct GilbertElliott: Equatable, Sendable {
  /// The probability per packet of going from the good state to the bad one.
  public var toBad: Double
  /// The probability per packet of going back; its inverse is the mean length of a bad spell in packets.
  public var toGood: Double
  /// The loss in the bad state.
  public var lossInBad: Double
  /// The loss in the good state.
  public var lossInGood: Double

  /// Makes the model from its four probabilities.
  public init(toBad: Double, toGood: Double, lossInBad: Double = 1, lossInGood: Double = 0) {
    self.toBad = toBad
    self.toGood = toGood
    self.lossInBad = lossInBad
    self.lossInGood = lossInGood
  }

  /// The model that loses `loss` of all packets (less than 1) in bursts of `meanBurst` packets (at least 1) on average.
  public init(loss: Double, meanBurst: Double) {
    let toGood = 1 / meanBurst
    self.init(toBad: min(1, toGood * loss / (1 - loss)), toGood: toGood)
  }
}

/// Decides the loss of one packet after the other.
struct LossProcess {
  private var isBad = false

  mutating func losesNext(by pattern: LossPattern, random: inout SeededRandom) -> Bool {
    switch pattern {
    case .random(let probability):
      isBad = false
      return random.happens(probability)
    case .gilbertElliott(let model):
      isBad = isBad ? !random.happens(model.toGood) : random.happens(model.toBad)
      return random.happens(isBad ? model.lossInBad : model.lossInGood)
    }
  }
}
