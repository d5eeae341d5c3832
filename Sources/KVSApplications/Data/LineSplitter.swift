// SPDX-License-Identifier: Apache-2.0

/// Cuts a stream of bytes into lines, of which none may be longer than a limit.
struct LineSplitter {
  /// A line beyond the limit.
  struct LineTooLong: Error, Hashable {
    /// Counted from 1.
    let line: Int
    let limit: Int
  }

  private let byteCountMax: Int
  private var pending: [UInt8] = []
  private var lineCount = 0

  /// - Parameter byteCountMax: bytes of a line at most, without its end.
  init(byteCountMax: Int) { self.byteCountMax = byteCountMax }

  /// The lines that bytes complete, without their ends (`\n` or `\r\n`).
  mutating func lines(in bytes: some Collection<UInt8>) throws(LineTooLong) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      pending += rest[..<end]
      rest = rest[rest.index(after: end)...]
      lines.append(try take())
    }
    pending += rest
    // One byte more may be the `\r` of its end.
    guard pending.count <= byteCountMax + 1 else {
      throw LineTooLong(line: lineCount + 1, limit: byteCountMax)
    }
    return lines
  }

  /// The last line, if there is one without an end.
  mutating func lastLine() throws(LineTooLong) -> [UInt8]? { pending.isEmpty ? nil : try take() }

  private mutating func take() throws(LineTooLong) -> [UInt8] {
    if pending.last == UInt8(ascii: "\r") { pending.removeLast() }
    lineCount += 1
    guard pending.count <= byteCountMax else { throw LineTooLong(line: lineCount, limit: byteCountMax) }
    defer { pending = [] }
    return pending
  }
}
