// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SansIO

/// Finds out what a path holds and reads it whole: `--video` and `--audio`.
///
/// Reading blocks; it belongs to the start of a program, not on an event loop.
public enum MediaSourceFile {
  /// Files are held in memory; a longer one is not meant for a loop.
  public static let maximumFileByteCount = 512 * 1024 * 1024
  /// How many numbered files a folder may hold: an hour of pictures at 50 a second.
  public static let maximumNumberedFileCount = 180_000

  /// Reads pictures: an H.264 Annex-B file, or a folder of `frame-0001.h264`, `frame-0002.h264` and so on,
  /// one access unit each.
  ///
  /// - Throws: one sentence that names the path.
  public static func video(at path: String, frameRate: FrameRate = .standard) throws(MediaFileError)
    -> VideoClip
  {
    if isFolder(path) {
      let files = try numberedFiles(in: path, prefix: "frame-", suffix: ".h264", pattern: "frame-0001.h264")
      return try named(path) { () throws(MediaFormatError) in
        try H264FileReader.read(accessUnits: files, frameRate: frameRate)
      }
    }
    let bytes = try contents(of: path)
    return try named(path) { () throws(MediaFormatError) in
      guard MediaFormat.detect(bytes.rawSpan) == .annexB else {
        throw .unsupported(MediaFormat.detect(bytes.rawSpan).description + ", not H.264 Annex-B")
      }
      return try H264FileReader.read(bytes.rawSpan, frameRate: frameRate)
    }
  }

  /// Reads sound: an Ogg Opus file, or a folder of `sample-001.opus`, `sample-002.opus` and so on, one bare
  /// Opus packet each.
  ///
  /// - Throws: one sentence that names the path.
  public static func audio(at path: String) throws(MediaFileError) -> AudioClip {
    if isFolder(path) {
      let files = try numberedFiles(in: path, prefix: "sample-", suffix: ".opus", pattern: "sample-001.opus")
      return try named(path) { () throws(MediaFormatError) in try OggOpusReader.read(packets: files) }
    }
    let bytes = try contents(of: path)
    return try named(path) { () throws(MediaFormatError) in
      guard MediaFormat.detect(bytes.rawSpan) == .ogg else {
        throw .unsupported(MediaFormat.detect(bytes.rawSpan).description + ", not Ogg Opus")
      }
      return try OggOpusReader.read(bytes.rawSpan)
    }
  }

  private static func named<Clip>(
    _ path: String, _ read: () throws(MediaFormatError) -> Clip
  ) throws(MediaFileError) -> Clip {
    do throws(MediaFormatError) {
      return try read()
    } catch {
      throw MediaFileError(path: path, problem: .format(error))
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder
  }

  private static func contents(of path: String) throws(MediaFileError) -> [UInt8] {
    guard FileManager.default.fileExists(atPath: path) else {
      throw MediaFileError(path: path, problem: .unreadable("there is no such file"))
    }
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    guard attributes?[.type] as? FileAttributeType == .typeRegular || attributes?[.type] == nil else {
      // A link is followed by reading it; anything else (a device, a pipe) might never end.
      guard attributes?[.type] as? FileAttributeType == .typeSymbolicLink else {
        throw MediaFileError(path: path, problem: .unreadable("it is no regular file"))
      }
      return try contents(of: URL(filePath: path).resolvingSymlinksInPath().path)
    }
    if let size = attributes?[.size] as? UInt64, size > UInt64(maximumFileByteCount) {
      throw MediaFileError(path: path, problem: .tooLarge)
    }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw MediaFileError(path: path, problem: .unreadable("reading it is not allowed or failed"))
    }
    return [UInt8](data)
  }

