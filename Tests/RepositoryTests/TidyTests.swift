// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing

/// Reads the repository's own text and holds it to the rules of CONTRIBUTING.md.
@Suite("The repository is tidy")
struct TidyTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private struct SourceFile {
    let path: String
    let target: String
    let lines: [Substring]
    let isTest: Bool
  }

  private static func files(below folder: String, endings: [String]) throws -> [SourceFile] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: root.appending(path: folder).path)
    return try paths.filter { path in endings.contains { path.hasSuffix($0) } }.sorted().map { path in
      let text = try String(contentsOf: root.appending(path: folder).appending(path: path), encoding: .utf8)
      return SourceFile(
        path: "\(folder)/\(path)", target: String(path.prefix { $0 != "/" }),
        lines: text.split(separator: "\n", omittingEmptySubsequences: false), isTest: folder == "Tests")
    }
  }

  private static func swiftFiles() throws -> [SourceFile] {
    try files(below: "Sources", endings: [".swift"]) + files(below: "Tests", endings: [".swift"])
  }

  @Test("Each source file says its licence on its first lines")
  func licences() throws {
    let others =
      try Self.files(below: "Sources", endings: [".c", ".h", ".js", ".css", ".html"])
      + Self.files(below: "Tests", endings: [".py"])
    for file in try Self.swiftFiles() + others {
      let isNamed = file.lines.prefix(3).contains { $0.contains("SPDX-License-Identifier: Apache-2.0") }
      #expect(isNamed, "\(file.path)")
    }
  }

  @Test("No Swift file is longer than 600 lines")
  func fileLengths() throws {
    for file in try Self.swiftFiles() { #expect(file.lines.count <= 601, "\(file.path)") }
  }

  /// The module graph of docs/architecture.md, lowest first: a target imports only what stands before it.
  private static let order = [
    "SansIO", "COpenSSL", "CVirtualClock", "CSampleClip", "CViewerPage", "ICE", "DTLS", "SRTP", "SDP", "RTP",
    "SCTP", "WebRTCCore", "WebRTC", "WebRTCTesting", "KinesisVideo", "LocalKinesisVideo", "MediaFiles",
    "KVSApplications",
    "kvs-webrtc",
  ]

  private static func imports(of file: SourceFile) -> [String] {
    file.lines.compactMap { line in
      let words = line.split(separator: " ")
      guard let position = words.firstIndex(of: "import"), position <= 2, position + 1 < words.count,
        words.prefix(position).allSatisfy({ $0 == "public" || $0.hasPrefix("@") || $0 == "internal" })
      else { return nil }
      return String(words[position + 1])
    }
  }

  @Test("Imports point downwards only; siblings do not know each other")
  func importDirection() throws {
    let protocols: Set<String> = ["ICE", "DTLS", "SRTP", "SDP", "RTP", "SCTP"]
    for file in try Self.files(below: "Sources", endings: [".swift"]) {
      let rank = try #require(
        Self.order.firstIndex(of: file.target), "\(file.target) is not in the module graph")
      for imported in Self.imports(of: file) {
        if let other = Self.order.firstIndex(of: imported) {
          #expect(other < rank, "\(file.path) imports \(imported)")
          #expect(
            !(protocols.contains(file.target) && protocols.contains(imported)),
            "\(file.path) imports \(imported)")
        }
        if file.target == "KinesisVideo" || file.target == "LocalKinesisVideo" {
          #expect(!["WebRTC", "WebRTCCore"].contains(imported), "\(file.path) knows of WebRTC")
        }
      }
    }
  }

  @Test("The cores import no sockets, clocks, Foundation or logs")
  func coresArePure() throws {
    let allowed: [String: Set<String>] = [
      "SansIO": [], "SDP": ["SansIO"], "RTP": ["SansIO"], "ICE": ["SansIO", "Crypto"],
      "SCTP": ["SansIO", "Crypto"],
      "DTLS": ["SansIO", "COpenSSL"], "SRTP": ["SansIO", "COpenSSL"],
      "WebRTCCore": ["SansIO", "ICE", "DTLS", "SRTP", "SDP", "RTP", "SCTP"],
    ]
    for file in try Self.files(below: "Sources", endings: [".swift"]) {
      guard let allowed = allowed[file.target] else { continue }
      for imported in Self.imports(of: file) {
        #expect(allowed.contains(imported), "\(file.path) imports \(imported)")
      }
    }
  }

  @Test("Nothing imports all of Foundation")
  func noFoundation() throws {
    for file in try Self.swiftFiles() {
      #expect(!Self.imports(of: file).contains("Foundation"), "\(file.path)")
    }
  }

  @Test("No force, no crash by choice, no note to self in the sources")
  func noForce() throws {
    let banned = ["try" + "!", "fatal" + "Error(", "TO" + "DO", "FIX" + "ME", "as" + "! "]
    for file in try Self.files(below: "Sources", endings: [".swift"]) {
      for (number, line) in file.lines.enumerated() {
        for word in banned { #expect(!line.contains(word), "\(file.path):\(number + 1)") }
      }
    }
  }

  @Test("Only the programs write to standard output")
  func noPrint() throws {
    for file in try Self.files(below: "Sources", endings: [".swift"])
    where !["KVSApplications", "kvs-webrtc"].contains(file.target) {
      for (number, line) in file.lines.enumerated() {
        let code = line.drop { $0 == " " }
        #expect(!code.hasPrefix("print(") && !code.hasPrefix("debugPrint("), "\(file.path):\(number + 1)")
      }
    }
  }

  @Test("No test sleeps")
  func noSleep() throws {
    let banned = ["Task." + "sleep", "u" + "sleep("]
    for file in try Self.files(below: "Tests", endings: [".swift"]) {
      for (number, line) in file.lines.enumerated() {
        for word in banned { #expect(!line.contains(word), "\(file.path):\(number + 1)") }
      }
    }
  }
}
