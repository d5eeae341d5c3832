// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The type of an H.264 NAL unit: ITU-T H.264 table 7-1, from 24 on RFC 6184 §5.2.
public struct H264NALUnitType: RawRepresentable, Hashable, Sendable {
  /// The low five bits of the unit's first byte.
  public let rawValue: UInt8

  /// Wraps a type, 0 to 31.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The type of a unit with this first byte.
  @inlinable
  public init(header: UInt8) { rawValue = header & 0x1f }

  /// A slice of a picture that others may be decoded without.
  public static let slice = H264NALUnitType(rawValue: 1)
  /// A slice of an instantaneous decoding refresh picture: a decoder can start here.
  public static let idrSlice = H264NALUnitType(rawValue: 5)
  /// Supplemental enhancement information.
  public static let supplementalInformation = H264NALUnitType(rawValue: 6)
  /// A sequence parameter set (SPS).
  public static let sequenceParameterSet = H264NALUnitType(rawValue: 7)
  /// A picture parameter set (PPS).
  public static let pictureParameterSet = H264NALUnitType(rawValue: 8)
  /// Access unit delimiter (AUD).
  public static let accessUnitDelimiter = H264NALUnitType(rawValue: 9)
  /// Filler data: bytes without meaning that keep a bit rate up.
  public static let fillerData = H264NALUnitType(rawValue: 12)
  /// RFC 6184 §5.7.1: several units in one packet.
  public static let stapA = H264NALUnitType(rawValue: 24)
  /// RFC 6184 §5.8: a part of a unit.
  public static let fuA = H264NALUnitType(rawValue: 28)

  /// Whether a unit of this type may stand in an access unit: neither 0 nor one of RTP's packet types.
  @inlinable
  public var isCodedUnit: Bool { (1...23).contains(rawValue) }

  /// Whether this is a slice, or a partition of one: picture content.
  @inlinable
  public var isPictureContent: Bool { (1...5).contains(rawValue) }
}

/// What can be told of an H.264 NAL unit from its bytes.
public enum H264NALUnit {
  /// The type; 0 for no bytes at all.
  @inlinable
  public static func type(of unit: RawSpan) -> H264NALUnitType {
    H264NALUnitType(header: unit.byte(at: 0) ?? 0)
  }

  /// Whether the unit is a slice whose pictures are predicted in both directions, so that pictures are not coded
  /// in the order of display. Browsers show such streams badly.
  public static func isBSlice(_ unit: RawSpan) -> Bool {
    guard let header = try? H264SliceHeader(parsing: unit) else { return false }
    return header.kind == .b
  }

  /// Whether the unit is a slice that begins with a picture's first macroblock.
  ///
  /// `first_mb_in_slice` is the first field and 0 is coded as the single bit 1 (H.264 §7.3.3, §9.1).
  @inlinable
  public static func isFirstSlice(_ unit: RawSpan) -> Bool {
    let type = type(of: unit)
    guard type == .slice || type == .idrSlice, let byte = unit.byte(at: 1) else { return false }
    return byte & 0x80 != 0
  }
}
