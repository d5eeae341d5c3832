// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A sequence parameter set (ITU-T H.264 §7.3.2.1.1): profile, level and picture size.
public struct H264SequenceParameterSet: Hashable, Sendable {
  /// `profile_idc`: 66 baseline, 77 main, 100 high.
  public let profileIndication: UInt8
  /// The constraint flags, `constraint_set0_flag` in the highest bit.
  public let constraintFlags: UInt8
  /// `level_idc`: ten times the level.
  public let levelIndication: UInt8
  /// Width of the shown picture in pixels.
  public let width: Int
  /// Height of the shown picture in pixels.
  public let height: Int

  /// The six hexadecimal digits of RFC 6184 §8.1.
  public var profileLevelID: String {
    [profileIndication, constraintFlags, levelIndication]
      .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// Macroblocks in a row or column at most: 16,384 pixels, twice what level 6.2 allows for common shapes.
  private static let macroblocksMax: UInt32 = 1024

  /// Parses a NAL unit of type 7.
  ///
  /// - Throws: `ParseError.invalid` for another type or values that the standard forbids, `.truncated` for a
  ///   short unit. Work is bounded: every loop by a constant, every code by 32 bits.
  public init(parsing unit: RawSpan) throws(ParseError) {
    guard H264NALUnit.type(of: unit) == .sequenceParameterSet else { throw .invalid("SPS NAL unit type") }
    var reader = H264BitReader(afterHeaderOf: unit)
    profileIndication = UInt8(truncatingIfNeeded: try reader.readBits(8))
    constraintFlags = UInt8(truncatingIfNeeded: try reader.readBits(8))
    levelIndication = UInt8(truncatingIfNeeded: try reader.readBits(8))
    guard try reader.readUnsigned() <= 31 else { throw .invalid("seq_parameter_set_id") }
    var chromaFormat: UInt32 = 1
    if Self.profilesWithChromaFormat.contains(profileIndication) {
      chromaFormat = try Self.readChromaFormat(&reader)
    }
    try Self.skipToPictureSize(&reader)
    let widthInMacroblocks = try reader.readUnsigned()
    let heightInMapUnits = try reader.readUnsigned()
    guard widthInMacroblocks < Self.macroblocksMax, heightInMapUnits < Self.macroblocksMax else {
      throw .invalid("SPS picture size")
    }
    let isFrameOnly = try reader.readBit() == 1
    if !isFrameOnly { _ = try reader.readBit() }
    _ = try reader.readBit()
    var crop = (left: 0, right: 0, top: 0, bottom: 0)
    if try reader.readBit() == 1 {
      crop.left = Int(try reader.readUnsigned())
      crop.right = Int(try reader.readUnsigned())
      crop.top = Int(try reader.readUnsigned())
      crop.bottom = Int(try reader.readUnsigned())
    }
    let cropUnitX = chromaFormat == 1 || chromaFormat == 2 ? 2 : 1
    let cropUnitY = (chromaFormat == 1 ? 2 : 1) * (isFrameOnly ? 1 : 2)
    width = 16 * Int(widthInMacroblocks + 1) - cropUnitX * (crop.left + crop.right)
    height = 16 * Int(heightInMapUnits + 1) * (isFrameOnly ? 1 : 2) - cropUnitY * (crop.top + crop.bottom)
    guard width > 0, height > 0 else { throw .invalid("SPS cropping") }
  }

  private static let profilesWithChromaFormat: Set<UInt8> = [
    100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135,
  ]

  /// Reads from `chroma_format_idc` to the scaling lists; returns the chroma format, 0 for separate planes.
  private static func readChromaFormat(_ reader: inout H264BitReader) throws(ParseError) -> UInt32 {
    var format = try reader.readUnsigned()
    guard format <= 3 else { throw .invalid("chroma_format_idc") }
    let scalingListCount = format == 3 ? 12 : 8
    if format == 3, try reader.readBit() == 1 { format = 0 }
    _ = try reader.readUnsigned()
    _ = try reader.readUnsigned()
    _ = try reader.readBit()
    guard try reader.readBit() == 1 else { return format }
    for list in 0..<scalingListCount where try reader.readBit() == 1 {
      try skipScalingList(&reader, entryCount: list < 6 ? 16 : 64)
    }
    return format
  }

  /// H.264 §7.3.2.1.1.1.
  private static func skipScalingList(
    _ reader: inout H264BitReader, entryCount: Int
  ) throws(ParseError) {
    var scale: Int64 = 8
    for _ in 0..<entryCount {
      scale = (scale + (try reader.readSigned()) + 256) % 256
      if scale == 0 { return }
    }
  }

  private static func skipToPictureSize(_ reader: inout H264BitReader) throws(ParseError) {
    _ = try reader.readUnsigned()
    switch try reader.readUnsigned() {
    case 0: _ = try reader.readUnsigned()
    case 1:
      _ = try reader.readBit()
      _ = try reader.readSigned()
      _ = try reader.readSigned()
      let count = try reader.readUnsigned()
      guard count <= 255 else { throw .invalid("num_ref_frames_in_pic_order_cnt_cycle") }
      for _ in 0..<count { _ = try reader.readSigned() }
    case 2: break
    default: throw .invalid("pic_order_cnt_type")
    }
    _ = try reader.readUnsigned()
    _ = try reader.readBit()
  }
}
