// SPDX-License-Identifier: Apache-2.0

/// What a master answers to a text: how long it was, and how it began.
///
/// The wording is that of the C application, whose users' scripts may know it.
enum TextReply {
  /// How much of a text comes back at most, in bytes of UTF-8.
  static let echoedByteCountMax = 384

  /// What the C SDK's programs send of themselves.
  private static let greetings: Set<String> = [
    "This message is from the KVS Master", "This message is from the KVS Viewer",
  ]

  /// The answer to a text; `nil` for what is an answer already. Two programs that answer each text would otherwise go
  /// on without end once one of them has spoken: so it is with two of the C application's.
  ///
  /// - Parameter bytes: the text as it came; bytes that are no UTF-8 are replaced.
  static func text(to bytes: [UInt8]) -> String? {
    let echoed = String(decoding: bytes.prefix(wholeScalars(of: bytes)), as: UTF8.self)
    guard !isReply(echoed) else { return nil }
    return "Received \(bytes.count) bytes, ECHO: \(echoed)"
  }

  private static func isReply(_ text: String) -> Bool {
    guard text.hasPrefix("Received ") else { return greetings.contains(text) }
    let count = text.dropFirst("Received ".count).prefix { $0.isASCII && $0.isNumber }
    return !count.isEmpty && text[count.endIndex...].hasPrefix(" bytes, ECHO: ")
  }

  /// How many of the first bytes are echoed: no character is cut in two.
  private static func wholeScalars(of bytes: [UInt8]) -> Int {
    guard bytes.count > echoedByteCountMax else { return bytes.count }
    // A scalar has at most three continuation bytes.
    let cuts = (echoedByteCountMax - 3...echoedByteCountMax).reversed()
    return cuts.first { bytes[$0] & 0xc0 != 0x80 } ?? echoedByteCountMax
  }
}
