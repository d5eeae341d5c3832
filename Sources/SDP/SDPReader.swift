// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// One line: its type letter and where its value stands.
struct SDPLine {
  let letter: UInt8
  let value: Range<Int>
  let number: Int
}

/// Cuts a description in lines (RFC 8866 §5) and refuses control characters.
struct SDPLineReader {
  let bytes: [UInt8]
  private var position = 0
  private var number = 0

  init(_ text: String) throws(SDPError) {
    let byteCount = text.utf8.count
    guard byteCount <= SDPLimits.textBytesMax else { throw .textTooLong(byteCount: byteCount) }
    bytes = Array(text.utf8)
  }

  /// The next line, or `nil` at the end. Empty lines are allowed at the end alone.
  mutating func next() throws(SDPError) -> SDPLine? {
    guard position < bytes.count else { return nil }
    number += 1
    let start = position
    var end = start
    while end < bytes.count, bytes[end] >= 0x20, bytes[end] != 0x7f { end += 1 }
    position = try afterLineEnd(at: end)
    guard end > start else {
      guard bytes[start...].allSatisfy({ $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }) else {
        throw .malformedLine(line: number)
      }
      position = bytes.count
      return nil
    }
    guard end - start >= 2, bytes[start + 1] == UInt8(ascii: "=") else { throw .malformedLine(line: number) }
    return SDPLine(letter: bytes[start], value: (start + 2)..<end, number: number)
  }

  private func afterLineEnd(at end: Int) throws(SDPError) -> Int {
    guard end < bytes.count else { return end }
    if bytes[end] == UInt8(ascii: "\n") { return end + 1 }
    guard bytes[end] == UInt8(ascii: "\r"), end + 1 < bytes.count, bytes[end + 1] == UInt8(ascii: "\n") else {
      throw .controlCharacter(line: number)
    }
    return end + 2
  }
}

/// A cursor over the words of one value. Words are parted by spaces.
struct SDPFieldReader {
  let bytes: [UInt8]
  var position: Int
  let end: Int
  let line: Int

  init(_ line: SDPLine, of bytes: [UInt8]) {
    self.bytes = bytes
    position = line.value.lowerBound
    end = line.value.upperBound
    self.line = line.number
  }

  var isAtEnd: Bool { position == end }

  mutating func skipSpaces() {
    while position < end, bytes[position] == UInt8(ascii: " ") { position += 1 }
  }

  /// The bytes up to a space, to `stop` or to the end; steps over the spaces behind, not over `stop`.
  mutating func wordRange(
    _ field: ParseError.Cause, stop: UInt8 = UInt8(ascii: " ")
  ) throws(SDPError) -> Range<Int> {
    let start = position
    while position < end, bytes[position] != UInt8(ascii: " "), bytes[position] != stop { position += 1 }
    guard position > start else { throw .invalid(field, line: line) }
    defer { skipSpaces() }
    return start..<position
  }

  mutating func word(
    _ field: ParseError.Cause, stop: UInt8 = UInt8(ascii: " ")
  ) throws(SDPError) -> String {
    let range = try wordRange(field, stop: stop)
    return String(decoding: bytes[range], as: UTF8.self)
  }

  /// A decimal number of at most `max`.
  mutating func number<Value: FixedWidthInteger & UnsignedInteger>(
    _ field: ParseError.Cause, max: Value = .max, stop: UInt8 = UInt8(ascii: " ")
  ) throws(SDPError) -> Value {
    var value: Value = 0
    for index in try wordRange(field, stop: stop) {
      let byte = bytes[index]
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { throw .invalid(field, line: line) }
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Value(byte - UInt8(ascii: "0")))
      guard !overflow, !carry else { throw .invalid(field, line: line) }
      value = sum
    }
    guard value <= max else { throw .invalid(field, line: line) }
    return value
  }

  /// Steps over `byte` if it is next.
  mutating func skip(_ byte: UInt8) -> Bool {
    guard position < end, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  /// All that is left, as it is.
  mutating func rest() -> String {
    defer { position = end }
    return String(decoding: bytes[position..<end], as: UTF8.self)
  }

  /// All that is left; at least one character.
  mutating func someRest(_ field: ParseError.Cause) throws(SDPError) -> String {
    guard !isAtEnd else { throw .invalid(field, line: line) }
    return rest()
  }

  /// The words that are left.
  mutating func words(_ field: ParseError.Cause) throws(SDPError) -> [String] {
    var result: [String] = []
    while !isAtEnd { result.append(try word(field)) }
    return result
  }

  func expectEnd(_ field: ParseError.Cause) throws(SDPError) {
    guard isAtEnd else { throw .invalid(field, line: line) }
  }
}

/// Sets a field that may be given once; the same value again does no harm.
func assignOnce<Value: Equatable>(
  _ field: inout Value?, _ value: Value, _ name: ParseError.Cause, line: Int
) throws(SDPError) {
  guard field == nil || field == value else { throw .duplicate(name, line: line) }
  field = value
}
