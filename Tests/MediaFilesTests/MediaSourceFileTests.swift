// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import MediaFiles
import SansIO
import Testing

/// A folder of its own that goes away with the test.
private final class Folder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/media-files-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path + "/" + name
    try Data(bytes).write(to: URL(filePath: file))
    return file
  }
}

private func sentence(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch { return "\(error)" }
}

@Suite("Media source files")
struct MediaSourceFileTests {
  @Test("An Annex-B file, at the rate that was asked for, also through a link")
  func annexB() throws {
    let folder = try Folder()
    let path = try folder.write("v.h264", SampleClip.video.frames[..<50].reduce(into: []) { $0 += $1.bytes })
    let rate = try #require(FrameRate(parsing: "50"))
    let clip = try MediaSourceFile.video(at: path, frameRate: rate)
    #expect(clip.frames == Array(SampleClip.video.frames[..<50]))
    #expect(clip.duration == .seconds(1))
    let link = folder.path + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    #expect(try MediaSourceFile.video(at: link).frames.count == 50)
  }

  @Test("Folders of numbered files, as the C application reads them")
  func folders() throws {
    let folder = try Folder()
    for index in 1...12 {
      let number = String(String(10_000 + index).dropFirst())
      _ = try folder.write("frame-\(number).h264", SampleClip.video.frames[index - 1].bytes)
      _ = try folder.write("sample-\(number.dropFirst()).opus", SampleClip.audio.packets[index - 1])
    }
    _ = try folder.write("README", [1])
    #expect(try MediaSourceFile.video(at: folder.path).frames == Array(SampleClip.video.frames[..<12]))
    #expect(try MediaSourceFile.audio(at: folder.path).packets == Array(SampleClip.audio.packets[..<12]))
    try FileManager.default.removeItem(atPath: folder.path + "/frame-0005.h264")
    let text = sentence { _ = try MediaSourceFile.video(at: folder.path) }
    #expect(text.hasSuffix("has a gap: frame-0005.h264 is missing"))
  }

  @Test(
    "Anything else gets one sentence that says what it is",
    arguments: [
      ("an MP4 or MOV file", [0, 0, 0, 0x20] + Array("ftypisom".utf8)),
      ("a Matroska or WebM file", [0x1a, 0x45, 0xdf, 0xa3]),
      ("an IVF file", Array("DKIF".utf8)), ("a WAV or AVI file", Array("RIFF".utf8)), ("an empty file", []),
      ("a file of an unknown kind", Array("hello".utf8)),
    ] as [(String, [UInt8])])
  func otherFiles(name: String, bytes: [UInt8]) throws {
    let folder = try Folder()
    let path = try folder.write("file", bytes)
    let video = sentence { _ = try MediaSourceFile.video(at: path) }
    #expect(video.hasPrefix("\(path) is \(name), not H.264 Annex-B: "))
    let audio = sentence { _ = try MediaSourceFile.audio(at: path) }
    #expect(audio.hasPrefix("\(path) is \(name), not Ogg Opus: "))
  }

  @Test("A file that is not there, an empty folder, and a device")
  func missing() throws {
    let folder = try Folder()
    let gone = folder.path + "/gone"
    #expect(
      sentence { _ = try MediaSourceFile.audio(at: gone) } == "\(gone) cannot be read: there is no such file")
    let empty = sentence { _ = try MediaSourceFile.audio(at: folder.path) }
    #expect(empty == "the folder \(folder.path) holds no files named sample-001.opus")
    #expect(sentence { _ = try MediaSourceFile.video(at: "/dev/zero") }.contains("no regular file"))
  }
}
