// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// Collects the text of a description and refuses values that would not read back as they are.
struct SDPWriter {
  private(set) var bytes: [UInt8] = []

  init() { bytes.reserveCapacity(4_096) }

  /// Our own words.
  mutating func literal(_ text: String) { bytes.append(contentsOf: text.utf8) }

  mutating func number(_ value: some UnsignedInteger) {
    bytes.append(contentsOf: String(value).utf8)
  }

  /// Any text without control characters, also none.
  mutating func text(_ value: String) throws(SDPError) {
    for byte in value.utf8 {
      guard byte >= 0x20, byte != 0x7f else { throw .controlCharacter(line: nil) }
      bytes.append(byte)
    }
  }

  /// Text that ends the line behind a space: not empty, without a leading space.
  mutating func rest(_ value: String, _ field: ParseError.Cause) throws(SDPError) {
    guard let first = value.utf8.first, first != UInt8(ascii: " ") else {
      throw .invalid(field, line: nil)
    }
    try text(value)
  }

  /// One word: not empty, without spaces and without `excluded`.
  mutating func word(
    _ value: String, _ field: ParseError.Cause, excluding excluded: UInt8 = UInt8(ascii: " ")
  ) throws(SDPError) {
    guard !value.isEmpty else { throw .invalid(field, line: nil) }
    for byte in value.utf8 where byte == UInt8(ascii: " ") || byte == excluded {
      throw .invalid(field, line: nil)
    }
    try text(value)
  }

  /// Words with a space before each.
  mutating func spacedWords(_ values: [String], _ field: ParseError.Cause) throws(SDPError) {
    for value in values {
      literal(" ")
      try word(value, field)
    }
  }

  mutating func endLine() { literal("\r\n") }

  /// A whole line that is our own words.
  mutating func line(_ text: String) {
    literal(text)
    endLine()
  }
}
