// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The first fields of a slice header (ITU-T H.264 §7.3.3), as far as they need no parameter set.
public struct H264SliceHeader: Hashable, Sendable {
  /// How a slice is predicted (H.264 table 7-6).
  public enum Kind: UInt8, Hashable, Sendable {
    /// From earlier pictures.
    case p
    /// From two directions.
    case b
    /// From itself.
    case i
    /// Switching, from earlier pictures.
    case sp
    /// Switching, from itself.
    case si
  }

  /// The number of the slice's first macroblock; 0 begins a picture.
  public let firstMacroblock: UInt32
  /// How the slice is predicted.
  public let kind: Kind

  /// Parses a NAL unit of type 1, 2 or 5.
  ///
  /// - Throws: `ParseError.invalid` for other types and for a slice type above 9, `.truncated` for a short unit.
  public init(parsing unit: RawSpan) throws(ParseError) {
    let type = H264NALUnit.type(of: unit).rawValue
    guard type == 1 || type == 2 || type == 5 else { throw .invalid("slice NAL unit type") }
    var reader = H264BitReader(afterHeaderOf: unit)
    firstMacroblock = try reader.readUnsigned()
    let sliceType = try reader.readUnsigned()
    guard sliceType <= 9, let kind = Kind(rawValue: UInt8(sliceType % 5)) else {
      throw .invalid("slice type")
    }
    self.kind = kind
  }
}
