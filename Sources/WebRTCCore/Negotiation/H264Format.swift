// SPDX-License-Identifier: Apache-2.0

/// Profile, level and packetisation of an H.264 stream, from its `a=fmtp` (RFC 6184 §8.1).
struct H264Format: Hashable {
  /// Profiles that `profile-level-id` can name (RFC 6184 §8.1, table 5).
  enum Profile: Hashable {
    case constrainedBaseline, baseline, main, extended, constrainedHigh, high
    /// Other profiles match their own two bytes alone.
    case other(profile: UInt8, constraints: UInt8)

    /// Whether a decoder of this profile shows a stream of `stream` (H.264 A.2).
    func decodes(_ stream: Profile) -> Bool {
      if self == stream { return true }
      switch stream {
      // Constrained Baseline is a subset of them all.
      case .constrainedBaseline: return true
      case .main: return self == .high
      case .constrainedHigh: return self == .high
      default: return false
      }
    }
  }

  /// `profile_idc` and the constraint flags as they were written.
  var profileBytes: (UInt8, UInt8) { (UInt8(identifier >> 16 & 0xff), UInt8(identifier >> 8 & 0xff)) }
  /// The 24 bits of `profile-level-id`.
  let identifier: UInt32
  /// `packetization-mode`: 0 single NAL units, 1 non-interleaved, 2 interleaved.
  let packetizationMode: UInt8
  /// Whether each direction may have a level of its own.
  let allowsLevelAsymmetry: Bool

  /// Reads the parameters; `nil` if one that counts is malformed.
  init?(_ parameters: FormatParameterList) {
    // Without the parameter: Baseline, level 1 (RFC 6184 §8.1).
    let text = parameters["profile-level-id"] ?? "42000a"
    guard text.utf8.count == 6, text.utf8.allSatisfy({ Self.isHexDigit($0) }),
      let identifier = UInt32(text, radix: 16),
      let mode = UInt8(parameters["packetization-mode"] ?? "0"), mode <= 2
    else { return nil }
    self.identifier = identifier
    packetizationMode = mode
    allowsLevelAsymmetry = parameters["level-asymmetry-allowed"] == "1"
  }

  private static func isHexDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
    default: false
    }
  }

  /// The profile, by RFC 6184 table 5: several byte pairs mean the same.
  var profile: Profile {
    let (profile, constraints) = profileBytes
    // The low four bits are reserved (constraint_set4 and 5 count for High alone).
    switch (profile, constraints) {
    case (0x42, let flags) where flags & 0x4f == 0x40: return .constrainedBaseline
    case (0x4d, let flags) where flags & 0x8f == 0x80: return .constrainedBaseline
    case (0x58, let flags) where flags & 0xcf == 0xc0: return .constrainedBaseline
    case (0x42, let flags) where flags & 0x4f == 0: return .baseline
    case (0x58, let flags) where flags & 0xcf == 0x80: return .baseline
    case (0x4d, let flags) where flags & 0xaf == 0: return .main
    case (0x58, let flags) where flags & 0xcf == 0: return .extended
    case (0x64, 0x00): return .high
    case (0x64, 0x0c): return .constrainedHigh
    default: return .other(profile: profile, constraints: constraints)
    }
  }

  /// The level times ten, with 1b (level 11 and constraint_set3) between 10 and 11 as 10.5: times twenty.
  var levelRank: Int {
    let (profile, constraints) = profileBytes
    let level = Int(identifier & 0xff)
    let isLevel1b =
      level == 9 || (level == 11 && constraints & 0x10 != 0 && [0x42, 0x4d, 0x58].contains(profile))
    return isLevel1b ? 21 : level * 2
  }

  /// Whether both can be the same format under different levels: profile and packetisation are symmetric.
  func hasSameConfiguration(as other: H264Format) -> Bool {
    packetizationMode == other.packetizationMode && profile == other.profile
  }

  /// The parameters of an answer to `offer` by someone of `own` (RFC 6184 §8.2.2).
  ///
  /// Profile and mode are the offer's. The level is ours where both allow asymmetry, else the lower of both.
  static func answerParameters(offer: H264Format, own: H264Format) -> String {
    let isAsymmetric = offer.allowsLevelAsymmetry && own.allowsLevelAsymmetry
    let usesOwnLevel = isAsymmetric || own.levelRank < offer.levelRank
    var identifier = offer.identifier
    if usesOwnLevel {
      let level = own.identifier & 0xff
      // constraint_set3 tells 1b from 1.1 and goes with the level.
      identifier = (offer.identifier & 0xff_ef00) | (own.identifier & 0x1000) | level
    }
    let digits = String(identifier, radix: 16)
    let padded = String(repeating: "0", count: 6 - digits.count) + digits
    let asymmetry = isAsymmetric ? "level-asymmetry-allowed=1;" : ""
    return "\(asymmetry)packetization-mode=\(offer.packetizationMode);profile-level-id=\(padded)"
  }
}
