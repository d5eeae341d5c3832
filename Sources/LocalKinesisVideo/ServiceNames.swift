// SPDX-License-Identifier: Apache-2.0

/// The character sets and lengths that the service gives its names.
enum ServiceNames {
  /// Longest channel name and client id, in characters.
  static let nameCharactersMax = 256
  /// Longest ARN, in characters.
  static let arnCharactersMax = 1024

  /// A channel name: 1 to 256 of `[a-zA-Z0-9_.-]`.
  static func isChannelName(_ text: String) -> Bool { isName(text) }

  /// A version: 1 to 64 of `[a-zA-Z0-9]`.
  static func isVersion(_ text: String) -> Bool {
    let bytes = text.utf8
    return !bytes.isEmpty && bytes.count <= 64 && bytes.allSatisfy(isLetterOrDigit)
  }

  /// A tag's key or value: letters, separators and digits of any script and `_.:/=+-@`.
  static func isTagText(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
      switch scalar.properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
        .spaceSeparator, .lineSeparator, .paragraphSeparator, .decimalNumber, .letterNumber, .otherNumber:
        true
      default: "_.:/=+-@".unicodeScalars.contains(scalar)
      }
    }
  }

  static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private static func isName(_ text: String) -> Bool {
    let bytes = text.utf8
    return !bytes.isEmpty && bytes.count <= nameCharactersMax && bytes.allSatisfy(isNameByte)
  }

  static func isNameByte(_ byte: UInt8) -> Bool {
    isLetterOrDigit(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
      || byte == UInt8(ascii: "-")
  }
}

/// A resource name of the service:
/// `arn:<partition>:kinesisvideo:<region>:<account>:<kind>/<name>/<creation in milliseconds>`.
public struct ChannelARN: Hashable, Sendable, CustomStringConvertible {
  /// `aws`, `aws-cn` and so on.
  public let partition: String
  /// The region's name.
  public let region: String
  /// The account's number.
  public let account: String
  /// `channel` or `stream`.
  public let kind: String
  /// The channel's name.
  public let name: String
  /// When the channel was made, in milliseconds since 1970, as digits.
  public let creation: String

  init(partition: String, region: String, account: String, name: String, creationMilliseconds: Int64) {
    self.partition = partition
    self.region = region
    self.account = account
    kind = "channel"
    self.name = name
    creation = String(creationMilliseconds)
  }

  /// Reads an ARN of the service's pattern; `nil` when it does not match.
  public init?(parsing text: String) {
    guard text.utf8.count <= ServiceNames.arnCharactersMax else { return nil }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6, parts[0] == "arn", parts[2] == "kinesisvideo" else { return nil }
    let resource = parts[5].split(separator: "/", omittingEmptySubsequences: false)
    guard resource.count == 3 else { return nil }
    func isLowerOrDigitOrDash(_ byte: UInt8) -> Bool {
      ServiceNames.isLetterOrDigit(byte) && !Self.isUpper(byte) || byte == UInt8(ascii: "-")
    }
    func isLower(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }
    func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    let fields: [(Substring, (UInt8) -> Bool)] = [
      (parts[1], isLowerOrDigitOrDash), (parts[3], isLowerOrDigitOrDash), (parts[4], isDigit),
      (resource[0], isLower), (resource[1], ServiceNames.isNameByte), (resource[2], isDigit),
    ]
    for (field, isAllowed) in fields {
      guard !field.isEmpty, field.utf8.allSatisfy(isAllowed) else { return nil }
    }
    partition = String(parts[1])
    region = String(parts[3])
    account = String(parts[4])
    kind = String(resource[0])
    name = String(resource[1])
    creation = String(resource[2])
  }

  private static func isUpper(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
  }

  /// The ARN as text.
  public var description: String {
    "arn:\(partition):kinesisvideo:\(region):\(account):\(kind)/\(name)/\(creation)"
  }
}
