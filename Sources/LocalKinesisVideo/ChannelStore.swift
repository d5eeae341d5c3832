// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The channels of the stand-in in one file, so that they survive a restart.
///
/// The file is written beside its place and renamed, so that it is whole at any time.
struct ChannelStore: Sendable {
  private struct File: Codable {
    let version: Int
    let channels: [SignalingChannel]
  }

  /// Far above what the most channels with the most tags need in practice.
  static let fileBytesMax = 64 << 20

  let directory: String

  private var path: String { directory + "/channels.json" }

  /// Reads the file, and makes the directory if it is missing.
  func load() throws(LocalServerError) -> [SignalingChannel] {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      guard FileManager.default.fileExists(atPath: path) else { return [] }
      let data = try Data(contentsOf: URL(filePath: path))
      guard data.count <= Self.fileBytesMax else { throw LocalServerError.unreadableData(path: path) }
      let file = try JSONDecoder().decode(File.self, from: data)
      guard file.version == 1 else { throw LocalServerError.unreadableData(path: path) }
      return file.channels
    } catch {
      throw LocalServerError.unreadableData(path: path)
    }
  }

  /// Replaces the file.
  func save(_ channels: [SignalingChannel]) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    try encoder.encode(File(version: 1, channels: channels)).write(to: URL(filePath: path), options: .atomic)
  }
}
