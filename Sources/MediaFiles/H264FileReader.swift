// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO

/// Cuts H.264 byte streams into pictures that a viewer can be given one by one.
///
/// A new access unit begins where ITU-T H.264 §7.4.1.2.3 and §7.4.1.2.4 let it begin: after the picture
/// content of the one before, at a delimiter, a parameter set, supplemental information, or a slice that
/// starts at the first macroblock. Streams with slices in arbitrary order are not cut rightly; no encoder of
/// today makes them.
public struct H264FileReader {
  /// No picture is larger; the same bound as that of the receiving side.
  public static let maximumFrameByteCount = 8 * 1024 * 1024
  /// How many parameter sets are kept: H.264 allows 32 SPS and 256 PPS.
  static let maximumParameterSetCount = 288

  private var frames: [EncodedFrame] = []
  private var bSliceCount = 0
  private var leadingFrameCount = 0
  private var parameterSets = ParameterSets()

  // The access unit that is being collected.
  private var unit: [UInt8] = []
  private var hasPicture = false
  private var isKeyFrame = false
  private var hasOwnSequenceSet = false
  private var hasOwnPictureSet = false

  private init() {}

  /// Reads a whole Annex-B byte stream.
  ///
  /// - Throws: `.unsupported` for H.265, `.empty`, `.noKeyFrame`, `.noParameterSets`, `.frameTooLarge`.
  public static func read(_ bytes: RawSpan, frameRate: FrameRate) throws(MediaFormatError) -> VideoClip {
    var reader = H264FileReader()
    let units = AnnexB.nalUnits(in: bytes)
    if let first = units.first, isH265(bytes.extracting(first)) { throw .unsupported("an H.265 stream") }
    for range in units {
      let nalUnit = bytes.extracting(range)
      if reader.hasPicture && Self.beginsAccessUnit(nalUnit) { try reader.finishFrame() }
      try reader.add(nalUnit)
    }
    try reader.finishFrame()
    return try reader.clip(frameRate: frameRate)
  }

  /// Reads pictures that are already apart, one Annex-B access unit each.
  ///
  /// - Throws: as ``read(_:frameRate:)``.
  public static func read(
    accessUnits: [[UInt8]], frameRate: FrameRate
  ) throws(MediaFormatError) -> VideoClip {
    var reader = H264FileReader()
    for accessUnit in accessUnits {
      for range in AnnexB.nalUnits(in: accessUnit.rawSpan) {
        try reader.add(accessUnit.rawSpan.extracting(range))
      }
      try reader.finishFrame()
    }
    return try reader.clip(frameRate: frameRate)
  }

  /// Whether the unit cannot belong to an access unit that has picture content already.
  static func beginsAccessUnit(_ nalUnit: RawSpan) -> Bool {
    switch H264NALUnit.type(of: nalUnit).rawValue {
    case 1, 5: H264NALUnit.isFirstSlice(nalUnit)
    case 2: (nalUnit.byte(at: 1) ?? 0) & 0x80 != 0
    case 6, 7, 8, 9, 14, 15, 16, 17, 18: true
    default: false
    }
  }

  /// An H.265 stream begins with a video parameter set (type 32) or a delimiter (35) of layer 0.
  static func isH265(_ nalUnit: RawSpan) -> Bool {
    guard let first = nalUnit.byte(at: 0), let second = nalUnit.byte(at: 1) else { return false }
    return (first == 0x40 || first == 0x46) && second == 1
  }

  private mutating func add(_ nalUnit: RawSpan) throws(MediaFormatError) {
    let type = H264NALUnit.type(of: nalUnit)
    switch type {
    case .sequenceParameterSet:
      hasOwnSequenceSet = true
      parameterSets.remember(nalUnit)
    case .pictureParameterSet:
      hasOwnPictureSet = true
      parameterSets.remember(nalUnit)
    case .accessUnitDelimiter, .fillerData: return
    default:
      guard type.isCodedUnit, type.rawValue != 10, type.rawValue != 11 else { return }
    }
    if type.isPictureContent {
      hasPicture = true
      if type == .idrSlice { isKeyFrame = true }
      if H264NALUnit.isBSlice(nalUnit) { bSliceCount += 1 }
    }
    guard unit.count + nalUnit.byteCount <= Self.maximumFrameByteCount else { throw .frameTooLarge }
    unit += AnnexB.startCode
    unit += [UInt8](copying: nalUnit)
  }

  /// Ends the access unit. What has no picture content (parameter sets in front of the stream) goes to the
  /// next one.
  private mutating func finishFrame() throws(MediaFormatError) {
    guard hasPicture else { return }
    if frames.isEmpty && !isKeyFrame {
      leadingFrameCount += 1
    } else if isKeyFrame {
      let missing = try parameterSets.missing(sequence: !hasOwnSequenceSet, picture: !hasOwnPictureSet)
      frames.append(EncodedFrame(bytes: missing + unit, isKeyFrame: true))
    } else {
      frames.append(EncodedFrame(bytes: unit, isKeyFrame: false))
    }
    unit = []
    hasPicture = false
    isKeyFrame = false
    hasOwnSequenceSet = false
    hasOwnPictureSet = false
  }

  private func clip(frameRate: FrameRate) throws(MediaFormatError) -> VideoClip {
    guard !frames.isEmpty else { throw leadingFrameCount > 0 ? .noKeyFrame : .empty }
    var warnings: [MediaWarning] = []
    if leadingFrameCount > 0 { warnings.append(.framesBeforeFirstKeyFrame(leadingFrameCount)) }
    if bSliceCount > 0 { warnings.append(.bFrames(bSliceCount)) }
    return VideoClip(frames: frames, frameRate: frameRate, warnings: warnings)
  }
}

/// The parameter sets that were seen last, for key frames that come without.
private struct ParameterSets {
  private var sequenceSets: [[UInt8]] = []
  private var pictureSets: [[UInt8]] = []

  /// Keeps a set in place of an equal one; a set that changes its content is kept as well, after the older
  /// one, so that the newer one wins in the decoder.
  mutating func remember(_ nalUnit: RawSpan) {
    let bytes = [UInt8](copying: nalUnit)
    if H264NALUnit.type(of: nalUnit) == .sequenceParameterSet {
      Self.keep(bytes, in: &sequenceSets)
    } else {
      Self.keep(bytes, in: &pictureSets)
    }
  }

  private static func keep(_ bytes: [UInt8], in sets: inout [[UInt8]]) {
    sets.removeAll { $0 == bytes }
    sets.append(bytes)
    if sets.count > H264FileReader.maximumParameterSetCount { sets.removeFirst() }
  }

  /// The sets that a key frame lacks, in Annex-B form.
  func missing(sequence: Bool, picture: Bool) throws(MediaFormatError) -> [UInt8] {
    guard !sequenceSets.isEmpty, !pictureSets.isEmpty else { throw .noParameterSets }
    let sets = (sequence ? sequenceSets : []) + (picture ? pictureSets : [])
    return sets.reduce(into: []) { $0 += AnnexB.startCode + $1 }
  }
}
