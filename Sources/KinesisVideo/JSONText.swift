// SPDX-License-Identifier: Apache-2.0

/// Writes JSON whose members keep their order: some of the service's clients expect one member before another.
enum JSONText {
  /// A value to write.
  indirect enum Value {
    case string(String)
    case integer(Int)
    case bool(Bool)
    case object([(String, Value?)])
  }

  /// The text of an object; members without a value are left out.
  static func object(_ members: [(String, Value?)]) -> String {
    let parts = members.compactMap { name, value in value.map { quoted(name) + ":" + text($0) } }
    return "{" + parts.joined(separator: ",") + "}"
  }

  private static func text(_ value: Value) -> String {
    switch value {
    case .string(let text): quoted(text)
    case .integer(let number): String(number)
    case .bool(let flag): flag ? "true" : "false"
    case .object(let members): object(members)
    }
  }

  /// The string in quotes, RFC 8259 §7.
  static func quoted(_ text: String) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "\"")]
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): bytes += #"\""#.utf8
      case UInt8(ascii: "\\"): bytes += #"\\"#.utf8
      case UInt8(ascii: "\r"): bytes += #"\r"#.utf8
      case UInt8(ascii: "\n"): bytes += #"\n"#.utf8
      case UInt8(ascii: "\t"): bytes += #"\t"#.utf8
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        bytes += ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8
      default: bytes.append(byte)
      }
    }
    return String(decoding: bytes + [UInt8(ascii: "\"")], as: UTF8.self)
  }
}

/// A member's name, whatever it is.
struct AnyCodingKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension KeyedDecodingContainer where Key == AnyCodingKey {
  /// The members by lower-case name; of names that differ only in case the alphabetically first wins, so that the choice
  /// does not depend on the order of a hash table.
  func keysIgnoringCase() -> [String: AnyCodingKey] {
    Dictionary(allKeys.map { ($0.stringValue.lowercased(), $0) }) { left, right in
      left.stringValue < right.stringValue ? left : right
    }
  }
}
