// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Lines from the standard input, as they become complete.
struct CommandReader {
  /// A line is shorter than this; what is longer ends the input.
  private static let lineBytesMax = 4_096
  private var bytes: [UInt8] = []

  /// The descriptor to wait for; nil after the input's end.
  private(set) var descriptor: CInt? = STDIN_FILENO

  /// Reads once, after the descriptor became readable, and returns the lines that are complete now.
  mutating func read() -> [String] {
    guard descriptor != nil else { return [] }
    var chunk = [UInt8](repeating: 0, count: Self.lineBytesMax)
    let count = Glibc.read(STDIN_FILENO, &chunk, chunk.count)
    guard count > 0, bytes.count + count <= 2 * Self.lineBytesMax else {
      descriptor = nil
      return []
    }
    bytes += chunk.prefix(count)
    var lines: [String] = []
    while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
      lines.append(String(decoding: bytes[..<end], as: UTF8.self))
      bytes.removeSubrange(...end)
    }
    return lines
  }
}