  /// The contents of `<prefix><number><suffix>`, in the order of numbers, which must have no gap.
  private static func numberedFiles(
    in folder: String, prefix: String, suffix: String, pattern: String
  ) throws(MediaFileError) -> [[UInt8]] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
      throw MediaFileError(path: folder, problem: .unreadable("listing it is not allowed or failed"))
    }
    let numbered = names.compactMap { name in
      NumberedFile(name: name, prefix: prefix, suffix: suffix)
    }.sorted { ($0.number, $0.name) < ($1.number, $1.name) }
    guard !numbered.isEmpty else { throw MediaFileError(path: folder, problem: .noNumberedFiles(pattern)) }
    guard numbered.count <= maximumNumberedFileCount else {
      throw MediaFileError(path: folder, problem: .tooLarge)
    }
    var result: [[UInt8]] = []
    var byteCount = 0
    for (file, expected) in zip(numbered, numbered[0].number...) {
      guard file.number == expected else {
        let missing = numbered[0].sibling(number: expected, prefix: prefix, suffix: suffix)
        throw MediaFileError(path: folder, problem: .missingFile(missing))
      }
      result.append(try contents(of: folder + "/" + file.name))
      byteCount += result[result.count - 1].count
      guard byteCount <= maximumFileByteCount else { throw MediaFileError(path: folder, problem: .tooLarge) }
    }
    return result
  }
}

/// A file name with a number in it.
private struct NumberedFile {
  let name: String
  let number: Int
  private let digitCount: Int

  init?(name: String, prefix: String, suffix: String) {
    guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
    let digits = name.dropFirst(prefix.count).dropLast(suffix.count)
    guard (1...9).contains(digits.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let number = Int(digits)
    else { return nil }
    self.name = name
    self.number = number
    self.digitCount = digits.count
  }

  /// The name that another number would have here.
  func sibling(number: Int, prefix: String, suffix: String) -> String {
    let digits = String(number)
    return prefix + String(repeating: "0", count: max(0, digitCount - digits.count)) + digits + suffix
  }
}

/// What the first bytes of a file tell.
public enum MediaFormat: Hashable, Sendable, CustomStringConvertible {
  /// Start codes: H.264 or H.265.
  case annexB
  /// Ogg with any codec.
  case ogg
  /// ISO base media.
  case mp4
  /// EBML.
  case matroska
  /// The container of VP8, VP9 and AV1 test streams.
  case ivf
  /// RIFF: WAV or AVI.
  case riff
  /// MPEG transport stream.
  case transportStream
  /// No bytes.
  case empty
  /// Nothing that is known here.
  case unknown

  /// Looks at the first bytes, at most 1 KiB.
  public static func detect(_ bytes: RawSpan) -> MediaFormat {
    guard bytes.byteCount > 0 else { return .empty }
    let head = [UInt8](copying: bytes.extracting(0..<min(bytes.byteCount, 1024)))
    func has(_ magic: String, at offset: Int = 0) -> Bool { head.dropFirst(offset).starts(with: magic.utf8) }
    if has("OggS") { return .ogg }
    if has("ftyp", at: 4) { return .mp4 }
    if head.starts(with: [0x1a, 0x45, 0xdf, 0xa3]) { return .matroska }
    if has("DKIF") { return .ivf }
    if has("RIFF") { return .riff }
    // Packets of 188 bytes that each begin with 0x47.
    if head.count > 376, head[0] == 0x47, head[188] == 0x47, head[376] == 0x47 { return .transportStream }
    // Zero bytes may stand before the first start code.
    let zeros = head.prefix { $0 == 0 }.count
    if zeros >= 2, zeros < head.count, head[zeros] == 1 { return .annexB }
    return .unknown
  }

  /// A name with its article.
  public var description: String {
    switch self {
    case .annexB: "an H.264 Annex-B file"
    case .ogg: "an Ogg file"
    case .mp4: "an MP4 or MOV file"
    case .matroska: "a Matroska or WebM file"
    case .ivf: "an IVF file"
    case .riff: "a WAV or AVI file"
    case .transportStream: "an MPEG transport stream"
    case .empty: "an empty file"
    case .unknown: "a file of an unknown kind"
    }
  }
}
