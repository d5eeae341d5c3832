// SPDX-License-Identifier: Apache-2.0

import MediaFiles
import RTP
import SansIO
import Testing

/// Small NAL units, made by hand. Slices begin with first_mb_in_slice 0 (`1`) and their type (P 0: `1`, B 1:
/// `010`, I 7: `0001000`).
enum Unit {
  static let sps: [UInt8] = [0x67, 0x42, 0xc0, 0x1f, 0xda]
  static let pps: [UInt8] = [0x68, 0xce, 0x38, 0x80]
  static let idr: [UInt8] = [0x65, 0x88, 0x84, 0x21]
  static let p: [UInt8] = [0x41, 0xc0, 0x11]
  static let b: [UInt8] = [0x01, 0xa8, 0x11]
  /// The second slice of a picture: first_mb_in_slice 1 (`010`).
  static let secondSlice: [UInt8] = [0x41, 0x58, 0x11]
  static let delimiter: [UInt8] = [0x09, 0xf0]
  static let information: [UInt8] = [0x06, 0x05, 0x01, 0x80]

  /// Start codes of three and four bytes in turn.
  static func stream(_ units: [[UInt8]]) -> [UInt8] {
    units.enumerated().reduce(into: []) {
      $0 += ($1.offset % 2 == 0 ? [0, 0, 0, 1] : [0, 0, 1]) + $1.element
    }
  }
}

private func read(_ bytes: [UInt8]) throws(MediaFormatError) -> VideoClip {
  try H264FileReader.read(bytes.rawSpan, frameRate: .standard)
}

@Suite("H.264 files")
struct H264FileReaderTests {
  @Test("Pictures are cut at first slices, delimiters, parameter sets and SEI; delimiters are left out")
  func accessUnits() throws {
    let clip = try read(
      Unit.stream([
        Unit.delimiter, Unit.sps, Unit.pps, Unit.idr, Unit.p, Unit.secondSlice, Unit.information, Unit.p,
        Unit.delimiter,
        Unit.p,
      ]))
    #expect(clip.frames.map(\.isKeyFrame) == [true, false, false, false])
    let types = clip.frames.map { frame in
      AnnexB.nalUnits(in: frame.bytes.rawSpan).map { frame.bytes[$0.lowerBound] & 0x1f }
    }
    #expect(types == [[7, 8, 5], [1, 1], [6, 1], [1]])
    #expect(clip.warnings.isEmpty)
  }

  @Test("A key frame without parameter sets gets the ones seen last")
  func parameterSetsRepeated() throws {
    let clip = try read(Unit.stream([Unit.sps, Unit.pps, Unit.idr, Unit.p, Unit.idr, Unit.sps, Unit.idr]))
    #expect(clip.frames[2].bytes == clip.frames[0].bytes)
    let last = clip.frames[3].bytes
    let types = AnnexB.nalUnits(in: last.rawSpan).map { last[$0.lowerBound] & 0x1f }
    #expect(types == [8, 7, 5])
  }

  @Test("B-frames are warned about")
  func bFrames() throws {
    let clip = try read(Unit.stream([Unit.sps, Unit.pps, Unit.idr, Unit.b, Unit.p, Unit.b]))
    #expect(clip.warnings == [.bFrames(2)])
  }

  @Test("Pictures before the first key frame are left out and told")
  func leadingPictures() throws {
    let clip = try read(Unit.stream([Unit.p, Unit.p, Unit.sps, Unit.pps, Unit.idr]))
    #expect(clip.frames.count == 1)
    #expect(clip.warnings == [.framesBeforeFirstKeyFrame(2)])
  }

  @Test("A stream without a key frame, without parameter sets, without anything, or of H.265 is refused")
  func refused() {
    #expect(throws: MediaFormatError.noKeyFrame) { try read(Unit.stream([Unit.sps, Unit.pps, Unit.p])) }
    #expect(throws: MediaFormatError.noParameterSets) { try read(Unit.stream([Unit.idr, Unit.p])) }
    #expect(throws: MediaFormatError.empty) { try read([]) }
    #expect(throws: MediaFormatError.empty) { try read(Unit.stream([Unit.sps, Unit.pps])) }
    #expect(throws: MediaFormatError.unsupported("an H.265 stream")) {
      try read(Unit.stream([[0x40, 0x01, 0x0c], [0x42, 0x01, 0x01]]))
    }
  }

  @Test("The C application's pictures: one file each, four slices, delimiter and SEI inside")
  func oneFileAPicture() throws {
    let key = Unit.stream([
      Unit.delimiter, Unit.sps, Unit.pps, Unit.information, Unit.idr, [0x65, 0x48, 0x11],
    ])
    let other = Unit.stream([Unit.delimiter, Unit.p, Unit.secondSlice])
    let clip = try H264FileReader.read(accessUnits: [key, other, other], frameRate: .standard)
    #expect(clip.frames.map(\.isKeyFrame) == [true, false, false])
  }

  @Test("Every prefix of a stream is read or refused")
  func prefixes() {
    let bytes = Unit.stream([
      Unit.delimiter, Unit.sps, Unit.pps, Unit.information, Unit.idr, Unit.p, Unit.secondSlice, Unit.b,
    ])
    for count in 0...bytes.count { _ = try? read(Array(bytes[..<count])) }
  }

  @Test("Thousands of streams with flipped bits are read or refused")
  func bitFlips() {
    var random = RandomSource(seed: 264)
    let original = SampleClip.video.frames[0..<3].reduce(into: [UInt8]()) { $0 += $1.bytes.prefix(300) }
    for _ in 0..<2000 {
      var bytes = original
      for _ in 0..<4 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      _ = try? read(bytes)
    }
    for _ in 0..<2000 {
      let bytes = (0..<60).map { _ in
        [0, 0, 0, 1, 1, 0x65, 0x67, 0x68, 0x41].randomElement(using: &random) ?? 0
      }
      _ = try? read(bytes.map(UInt8.init))
    }
  }
}
